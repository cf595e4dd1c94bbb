//! What a publisher should send.
//!
//! Owns: the union of what one track's subscribers want.
//! Never: waits; see the specification for how long a publisher should be kept sending.

use super::Layer;

/// The best rung that anybody wants of one track, of each subscriber's [`super::Decision::upstream`];
/// `None` if nobody wants any: then no video need be sent.
pub(crate) fn union(wanted: impl IntoIterator<Item = Option<Layer>>) -> Option<Layer> {
    wanted.into_iter().flatten().max()
}
