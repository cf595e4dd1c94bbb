//! Packets in, summaries out.
//!
//! Owns: the memory of one encoding that reading needs: dependency structures, the number of VP9's
//! spatial layers, where the present picture began.
//! Never: holds packets back.

use std::sync::Arc;

use super::av1::Av1;
use super::descriptor::{Descriptor, Indication, Structures, Understood};
use super::frame::{FrameInfo, Keyframe, Payload, Targets, UpSwitch};
use super::h264::H264;
use super::{Layer, Vp8, Vp9};
use crate::transport::Codec;

/// Spatial layers of one encoding whose sizes are remembered.
const SPATIAL_MAX: usize = 4;

/// One packet of an encoding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    /// Extended sequence number.
    pub(crate) seq: u64,
    /// RTP timestamp.
    pub(crate) time: u32,
    pub(crate) marker: bool,
    pub(crate) payload: &'a [u8],
    /// The dependency descriptor's bytes, if there is one.
    pub(crate) descriptor: Option<&'a [u8]>,
}

/// Reads the packets of one encoding.
#[derive(Debug)]
pub(crate) struct Reader {
    codec: Codec,
    encoding: Option<u8>,
    structures: Structures,
    /// VP9: N_S of the latest scalability structure.
    top_spatial: Option<u8>,
    /// The payloads are encrypted end to end.
    encrypted: bool,
    /// What each spatial layer's pictures measure, as far as it was said.
    sizes: [Option<(u32, u32)>; SPATIAL_MAX],
    latest: Option<Latest>,
}

/// The packet with the highest sequence number so far.
#[derive(Debug, Clone, Copy)]
struct Latest {
    seq: u64,
    time: u32,
    layer: Layer,
    /// The first frame number seen of its picture.
    first_frame: Option<u16>,
}

impl Reader {
    /// `encoding` is the place of a simulcast encoding among its track's, lowest first; `None` for a
    /// track with one encoding.
    pub(crate) fn new(codec: Codec, encoding: Option<u8>) -> Self {
        Self {
            codec,
            encoding,
            structures: Structures::default(),
            top_spatial: None,
            encrypted: false,
            sizes: [None; SPATIAL_MAX],
            latest: None,
        }
    }

