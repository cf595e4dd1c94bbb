//! SDP fragments with ICE information (RFC 8840 §9): `application/trickle-ice-sdpfrag`.
//!
//! Owns: their reading, and the one that answers an ICE restart.
//! Never: connects to a candidate: an ICE-lite server learns addresses from checks (RFC 8445 §2.5).

use super::{is_pwd, is_ufrag};

/// What a fragment says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fragment {
    /// The ICE user name fragment and password that it belongs to, if it names them.
    pub credentials: Option<(String, String)>,
    /// How many candidates it has.
    pub candidates: usize,
    /// The `a=mid`s that it names.
    pub mids: Vec<String>,
}

/// Why a fragment cannot be read; the text says what to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FragmentError(String);

fn error<T>(text: impl Into<String>) -> Result<T, FragmentError> {
    Err(FragmentError(text.into()))
}

/// Reads a fragment.
///
/// # Errors
/// When it is none, or a part that matters here is malformed.
pub fn read_fragment(text: &str) -> Result<Fragment, FragmentError> {
    let mut fragment = Fragment::default();
    let (mut ufrag, mut pwd) = (None, None);
    let mut lines = 0;
    for (at, line) in text.lines().map(|line| line.trim_end()).enumerate() {
        if line.is_empty() {
            continue;
        }
        lines += 1;
        let at = at + 1;
        if let Some(media) = line.strip_prefix("m=") {
            if media.split(' ').filter(|word| !word.is_empty()).count() < 4 {
                return error(format!(
                    "line {at}: an m-line has media, port, transport and formats"
                ));
            }
            continue;
        }
        let Some(attribute) = line.strip_prefix("a=") else {
            return error(format!(
                "line {at}: only `a=` and `m=` lines are in a fragment (RFC 8840)"
            ));
        };
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "ice-ufrag" if !is_ufrag(value) => {
                return error(format!("line {at}: a=ice-ufrag has 4 to 256 ice-chars"));
            }
            "ice-ufrag" => same(&mut ufrag, value, "a=ice-ufrag")?,
            "ice-pwd" if !is_pwd(value) => {
                return error(format!("line {at}: a=ice-pwd has 22 to 256 ice-chars"));
            }
            "ice-pwd" => same(&mut pwd, value, "a=ice-pwd")?,
            "mid" if value.is_empty() || fragment.mids.iter().any(|known| known == value) => {
                return error(format!("line {at}: a=mid is empty or occurs twice"));
            }
            "mid" => fragment.mids.push(value.to_owned()),
            "candidate" => {
                check_candidate(value)
                    .map_err(|text| FragmentError(format!("line {at}: {text}")))?;
                fragment.candidates += 1;
            }
            // What is not known is ignored (RFC 8866 §5.13).
            _ => {}
        }
    }
    if lines == 0 {
        return error("the body is empty; send an SDP fragment (RFC 8840)");
    }
    fragment.credentials = match (ufrag, pwd) {
        (Some(ufrag), Some(pwd)) => Some((ufrag.to_owned(), pwd.to_owned())),
        (None, None) => None,
        _ => return error("a=ice-ufrag and a=ice-pwd come together"),
    };
    Ok(fragment)
}

/// All m-lines are bundled: whatever is said twice is said alike.
fn same<'a>(known: &mut Option<&'a str>, value: &'a str, name: &str) -> Result<(), FragmentError> {
    if known.is_some_and(|known| known != value) {
        return error(format!("{name} occurs twice with different values"));
    }
    *known = Some(value);
    Ok(())
}

/// The fixed part of a candidate (RFC 8839 §5.1).
fn check_candidate(value: &str) -> Result<(), &'static str> {
    let mut words = value.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let (foundation, component, transport) = (next(), next(), next());
    let (priority, address, port, typ, kind) = (next(), next(), next(), next(), next());
    if !(1..=32).contains(&foundation.len()) || !foundation.bytes().all(super::is_ice_char) {
        return Err("a candidate's foundation has 1 to 32 ice-chars");
    }
    if !component.parse::<u16>().is_ok_and(|component| (1..=256).contains(&component)) {
        return Err("a candidate's component is 1 to 256");
    }
    if transport.is_empty() || address.is_empty() {
        return Err(
            "a candidate has foundation, component, transport, priority, address, port, typ",
        );
    }
    if !priority.parse::<u32>().is_ok_and(|priority| priority > 0) {
        return Err("a candidate's priority is 1 to 4294967295");
    }
    if port.parse::<u16>().is_err() {
        return Err("a candidate's port is 0 to 65535");
    }
    if typ != "typ" || kind.is_empty() {
        return Err("a candidate ends with `typ` and its kind");
    }
    Ok(())
}

/// The fragment that answers an ICE restart: what `answer`, an SDP, has of ICE. All is bundled, so
/// the first m-line stands for all (RFC 9725 §4.3.3).
#[must_use]
pub fn answer_fragment(answer: &str) -> String {
    let session = ["a=ice-lite", "a=ice-options:", "a=group:BUNDLE"];
    let section = ["a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-candidates"];
    let mut out = String::new();
    let mut sections = 0;
    let mut push = |line: &str| out.extend([line, "\r\n"]);
    for line in answer.lines() {
        if line.starts_with("m=") {
            sections += 1;
        }
        let wanted = match sections {
            0 => session.iter().any(|one| line.starts_with(one)),
            1 => line.starts_with("m=") || section.iter().any(|one| line.starts_with(one)),
            _ => false,
        };
        if wanted {
            push(line);
        }
    }
    out
}
