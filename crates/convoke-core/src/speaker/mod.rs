//! Who speaks: the dominant speaker, the order of recent speakers, and who must be heard.
//!
//! Owns: the voices of one room and what follows from them.
//! Never: reads a clock, sees a packet's content, or knows tracks, slots and subscribers: a voice
//! is a key of the room's.
//!
//! The room calls [`Speakers::heard`] for each audio packet, [`Speakers::handle_timeout`] at
//! [`Speakers::next_deadline`], and [`Speakers::poll_change`] after either. RFC 6464; Volfin &
//! Cohen 2013.
#![doc = include_str!("speaker.md")]

mod activity;
mod floor;
mod level;
mod order;
mod score;
mod voice;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use order::Order;
use score::{SILENT, Scores, Table};
use voice::{SPURT_GAP, Voice};

/// Between decisions, as in the paper: often enough for a change of speaker to feel prompt.
const DECISION: Duration = Duration::from_millis(300);
/// A dominant speaker stays at least this long: pictures that change faster make viewers seasick.
const REIGN_MIN: Duration = Duration::from_secs(1);
/// A dominant speaker that says nothing for this long is none any more. Longer than pauses for
/// thought, since nothing is gained by showing nobody.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// One that sends nothing at all for this long is gone. Comfort noise comes every 400 ms.
const GONE: Duration = Duration::from_secs(2);
/// Between changes told to clients: five a second.
const TELL: Duration = Duration::from_millis(200);
/// Voices that are told to speak at once; nobody follows more.
const SPEAKING_MAX: usize = 16;
/// Active frames of the last 30 that light a voice up for clients (160 ms), and below which it goes
/// out (a single click).
const SPEAKING_FROM: u8 = 8;
const SPEAKING_TO: u8 = 2;

/// What is known of one audio packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    /// RFC 6464: dBov from 0, loudest, to -127. Other numbers count as none. Its voice activity
    /// bit is not used: browsers set it each in their own way, or never.
    pub(crate) level: Option<i8>,
    /// Bytes of the payload; all there is if `level` is missing.
    pub(crate) payload: usize,
    /// An Opus packet without sound (one or two bytes, RFC 6716 §2.1.9) or comfort noise.
    pub(crate) dtx: bool,
}

/// A voice begins and must be heard now: it is the first of [`Speakers::audible`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Onset {
    pub(crate) who: usize,
}

/// What a decision changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) dominant: bool,
    pub(crate) recent: bool,
    pub(crate) audible: bool,
}

/// What clients are told, at most five times a second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) dominant: Option<usize>,
    /// In order of keys, at most 16.
    pub(crate) speaking: Vec<usize>,
}

/// The voices of one room.
#[derive(Debug, Default)]
pub(crate) struct Speakers {
    voices: FxHashMap<usize, Voice>,
    /// Those with anything to decide about: all others cost a decision nothing.
    listed: Vec<usize>,
    table: Table,
    dominant: Option<usize>,
    changed_at: Option<Instant>,
    audible: Order,
    recent: Order,
    decide_at: Option<Instant>,
    told: Change,
    told_at: Option<Instant>,
    /// Something may be worth telling, from then on.
    tell_at: Option<Instant>,
}

impl Speakers {
    /// Takes one audio packet of a voice; a key not seen before is a new voice.
    pub(crate) fn heard(&mut self, now: Instant, who: usize, heard: Heard) -> Option<Onset> {
        let voice = self.voices.entry(who).or_default();
        if !voice.take(now, heard) {
            return None;
        }
        if !voice.state.listed {
            voice.state.listed = true;
            self.listed.push(who);
        }
        self.decide_at.get_or_insert(now + DECISION);
        if voice.state.sounding || !voice.activity.begins() {
            return None;
        }
        voice.state.sounding = true;
        self.admit(now, who);
        Some(Onset { who })
    }

