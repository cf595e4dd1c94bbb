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

    /// ICE (ufrag, pwd): 48 and 192 bits of randomness (RFC 8445 §5.3 asks for 24 and 128). Before those
    /// of the ufrag stands the number of the worker, see [`worker_of_ufrag`].
    pub(crate) fn ice_credentials(&mut self, worker: u8) -> (String, String) {
        let digits = [worker >> 6, worker & 63].map(|digit| ice_char(digit.into()));
        let mut ufrag = String::from_iter(digits);
        ufrag.push_str(&self.ice_string(8));
        (ufrag, self.ice_string(32))
    }

    fn ice_string(&mut self, length: usize) -> String {
        (0..length).map(|_| ice_char(self.u32())).collect()
    }
}

fn ice_char(n: u32) -> char {
    char::from(ICE_CHARS.get((n % 64) as usize).copied().unwrap_or(b'0'))
}

/// The worker that drew a user name fragment: its number, in two digits of base 64.
pub(crate) fn worker_of_ufrag(ufrag: &str) -> Option<u8> {
    let digit = |c: &u8| ICE_CHARS.iter().position(|known| known == c);
    let [high, low, ..] = ufrag.as_bytes() else { return None };
    u8::try_from(digit(high)? << 6 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ufrag_names_its_worker() {
        let mut random = Random::new(Entropy::from_seed(1));
        for worker in 0..=u8::MAX {
            let (ufrag, password) = random.ice_credentials(worker);
            assert_eq!(worker_of_ufrag(&ufrag), Some(worker), "{ufrag}");
            assert_eq!((ufrag.len(), password.len()), (10, 32));
        }
        for strange in ["", "A", "EAxx", "//xx", "A-xx", "äx"] {
            assert_eq!(worker_of_ufrag(strange), None, "{strange}");
        }
    }
}
