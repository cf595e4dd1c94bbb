//! From files and the environment to a [`RawConfig`].
//!
//! Owns: the order (defaults, then the file, then the environment), and finding the place of a
//! mistake. Never: judges values; their types and [`super::Config`] do.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::{Error, Kind};
use figment::providers::{Env, Format, Serialized, Toml};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::raw::RawConfig;

/// The prefix of the environment variables that override keys.
const ENV_PREFIX: &str = "CONVOKE__";

/// Where a configuration comes from.
#[derive(Debug, Default)]
pub(crate) struct Source {
    file: Option<PathBuf>,
    text: String,
    environment: bool,
}

impl Source {
    /// `file`, if there is one, and the environment over it.
    pub(crate) fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?,
            None => String::new(),
        };
        Ok(Self { file: file.map(Path::to_owned), text, environment: true })
    }

    /// This text alone.
    #[cfg(test)]
    pub(crate) fn text(text: &str) -> Self {
        Self { file: Some("test.toml".into()), text: text.to_owned(), environment: false }
    }

    /// The directory at which relative file names start.
    pub(crate) fn directory(&self) -> &Path {
        self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// The defaults, overridden by all that is given.
    pub(crate) fn parse(&self) -> Result<RawConfig, ConfigError> {
        DeTable::parse(&self.text).map_err(|error| ConfigError::Syntax {
            place: self.in_file(error.span().map(|span| span.start)),
            message: error.message().to_owned(),
        })?;
        let mut figment = Figment::from(Serialized::defaults(RawConfig::default()))
            .merge(Toml::string(&self.text));
        if self.environment {
            figment = figment.merge(Env::prefixed(ENV_PREFIX).split("__"));
        }
        figment.extract().map_err(|error| self.explain(error))
    }

    /// Where the value of `key` (such as `media.port`) was given.
    pub(crate) fn place(&self, key: &str) -> Place {
        let variable = variable(key);
        if self.environment && std::env::var_os(&variable).is_some() {
            return Place::Variable(variable);
        }
        let Ok(tree) = DeTable::parse(&self.text) else {
            return self.in_file(None);
        };
        let path: Vec<&str> = key.split('.').collect();
        self.in_file(offset_of(tree.get_ref(), &path))
    }

    fn in_file(&self, offset: Option<usize>) -> Place {
        match &self.file {
            Some(file) => Place::File(file.clone(), offset.map(|offset| self.line_of(offset))),
            None => Place::Nowhere,
        }
    }

    fn line_of(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    fn explain(&self, error: Error) -> ConfigError {
        let mut path = error.path;
        if let Kind::UnknownField(name, _) = &error.kind
            && path.last() != Some(name)
        {
            path.push(name.clone());
        }
        let key = path.join(".");
        let place = self.place(&key);
        match error.kind {
            Kind::UnknownField(name, known) => ConfigError::UnknownKey {
                place,
                key,
                nearest: nearest(&name, known),
                known: known.join(", "),
            },
            Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
                let expected = in_words(expected);
                ConfigError::Value { place, key, found: found.to_string(), expected }
            }
            Kind::UnknownVariant(found, expected) => ConfigError::Value {
                place,
                key,
                found: format!("\"{found}\""),
                expected: format!("one of \"{}\"", expected.join("\", \"")),
            },
            Kind::MissingField(name) => {
                path.push(name.into_owned());
                ConfigError::Missing { place, key: path.join(".") }
            }
            kind => ConfigError::Syntax { place, message: format!("`{key}`: {kind}") },
        }
    }
}

/// Rust's names of number types mean nothing to an operator.
fn in_words(expected: String) -> String {
    match expected.as_str() {
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" | "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        _ => expected,
    }
}

fn variable(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// The known key that the unknown one was probably meant to be.
fn nearest(name: &str, known: &'static [&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 2)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Where the key at the end of `path` (table keys and array indices) stands, or the nearest above it.
fn offset_of(tree: &DeTable<'_>, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = tree.iter().find(|(key, _)| key.get_ref() == first)?;
    offset_in(value, rest).or(Some(key.span().start))
}

fn offset_in(value: &Spanned<DeValue<'_>>, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    if let Some(table) = value.get_ref().as_table() {
        return offset_of(table, path);
    }
    let item = value.get_ref().as_array()?.get(first.parse::<usize>().ok()?)?;
    offset_in(item, rest).or(Some(item.span().start))
}
