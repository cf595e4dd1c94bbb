//! Identifiers: opaque, cheap, and never reused within their scope.

use std::fmt;

/// One room: the unit of forwarding (RFC 7656 communication session). Chosen by the caller, unique
/// per worker; `convoke-node` puts the worker's index into the low byte. The high byte tells apart
/// the shards of a call that spans several workers, and is 0 for its first or only room; between the
/// two stands the number of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u64);

impl RoomId {
    /// The room's number among the shards of its call.
    #[must_use]
    pub fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// The id of a call's shard of this number, on the same worker.
    #[must_use]
    pub fn with_shard(self, shard: u8) -> Self {
        let mut bytes = self.0.to_be_bytes();
        bytes[0] = shard;
        Self(u64::from_be_bytes(bytes))
    }

    /// The number of the call, the same for all its shards.
    #[must_use]
    pub fn call(self) -> u64 {
        self.with_shard(0).0 >> 8
    }
}

/// One participant of one room. Chosen by the caller, never 0, unique in its room and not reused
/// while the room lives. Packets forwarded into slots carry it as CSRC (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantId(pub u32);

/// One published track; unique in its call, not reused while its room lives. The high byte is the
/// number of the shard that it is published on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TrackId(pub u32);

impl TrackId {
    /// The `number`th track of a shard; numbers count modulo 2^24.
    #[must_use]
    pub(crate) fn new(shard: u8, number: u32) -> Self {
        Self(u32::from(shard) << 24 | number & 0x00ff_ffff)
    }

    /// The number of the shard that it is published on.
    #[must_use]
    pub fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

/// The caller's number for a command; its [`crate::Event::Reply`] repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

macro_rules! display {
    ($($t:ident => $prefix:literal),*) => { $(
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:x}"), self.0)
            }
        }
    )* };
}
display!(RoomId => "r", ParticipantId => "p", TrackId => "t", RequestId => "q");

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $most:literal, new: $(#[$new:meta])+ is: $is:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            bytes: [u8; $most],
            len: u8,
        }

        impl $name {
            $(#[$new])+
            #[must_use]
            pub fn new(text: &str) -> Option<Self> {
                let raw = text.as_bytes();
                if raw.is_empty() || raw.len() > $most || !raw.iter().all($is) {
                    return None;
                }
                let mut bytes = [0; $most];
                for (to, from) in bytes.iter_mut().zip(raw) {
                    *to = *from;
                }
                Some(Self { bytes, len: u8::try_from(raw.len()).unwrap_or($most) })
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                let used = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
                std::str::from_utf8(used).unwrap_or_default()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }
    };
}

text_id! {
    /// An `a=mid` (RFC 5888 §4): 1 to 16 ASCII token characters.
    Mid, 16, new:
    /// `None` when `text` is empty, longer than 16 bytes, or not made of RFC 5888 token characters.
    is: |b: &u8| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(b)
}

text_id! {
    /// A RID (RFC 8851 §10): 1 to 8 letters, digits, hyphens and underscores. RFC 8852 §4.1 lets
    /// them be longer, and nobody's are.
    Rid, 8, new:
    /// `None` when `text` is empty, longer than 8 bytes, or has other characters.
    is: |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_'
}
