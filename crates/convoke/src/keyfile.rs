//! Key files: making them, and reading them with suspicion.
//!
//! Owns: the format of key files, their permissions, and which secrets are refused as samples.
//! Never: prints or logs what is in them.
//!
//! An HS256 secret is one line of base64 (RFC 4648 §4) of at least 32 bytes, as RFC 7518 §3.2
//! demands. An Ed25519 private key is PKCS #8 in PEM (RFC 5958, RFC 8410), its public key
//! `SubjectPublicKeyInfo` in PEM.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use convoke_control::Secret;

/// Secrets from documentation and tutorials, in any case, encoded or not. What is too short or has
/// too few different bytes is refused by [`convoke_control::Key`] anyway.
const SAMPLES: [&str; 10] = [
    "secret",
    "changeme",
    "password",
    "devkey",
    "your-256-bit-secret",
    "your-512-bit-secret",
    "your-secret-key",
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    "supersecretsupersecretsupersecret",
];

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} exists already and is not overwritten", .0.display())]
    Exists(PathBuf),
    #[error(
        "{}: not base64 on one line; make a secret with `convoke token key --algorithm hs256`",
        .0.display()
    )]
    NotBase64(PathBuf),
    #[error("{}: this secret is a published sample; make one of your own", .0.display())]
    Sample(PathBuf),
    #[error("{}: no {expected} in PEM", path.display())]
    NotPem { path: PathBuf, expected: &'static str },
    #[error("the system's random numbers failed")]
    Random,
}

/// Makes an HS256 secret file, readable by its owner only.
pub(crate) fn make_hs256(out: &Path) -> Result<(), KeyFileError> {
    write_new(out, &format!("{}\n", Secret::random().expose_base64()), 0o600)
}

/// Makes an Ed25519 private key file, readable by its owner only, and the public one beside it.
/// Gives the public one's path.
pub(crate) fn make_eddsa(out: &Path) -> Result<PathBuf, KeyFileError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyFileError::Random)?;
    let private: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyFileError::Random)?;
    let public: PublicKeyX509Der<'_> =
        pair.public_key().as_der().map_err(|_| KeyFileError::Random)?;
    let mut public_path = out.as_os_str().to_owned();
    public_path.push(".pub");
    let public_path = PathBuf::from(public_path);
    if public_path.exists() {
        return Err(KeyFileError::Exists(public_path));
    }
    write_new(out, &pem("PRIVATE KEY", private.as_ref()), 0o600)?;
    write_new(&public_path, &pem("PUBLIC KEY", public.as_ref()), 0o644)?;
    Ok(public_path)
}

/// Reads an HS256 secret.
pub(crate) fn read_secret(path: &Path) -> Result<Secret, KeyFileError> {
    let text = read(path)?;
    let text = text.trim();
    if is_sample(text.as_bytes()) {
        return Err(KeyFileError::Sample(path.to_owned()));
    }
    let secret = STANDARD.decode(text).map_err(|_| KeyFileError::NotBase64(path.to_owned()))?;
    if is_sample(&secret) {
        return Err(KeyFileError::Sample(path.to_owned()));
    }
    Ok(Secret::new(secret))
}

/// Reads a secret that is used as it is written, blanks around it apart.
pub(crate) fn read_text(path: &Path) -> Result<String, KeyFileError> {
    let text = read(path)?.trim().to_owned();
    if is_sample(text.as_bytes()) { Err(KeyFileError::Sample(path.to_owned())) } else { Ok(text) }
}

/// Reads a PEM file that must hold a `label` such as `PUBLIC KEY`.
pub(crate) fn read_pem(path: &Path, label: &'static str) -> Result<String, KeyFileError> {
    let text = read(path)?;
    if text.contains(&format!("-----BEGIN {label}-----")) {
        Ok(text)
    } else {
        Err(KeyFileError::NotPem { path: path.to_owned(), expected: label })
    }
}

/// Whether the file looks like PEM rather than like a secret.
pub(crate) fn is_pem(path: &Path) -> Result<bool, KeyFileError> {
    Ok(read(path)?.contains("-----BEGIN "))
}

/// Writes a file that must not exist yet.
pub(crate) fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), KeyFileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    write(&options, path, text, mode).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.to_owned()),
        _ => KeyFileError::Io { path: path.to_owned(), source },
    })
}

/// Writes a file anew, so that its mode holds from the first byte and readers never see half.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> Result<(), KeyFileError> {
    let fail = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    write(&options, &draft, text, mode).map_err(fail)?;
    std::fs::rename(&draft, path).map_err(fail)
}

fn write(options: &OpenOptions, path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = options.clone();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn read(path: &Path) -> Result<String, KeyFileError> {
    std::fs::read_to_string(path)
        .map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}

fn is_sample(secret: &[u8]) -> bool {
    SAMPLES.iter().any(|sample| secret.eq_ignore_ascii_case(sample.as_bytes()))
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..body.len()).step_by(64).map(|at| &body[at..body.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_refused_in_any_dress() {
        for sample in SAMPLES {
            assert!(is_sample(sample.as_bytes()), "{sample}");
            assert!(is_sample(sample.to_uppercase().as_bytes()), "{sample}");
        }
        assert!(!is_sample(Secret::random().expose()));
    }
}
