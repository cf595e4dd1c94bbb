//! Keys to sign the callers' tokens with.
//!
//! Owns: reading `dev.json` and key files.
//! Never: prints or logs what is in them.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use convoke_control::{Minter, Secret};
use serde::Deserialize;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", file.display())]
pub struct KeyError {
    file: PathBuf,
    what: String,
}

/// What a development server tells of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DevFile {
    /// Where it listens.
    pub url: String,
    /// Where its metrics are.
    pub metrics_url: Option<String>,
    token_key: TokenKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenKey {
    kid: String,
    secret_base64: String,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

fn wrong(file: &Path) -> impl Fn(String) -> KeyError {
    move |what| KeyError { file: file.to_owned(), what }
}

fn hs256(kid: &str, base64: &str) -> Result<Minter, String> {
    let secret = STANDARD.decode(base64.trim()).map_err(|_| "the secret is not base64")?;
    Minter::hs256(kid, &Secret::new(secret)).map_err(|error| error.to_string())
}

impl DevFile {
    /// Reads `dev.json`.
    ///
    /// # Errors
    /// When it is no such file.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let wrong = wrong(file);
        let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| wrong(format!("no dev.json: {error}")))
    }

    /// Signs with its key.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn minter(&self) -> Result<Minter, KeyError> {
        let key = &self.token_key;
        hs256(&key.kid, &key.secret_base64).map_err(wrong(Path::new("dev.json")))
    }
}

/// Signs with what a file holds: `dev.json`, or a key as made by `convoke token key`, which the
/// server knows as `kid`.
///
/// # Errors
/// When it is neither.
pub fn minter(file: &Path, kid: &str) -> Result<Minter, KeyError> {
    let wrong = wrong(file);
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    if text.trim_start().starts_with('{') {
        return DevFile::read(file)?.minter();
    }
    if text.contains("-----BEGIN PRIVATE KEY-----") {
        return Minter::eddsa_pem(kid, &text).map_err(|error| wrong(error.to_string()));
    }
    hs256(kid, &text).map_err(wrong)
}
