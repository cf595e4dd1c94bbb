//! Group call IDs: GUIDs, whose spellings all mean the same call.
//!
//! Owns: which spellings are accepted, and the canonical one.
//! Never: knows whether such a call runs.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The ID of a group call: a GUID (RFC 9562) other than nil.
///
/// Accepted, in upper, lower or mixed case, are
/// - `6ba7b810-9dad-11d1-80b4-00c04fd430c8`, the canonical form when in lower case,
/// - `6ba7b8109dad11d180b400c04fd430c8`, without hyphens,
/// - either of these in braces: `{6ba7b810-9dad-11d1-80b4-00c04fd430c8}`,
/// - either after `urn:uuid:` (RFC 9562 §4).
///
/// Nothing else is: no white space, no hyphens in other places, no braces within `urn:uuid:`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(Uuid);

/// Why a text is no group ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupIdError {
    /// Nothing was given.
    #[error("the group ID is empty; it must be a GUID")]
    Empty,
    /// White space before, after or within.
    #[error("the group ID contains white space; remove it")]
    WhiteSpace,
    /// Only one brace, or braces in the wrong place.
    #[error("the group ID has a brace without its partner")]
    Brace,
    /// A character that no GUID has.
    #[error(
        "the group ID has {character:?} at position {position}; a GUID has only hexadecimal digits and hyphens"
    )]
    Character {
        /// The character.
        character: char,
        /// Where, in characters of the given text, from 1.
        position: usize,
    },
    /// Too few or too many digits.
    #[error("the group ID has {digits} hexadecimal digits; a GUID has 32")]
    Digits {
        /// How many.
        digits: usize,
    },
    /// Hyphens in other places than after 8, 12, 16 and 20 digits.
    #[error("the group ID's hyphens are misplaced; a GUID has digits in groups of 8-4-4-4-12")]
    Hyphens,
    /// All zeros.
    #[error("the group ID is the nil GUID; make a random one (version 4)")]
    Nil,
}

/// Where hyphens stand in the hyphenated form.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

const URN: &str = "urn:uuid:";

impl GroupId {
    /// A random one (RFC 9562 §5.4).
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads any accepted spelling.
    ///
    /// # Errors
    /// See [`GroupIdError`].
    pub fn parse(text: &str) -> Result<Self, GroupIdError> {
        if text.is_empty() {
            return Err(GroupIdError::Empty);
        }
        if text.chars().any(char::is_whitespace) {
            return Err(GroupIdError::WhiteSpace);
        }
        let (body, skipped) = unwrap(text)?;
        check_characters(body, skipped)?;
        // All ASCII from here on: only digits and hyphens.
        let digits = body.bytes().filter(u8::is_ascii_hexdigit).count();
        if digits != 32 {
            return Err(GroupIdError::Digits { digits });
        }
        let hyphens = body.bytes().enumerate().filter(|(_, b)| *b == b'-').map(|(at, _)| at);
        if body.len() != digits && !hyphens.eq(HYPHENS) {
            return Err(GroupIdError::Hyphens);
        }
        let id = Uuid::try_parse(body).map_err(|_| GroupIdError::Hyphens)?;
        if id.is_nil() { Err(GroupIdError::Nil) } else { Ok(Self(id)) }
    }

    /// The GUID.
    #[must_use]
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

/// Takes off the URN prefix or the braces; also how many characters that were in front.
fn unwrap(text: &str) -> Result<(&str, usize), GroupIdError> {
    if let (Some(prefix), Some(rest)) = (text.get(..URN.len()), text.get(URN.len()..))
        && prefix.eq_ignore_ascii_case(URN)
    {
        return Ok((rest, URN.len()));
    }
    match (text.strip_prefix('{'), text.ends_with('}')) {
        (Some(rest), true) => Ok((rest.strip_suffix('}').unwrap_or(rest), 1)),
        (None, false) => Ok((text, 0)),
        _ => Err(GroupIdError::Brace),
    }
}

fn check_characters(body: &str, skipped: usize) -> Result<(), GroupIdError> {
    let wrong = |c: &char| !c.is_ascii_hexdigit() && *c != '-';
    match body.chars().enumerate().find(|(_, c)| wrong(c)) {
        Some((at, character)) => {
            Err(GroupIdError::Character { character, position: skipped + at + 1 })
        }
        None => Ok(()),
    }
}

impl FromStr for GroupId {
    type Err = GroupIdError;

    fn from_str(text: &str) -> Result<Self, GroupIdError> {
        Self::parse(text)
    }
}

impl fmt::Display for GroupId {
    /// The canonical form: lower case, with hyphens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({self})")
    }
}

#[cfg(test)]
mod tests;
