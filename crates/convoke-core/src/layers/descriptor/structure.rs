//! What a stream's templates mean, and the memory of it.
//!
//! Owns: AV1 RTP specification A.8.2, `template_dependency_structure()` as a value, what follows
//! from it, and the two latest structures of a stream.
//! Never: more than two: a sender numbers a new structure's templates on from the old one's, so that
//! late packets can still be told, and older ones are of no use.

use std::sync::Arc;

use super::{Indication, Indications, References};
use crate::layers::Layer;

/// One kind of frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) layer: Layer,
    pub(crate) indications: Indications,
    pub(crate) references: References,
    /// One for each chain.
    pub(crate) chain_diffs: Vec<u8>,
}

/// Decode targets and their protection by chains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Structure {
    /// The template id of the first template.
    pub(crate) first_template: u8,
    pub(crate) templates: Vec<Template>,
    /// 1 to 32.
    pub(crate) target_count: u8,
    pub(crate) chain_count: u8,
    /// The chain that protects each decode target, if there are chains.
    pub(crate) protected_by: Vec<u8>,
    /// Width and height of each spatial layer, each less one as on the wire; empty if not said.
    pub(crate) resolutions: Vec<(u16, u16)>,
    /// What each decode target decodes to (A.8.2, `decode_target_layers()`).
    target_layers: Vec<Layer>,
}

impl Structure {
    pub(super) fn new(
        first_template: u8,
        target_count: u8,
        templates: Vec<Template>,
        (chain_count, protected_by): (u8, Vec<u8>),
    ) -> Self {
        let target_layers =
            (0..usize::from(target_count)).map(|target| target_layer(&templates, target)).collect();
        Self {
            first_template,
            templates,
            target_count,
            chain_count,
            protected_by,
            resolutions: Vec::new(),
            target_layers,
        }
    }

    /// The template with this id on the wire.
    pub(crate) fn template(&self, id: u8) -> Option<&Template> {
        self.templates.get(usize::from(id.wrapping_sub(self.first_template) & 0x3f))
    }

    pub(crate) fn spatial_layers(&self) -> u8 {
        self.templates.iter().map(|template| template.layer.spatial + 1).max().unwrap_or(0)
    }

    /// Each decode target's layer, by decode target.
    pub(crate) fn target_layers(&self) -> &[Layer] {
        &self.target_layers
    }

    /// The decode target that is exactly `layer`.
    pub(crate) fn target(&self, layer: Layer) -> Option<usize> {
        self.target_layers.iter().position(|&found| found == layer)
    }

    /// Every decode target, as a mask.
    pub(crate) fn all_targets(&self) -> u32 {
        u32::MAX >> (32 - u32::from(self.target_count.clamp(1, 32)))
    }

    /// Whether every frame of `inner` is one of `outer` too, so that one may go down at any time.
    pub(crate) fn contains(&self, outer: usize, inner: usize) -> bool {
        let absent = |template: &Template, target| {
            template.indications.get(target) == Indication::NotPresent
        };
        self.templates.iter().all(|template| absent(template, inner) || !absent(template, outer))
    }
}

/// The highest ids among the templates that are present in a target.
fn target_layer(templates: &[Template], target: usize) -> Layer {
    let present = templates
        .iter()
        .filter(|template| template.indications.get(target) != Indication::NotPresent)
        .map(|template| template.layer);
    present.fold(Layer::default(), |most, layer| Layer {
        spatial: most.spatial.max(layer.spatial),
        temporal: most.temporal.max(layer.temporal),
    })
}

/// A structure with what is active of it.
#[derive(Debug, Clone)]
struct Known {
    structure: Arc<Structure>,
    active: u32,
    /// The frame that said what is active.
    active_from: u16,
}

/// One stream's memory of structures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Structures {
    newest: Option<Known>,
    older: Option<Known>,
}

impl Structures {
    /// The structure of a template id, and its active decode targets.
    pub(crate) fn of(&self, template: u8) -> Option<(&Arc<Structure>, u32)> {
        let known = [&self.newest, &self.older].into_iter().flatten();
        let mut known = known.filter(|known| known.structure.template(template).is_some());
        known.next().map(|known| (&known.structure, known.active))
    }

    /// A structure came with `frame`.
    pub(super) fn learn(&mut self, structure: &Arc<Structure>, active: u32, frame: u16) {
        let known = Known { structure: Arc::clone(structure), active, active_from: frame };
        let known_already =
            |slot: &Option<Known>| slot.as_ref().is_some_and(|slot| slot.structure == *structure);
        if known_already(&self.newest) {
            self.activate(structure.first_template, active, frame);
        } else if !known_already(&self.older) || self.is_ahead(frame) {
            self.older = self.newest.replace(known);
        }
    }

    /// `frame`, of `template`, says what is active from it on.
    pub(super) fn activate(&mut self, template: u8, active: u32, frame: u16) {
        for known in [&mut self.newest, &mut self.older].into_iter().flatten() {
            if known.structure.template(template).is_some() {
                if !is_before(frame, known.active_from) {
                    known.active = active;
                    known.active_from = frame;
                }
                return;
            }
        }
    }

    fn is_ahead(&self, frame: u16) -> bool {
        self.newest.as_ref().is_none_or(|newest| !is_before(frame, newest.active_from))
    }
}

/// Frame numbers wrap at 2^16.
fn is_before(frame: u16, other: u16) -> bool {
    frame.wrapping_sub(other).cast_signed() < 0
}
