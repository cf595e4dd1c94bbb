//! What holds whatever is heard.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::order::ORDER_MAX;
use super::super::{Heard, Speakers};

#[derive(Debug, Clone)]
enum Step {
    Heard(usize, Heard),
    /// So many packets of one level, 20 ms apart, with turns.
    Run(usize, i8, u8),
    Wait(u16),
    Turn,
    Poll,
    Mute(usize),
    Remove(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..6usize;
    let heard = (
        prop_oneof![Just(None), any::<i8>().prop_map(Some), (-60..-10i8).prop_map(Some)],
        prop_oneof![0..400usize, Just(usize::MAX)],
        prop::bool::weighted(0.1),
    )
        .prop_map(|(level, payload, dtx)| Heard { level, payload, dtx });
    let step = prop_oneof![
        4 => (key.clone(), heard).prop_map(|(key, heard)| Step::Heard(key, heard)),
        6 => (key.clone(), any::<i8>(), 1..80u8).prop_map(|(k, l, n)| Step::Run(k, l, n)),
        6 => (key.clone(), -40..0i8, 10..80u8).prop_map(|(k, l, n)| Step::Run(k, l, n)),
        2 => (0..3_000u16).prop_map(Step::Wait),
        3 => Just(Step::Turn),
        3 => Just(Step::Poll),
        1 => key.clone().prop_map(Step::Mute),
        1 => key.prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 0..120)
}

#[derive(Default)]
struct Watch {
    speakers: Speakers,
    changed_at: Option<Instant>,
    told: Vec<Instant>,
}

impl Watch {
    fn step(&mut self, now: &mut Instant, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Heard(who, heard) => self.hear(*now, *who, *heard)?,
            Step::Run(who, level, packets) => {
                for n in 0..*packets {
                    *now += Duration::from_millis(20);
                    // Two levels, so that a run is no hum.
                    let level = if n % 5 == 4 { level.saturating_sub(30) } else { *level };
                    self.hear(*now, *who, Heard { level: Some(level), payload: 60, dtx: false })?;
                    self.turn(*now)?;
                }
            }
            Step::Wait(ms) => *now += Duration::from_millis(u64::from(*ms)),
            Step::Turn => self.turn(*now)?,
            Step::Poll => {
                if self.speakers.poll_change(*now).is_some() {
                    let recent = self.told.iter().rev().nth(4);
                    prop_assert!(recent.is_none_or(|at| *now - *at >= Duration::from_secs(1)));
                    self.told.push(*now);
                }
            }
            Step::Mute(who) => self.speakers.mute(*who),
            Step::Remove(who) => {
                let was = self.speakers.dominant() == Some(*who);
                self.speakers.remove(*now, *who);
                prop_assert!(self.speakers.dominant() != Some(*who));
                prop_assert!(!self.speakers.voices.contains_key(who));
                if was {
                    self.changed_at = Some(*now);
                }
            }
        }
        self.holds()
    }

    fn hear(&mut self, now: Instant, who: usize, heard: Heard) -> Result<(), TestCaseError> {
        let sounding = self.speakers.voices.get(&who).is_some_and(|voice| voice.state.sounding);
        if let Some(onset) = self.speakers.heard(now, who, heard) {
            prop_assert_eq!(onset.who, who);
            prop_assert!(!sounding, "an onset is a beginning");
            prop_assert_eq!(self.speakers.audible(1), [who]);
            prop_assert!(self.speakers.next_deadline().is_some());
        }
        Ok(())
    }

    fn turn(&mut self, now: Instant) -> Result<(), TestCaseError> {
        let before = self.speakers.dominant();
        let turn = self.speakers.handle_timeout(now);
        prop_assert_eq!(turn.dominant, before != self.speakers.dominant());
        if turn.dominant {
            let since = self.changed_at.map(|at| now - at);
            prop_assert!(since.is_none_or(|since| since >= Duration::from_secs(1)), "{:?}", since);
            self.changed_at = Some(now);
        }
        Ok(())
    }

    fn holds(&self) -> Result<(), TestCaseError> {
        let speakers = &self.speakers;
        prop_assert!(speakers.dominant().is_none_or(|key| speakers.voices.contains_key(&key)));
        for keys in [speakers.recent(), speakers.audible(ORDER_MAX), &speakers.listed] {
            let mut sorted = keys.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), keys.len(), "nobody twice: {:?}", keys);
            prop_assert!(keys.iter().all(|key| speakers.voices.contains_key(key)), "{:?}", keys);
        }
        for (key, voice) in &speakers.voices {
            prop_assert_eq!(voice.state.listed, speakers.listed.contains(key));
        }
        prop_assert!(speakers.listed.is_empty() || speakers.next_deadline().is_some());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn laws(steps in steps()) {
        let mut now = Instant::now();
        let mut watch = Watch::default();
        for step in &steps {
            watch.step(&mut now, step)?;
        }
        // Then silence: all comes to rest, and nobody is dominant.
        for _ in 0..40 {
            now += Duration::from_millis(300);
            watch.turn(now)?;
            watch.step(&mut now, &Step::Poll)?;
        }
        prop_assert_eq!(watch.speakers.dominant(), None);
        prop_assert_eq!(watch.speakers.next_deadline(), None);
        prop_assert!(watch.speakers.listed.is_empty());
    }

    /// Sound that never lasts two packets is no onset, whatever its levels.
    #[test]
    fn clicks_are_no_onsets(
        clicks in prop::collection::vec((-60..=0i8, 2..30u8), 1..60),
        room in -127..=-70i8,
    ) {
        let mut now = Instant::now();
        let mut speakers = Speakers::default();
        let said = |level| Heard { level: Some(level), payload: 80, dtx: false };
        for (level, quiet) in clicks {
            prop_assert_eq!(speakers.heard(now, 0, said(level)), None);
            for _ in 0..quiet {
                now += Duration::from_millis(20);
                prop_assert_eq!(speakers.heard(now, 0, said(room)), None);
                speakers.handle_timeout(now);
            }
            now += Duration::from_millis(20);
        }
        prop_assert_eq!(speakers.dominant(), None);
        prop_assert!(speakers.recent().is_empty());
    }

    /// Sound 12 dB above a steady room is an onset with its second packet.
    #[test]
    fn sound_is_an_onset_with_its_second_packet(
        room in -127..=-20i8,
        louder in 12..60i8,
        quiet in 60..600u32,
    ) {
        let mut now = Instant::now();
        let mut speakers = Speakers::default();
        let said = |level| Heard { level: Some(level), payload: 80, dtx: false };
        for _ in 0..quiet {
            speakers.heard(now, 0, said(room));
            now += Duration::from_millis(20);
            speakers.handle_timeout(now);
        }
        // The hum's own beginning may have been an onset; it is over.
        now += Duration::from_millis(1_500);
        speakers.handle_timeout(now);
        let sound = said(room.max(-75).saturating_add(louder).min(0));
        prop_assume!(sound.level.is_some_and(|level| level - room.max(-75) >= 12));
        prop_assert_eq!(speakers.heard(now, 0, sound), None);
        let onset = speakers.heard(now + Duration::from_millis(20), 0, sound);
        prop_assert!(onset.is_some());
    }
}
