//! A hand that writes RTP and RTCP as one of a peer's transports, whatever its stack would say.
//! Its SRTP is another implementation than the one under test.

use std::net::SocketAddr;

use convoke_client::media::keys::ExportedKeys;
use convoke_core::Input;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_no_replay_protection, srtp_no_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

use super::World;

/// The sender's SSRC in feedback that is made here.
pub const SENDER: u32 = 0x0bad_cafe;

pub struct Forger {
    /// From where, to where.
    path: [SocketAddr; 2],
    from: Context,
    to: Context,
}

impl Forger {
    /// The transport whose keys open `sample`, a datagram that it sent.
    pub fn new(exported: &[ExportedKeys], sample: &(SocketAddr, SocketAddr, Vec<u8>)) -> Self {
        let (source, local, bytes) = sample;
        let opens = |keys: &&ExportedKeys| {
            let mut own = context(keys, keys.active);
            if rtcp(bytes) {
                own.decrypt_rtcp(bytes).is_ok()
            } else {
                own.decrypt_rtp(bytes).is_ok()
            }
        };
        let keys = exported.iter().find(opens).expect("keys for it");
        let (from, to) = (context(keys, keys.active), context(keys, !keys.active));
        Self { path: [*source, *local], from, to }
    }

    pub fn rtp(&mut self, world: &mut World, plain: &[u8]) {
        let bytes = self.from.encrypt_rtp(plain).expect("encrypts");
        self.inject(world, &bytes);
    }

    pub fn rtcp(&mut self, world: &mut World, plain: &[u8]) {
        let bytes = self.from.encrypt_rtcp(plain).expect("encrypts");
        self.inject(world, &bytes);
    }

    fn inject(&self, world: &mut World, bytes: &[u8]) {
        let [source, local] = self.path;
        world.worker.handle(world.now, Input::Datagram { source, local, bytes }, &mut world.out);
    }

    /// What the peer itself wrote.
    pub fn open_own(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.from.decrypt_rtp(bytes).ok().map(|plain| plain.to_vec())
    }

    /// What was sent to the peer.
    pub fn open(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.to.decrypt_rtp(bytes).ok().map(|plain| plain.to_vec())
    }
}

fn context(keys: &ExportedKeys, client: bool) -> Context {
    let profile = match keys.profile.as_str() {
        "AEAD_AES_128_GCM" => ProtectionProfile::AeadAes128Gcm,
        "AEAD_AES_256_GCM" => ProtectionProfile::AeadAes256Gcm,
        "AES128_CM_SHA1_80" => ProtectionProfile::Aes128CmHmacSha1_80,
        other => panic!("{other}"),
    };
    let (key, salt) = (profile.key_len(), profile.salt_len());
    let (keys, salts) = keys.material.split_at(2 * key);
    let own = usize::from(!client);
    let provider = rtc_crypto::default_provider().expect("a provider");
    Context::new(
        &keys[own * key..][..key],
        &salts[own * salt..][..salt],
        profile,
        Some(srtp_no_replay_protection()),
        Some(srtcp_no_replay_protection()),
        provider.crypto(),
    )
    .expect("a context")
}

/// RFC 5761 §4.
pub fn rtcp(bytes: &[u8]) -> bool {
    bytes.get(1).is_some_and(|second| (64..96).contains(&(second & 0x7f)))
}

/// A packet of transport-layer feedback (RFC 4585 §6.1), its information padded to whole words.
pub fn feedback(format: u8, media_ssrc: u32, information: &[u8]) -> Vec<u8> {
    about((205, format), media_ssrc, information)
}

/// A Picture Loss Indication (RFC 4585 §6.3.1).
pub fn picture_loss(media_ssrc: u32) -> Vec<u8> {
    about((206, 1), media_ssrc, &[])
}

/// A Full Intra Request (RFC 5104 §4.3.1), with its number.
pub fn full_intra(media_ssrc: u32, number: u8) -> Vec<u8> {
    let mut information = media_ssrc.to_be_bytes().to_vec();
    information.push(number);
    about((206, 4), 0, &information)
}

/// Of this payload type and format.
fn about((kind, format): (u8, u8), media_ssrc: u32, information: &[u8]) -> Vec<u8> {
    let words = information.len().div_ceil(4);
    let mut bytes = vec![0x80 | format, kind];
    bytes.extend(u16::try_from(2 + words).unwrap().to_be_bytes());
    bytes.extend(SENDER.to_be_bytes());
    bytes.extend(media_ssrc.to_be_bytes());
    bytes.extend(information);
    bytes.resize(12 + 4 * words, 0);
    bytes
}

/// A generic NACK (RFC 4585 §6.2.1) for each of the sequence numbers.
pub fn nack(media_ssrc: u32, sequences: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut information = Vec::new();
    for sequence in sequences {
        information.extend(sequence.to_be_bytes());
        information.extend([0, 0]);
    }
    feedback(1, media_ssrc, &information)
}