    /// The payloads are encrypted end to end: where a packet has a dependency descriptor, nothing
    /// else is asked what it is.
    pub(crate) fn encrypted(mut self, encrypted: bool) -> Self {
        self.encrypted = encrypted;
        self
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// The encoding's place among its track's changed.
    pub(crate) fn set_encoding(&mut self, encoding: Option<u8>) {
        self.encoding = encoding;
    }

    /// Width and height of a spatial layer's pictures, as the encoding itself counts it.
    pub(crate) fn size(&self, spatial: u8) -> Option<(u32, u32)> {
        self.sizes.get(usize::from(spatial)).copied().flatten()
    }

    fn learn_sizes(&mut self, sizes: &[(u32, u32)]) {
        if !sizes.is_empty() {
            for (at, size) in self.sizes.iter_mut().enumerate() {
                *size = sizes.get(at).copied();
            }
        }
    }

    /// `None` for a packet that says nothing that can be understood. Where the dependency descriptor
    /// cannot be understood (yet), the payload is asked.
    pub(crate) fn read(&mut self, packet: Packet<'_>) -> Option<FrameInfo> {
        // What is encrypted may look like anything.
        let sealed = self.encrypted && packet.descriptor.is_some();
        let payload = if sealed { None } else { self.read_payload(packet) };
        let described = packet
            .descriptor
            .and_then(|bytes| Descriptor::read(bytes, &mut self.structures))
            .and_then(|understood| self.describe(packet, understood));
        if sealed && described.is_none() {
            return None;
        }
        if let Some(Targets { descriptor, .. }) =
            described.as_ref().and_then(|d| d.targets.as_ref())
            && let Some(structure) = &descriptor.attached
        {
            let size = |&(w, h): &(u16, u16)| (u32::from(w) + 1, u32::from(h) + 1);
            let sizes: Vec<(u32, u32)> = structure.resolutions.iter().map(size).collect();
            self.learn_sizes(&sizes);
        }
        let mut info = match (described, payload) {
            (Some(described), Some(payload)) if !self.encrypted => FrameInfo {
                picture_id: payload.picture_id,
                tl0: payload.tl0,
                payload: payload.payload,
                ..described
            },
            (described, payload) => described.or(payload)?,
        };
        info.starts_picture = info.starts_frame
            && match self.latest {
                _ if info.is_late => info.layer.spatial == 0,
                Some(latest) => latest.time != packet.time,
                None => true,
            };
        info.layer = info.of_track(info.layer);
        self.remember(&info);
        Some(info)
    }

    fn remember(&mut self, info: &FrameInfo) {
        let same_picture = |latest: &Latest| latest.time == info.time;
        if info.is_late {
            return;
        }
        let first_frame = self.latest.filter(same_picture).and_then(|latest| latest.first_frame);
        self.latest = Some(Latest {
            seq: info.seq,
            time: info.time,
            layer: info.layer,
            first_frame: first_frame.or(info.frame_number),
        });
    }

    /// What every packet has, to be filled in.
    fn blank(&self, packet: Packet<'_>) -> FrameInfo {
        FrameInfo {
            seq: packet.seq,
            time: packet.time,
            is_late: self.latest.is_some_and(|latest| packet.seq < latest.seq),
            encoding: self.encoding,
            layer: Layer::default(),
            starts_frame: false,
            ends_frame: packet.marker,
            starts_picture: false,
            ends_picture: packet.marker,
            keyframe: Keyframe::No,
            up_switch: UpSwitch::No,
            discardable: false,
            inter_layer: false,
            used_by_upper: true,
            top_spatial: None,
            picture_id: None,
            tl0: None,
            frame_number: None,
            targets: None,
            payload: Payload::Plain,
        }
    }

    fn read_payload(&mut self, packet: Packet<'_>) -> Option<FrameInfo> {
        let blank = self.blank(packet);
        match self.codec {
            Codec::Opus | Codec::OpusRed => None,
            Codec::Vp8 => {
                let vp8 = Vp8::parse(packet.payload)?;
                if let Some((width, height)) = vp8.size.filter(|_| !self.encrypted) {
                    self.learn_sizes(&[(width.into(), height.into())]);
                }
                Some(from_vp8(vp8, blank))
            }
            Codec::Vp9 { .. } => {
                let vp9 = Vp9::parse(packet.payload)?;
                if let Some(structure) = vp9.structure.as_ref().filter(|_| !blank.is_late) {
                    self.top_spatial = Some(structure.spatial_layers - 1);
                    let size = |&(w, h): &(u16, u16)| (u32::from(w), u32::from(h));
                    let sizes: Vec<(u32, u32)> = structure.resolutions.iter().map(size).collect();
                    self.learn_sizes(&sizes);
                }
                Some(from_vp9(vp9, self.top_spatial, blank))
            }
            Codec::H264 { .. } => {
                let h264 = H264::parse(self.codec, packet.payload)?;
                let same_picture = self.latest.is_some_and(|latest| latest.time == packet.time);
                let goes_on = same_picture && !blank.is_late;
                Some(FrameInfo {
                    // A slice may follow parameter sets: only the timestamp tells the first packet.
                    starts_frame: h264.starts_frame && !goes_on,
                    keyframe: keyframe_if(h264.keyframe),
                    layer: Layer { spatial: 0, temporal: h264.temporal },
                    up_switch: to_this_if(h264.non_reference),
                    discardable: h264.non_reference,
                    top_spatial: Some(0),
                    ..blank
                })
            }
            Codec::Av1 { .. } => {
                let av1 = Av1::parse(packet.payload)?;
                let same = self.latest.filter(|latest| latest.time == packet.time);
                let layer = av1.layer.or(same.map(|latest| latest.layer)).unwrap_or_default();
                Some(FrameInfo {
                    layer,
                    starts_frame: av1.starts_frame,
                    ends_frame: packet.marker || av1.ends_frame,
                    keyframe: keyframe_if(av1.keyframe),
                    inter_layer: layer.spatial > 0,
                    ..blank
                })
            }
        }
    }

    fn describe(&self, packet: Packet<'_>, understood: Understood) -> Option<FrameInfo> {
        let Understood::Fully { descriptor, structure, active } = understood else { return None };
        let template = descriptor.template_in(&structure)?;
        let indications = descriptor.own_indications.unwrap_or(template.indications);
        let references = descriptor.own_references.unwrap_or(template.references);
        let targets = usize::from(structure.target_count);
        let mut present = (0..targets).map(|target| indications.get(target));
        // A frame that is part of no target is of no use to anyone either.
        let discardable =
            present.all(|found| matches!(found, Indication::NotPresent | Indication::Discardable));
        // References within the picture lie between this frame and the picture's first.
        let within = self
            .latest
            .filter(|latest| latest.time == packet.time)
            .and_then(|latest| latest.first_frame)
            .map_or(0, |first| descriptor.frame_number.wrapping_sub(first));
        let keyframe = if references.is_empty() {
            Keyframe::Stream
        } else if template.layer.spatial > 0 && references.iter().all(|diff| diff <= within) {
            Keyframe::Layer
        } else {
            Keyframe::No
        };
        Some(FrameInfo {
            layer: template.layer,
            starts_frame: descriptor.starts_frame,
            ends_frame: descriptor.ends_frame,
            keyframe,
            discardable,
            inter_layer: references.iter().any(|diff| diff <= within),
            top_spatial: Some(top_active(structure.target_layers(), active)),
            frame_number: Some(descriptor.frame_number),
            targets: Some(Targets {
                structure,
                descriptor: Arc::new(descriptor),
                indications,
                references,
                active,
            }),
            ..self.blank(packet)
        })
    }
}

fn top_active(layers: &[Layer], active: u32) -> u8 {
    let active = layers.iter().enumerate().filter(|(target, _)| active >> target & 1 == 1);
    active.map(|(_, layer)| layer.spatial).max().unwrap_or(0)
}

fn keyframe_if(is: bool) -> Keyframe {
    if is { Keyframe::Stream } else { Keyframe::No }
}

fn to_this_if(is: bool) -> UpSwitch {
    if is { UpSwitch::ToThis } else { UpSwitch::No }
}

fn from_vp8(vp8: Vp8, blank: FrameInfo) -> FrameInfo {
    FrameInfo {
        layer: Layer { spatial: 0, temporal: vp8.temporal.unwrap_or(0) },
        starts_frame: vp8.starts_frame,
        keyframe: keyframe_if(vp8.keyframe),
        up_switch: to_this_if(vp8.layer_sync),
        discardable: vp8.non_reference,
        top_spatial: Some(0),
        picture_id: vp8.picture_id,
        tl0: vp8.tl0,
        payload: Payload::Vp8(vp8),
        ..blank
    }
}

fn from_vp9(vp9: Vp9, top_spatial: Option<u8>, blank: FrameInfo) -> FrameInfo {
    let (spatial, temporal, switches_up, inter_layer, tl0) =
        vp9.layer.map_or((0, 0, false, false, None), |layer| {
            let inter_layer = layer.inter_layer && layer.spatial > 0;
            (layer.spatial, layer.temporal, layer.switches_up, inter_layer, layer.tl0)
        });
    FrameInfo {
        layer: Layer { spatial, temporal },
        starts_frame: vp9.starts_frame,
        ends_frame: vp9.ends_frame,
        keyframe: match (vp9.inter_picture, inter_layer) {
            (true, _) => Keyframe::No,
            (false, true) => Keyframe::Layer,
            (false, false) => Keyframe::Stream,
        },
        up_switch: if switches_up { UpSwitch::ToAny } else { UpSwitch::No },
        inter_layer,
        used_by_upper: !vp9.not_for_upper,
        // An encoder with several spatial layers says so with its keyframes.
        top_spatial: Some(top_spatial.unwrap_or(0)),
        picture_id: vp9.picture_id,
        tl0,
        payload: Payload::Vp9(vp9),
        ..blank
    }
}
