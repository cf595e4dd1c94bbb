//! Data messages on the data channels of a transport.
//!
//! Owns: the frames (`PROTOCOL.md` §17.2), and which channels are open.
//! Never: falls back to signalling; [`crate::Call`] does.

use std::time::Instant;

use convoke_protocol::Reliability;
use str0m::channel::{ChannelConfig, ChannelData, ChannelId, Reliability as StrReliability};

use super::MediaPeer;
use super::transport::{Transport, Up};
use super::types::{DataMessage, MediaError, MediaEvent, ReceivedData};

const VERSION: u8 = 1;
/// The wire has one byte for their number.
const RECIPIENTS_MAX: usize = 255;
/// The longest topic, in bytes.
const TOPIC_BYTES_MAX: usize = 64;
/// What the media stack may buffer for all channels together.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// A channel of ours, from its creation to its end.
#[derive(Debug)]
pub(super) struct Channel {
    id: ChannelId,
    reliability: Reliability,
    open: bool,
}

/// The properties that the protocol asks for.
pub(super) fn config(label: &str, reliability: Reliability) -> ChannelConfig {
    let label = label.to_owned();
    match reliability {
        Reliability::Durable => ChannelConfig { label, ..ChannelConfig::default() },
        Reliability::Lossy => ChannelConfig {
            label,
            ordered: false,
            reliability: StrReliability::MaxRetransmits { retransmits: 0 },
            ..ChannelConfig::default()
        },
    }
}

pub(super) fn label(reliability: Reliability) -> &'static str {
    match reliability {
        Reliability::Durable => "durable",
        Reliability::Lossy => "lossy",
    }
}

impl MediaPeer {
    /// Sends a data message. It leaves with the next [`super::Input::Timeout`], which is due at once.
    ///
    /// # Errors
    /// When there is no open channel of its kind, too much waits there already, or the message is
    /// too large for a frame.
    pub fn send_data(&mut self, now: Instant, message: &DataMessage) -> Result<(), MediaError> {
        let frame = write(message)?;
        if !self.data_open(message.reliability) {
            return Err(MediaError::DataNotOpen(message.reliability));
        }
        if message.to.as_ref().is_some_and(Vec::is_empty) {
            // On the wire that would be everyone.
            return Ok(());
        }
        self.send_data_frame(now, message.reliability, &frame)
    }

    /// Sends bytes as they are on a data channel: for trying servers.
    ///
    /// # Errors
    /// As [`Self::send_data`].
    pub fn send_data_frame(
        &mut self,
        now: Instant,
        reliability: Reliability,
        frame: &[u8],
    ) -> Result<(), MediaError> {
        let transport = self.data_transport().ok_or(MediaError::DataNotOpen(reliability))?;
        transport.write_data(now, reliability, frame)
    }

    /// Whether a data channel of this kind is open.
    #[must_use]
    pub fn data_open(&self, reliability: Reliability) -> bool {
        let transport = self.send.as_ref().or(self.receive.as_ref());
        let open = |channel: &Channel| channel.open && channel.reliability == reliability;
        transport.is_some_and(|transport| transport.channels.iter().any(open))
    }

    /// Opens a further data channel of this kind, also after the first was closed.
    ///
    /// # Errors
    /// When the peer was made without [`super::MediaConfig::data_channel`], or is closed.
    pub fn open_data(&mut self, now: Instant, reliability: Reliability) -> Result<(), MediaError> {
        self.open_data_as(now, label(reliability), reliability)
    }

    /// As [`Self::open_data`], with a label of the caller's: for trying servers.
    ///
    /// # Errors
    /// As [`Self::open_data`].
    pub fn open_data_as(
        &mut self,
        now: Instant,
        label: &str,
        reliability: Reliability,
    ) -> Result<(), MediaError> {
        let transport = self.data_transport().filter(|transport| transport.has_channels);
        let transport = transport.ok_or(MediaError::DataNotOpen(reliability))?;
        let id = transport.rtc.direct_api().create_data_channel(config(label, reliability));
        transport.channels.push(Channel { id, reliability, open: false });
        transport.deadline = Some(now);
        Ok(())
    }

    /// Closes the data channels of this kind. What was sent on them before is still delivered.
    pub fn close_data(&mut self, now: Instant, reliability: Reliability) {
        let Some(transport) = self.data_transport() else { return };
        for channel in &mut transport.channels {
            if channel.reliability == reliability {
                channel.open = false;
                transport.rtc.direct_api().close_data_channel(channel.id);
            }
        }
        transport.deadline = Some(now);
    }

    /// Bytes that wait in the open channels of this kind, or are not acknowledged yet.
    pub fn data_buffered(&mut self, reliability: Reliability) -> usize {
        let Some(transport) = self.data_transport() else { return 0 };
        let mine = transport.channels.iter().filter(|c| c.reliability == reliability);
        let ids: Vec<ChannelId> = mine.map(|channel| channel.id).collect();
        let held = ids.into_iter().filter_map(|id| {
            transport.rtc.channel(id).map(|mut channel| channel.buffered_amount())
        });
        held.sum()
    }

