//! Reading a dependency descriptor.
//!
//! Owns: AV1 RTP specification A.8.1-A.8.3.
//! Never: fails because a structure is missing; such a packet is [`Understood::NotYet`].

use std::sync::Arc;

use super::structure::{Structure, Structures, Template};
use super::{Indications, REFERENCES_MAX, References, SPATIAL_MAX, TEMPLATES_MAX, TEMPORAL_MAX};
use crate::layers::Layer;
use crate::layers::bits::BitReader;

/// The bytes that every descriptor has.
pub(super) const MANDATORY: usize = 3;

/// One packet's descriptor, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// The first packet of its frame.
    pub(crate) starts_frame: bool,
    /// The last packet of its frame.
    pub(crate) ends_frame: bool,
    pub(crate) template: u8,
    pub(crate) frame_number: u16,
    /// The structure that came with this packet.
    pub(crate) attached: Option<Arc<Structure>>,
    /// The active decode targets that this packet announces.
    pub(crate) active: Option<u32>,
    /// What differs from the template.
    pub(crate) own_indications: Option<Indications>,
    pub(crate) own_references: Option<References>,
    pub(crate) own_chain_diffs: Option<Vec<u8>>,
}

/// What reading came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Understood {
    /// With the structure to which it refers and what is active of it.
    Fully { descriptor: Descriptor, structure: Arc<Structure>, active: u32 },
    /// Its structure has not come yet.
    NotYet,
}

impl Descriptor {
    /// The template that the packet names.
    pub(crate) fn template_in<'a>(&self, structure: &'a Structure) -> Option<&'a Template> {
        structure.template(self.template)
    }

    /// Reads `bytes` and remembers what they say for later packets. `None` if they are malformed.
    pub(crate) fn read(bytes: &[u8], memory: &mut Structures) -> Option<Understood> {
        let (&[flags, high, low], extended) = bytes.split_first_chunk::<MANDATORY>()?;
        let mut descriptor = Self {
            starts_frame: flags & 0x80 != 0,
            ends_frame: flags & 0x40 != 0,
            template: flags & 0x3f,
            frame_number: u16::from_be_bytes([high, low]),
            attached: None,
            active: None,
            own_indications: None,
            own_references: None,
            own_chain_diffs: None,
        };
        let mut bits = BitReader::new(extended);
        let [structure, active, indications, references, chains] =
            if extended.is_empty() { [false; 5] } else { flags_of(&mut bits)? };
        if structure {
            descriptor.attached = Some(Arc::new(read_structure(&mut bits)?));
        }
        let structure = match &descriptor.attached {
            Some(attached) => Arc::clone(attached),
            None => match memory.of(descriptor.template) {
                Some((known, _)) => Arc::clone(known),
                None => return Some(Understood::NotYet),
            },
        };
        descriptor.template_in(&structure)?;
        let targets = structure.target_count;
        if active {
            descriptor.active = Some(bits.bits(targets.into())?);
        }
        if indications {
            descriptor.own_indications = Some(read_indications(&mut bits, targets)?);
        }
        if references {
            descriptor.own_references = Some(read_own_references(&mut bits)?);
        }
        if chains {
            let diffs = (0..structure.chain_count).map(|_| bits.byte(8));
            descriptor.own_chain_diffs = Some(diffs.collect::<Option<_>>()?);
        }
        descriptor.remember(&structure, memory);
        let active =
            memory.of(descriptor.template).map_or(structure.all_targets(), |known| known.1);
        Some(Understood::Fully { descriptor, structure, active })
    }

    fn remember(&self, structure: &Arc<Structure>, memory: &mut Structures) {
        let frame = self.frame_number;
        if self.attached.is_some() {
            memory.learn(structure, self.active.unwrap_or(structure.all_targets()), frame);
        } else if let Some(active) = self.active {
            memory.activate(self.template, active, frame);
        }
    }
}

fn flags_of(bits: &mut BitReader<'_>) -> Option<[bool; 5]> {
    Some([bits.flag()?, bits.flag()?, bits.flag()?, bits.flag()?, bits.flag()?])
}

fn read_structure(bits: &mut BitReader<'_>) -> Option<Structure> {
    let first_template = bits.byte(6)?;
    let targets = bits.byte(5)? + 1;
    let mut templates = read_layers(bits)?;
    for template in &mut templates {
        template.indications = read_indications(bits, targets)?;
    }
    for template in &mut templates {
        for _ in 0..=REFERENCES_MAX {
            if !bits.flag()? {
                break;
            }
            template.references.push(bits.short(4)? + 1)?;
        }
    }
    let chains = u8::try_from(bits.non_symmetric(u32::from(targets) + 1)?).ok()?;
    let mut protected_by = Vec::new();
    if chains > 0 {
        for _ in 0..targets {
            protected_by.push(u8::try_from(bits.non_symmetric(chains.into())?).ok()?);
        }
        for template in &mut templates {
            let diffs = (0..chains).map(|_| bits.byte(4));
            template.chain_diffs = diffs.collect::<Option<_>>()?;
        }
    }
    let mut structure = Structure::new(first_template, targets, templates, (chains, protected_by));
    if bits.flag()? {
        let size = |bits: &mut BitReader<'_>| Some((bits.short(16)?, bits.short(16)?));
        let sizes = (0..structure.spatial_layers()).map(|_| size(bits));
        structure.resolutions = sizes.collect::<Option<_>>()?;
    }
    Some(structure)
}

/// `template_layers()`: each template is of the same layer as the one before, of the next temporal
/// layer, or of the next spatial layer.
fn read_layers(bits: &mut BitReader<'_>) -> Option<Vec<Template>> {
    let mut templates = Vec::new();
    let mut layer = Layer::default();
    while templates.len() < TEMPLATES_MAX {
        templates.push(Template {
            layer,
            indications: Indications::default(),
            references: References::default(),
            chain_diffs: Vec::new(),
        });
        match bits.bits(2)? {
            0 => {}
            1 => layer.temporal += 1,
            2 => layer = Layer { spatial: layer.spatial + 1, temporal: 0 },
            _ => return Some(templates),
        }
        if layer.temporal >= TEMPORAL_MAX || layer.spatial >= SPATIAL_MAX {
            return None;
        }
    }
    None
}

fn read_indications(bits: &mut BitReader<'_>, targets: u8) -> Option<Indications> {
    let mut indications = Indications::default();
    for target in 0..usize::from(targets) {
        indications.set(target, bits.byte(2)?);
    }
    Some(indications)
}

/// A list of differences in 4, 8 or 12 bits each.
fn read_own_references(bits: &mut BitReader<'_>) -> Option<References> {
    let mut references = References::default();
    for _ in 0..=REFERENCES_MAX {
        let size = bits.bits(2)?;
        if size == 0 {
            return Some(references);
        }
        references.push(bits.short(4 * size)? + 1)?;
    }
    None
}
