//! Whether a datagram was truly the peer's: SRTP ciphers that count what they opened.
//!
//! Owns: the wrapping of str0m's ciphers; that what they opened of RTCP is sifted ([`super::requests`]).
//! Never: changes what a cipher does.
//!
//! str0m does not say whether an RTCP packet was authenticated, and a peer may send nothing else for as long
//! as it only watches: libnice, which GStreamer uses, checks no consent (RFC 7675) unless told to. What a
//! cipher opened was authenticated: by its tag, or by the HMAC that str0m verifies before it decrypts.

use std::cell::{Cell, RefCell};

use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

use super::requests::Requests;

thread_local! {
    /// What was opened on this thread. A transport is handled on one thread at a time, and opens what it
    /// is handed before it returns.
    static OPENED: Cell<u64> = const { Cell::new(0) };
    /// By whom RTCP is sifted that is opened on this thread now.
    static SIFTER: RefCell<Option<Requests>> = const { RefCell::new(None) };
}

/// What is opened until [`sifted`] is RTCP of the peer that made these requests.
pub(super) fn sift(requests: Requests) {
    SIFTER.set(Some(requests));
}

/// Ends what [`sift`] began.
pub(super) fn sifted() -> Option<Requests> {
    SIFTER.take()
}

/// How many packets were opened on this thread.
pub(super) fn opened() -> u64 {
    OPENED.get()
}

fn note<T>(result: Result<T, CryptoError>, opened: &mut [u8]) -> Result<T, CryptoError> {
    if result.is_ok() {
        OPENED.set(OPENED.get().wrapping_add(1));
        SIFTER.with_borrow_mut(|requests| {
            if let Some(requests) = requests {
                requests.sift(opened);
            }
        });
    }
    result
}

fn base() -> &'static dyn SrtpProvider {
    str0m_aws_lc_rs::default_provider().srtp_provider
}

/// The provider that str0m would have, counting.
#[derive(Debug)]
pub(super) struct Counting;

impl SrtpProvider for Counting {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Self
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Self
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Self
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        base().srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        base().srtp_aes_256_ecb_round(key, input, output);
    }
}

/// A cipher, counting.
#[derive(Debug)]
struct Cipher<C: ?Sized>(Box<C>);

macro_rules! counting {
    ($factory:ident, $method:ident, $cipher:ident, $key:literal, $opened:ty,
     ($($name:ident: $type:ty),*), ($($open_name:ident: $open_type:ty),*)) => {
        impl $factory for Counting {
            fn create_cipher(&self, key: [u8; $key], encrypt: bool) -> Box<dyn $cipher> {
                Box::new(Cipher(base().$method().create_cipher(key, encrypt)))
            }
        }

        impl $cipher for Cipher<dyn $cipher> {
            fn encrypt(
                &mut self,
                $($name: $type,)*
                output: &mut [u8],
            ) -> Result<(), CryptoError> {
                self.0.encrypt($($name,)* output)
            }

            fn decrypt(
                &mut self,
                $($open_name: $open_type,)*
                output: &mut [u8],
            ) -> Result<$opened, CryptoError> {
                let result = self.0.decrypt($($open_name,)* &mut *output);
                note(result, output)
            }
        }
    };
}

counting!(SupportedAes128CmSha1_80, aes_128_cm_sha1_80, Aes128CmSha1_80Cipher, 16, (),
    (iv: &[u8; 16], input: &[u8]), (iv: &[u8; 16], input: &[u8]));
counting!(SupportedAeadAes128Gcm, aead_aes_128_gcm, AeadAes128GcmCipher, 16, usize,
    (iv: &[u8; 12], aad: &[u8], input: &[u8]), (iv: &[u8; 12], aads: &[&[u8]], input: &[u8]));
counting!(SupportedAeadAes256Gcm, aead_aes_256_gcm, AeadAes256GcmCipher, 32, usize,
    (iv: &[u8; 12], aad: &[u8], input: &[u8]), (iv: &[u8; 12], aads: &[&[u8]], input: &[u8]));
