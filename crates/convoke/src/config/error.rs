//! What can be wrong with a configuration, said so that it can be mended.

use std::fmt;
use std::path::PathBuf;

/// Where a mistake stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file, perhaps on a known line.
    File(PathBuf, Option<usize>),
    /// In an environment variable.
    Variable(String),
    /// Nowhere in particular: the defaults, or the command line.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, Some(line)) => write!(f, "{}:{line}: ", path.display()),
            Self::File(path, None) => write!(f, "{}: ", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}: "),
            Self::Nowhere => Ok(()),
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{place}{message}")]
    Syntax { place: Place, message: String },
    /// A key that does not exist.
    #[error("{place}unknown key `{key}`{}", hint(*nearest, known))]
    UnknownKey { place: Place, key: String, nearest: Option<&'static str>, known: String },
    /// A key that must be given is not.
    #[error("{place}`{key}` is missing")]
    Missing { place: Place, key: String },
    /// A value of the wrong type or out of its range.
    #[error("{place}`{key}` is {found}; expected {expected}")]
    Value { place: Place, key: String, found: String, expected: String },
    /// No token key is configured.
    #[error(
        "no token key is configured, so nobody could join.\n\
         Make one:      convoke token key --algorithm hs256 --out token.key\n\
         Configure it:  [[tokens.keys]]\n\
         \x20              kid = \"main\"\n\
         \x20              algorithm = \"hs256\"\n\
         \x20              secret_file = \"token.key\"\n\
         Or, to try things out on this machine only: convoke serve --dev"
    )]
    NoKey,
    /// A key file cannot be used.
    #[error("`tokens.keys[{index}]`: {message}")]
    Key { index: usize, message: String },
    /// A TURN server cannot be told of.
    #[error("`turn.servers[{index}]`: {message}")]
    Turn { index: usize, message: String },
    /// The certificate cannot be used.
    #[error("`http.tls_certificate_file` and `tls_key_file`: {0}")]
    Tls(String),
    /// The keys do not fit together.
    #[error("`tokens.keys`: {0}")]
    KeySet(convoke_control::KeyError),
}

impl ConfigError {
    /// What is wanted does not go with what stays.
    pub(crate) fn not_merged(error: serde_json::Error) -> Self {
        Self::Syntax { place: Place::Nowhere, message: error.to_string() }
    }
}

fn hint(nearest: Option<&str>, known: &str) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => format!("; known here: {known}"),
    }
}
