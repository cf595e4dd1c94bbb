//! Which track sits in which slot: a pure function.
//!
//! Owns: placement. Who deserves a place is decided by the room.
//! Never: moves a track that may stay; a moved track costs a keyframe and a flicker.

/// What is known of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<T> {
    /// What it holds now.
    pub(crate) current: Option<T>,
    /// What it must hold, if a wish is for this very slot (`Some(None)`: must be empty).
    pub(crate) fixed: Option<Option<T>>,
}

/// Places `wanted` (most deserving first) into the slots that are not fixed, and returns what each
/// slot holds. `tolerated` says of a present holder that it may stay as long as nobody needs its
/// place. `prefer` names the slot that a newcomer would best have.
///
/// - fixed slots hold what they must; a track that is fixed somewhere is nowhere else;
/// - a wanted track that has a place keeps it;
/// - the first `n` wanted tracks are placed, where `n` is the number of slots that are not fixed.
pub(crate) fn place<T: Copy + PartialEq>(
    slots: &[Place<T>],
    wanted: &[T],
    tolerated: impl Fn(T) -> bool,
    prefer: impl Fn(T, &[Option<T>]) -> Option<usize>,
) -> Vec<Option<T>> {
    let fixed = |track: T| slots.iter().any(|slot| slot.fixed == Some(Some(track)));
    let free = slots.iter().filter(|slot| slot.fixed.is_none()).count();
    let mut seen = Vec::with_capacity(free);
    for track in wanted.iter().copied() {
        if seen.len() < free && !fixed(track) && !seen.contains(&track) {
            seen.push(track);
        }
    }
    let wanted = seen;
    let mut held: Vec<Option<T>> = Vec::with_capacity(slots.len());
    for slot in slots {
        let stays = |track: T| {
            !fixed(track)
                && !held.contains(&Some(track))
                && (wanted.contains(&track) || tolerated(track))
        };
        let holds = match slot.fixed {
            Some(fixed) => fixed,
            None => slot.current.filter(|track| stays(*track)),
        };
        held.push(holds);
    }
    for track in wanted.iter().copied() {
        if held.contains(&Some(track)) {
            continue;
        }
        let is_free = |index: usize, held: &[Option<T>]| {
            slots.get(index).is_some_and(|slot| slot.fixed.is_none())
                && held.get(index).is_some_and(Option::is_none)
        };
        let target = prefer(track, &held)
            .filter(|index| is_free(*index, &held))
            .or_else(|| (0..slots.len()).find(|index| is_free(*index, &held)))
            .or_else(|| {
                // No room: someone tolerated goes.
                held.iter().zip(slots).position(|(holds, slot)| {
                    slot.fixed.is_none() && holds.is_some_and(|track| !wanted.contains(&track))
                })
            });
        if let Some(place) = target.and_then(|index| held.get_mut(index)) {
            *place = Some(track);
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slots(max: usize) -> impl Strategy<Value = Vec<Place<u8>>> {
        let slot =
            (prop::option::of(0..12u8), prop::option::weighted(0.2, prop::option::of(0..12u8)));
        prop::collection::vec(slot, 0..max).prop_map(|raw| {
            let mut current: Vec<u8> = Vec::new();
            let mut fixed: Vec<u8> = Vec::new();
            raw.into_iter()
                .map(|(c, f)| {
                    let c = c.filter(|c| !current.contains(c));
                    current.extend(c);
                    let f = f.map(|f| f.filter(|f| !fixed.contains(f)));
                    fixed.extend(f.flatten());
                    Place { current: c, fixed: f }
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn laws(
            slots in slots(10),
            wanted in prop::collection::vec(0..12u8, 0..14),
            tolerated in prop::collection::vec(0..12u8, 0..6),
            preference in prop::option::of(0..10usize),
        ) {
            let held = place(&slots, &wanted, |t| tolerated.contains(&t), |_, _| preference);
            prop_assert_eq!(held.len(), slots.len());
            // Nothing twice.
            let mut tracks: Vec<u8> = held.iter().flatten().copied().collect();
            let count = tracks.len();
            tracks.sort_unstable();
            tracks.dedup();
            prop_assert_eq!(tracks.len(), count);
            // Fixed slots as asked.
            let fixed: Vec<u8> = slots.iter().filter_map(|s| s.fixed.flatten()).collect();
            for (slot, holds) in slots.iter().zip(&held) {
                if let Some(fixed) = slot.fixed {
                    prop_assert_eq!(*holds, fixed);
                }
            }
            // The first n wanted are placed; nobody unwanted and untolerated is.
            let free = slots.iter().filter(|s| s.fixed.is_none()).count();
            let mut deserving: Vec<u8> = Vec::new();
            for track in wanted.iter().filter(|t| !fixed.contains(t)) {
                if !deserving.contains(track) && deserving.len() < free {
                    deserving.push(*track);
                }
            }
            for track in &deserving {
                prop_assert!(held.contains(&Some(*track)), "{} has no place in {:?}", track, held);
            }
            for (slot, track) in slots.iter().zip(&held).filter(|(s, _)| s.fixed.is_none()) {
                if let Some(track) = track {
                    prop_assert!(deserving.contains(track)
                        || (tolerated.contains(track) && slot.current == Some(*track)));
                }
            }
            // Who deserves a place and has one keeps it.
            for (slot, holds) in slots.iter().zip(&held).filter(|(s, _)| s.fixed.is_none()) {
                if let Some(current) = slot.current.filter(|c| deserving.contains(c)) {
                    prop_assert_eq!(*holds, Some(current));
                }
            }
            // Placing again changes nothing.
            let again: Vec<_> = slots.iter().zip(&held)
                .map(|(s, h)| Place { current: *h, fixed: s.fixed }).collect();
            prop_assert_eq!(
                place(&again, &wanted, |t| tolerated.contains(&t), |_, _| preference), held);
        }
    }
}
