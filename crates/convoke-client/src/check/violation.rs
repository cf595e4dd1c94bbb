//! What can be wrong with a slot's stream.

/// A broken law. Sequence numbers are extended ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// One sequence number carried two payloads.
    #[error("sequence {sequence} carried two different payloads")]
    SequenceReused {
        /// The number.
        sequence: u64,
    },
    /// Timestamps went back.
    #[error("timestamp went back by {ticks} ticks between sequences {before} and {after}")]
    TimestampBack {
        /// The earlier packet.
        before: u64,
        /// The later packet.
        after: u64,
        /// By how much.
        ticks: u32,
    },
    /// Two adjacent audio packets are less than one packet apart.
    #[error("audio stepped by {ticks} ticks only between sequences {before} and {after}")]
    AudioStep {
        /// The earlier packet.
        before: u64,
        /// The later packet.
        after: u64,
        /// The step.
        ticks: u32,
    },
    /// The first packet of a new source does not start a keyframe.
    #[error("sequence {sequence} is of a new source (csrc {csrc}) but starts no keyframe")]
    NoKeyframeAtSwitch {
        /// The packet.
        sequence: u64,
        /// The new source.
        csrc: u32,
    },
    /// The packet names no contributing source.
    #[error("sequence {sequence} carries no CSRC")]
    NoCsrc {
        /// The packet.
        sequence: u64,
    },
    /// The CSRC is not the publisher of the payload.
    #[error("sequence {sequence} says csrc {csrc} but was made by {publisher}")]
    WrongCsrc {
        /// The packet.
        sequence: u64,
        /// What it says.
        csrc: u32,
        /// Whose it is.
        publisher: u32,
    },
    /// The slot was not assigned to this source.
    #[error("sequence {sequence} is of csrc {csrc}, to whom the slot is not assigned")]
    NotAssigned {
        /// The packet.
        sequence: u64,
        /// Whose it is.
        csrc: u32,
    },
    /// Packets of one source are not in the source's order.
    #[error("sequence {sequence} is older at its source than the packet before it")]
    Reordered {
        /// The packet.
        sequence: u64,
    },
    /// Source packets are missing, yet the sequence numbers show no gap and no keyframe follows.
    #[error("source packets are missing before sequence {sequence} without a gap")]
    HiddenLoss {
        /// The packet.
        sequence: u64,
    },
    /// A frame came whole and nothing before it was missing, yet what it refers to was left out.
    #[error("sequence {sequence} ends a frame that refers to frames which were left out")]
    Undecodable {
        /// The packet.
        sequence: u64,
    },
    /// The last packet of a picture has no marker, or another one has.
    #[error("sequence {sequence} has marker {marker}")]
    Marker {
        /// The packet.
        sequence: u64,
        /// What it has.
        marker: bool,
    },
    /// Packets of one picture differ in their timestamps.
    #[error("sequence {sequence} has another timestamp than its picture")]
    PictureTorn {
        /// The packet.
        sequence: u64,
    },
    /// A number of the payload descriptor or dependency descriptor does not go on from the frame
    /// before.
    #[error("{what} stepped from {from} to {to} at sequence {sequence}")]
    PictureIds {
        /// The packet.
        sequence: u64,
        /// `PictureID`, `TL0PICIDX` or `frame number`.
        what: &'static str,
        /// The value before.
        from: u16,
        /// The value now.
        to: u16,
    },
    /// The payload is no whole synthetic packet.
    #[error("sequence {sequence} carries no valid stamp")]
    Damaged {
        /// The packet.
        sequence: u64,
    },
    /// An (SSRC, sequence number) pair left the server twice: two packets under one SRTP index.
    #[error("SSRC {ssrc:#x} sent sequence {sequence} twice")]
    WireReused {
        /// The SSRC.
        ssrc: u32,
        /// The number.
        sequence: u64,
    },
    /// A stream began at 2^15 or above: a lost first packet may break the receiver's rollover count.
    #[error("SSRC {ssrc:#x} began at sequence {sequence}")]
    HighStart {
        /// The SSRC.
        ssrc: u32,
        /// The number.
        sequence: u16,
    },
}
