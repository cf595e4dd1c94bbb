//! The offer of a WHIP or WHEP client.
//!
//! Owns: what RFC 9725 §4.5 asks of it: one audio and one video at most, bundled, RTCP multiplexed,
//! in one direction.
//! Never: keeps a direction that was not meant: `sendrecv` stands for the one that the protocol has.

use super::{is_pwd, is_ufrag};

/// Which way media goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The client sends (WHIP).
    Publish,
    /// The client receives (WHEP).
    Watch,
}

/// An offer that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOffer {
    /// With CRLF at the end of each line, and every m-line in the one direction.
    pub sdp: String,
    /// The `a=mid` of its audio.
    pub audio: Option<String>,
    /// The `a=mid` of its video.
    pub video: Option<String>,
    /// The index of the video among the m-lines, from 0.
    pub video_at: Option<usize>,
    /// The ICE user name fragment.
    pub ufrag: String,
    /// The ICE password.
    pub pwd: String,
}

/// Why an offer is refused; the text says what to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It is no SDP (RFC 8866): 400.
    #[error("{0}")]
    Malformed(String),
    /// It is SDP, but not what the protocol asks for: 422.
    #[error("{0}")]
    Unsuitable(String),
}

fn malformed<T>(text: impl Into<String>) -> Result<T, OfferError> {
    Err(OfferError::Malformed(text.into()))
}

fn unsuitable<T>(text: impl Into<String>) -> Result<T, OfferError> {
    Err(OfferError::Unsuitable(text.into()))
}

const DIRECTIONS: [&str; 4] = ["a=sendonly", "a=recvonly", "a=sendrecv", "a=inactive"];

/// What is read of one part of an SDP, the session's or an m-line's.
#[derive(Debug, Default)]
struct Part<'a> {
    lines: Vec<&'a str>,
    direction: Option<&'a str>,
    mid: Option<&'a str>,
    group: Option<&'a str>,
    ufrag: Option<&'a str>,
    pwd: Option<&'a str>,
    mux: bool,
    bundle_only: bool,
    fingerprint: bool,
}

impl<'a> Part<'a> {
    fn read(&mut self, line: &'a str) {
        if DIRECTIONS.contains(&line) {
            self.direction = Some(line);
            return;
        }
        self.lines.push(line);
        let Some(attribute) = line.strip_prefix("a=") else { return };
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "mid" => self.mid = Some(value.trim()),
            "group" => self.group = value.strip_prefix("BUNDLE").or(self.group),
            "ice-ufrag" => self.ufrag = Some(value.trim()),
            "ice-pwd" => self.pwd = Some(value.trim()),
            "rtcp-mux" => self.mux = true,
            "bundle-only" => self.bundle_only = true,
            "fingerprint" => self.fingerprint = true,
            _ => {}
        }
    }

    /// The media and the port of its m-line.
    fn media(&self) -> Option<(&'a str, &'a str)> {
        let mut words = self.lines.first()?.strip_prefix("m=")?.split(' ');
        let (media, port) = (words.next()?, words.next()?);
        // The transport and at least one format.
        words.nth(1).map(|_| (media, port))
    }
}

/// Reads an offer.
///
/// # Errors
/// See [`OfferError`].
pub fn read_offer(text: &str, way: Way) -> Result<HttpOffer, OfferError> {
    let (session, sections) = split(text)?;
    if sections.is_empty() {
        return unsuitable("the offer has no m-line; offer one audio, one video, or both");
    }
    let (mut audio, mut video) = (None, None);
    for (at, section) in sections.iter().enumerate() {
        let Some((media, port)) = section.media() else {
            return malformed(format!("m-line {at} has no port, transport and format"));
        };
        let place = match media {
            "audio" => &mut audio,
            "video" => &mut video,
            _ => {
                let text = format!("m-line {at} is of `{media}`; only audio and video are taken");
                return unsuitable(text);
            }
        };
        let mid = check_section(&session, section, at, port, way)?;
        if place.replace(mid.to_owned()).is_some() {
            let text =
                format!("two m-lines of {media}; offer one, and the other in another session");
            return unsuitable(text);
        }
    }
    let is_video = |one: &Part<'_>| one.media().is_some_and(|(media, _)| media == "video");
    let video_at = sections.iter().position(is_video);
    check_bundle(&session, &sections)?;
    let (ufrag, pwd) = credentials(&session, &sections)?;
    let sdp = write(&session, &sections, way);
    let (ufrag, pwd) = (ufrag.to_owned(), pwd.to_owned());
    Ok(HttpOffer { sdp, audio, video, video_at, ufrag, pwd })
}