    fn data_transport(&mut self) -> Option<&mut Transport> {
        self.send.as_mut().or(self.receive.as_mut())
    }
}

impl Transport {
    /// Remembers the channels of the first offer.
    pub(super) fn offered(ids: &[(ChannelId, Reliability)]) -> Vec<Channel> {
        let channel = |(id, reliability): &(ChannelId, Reliability)| Channel {
            id: *id,
            reliability: *reliability,
            open: false,
        };
        ids.iter().map(channel).collect()
    }

    fn write_data(
        &mut self,
        now: Instant,
        reliability: Reliability,
        frame: &[u8],
    ) -> Result<(), MediaError> {
        let newest = self.channels.iter().rev();
        let newest = newest.filter(|c| c.open && c.reliability == reliability).map(|c| c.id).next();
        let channel = newest.filter(|_| !self.closed).and_then(|id| self.rtc.channel(id));
        let mut channel = channel.ok_or(MediaError::DataNotOpen(reliability))?;
        match channel.write(true, frame) {
            Ok(true) => {
                self.deadline = Some(now);
                Ok(())
            }
            Ok(false) => Err(MediaError::DataFull(reliability)),
            Err(error) => Err(MediaError::Stack(error.to_string())),
        }
    }

    pub(super) fn channel_open(&mut self, id: ChannelId) -> Option<Up> {
        let channel = self.channels.iter_mut().find(|channel| channel.id == id)?;
        channel.open = true;
        let reliability = channel.reliability;
        Some(Up::Event(MediaEvent::DataChannel { reliability, open: true }))
    }

    pub(super) fn channel_close(&mut self, id: ChannelId) -> Option<Up> {
        let at = self.channels.iter().position(|channel| channel.id == id)?;
        let reliability = self.channels.remove(at).reliability;
        Some(Up::Event(MediaEvent::DataChannel { reliability, open: false }))
    }

    pub(super) fn channel_data(&self, data: &ChannelData) -> Option<Up> {
        // What comes after closing is out of order with what comes by other ways.
        let channel = self.channels.iter().find(|channel| channel.id == data.id && channel.open)?;
        let received = read(channel.reliability, &data.data).filter(|_| data.binary)?;
        Some(Up::Event(MediaEvent::Data(received)))
    }
}

/// A frame to the server.
fn write(message: &DataMessage) -> Result<Vec<u8>, MediaError> {
    let DataMessage { to, topic, payload, .. } = message;
    let to = to.as_deref().unwrap_or_default();
    let fits = to.len() <= RECIPIENTS_MAX && topic.len() <= TOPIC_BYTES_MAX;
    let (Ok(count), Ok(length), true) = (u8::try_from(to.len()), u8::try_from(topic.len()), fits)
    else {
        return Err(MediaError::DataInvalid);
    };
    let mut frame = Vec::with_capacity(3 + 4 * to.len() + topic.len() + payload.len());
    frame.extend([VERSION, count]);
    for csrc in to {
        frame.extend(csrc.to_be_bytes());
    }
    frame.push(length);
    frame.extend(topic.as_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// A frame from the server; `None` when it is none.
fn read(reliability: Reliability, bytes: &[u8]) -> Option<ReceivedData> {
    let (header, rest) = bytes.split_first_chunk::<6>()?;
    let [version, a, b, c, d, length] = *header;
    if version != VERSION {
        return None;
    }
    let (topic, payload) = rest.split_at_checked(usize::from(length))?;
    Some(ReceivedData {
        from: u32::from_be_bytes([a, b, c, d]),
        reliability,
        topic: std::str::from_utf8(topic).ok()?.into(),
        payload: payload.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_specification() {
        let message = DataMessage {
            to: Some(vec![0x7f3a_01c2]),
            reliability: Reliability::Durable,
            topic: "chat".into(),
            payload: b"hello".as_slice().into(),
        };
        assert_eq!(write(&message).unwrap(), b"\x01\x01\x7f\x3a\x01\xc2\x04chathello");
        let read = read(Reliability::Lossy, b"\x01\x7f\x3a\x01\xc2\x04chathello").unwrap();
        assert_eq!((read.from, &*read.topic, &*read.payload), (0x7f3a_01c2, "chat", &b"hello"[..]));
    }

    #[test]
    fn what_fits_into_no_frame_is_refused() {
        let message = |to: usize, topic: usize| DataMessage {
            to: Some(vec![1; to]),
            reliability: Reliability::Durable,
            topic: "t".repeat(topic).into(),
            payload: [].into(),
        };
        assert!(write(&message(255, 64)).is_ok());
        assert!(matches!(write(&message(256, 0)), Err(MediaError::DataInvalid)));
        assert!(matches!(write(&message(0, 65)), Err(MediaError::DataInvalid)));
        for bad in [
            &b""[..],
            b"\x01\0\0\0\0",
            b"\x02\0\0\0\0\0",
            b"\x01\0\0\0\0\x01",
            b"\x01\0\0\0\0\x01\xff",
        ] {
            assert!(read(Reliability::Durable, bad).is_none(), "{bad:?}");
        }
    }
}
