//! Numbering for a receiver that does not get every packet or frame.
//!
//! Owns: maps from a source's numbers to a slot's, across deliberate drops, reordering and wraps
//! (RFC 3550 §5.1: a receiver takes a gap for loss).
//! Never: gives one number to two packets.
//!
//! What may be closed up and what not:
//! - sequence numbers ([`SeqMap`]) and VP8 picture ids ([`FrameMap`], RFC 7741 §4.2) close up over
//!   what was dropped on purpose; what the network lost stays a gap;
//! - TL0PICIDX, KEYIDX, VP9 picture ids and the dependency descriptor's frame numbers ([`Shift`]) are
//!   shifted as a whole, as references are counted in them (P_DIFF, frame diffs) and layers' base
//!   frames are never dropped from within.

/// How far back a late packet may come and still get its number.
pub(crate) const DEPTH: u64 = WORDS as u64 * 64;
const WORDS: usize = 8;

/// One bit for each of the latest [`DEPTH`] numbers; bit 0 is the highest number.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window([u64; WORDS]);

impl Window {
    /// The highest number is now `by` higher.
    pub(super) fn advance(&mut self, by: u64) {
        let (words, bits) = (usize::try_from(by / 64).unwrap_or(WORDS), by % 64);
        let old = self.0;
        let word = |at: Option<usize>| at.and_then(|at| old.get(at)).copied().unwrap_or(0);
        for (at, new) in self.0.iter_mut().enumerate() {
            let from = at.checked_sub(words);
            let below = word(from.and_then(|from| from.checked_sub(1)));
            let carried = if bits == 0 { 0 } else { below >> (64 - bits) };
            *new = word(from) << bits | carried;
        }
    }

    pub(super) fn has(&self, back: u64) -> bool {
        let word = usize::try_from(back / 64).ok().and_then(|word| self.0.get(word));
        word.is_some_and(|word| word >> (back % 64) & 1 == 1)
    }

    pub(super) fn set(&mut self, back: u64) {
        let word = usize::try_from(back / 64).ok().and_then(|word| self.0.get_mut(word));
        if let Some(word) = word {
            *word |= 1 << (back % 64);
        }
    }

    /// How many bits are set among the `count` highest numbers.
    fn count(&self, count: u64) -> u64 {
        let mut left = count;
        let mut sum = 0;
        for word in self.0 {
            let mask = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
            sum += u64::from((word & mask).count_ones());
            left = left.saturating_sub(64);
        }
        sum
    }
}

/// Numbers that close up over cuts; common to packets and frames.
#[derive(Debug, Clone, Copy)]
struct Closing {
    /// The source's number where the map begins, and ours for it.
    first: u64,
    first_out: u64,
    highest: u64,
    /// Cut numbers: all of them, and which of the latest.
    cuts: u64,
    cut: Window,
}

impl Closing {
    fn new(first: u64, first_out: u64) -> Self {
        Self { first, first_out, highest: first, cuts: 0, cut: Window::default() }
    }

    fn advance(&mut self, to: u64) {
        self.cut.advance(to.saturating_sub(self.highest));
        self.highest = self.highest.max(to);
    }

    fn cut_highest(&mut self) {
        self.cut.set(0);
        self.cuts += 1;
    }

    /// How far `n` lies behind the highest; `None` if before the start or beyond memory.
    fn back(&self, n: u64) -> Option<u64> {
        let back = self.highest.checked_sub(n)?;
        (n >= self.first && back < DEPTH).then_some(back)
    }

    fn number(&self, back: u64) -> u64 {
        let cuts_before = self.cuts - self.cut.count(back);
        self.first_out + (self.highest - back - self.first) - cuts_before
    }

    /// The number that follows all given so far.
    #[cfg(test)]
    fn next(&self) -> u64 {
        self.first_out + (self.highest - self.first + 1) - self.cuts
    }
}

/// A slot's sequence numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeqMap {
    numbers: Closing,
    /// Sent or dropped.
    done: Window,
}

impl SeqMap {
    /// The source's packet `first` leaves as `out`. Earlier ones are refused from now on.
    pub(crate) fn start(first: u64, out: u64) -> Self {
        let mut done = Window::default();
        done.set(0);
        Self { numbers: Closing::new(first, out), done }
    }

    /// The number with which packet `seq` leaves; `None` for one from before the start, one that came
    /// before, and one that is too late to be told apart.
    pub(crate) fn forward(&mut self, seq: u64) -> Option<u64> {
        let back = self.arrive(seq)?;
        Some(self.numbers.number(back))
    }

    /// Packet `seq` is dropped on purpose. If packets behind it were numbered already, the number
    /// that was left for it is returned: it stays a gap, unless it is filled with padding.
    pub(crate) fn drop(&mut self, seq: u64) -> Option<u64> {
        let is_new = seq > self.numbers.highest;
        let back = self.arrive(seq)?;
        if is_new {
            self.numbers.cut_highest();
            return None;
        }
        Some(self.numbers.number(back))
    }

