//! Writing a dependency descriptor, and changing one for a receiver.
//!
//! Owns: the inverse of [`super::read`]; the numbers of a forwarded frame.
//! Never: changes what a frame depends on. Frame numbers are shifted as a whole and never closed up
//! over dropped frames, because references are counted in them; receivers take gaps.

use super::read::{Descriptor, MANDATORY};
use super::structure::{Structure, Template};
use super::{Indications, References};
use crate::layers::bits::BitWriter;

/// What changes for a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Edit<'a> {
    pub(crate) frame_number: u16,
    /// The decode targets to announce as active with this packet.
    pub(crate) active: Option<u32>,
    /// The structure to send with this packet, for a receiver that lacks it.
    pub(crate) attach: Option<&'a Structure>,
}

/// `original` with new numbers; `descriptor` was read from it and refers to `structure`.
/// Without a new structure or activity only the frame number's bytes differ.
pub(crate) fn rewrite(
    original: &[u8],
    descriptor: &Descriptor,
    structure: &Structure,
    edit: Edit<'_>,
) -> Vec<u8> {
    if edit.active.is_none() && edit.attach.is_none() {
        let mut bytes = original.to_vec();
        if let Some(number) = bytes.get_mut(1..MANDATORY) {
            number.copy_from_slice(&edit.frame_number.to_be_bytes());
        }
        return bytes;
    }
    let attached = descriptor.attached.as_deref().or(edit.attach);
    let active = edit.active.or(descriptor.active);
    write(descriptor, structure, (edit.frame_number, attached, active))
}

#[cfg(test)]
impl Descriptor {
    /// The bytes of a descriptor that refers to `structure`.
    pub(crate) fn to_bytes(&self, structure: &Structure) -> Vec<u8> {
        write(self, structure, (self.frame_number, self.attached.as_deref(), self.active))
    }
}

fn write(
    descriptor: &Descriptor,
    structure: &Structure,
    (frame_number, attached, active): (u16, Option<&Structure>, Option<u32>),
) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.flag(descriptor.starts_frame);
    bits.flag(descriptor.ends_frame);
    bits.bits(descriptor.template.into(), 6);
    bits.bits(frame_number.into(), 16);
    let flags = [
        attached.is_some(),
        active.is_some(),
        descriptor.own_indications.is_some(),
        descriptor.own_references.is_some(),
        descriptor.own_chain_diffs.is_some(),
    ];
    if flags == [false; 5] {
        return bits.finish();
    }
    flags.into_iter().for_each(|flag| bits.flag(flag));
    if let Some(attached) = attached {
        write_structure(&mut bits, attached);
    }
    if let Some(active) = active {
        bits.bits(active, structure.target_count.into());
    }
    if let Some(indications) = descriptor.own_indications {
        write_indications(&mut bits, indications, structure.target_count);
    }
    if let Some(references) = &descriptor.own_references {
        write_own_references(&mut bits, references);
    }
    for &diff in descriptor.own_chain_diffs.iter().flatten() {
        bits.bits(diff.into(), 8);
    }
    bits.finish()
}

fn write_structure(bits: &mut BitWriter, structure: &Structure) {
    let targets = structure.target_count;
    bits.bits(structure.first_template.into(), 6);
    bits.bits(u32::from(targets).saturating_sub(1), 5);
    write_layers(bits, &structure.templates);
    for template in &structure.templates {
        write_indications(bits, template.indications, targets);
    }
    for template in &structure.templates {
        for diff in template.references.iter() {
            bits.flag(true);
            bits.bits(u32::from(diff).saturating_sub(1), 4);
        }
        bits.flag(false);
    }
    let chains = u32::from(structure.chain_count);
    bits.non_symmetric(chains, u32::from(targets) + 1);
    for &chain in &structure.protected_by {
        bits.non_symmetric(chain.into(), chains);
    }
    for template in &structure.templates {
        template.chain_diffs.iter().for_each(|&diff| bits.bits(diff.into(), 4));
    }
    bits.flag(!structure.resolutions.is_empty());
    for &(width, height) in &structure.resolutions {
        bits.bits(width.into(), 16);
        bits.bits(height.into(), 16);
    }
}

fn write_layers(bits: &mut BitWriter, templates: &[Template]) {
    let next = templates.iter().skip(1);
    for (template, next) in templates.iter().zip(next) {
        let (from, to) = (template.layer, next.layer);
        let step = match (from.spatial == to.spatial, from.temporal == to.temporal) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        };
        bits.bits(step, 2);
    }
    bits.bits(3, 2);
}

fn write_indications(bits: &mut BitWriter, indications: Indications, targets: u8) {
    (0..usize::from(targets)).for_each(|target| bits.bits(indications.bits(target), 2));
}

fn write_own_references(bits: &mut BitWriter, references: &References) {
    for diff in references.iter() {
        let less = u32::from(diff).saturating_sub(1);
        let size = match less {
            0..0x10 => 1,
            0x10..0x100 => 2,
            _ => 3,
        };
        bits.bits(size, 2);
        bits.bits(less, 4 * size);
    }
    bits.bits(0, 2);
}
