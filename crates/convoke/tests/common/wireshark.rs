//! What Wireshark's tshark reads in a capture.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// The fields that are asked for, in the order of [`Row::parse`].
const FIELDS: [&str; 19] = [
    "frame.encap_type",
    "frame.time_epoch",
    "frame.packet_flags_direction",
    "frame.len",
    "frame.cap_len",
    "ip.checksum.status",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "rtp.ssrc",
    "rtp.seq",
    "rtp.p_type",
    "rtp.timestamp",
    "rtp.marker",
    "rtp.csrc.item",
    "rtp.ext.rfc5285.id",
    "rtp.payload",
    "rtp.padding",
    "_ws.malformed",
];

/// One packet as Wireshark has it.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// `WTAP_ENCAP_*` of Wireshark.
    pub link: u32,
    pub at: SystemTime,
    pub inbound: bool,
    /// As it was on the wire, and in the file.
    pub bytes: usize,
    pub kept: usize,
    pub checksum_is_good: bool,
    pub source_port: u16,
    pub destination_port: u16,
    /// With the UDP header.
    pub udp_bytes: usize,
    pub ssrc: u32,
    pub seq: u16,
    pub payload_type: u8,
    pub rtp_time: u32,
    pub marker: bool,
    pub csrc: Option<u32>,
    pub has_extensions: bool,
    pub payload: String,
}

/// All packets of a file; fails where tshark says a word of complaint, or takes one for anything but RTP.
#[track_caller]
pub fn rows(file: &Path) -> Vec<Row> {
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-r"]).arg(file);
    tshark.args(["-o", "rtp.heuristic_rtp:TRUE", "--enable-heuristic", "rtp_udp"]);
    tshark.args(["-o", "ip.check_checksum:TRUE", "-T", "fields", "-E", "occurrence=f"]);
    tshark.args(FIELDS.iter().flat_map(|field| ["-e", field]));
    let shown = tshark.output().unwrap_or_else(|error| {
        panic!("tshark: {error}; `make tshark` installs what this test needs")
    });
    let said = String::from_utf8_lossy(&shown.stderr);
    let complaints: Vec<&str> = said.lines().filter(|line| !line.contains("Running as")).collect();
    assert!(shown.status.success() && complaints.is_empty(), "{}: {complaints:?}", shown.status);
    let text = String::from_utf8(shown.stdout).expect("text");
    text.lines().map(|line| Row::parse(line).unwrap_or_else(|| panic!("no RTP: {line}"))).collect()
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let mut next = || fields.next();
        let row = Self {
            link: next()?.parse().ok()?,
            at: time(next()?)?,
            inbound: next()? == "0x00000001",
            bytes: next()?.parse().ok()?,
            kept: next()?.parse().ok()?,
            checksum_is_good: next()? == "1",
            source_port: next()?.parse().ok()?,
            destination_port: next()?.parse().ok()?,
            udp_bytes: next()?.parse().ok()?,
            ssrc: hex(next()?)?,
            seq: next()?.parse().ok()?,
            payload_type: next()?.parse().ok()?,
            rtp_time: next()?.parse().ok()?,
            marker: matches!(next()?, "1" | "True"),
            csrc: hex(next()?),
            has_extensions: !next()?.is_empty(),
            // What was cut is "<MISSING>".
            payload: next()?.trim_start_matches("<MISSING>").to_owned(),
        };
        // Of padding it says that how much there is was not captured.
        let is_padding = matches!(next()?, "1" | "True");
        (next()?.is_empty() || is_padding).then_some(row)
    }
}

/// Seconds since the epoch with nine places.
fn time(text: &str) -> Option<SystemTime> {
    let (seconds, nanoseconds) = text.split_once('.')?;
    let nanoseconds = (nanoseconds.len() == 9).then(|| nanoseconds.parse().ok())??;
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds.parse().ok()?, nanoseconds))
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}
