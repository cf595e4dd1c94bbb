//! SRTP keys of this thread's transports, for tests that speak SRTP and SRTCP themselves.
//!
//! Owns: what was exported since recording began.
//! Never: exists without the cargo feature `export-keys`, records unless told to.

use std::cell::RefCell;

use str0m::crypto::dtls::DtlsOutput;

/// What DTLS exported for one transport (RFC 5764 §4.2).
#[derive(Clone)]
pub struct ExportedKeys {
    /// Both sides' master keys, then both sides' master salts, the DTLS client's first.
    pub material: Vec<u8>,
    /// The protection profile, by its name in the DTLS stack.
    pub profile: String,
    /// Whether this side was the DTLS client.
    pub active: bool,
}

impl std::fmt::Debug for ExportedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportedKeys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

thread_local! {
    static EXPORTED: RefCell<Option<Vec<ExportedKeys>>> = const { RefCell::new(None) };
}

/// Begins to record on this thread, anew.
pub fn record() {
    EXPORTED.set(Some(Vec::new()));
}

/// What was recorded on this thread since the last call.
#[must_use]
pub fn take() -> Vec<ExportedKeys> {
    EXPORTED.with_borrow_mut(|exported| exported.as_mut().map(std::mem::take)).unwrap_or_default()
}

pub(super) fn exported(output: &DtlsOutput<'_>, active: bool) {
    let DtlsOutput::KeyingMaterial(material, profile) = output else { return };
    EXPORTED.with_borrow_mut(|exported| {
        if let Some(exported) = exported {
            let profile = format!("{profile:?}");
            exported.push(ExportedKeys { material: material.to_vec(), profile, active });
        }
    });
}