/// The session's part and each m-line's.
fn split(text: &str) -> Result<(Part<'_>, Vec<Part<'_>>), OfferError> {
    let (mut session, mut sections) = (Part::default(), Vec::<Part<'_>>::new());
    for (at, line) in text.lines().map(|line| line.trim_end()).enumerate() {
        if at == 0 && line != "v=0" {
            return malformed("this is no SDP: it must begin with `v=0`");
        }
        if line.is_empty() {
            continue;
        }
        let mut chars = line.chars();
        let letter = chars.next().is_some_and(|letter| letter.is_ascii_lowercase());
        if !letter || chars.next() != Some('=') || line.chars().any(char::is_control) {
            return malformed(format!("line {} is no line of SDP (RFC 8866)", at + 1));
        }
        if line.starts_with("m=") {
            sections.push(Part::default());
        }
        sections.last_mut().unwrap_or(&mut session).read(line);
    }
    if session.lines.is_empty() {
        return malformed("the body is empty; send an SDP offer");
    }
    Ok((session, sections))
}

/// What each m-line must have; its mid.
fn check_section<'a>(
    session: &Part<'_>,
    section: &Part<'a>,
    at: usize,
    port: &str,
    way: Way,
) -> Result<&'a str, OfferError> {
    let direction = section.direction.or(session.direction).unwrap_or("a=sendrecv");
    let (wanted, never) = match way {
        Way::Publish => ("sendonly", ["a=recvonly", "a=inactive"]),
        Way::Watch => ("recvonly", ["a=sendonly", "a=inactive"]),
    };
    if never.contains(&direction) {
        let given = direction.trim_start_matches("a=");
        return unsuitable(format!("m-line {at} is `{given}`; offer `{wanted}`"));
    }
    if port == "0" && !section.bundle_only {
        return unsuitable(format!("m-line {at} has port 0; leave out what is not used"));
    }
    if !section.mux {
        return unsuitable(format!("m-line {at} has no a=rtcp-mux (RFC 5761)"));
    }
    if !section.fingerprint && !session.fingerprint {
        return unsuitable(format!("m-line {at} has no a=fingerprint (RFC 8122)"));
    }
    match section.mid {
        Some(mid) if !mid.is_empty() => Ok(mid),
        _ => unsuitable(format!("m-line {at} has no a=mid (RFC 5888)")),
    }
}

/// All m-lines are in one BUNDLE group (RFC 9143).
fn check_bundle(session: &Part<'_>, sections: &[Part<'_>]) -> Result<(), OfferError> {
    if sections.len() < 2 {
        return Ok(());
    }
    let group: Vec<&str> = session.group.unwrap_or_default().split_whitespace().collect();
    if sections.iter().all(|section| section.mid.is_some_and(|mid| group.contains(&mid))) {
        return Ok(());
    }
    unsuitable(
        "not all m-lines are in one a=group:BUNDLE; use the bundle policy max-bundle (RFC 9143)",
    )
}

/// The one pair of ICE credentials.
fn credentials<'a>(
    session: &Part<'a>,
    sections: &[Part<'a>],
) -> Result<(&'a str, &'a str), OfferError> {
    let mut found = None;
    for section in sections {
        let (ufrag, pwd) = (section.ufrag.or(session.ufrag), section.pwd.or(session.pwd));
        let Some(pair) = ufrag.zip(pwd) else {
            // It is bundled with one that has them.
            if section.bundle_only {
                continue;
            }
            return unsuitable("an m-line has no a=ice-ufrag and a=ice-pwd (RFC 8839)");
        };
        if found.is_some_and(|known| known != pair) {
            return unsuitable("m-lines have different ICE credentials; bundle them (RFC 9143)");
        }
        found = Some(pair);
    }
    match found {
        Some((ufrag, pwd)) if is_ufrag(ufrag) && is_pwd(pwd) => Ok((ufrag, pwd)),
        Some(_) => {
            unsuitable("a=ice-ufrag must have 4, a=ice-pwd 22 to 256 letters, digits, `+` or `/`")
        }
        None => unsuitable("the offer has no a=ice-ufrag and a=ice-pwd (RFC 8839)"),
    }
}

fn write(session: &Part<'_>, sections: &[Part<'_>], way: Way) -> String {
    let direction = match way {
        Way::Publish => "a=sendonly",
        Way::Watch => "a=recvonly",
    };
    let mut lines: Vec<&str> = session.lines.clone();
    for section in sections {
        lines.extend(&section.lines);
        lines.push(direction);
    }
    lines.iter().flat_map(|line| [*line, "\r\n"]).collect()
}

impl HttpOffer {
    /// The offer with new ICE credentials, as an ICE restart needs it. Candidates are left out: they
    /// were of the old ones.
    #[must_use]
    pub fn restarted(&self, ufrag: &str, pwd: &str) -> Self {
        let lines = self.sdp.lines().filter(|line| {
            !line.starts_with("a=candidate:") && !line.starts_with("a=end-of-candidates")
        });
        let mut sdp = String::with_capacity(self.sdp.len());
        for line in lines {
            match line.split_once(':') {
                Some(("a=ice-ufrag", _)) => sdp.extend(["a=ice-ufrag:", ufrag]),
                Some(("a=ice-pwd", _)) => sdp.extend(["a=ice-pwd:", pwd]),
                _ => sdp.push_str(line),
            }
            sdp.push_str("\r\n");
        }
        Self { sdp, ufrag: ufrag.to_owned(), pwd: pwd.to_owned(), ..self.clone() }
    }
}