    /// The number that follows all given so far.
    #[cfg(test)]
    pub(crate) fn next(&self) -> u64 {
        self.numbers.next()
    }

    /// How far `seq` lies beyond the highest so far.
    pub(crate) fn distance(&self, seq: u64) -> u64 {
        seq.saturating_sub(self.numbers.highest)
    }

    fn arrive(&mut self, seq: u64) -> Option<u64> {
        self.done.advance(seq.saturating_sub(self.numbers.highest));
        self.numbers.advance(seq);
        let back = self.numbers.back(seq)?;
        if self.done.has(back) {
            return None;
        }
        self.done.set(back);
        Some(back)
    }
}

/// The order of numbers that wrap.
#[derive(Debug, Clone, Copy)]
struct Unwrap {
    bits: u32,
    highest: u64,
}

impl Unwrap {
    /// Far enough from 0 that what comes late does not go below it.
    fn new(first: u16, bits: u32) -> Self {
        let bits = bits.clamp(1, 16);
        Self { bits, highest: (1 << 32) + u64::from(first) % (1 << bits) }
    }

    /// The number nearest to the highest that ends in `n`.
    fn extend(&mut self, n: u16) -> u64 {
        let modulus = 1u64 << self.bits;
        let ahead = u64::from(n).wrapping_sub(self.highest) & (modulus - 1);
        if ahead < modulus / 2 {
            self.highest += ahead;
            return self.highest;
        }
        (self.highest + ahead).saturating_sub(modulus)
    }
}

/// A slot's VP8 picture ids. All packets of a frame get the same; ours are 15 bits wide, so take
/// the result modulo 2^15.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameMap {
    source: Unwrap,
    numbers: Closing,
    /// The highest number given.
    given: u64,
}

impl FrameMap {
    /// The source's frame `first`, a number of `bits` bits, leaves as `out`.
    pub(crate) fn start(first: u16, bits: u32, out: u64) -> Self {
        let source = Unwrap::new(first, bits);
        Self { source, numbers: Closing::new(source.highest, out), given: out }
    }

    /// The number with which frame `n` leaves; `None` for one from before the start, one that was
    /// dropped, and one that is too late.
    pub(crate) fn forward(&mut self, n: u16) -> Option<u64> {
        let n = self.source.extend(n);
        self.numbers.advance(n);
        let back = self.numbers.back(n)?;
        if self.numbers.cut.has(back) {
            return None;
        }
        let number = self.numbers.number(back);
        self.given = self.given.max(number);
        Some(number)
    }

    /// Frame `n` is dropped on purpose. If later frames were numbered already, its number stays a
    /// gap.
    pub(crate) fn drop(&mut self, n: u16) {
        let n = self.source.extend(n);
        if n > self.numbers.highest {
            self.numbers.advance(n);
            self.numbers.cut_highest();
        }
    }

    /// The number that follows all given so far: frames that never came at the end of a stream leave no
    /// gap, as their packets leave none.
    pub(crate) fn next(&self) -> u64 {
        self.given + 1
    }
}

/// Numbers that are shifted as a whole: TL0PICIDX (8 bits), KEYIDX (5), VP9 picture ids (7 or 15),
/// frame numbers (16). Take the result modulo the width of the slot's field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shift {
    source: Unwrap,
    first: u64,
    first_out: u64,
}

impl Shift {
    /// The source's number `first`, of `bits` bits, leaves as `out`.
    pub(crate) fn start(first: u16, bits: u32, out: u64) -> Self {
        let source = Unwrap::new(first, bits);
        Self { source, first: source.highest, first_out: out }
    }

    /// The number for `n`; `None` if it is from before the start.
    pub(crate) fn map(&mut self, n: u16) -> Option<u64> {
        Some(self.first_out + self.source.extend(n).checked_sub(self.first)?)
    }

    /// The number that follows all given so far.
    pub(crate) fn next(&self) -> u64 {
        self.first_out + (self.source.highest - self.first) + 1
    }
}

/// Which of the latest frames were forwarded, by frame number.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    source: Option<Unwrap>,
    window: Window,
}

impl Sent {
    pub(super) fn add(&mut self, number: u16) {
        let source = self.source.get_or_insert_with(|| Unwrap::new(number, 16));
        let before = source.highest;
        let number = source.extend(number);
        self.window.advance(number.saturating_sub(before));
        self.window.set(source.highest - number);
    }

    /// False for what lies beyond memory.
    pub(super) fn has(&self, number: u16) -> bool {
        let Some(mut source) = self.source else { return false };
        let highest = source.highest;
        let back = highest.checked_sub(source.extend(number));
        back.is_some_and(|back| self.window.has(back))
    }
}
