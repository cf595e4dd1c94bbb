//! Who comes before whom: an order that moves only when someone begins or ends.
//!
//! Owns: the order, without doubles and of bounded length.
//! Never: decides who begins.

/// Nobody shows or hears so many at once; behind them the room's own order decides. It bounds what
/// a beginning costs in a room of any size.
pub(super) const ORDER_MAX: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Order {
    keys: Vec<usize>,
}

impl Order {
    /// Puts `key` first.
    pub(super) fn raise(&mut self, key: usize) {
        self.remove(key);
        self.keys.insert(0, key);
        self.keys.truncate(ORDER_MAX);
    }

    /// Sorts by `rank`, lowest first; equals stay as they are. True when something moved.
    pub(super) fn settle<R: Ord>(&mut self, rank: impl Fn(usize) -> R) -> bool {
        if self.keys.is_sorted_by_key(|key| rank(*key)) {
            return false;
        }
        self.keys.sort_by_cached_key(|key| rank(*key));
        true
    }

    pub(super) fn remove(&mut self, key: usize) {
        self.keys.retain(|other| *other != key);
    }

    pub(super) fn keys(&self) -> &[usize] {
        &self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn laws(moves in prop::collection::vec((0..200usize, 0..3u8), 0..400)) {
            let mut order = Order::default();
            for (key, what) in moves {
                match what {
                    0 => order.remove(key),
                    1 => {
                        let before = order.keys.clone();
                        let moved = order.settle(|other| other % 2 != key % 2);
                        prop_assert_eq!(moved, before != order.keys);
                        prop_assert!(order.keys.is_sorted_by_key(|other| other % 2 != key % 2));
                        // Equals keep their order.
                        for half in 0..2 {
                            let of = |keys: &[usize]| -> Vec<usize> {
                                keys.iter().copied().filter(|k| k % 2 == half).collect()
                            };
                            prop_assert_eq!(of(&before), of(&order.keys));
                        }
                    }
                    _ => {
                        order.raise(key);
                        prop_assert_eq!(order.keys.first(), Some(&key));
                    }
                }
                let mut keys = order.keys.clone();
                keys.sort_unstable();
                keys.dedup();
                prop_assert_eq!(keys.len(), order.keys.len());
                prop_assert!(order.keys.len() <= ORDER_MAX);
            }
        }
    }
}
