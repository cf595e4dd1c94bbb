//! Conversations as data, played in virtual time.

mod dominance;
mod hearing;
mod laws;
mod scene;