    /// Decides, if it is time to.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Turn {
        if self.decide_at.is_none_or(|at| now < at) {
            return Turn::default();
        }
        let mut turn = self.survey(now);
        turn.dominant = self.decide(now);
        if turn.dominant {
            self.tell(now);
        }
        let (voices, dominant) = (&mut self.voices, self.dominant);
        self.listed.retain(|key| {
            let Some(voice) = voices.get_mut(key) else { return false };
            voice.state.listed =
                voice.state.sounding || !voice.activity.is_empty() || dominant == Some(*key);
            voice.state.listed
        });
        self.decide_at = (!self.listed.is_empty()).then(|| now + DECISION);
        turn
    }

    /// When [`Self::handle_timeout`] or [`Self::poll_change`] has something to do; never while
    /// all are silent.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.decide_at, self.tell_at].into_iter().flatten().min()
    }

    /// Who has the floor. Changes at most once a second, unless the dominant speaker is removed.
    pub(crate) fn dominant(&self) -> Option<usize> {
        self.dominant
    }

    /// Those who spoke, most recent first, for ranking what is seen. Who still talks comes before
    /// who stopped; neither a cough nor going on to talk moves anybody. At most 128.
    pub(crate) fn recent(&self) -> &[usize] {
        self.recent.keys()
    }

    /// The `count` voices that most deserve to be heard, at most 128. It changes by an onset or a
    /// turn that says so, and then for the smaller of two counts as for the larger.
    pub(crate) fn audible(&self, count: usize) -> &[usize] {
        self.audible.keys().get(..count).unwrap_or(self.audible.keys())
    }

    /// What clients should hear of, if anything changed and they did not just hear something.
    pub(crate) fn poll_change(&mut self, now: Instant) -> Option<Change> {
        self.tell_at.take_if(|at| now >= *at)?;
        let speaks = |key: &usize| self.voices.get(key).is_some_and(|v| v.state.speaking);
        let of_order = self.audible.keys().iter().copied();
        let mut speaking: Vec<usize> = of_order.filter(speaks).take(SPEAKING_MAX).collect();
        speaking.sort_unstable();
        let change = Change { dominant: self.dominant, speaking };
        if change == self.told {
            return None;
        }
        self.told = change.clone();
        self.told_at = Some(now);
        Some(change)
    }

    /// A voice was muted: it is silent from now on. It keeps its place among recent speakers, and
    /// the next decision that may releases it if it was dominant.
    pub(crate) fn mute(&mut self, who: usize) {
        let Some(voice) = self.voices.get_mut(&who) else { return };
        voice.hush();
        voice.state.sounding = false;
        self.settle_audible();
    }

    /// A voice is gone for good; its key may be another's next.
    pub(crate) fn remove(&mut self, now: Instant, who: usize) {
        let Some(voice) = self.voices.remove(&who) else { return };
        self.listed.retain(|key| *key != who);
        self.audible.remove(who);
        self.recent.remove(who);
        let was_dominant = self.dominant == Some(who);
        if was_dominant {
            self.dominant = None;
            self.changed_at = Some(now);
        }
        if was_dominant || voice.state.speaking {
            self.tell(now);
        }
        // Should the key be reused before clients hear of this, they must still hear of the new.
        self.told.speaking.retain(|key| *key != who);
        if self.listed.is_empty() {
            self.decide_at = None;
        }
    }

    /// Puts a beginning voice first among the audible; those behind it who are least recently
    /// active are the first to fall out of the slots there are.
    fn admit(&mut self, now: Instant, who: usize) {
        let (voices, dominant) = (&self.voices, self.dominant);
        self.audible.settle(|key| match voices.get(&key).filter(|v| v.state.sounding) {
            Some(_) if dominant == Some(key) => (0, 0),
            Some(voice) => (1, voice.recency(now)),
            None => (2, 0),
        });
        self.audible.raise(who);
    }

    fn settle_audible(&mut self) -> bool {
        let voices = &self.voices;
        self.audible.settle(|key| !voices.get(&key).is_some_and(|voice| voice.state.sounding))
    }

    /// Those who began come first, then the others who talk.
    fn settle_recent(&mut self, began: &[usize]) -> bool {
        let before = self.recent.keys().to_vec();
        began.iter().for_each(|key| self.recent.raise(*key));
        let voices = &self.voices;
        self.recent.settle(|key| !voices.get(&key).is_some_and(|voice| voice.state.talking));
        before != self.recent.keys()
    }

    /// Brings the listed voices up to date: who began to talk, who stopped.
    fn survey(&mut self, now: Instant) -> Turn {
        let (mut ended_sound, mut ended_talk, mut shown) = (false, false, false);
        let mut began_talk = Vec::new();
        for key in &self.listed {
            let Some(voice) = self.voices.get_mut(key) else { continue };
            voice.age(now);
            let lasting = self.table.of(&voice.activity).is_lasting();
            let (medium, long) = (voice.activity.medium(), voice.activity.long());
            let ends = voice.state.sounding && voice.silent_for(now) >= SPURT_GAP;
            if ends {
                voice.state.sounding = false;
                ended_sound = true;
            }
            if !voice.state.talking && lasting {
                voice.state.talking = true;
                began_talk.push(*key);
            } else if voice.state.talking && long == 0 {
                voice.state.talking = false;
                ended_talk = true;
            }
            let least = if voice.state.speaking { SPEAKING_TO } else { SPEAKING_FROM };
            let speaks = medium >= least;
            shown |= speaks != voice.state.speaking;
            voice.state.speaking = speaks;
        }
        if shown {
            self.tell(now);
        }
        let audible = ended_sound && self.settle_audible();
        let recent = (ended_talk || !began_talk.is_empty()) && self.settle_recent(&began_talk);
        Turn { dominant: false, recent, audible }
    }

    /// The paper's decision, and the two reasons for which a speaker is dropped without another.
    /// True when it changed something.
    fn decide(&mut self, now: Instant) -> bool {
        if self.changed_at.is_some_and(|at| now.saturating_duration_since(at) < REIGN_MIN) {
            return false;
        }
        let speaker = self.dominant.and_then(|key| self.voices.get(&key));
        let speaker = speaker.filter(|v| v.silent_for(now) < SILENCE_MAX && v.gone_for(now) < GONE);
        // What is flat counts as silent against what is not, and takes only from the silent.
        let paused = speaker.is_none_or(|voice| voice.activity.long() == 0);
        let against = match speaker.filter(|voice| !voice.is_flat()) {
            Some(voice) => self.table.of(&voice.activity),
            None => SILENT,
        };
        let mut best: Option<(usize, bool, Scores)> = None;
        for key in self.listed.iter().filter(|key| self.dominant != Some(**key)) {
            let Some(voice) = self.voices.get(key) else { continue };
            let lively = !voice.is_flat();
            let against = if lively { against } else { SILENT };
            let lead = self.table.of(&voice.activity).lead(&against);
            let Some(lead) = lead.filter(|_| lively || paused) else { continue };
            let better = match best {
                None => true,
                Some((_, other_lively, _)) if other_lively != lively => lively,
                Some((_, _, other)) => lead.exceeds(&other),
            };
            if better {
                best = Some((*key, lively, lead));
            }
        }
        let next = best.map(|(key, ..)| key).or(self.dominant.filter(|_| speaker.is_some()));
        if next == self.dominant {
            return false;
        }
        self.dominant = next;
        self.changed_at = Some(now);
        true
    }

    fn tell(&mut self, now: Instant) {
        let earliest = self.told_at.map_or(now, |at| (at + TELL).max(now));
        self.tell_at.get_or_insert(earliest);
    }
}
