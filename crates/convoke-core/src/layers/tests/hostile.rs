//! Whatever bytes come: no parser panics, and what is understood can be written again.

use proptest::prelude::*;

use super::{capture, codec, h264_codec};
use crate::layers::descriptor::{Descriptor, Structures, Understood};
use crate::layers::{Layer, Packet, Reader, Selector, Vp8, Vp8Edit, Vp9, Vp9Edit};
use crate::transport::Codec;

fn codecs() -> [Codec; 5] {
    let (vp9, av1) = (Codec::Vp9 { profile: 0 }, Codec::Av1 { profile: 0 });
    [Codec::Opus, Codec::Vp8, vp9, h264_codec(), av1]
}

/// Real descriptors with a few bytes changed: they get further into the parsers than noise.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let real: Vec<Vec<u8>> = ["av1-l3t3-dd", "vp9-l3t3-key-dd", "vp8-l1t3-dd"]
        .into_iter()
        .flat_map(|name| capture(name).into_iter().filter_map(|packet| packet.descriptor).take(60))
        .collect();
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (prop::sample::select(real), edits, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut bytes, edits, cut, whole)| {
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if !whole {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn arbitrary_packets_cost_only_themselves(
        packets in prop::collection::vec(
            (
                prop::collection::vec(any::<u8>(), 0..80),
                prop_oneof![
                    Just(None),
                    prop::collection::vec(any::<u8>(), 0..90).prop_map(Some),
                    damaged().prop_map(Some),
                ],
                any::<(u16, u32, bool)>(),
            ),
            1..30,
        ),
        encoding in prop::option::of(0..3u8),
        wishes in any::<[u8; 4]>(),
    ) {
        for codec in codecs() {
            let mut reader = Reader::new(codec, encoding);
            let mut selector = Selector::default();
            for (at, (payload, descriptor, (seq, time, marker))) in packets.iter().enumerate() {
                let wish = wishes[at % 4];
                let layer = Layer { spatial: wish & 3, temporal: wish >> 2 & 7 };
                selector.want((wish < 250).then_some(layer));
                let packet = Packet {
                    seq: u64::from(*seq),
                    time: *time,
                    marker: *marker,
                    payload,
                    descriptor: descriptor.as_deref(),
                };
                if let Some(info) = reader.read(packet) {
                    selector.choose(&info);
                    selector.waits_for_keyframe();
                }
            }
        }
    }

    #[test]
    fn arbitrary_payloads_keep_their_media(payload in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Some(vp8) = Vp8::parse(&payload) {
            prop_assert!(vp8.len < payload.len());
            let edit = Vp8Edit { picture_id: Some(1), tl0: Some(2), key_idx: Some(3) };
            if let Some(prefix) = vp8.rewrite(&payload, edit) {
                let sent = prefix.join(&payload);
                let again = Vp8::parse(&sent).unwrap();
                prop_assert_eq!(&sent[again.len..], &payload[vp8.len..]);
                prop_assert_eq!(again.temporal, vp8.temporal);
            }
        }
        if let Some(vp9) = Vp9::parse(&payload) {
            prop_assert!(vp9.len < payload.len());
            let edit = Vp9Edit { picture_id: Some(1), tl0: Some(2) };
            if let Some(prefix) = vp9.rewrite(&payload, edit) {
                let sent = prefix.join(&payload);
                let again = Vp9::parse(&sent).unwrap();
                prop_assert_eq!(&sent[again.len..], &payload[vp9.len..]);
                prop_assert_eq!(again.structure, vp9.structure);
            }
        }
    }

    /// Written and read again, a descriptor says the same.
    #[test]
    fn damaged_descriptors_survive_a_round_trip(bytes in prop::collection::vec(damaged(), 1..5)) {
        let mut memory = Structures::default();
        for bytes in bytes {
            let Some(Understood::Fully { descriptor, structure, .. }) =
                Descriptor::read(&bytes, &mut memory)
            else {
                continue;
            };
            let written = descriptor.to_bytes(&structure);
            prop_assert!(written.len() <= bytes.len());
            let again = Descriptor::read(&written, &mut memory.clone());
            let Some(Understood::Fully { descriptor: again, .. }) = again else {
                return Err(TestCaseError::fail("what was written is not read"));
            };
            prop_assert_eq!(again, descriptor);
        }
    }
}

/// Found by the simulator, seed 918: a ciphertext that looks like a scalability structure made a small
/// encoding seem the largest, so that encodings were numbered anew with each of its keyframes.
#[test]
fn encrypted_payloads_say_nothing_of_sizes() {
    // V, then one spatial layer with a size of 60,000 by 60,000.
    let lies = [0x0a, 0x10, 0xea, 0x60, 0xea, 0x60, 0, 0];
    let name = "vp9-simulcast-dd";
    for (encrypted, believed) in [(true, false), (false, true)] {
        let mut reader = Reader::new(codec(name), None).encrypted(encrypted);
        let mut sizes = Vec::new();
        for packet in capture(name).iter().filter(|packet| packet.encoding == Some(0)) {
            let packet = Packet { payload: &lies, ..packet.packet() };
            reader.read(packet).unwrap();
            sizes.push(reader.size(0));
        }
        assert_eq!(sizes.contains(&Some((60_000, 60_000))), believed, "encrypted: {encrypted}");
    }
}
