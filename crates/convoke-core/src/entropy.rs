//! The worker's randomness: seeded once, from outside.
//!
//! Owns: one ChaCha generator. ICE passwords come from it, so a shell must seed it from the
//! operating system ([`Entropy::from_bytes`]); a simulator seeds it with a number.
//! Never: asks the operating system itself.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// ice-char (RFC 8839 §5.4).
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A seed for all of a worker's randomness but DTLS keys.
#[derive(Clone)]
pub struct Entropy([u8; 32]);

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(..)")
    }
}

impl Entropy {
    /// From 32 unpredictable bytes: for production.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From a number: for simulations, where a run must be repeatable.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(seed.to_le_bytes()) {
            *to = from;
        }
        Self(bytes)
    }
}

#[derive(Debug)]
pub(crate) struct Random(ChaCha12Rng);

impl Random {
    pub(crate) fn new(entropy: Entropy) -> Self {
        Self(ChaCha12Rng::from_seed(entropy.0))
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// ICE (ufrag, pwd): 48 and 192 bits of randomness (RFC 8445 §5.3 asks for 24 and 128).
    pub(crate) fn ice_credentials(&mut self) -> (String, String) {
        (self.ice_string(8), self.ice_string(32))
    }

    fn ice_string(&mut self, length: usize) -> String {
        let pick = |n: u32| ICE_CHARS.get((n % 64) as usize).copied().unwrap_or(b'0');
        (0..length).map(|_| char::from(pick(self.u32()))).collect()
    }
}
