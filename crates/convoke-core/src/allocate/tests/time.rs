//! How the allocator behaves in time: hysteresis, recovery, flapping, cost.

use super::*;
use crate::allocate::history::{Held, History};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Noise of `percent` around `bps`, the same in every run.
struct Noise(u64);

impl Noise {
    fn around(&mut self, bps: u64, percent: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let width = bps * percent / 100;
        bps - width + (self.0 >> 33) % (2 * width + 1)
    }
}

/// A triangle wave between `100 - percent` and `100 + percent` percent of `bps`.
fn wave(at: Duration, period: Duration, bps: u64, percent: u64) -> u64 {
    let phase = (at.as_millis() % period.as_millis()) as u64 * 400 / period.as_millis() as u64;
    let rise = if phase < 200 { phase } else { 400 - phase };
    bps * (100 - percent) / 100 + bps * percent * rise / 10_000
}

#[test]
fn down_at_the_next_call_and_up_after_the_hold() {
    let mut viewer = Viewer::new(vec![camera()]);
    assert_eq!(viewer.run(secs(30), |_| 3_000 * K), ["720p30 Wish"]);
    assert!(viewer.switches[0].is_empty());
    assert_eq!(viewer.run(secs(60), |_| 800 * K), ["360p30 Bandwidth"]);
    assert_eq!(viewer.switches[0], [secs(30)]);
    assert_eq!(viewer.run(secs(10), |_| 3_000 * K), ["720p30 Wish"]);
    assert_eq!(viewer.switches[0], [secs(30), secs(91)]);
}

#[test]
fn an_estimate_must_hold_to_be_believed() {
    let mut viewer = Viewer::new(vec![camera()]);
    viewer.run(secs(10), |_| 800 * K);
    // Peaks of 900 ms, for a minute.
    let peaks = |at: Duration| if at.as_millis() % 1_000 < 900 { 3_000 * K } else { 800 * K };
    assert_eq!(viewer.run(secs(60), peaks), ["360p30 Bandwidth"]);
    // Enough for the sum, but without headroom.
    assert_eq!(viewer.run(secs(60), |_| 2_000 * K), ["360p30 Bandwidth"]);
    assert_eq!(viewer.run(secs(2), |_| 2_001 * K), ["720p30 Wish"]);
    // Once there it stays as long as it fits, and not longer.
    assert_eq!(viewer.run(secs(60), |_| 1_740 * K), ["720p30 Wish"]);
    assert_eq!(viewer.run(secs(1), |_| 1_739 * K), ["360p30 Bandwidth"]);
}

#[test]
fn it_says_when_to_come_back() {
    let mut viewer = Viewer::new(vec![camera()]);
    viewer.call(Some(800 * K));
    assert_eq!(viewer.again_at, None);
    viewer.now += secs(5);
    viewer.call(Some(3_000 * K));
    assert_eq!(viewer.again_at, Some(viewer.now + secs(1)));
    viewer.now += secs(1);
    viewer.call(Some(3_000 * K));
    assert_eq!((viewer.last[0], viewer.again_at), (Some(layer(2, 0)), None));
}

#[test]
fn a_wish_that_grows_does_not_wait_for_an_estimate_that_has_held() {
    let mut viewer = Viewer::new(vec![camera().height(180)]);
    assert_eq!(viewer.run(secs(5), |_| 3_000 * K), ["180p30 Wish"]);
    viewer.tiles[0] = camera().height(720);
    assert_eq!(viewer.shown(3_000 * K), ["720p30 Wish"]);
    viewer.tiles[0] = camera().height(180);
    assert_eq!(viewer.shown(3_000 * K), ["180p30 Wish"]);
}

#[test]
fn whoever_comes_is_shown_at_once() {
    let mut viewer = Viewer::new(vec![camera(), camera().wish(Wish::Hidden)]);
    assert_eq!(viewer.run(secs(5), |_| 800 * K), ["360p30 Bandwidth", "- Invisible"]);
    viewer.tiles[1] = camera();
    // 690 of 700 kbit/s: no headroom is asked for a first picture.
    let shown = viewer.shown(700 * K);
    assert_eq!(shown, ["360p30 Bandwidth", "180p30 Bandwidth"]);
    // An equal gives way for it.
    viewer.tiles.push(camera());
    viewer.switches.push(Vec::new());
    let shown = viewer.shown(700 * K);
    assert_eq!(shown, ["180p30 Bandwidth"; 3]);
}

#[test]
fn a_screen_takes_from_cameras_at_once() {
    let mut viewer = Viewer::new(vec![camera(), screen().wish(Wish::Hidden)]);
    assert_eq!(viewer.run(secs(5), |_| 2_100 * K), ["720p30 Wish", "- Invisible"]);
    viewer.tiles[1] = screen();
    let shown = viewer.shown(2_100 * K);
    assert_eq!(shown, ["360p30 Bandwidth", "1080p30 Wish"]);
}

/// A link as an estimator sees it: what it carries, found again at 8 % a second after a fall.
fn step(at: Duration, fall: u64, relief: u64) -> u64 {
    let at = at.as_millis() as u64;
    if at < fall {
        3_000 * K
    } else if at < relief {
        680 * K
    } else {
        let percent = 100 + (at - relief) * 30 / 1_000;
        (680 * K * percent / 100).min(3_000 * K)
    }
}

#[test]
fn back_within_fifteen_seconds_of_relief() {
    for congested in [3, 8, 20, 60, 300] {
        let mut viewer = Viewer::new(vec![camera().rungs(full())]);
        let (fall, relief) = (20_000, 20_000 + congested * 1_000);
        viewer.run(secs(20 + congested + 15), |at| step(at, fall, relief));
        assert_eq!(viewer.last[0], Some(layer(2, 2)), "after {congested} s: {:?}", viewer.switches);
        assert_eq!(viewer.switches[0][0], secs(20));
        assert!(viewer.most_in_a_minute(0) <= 6, "{:?}", viewer.switches);
    }
}

#[test]
fn a_start_climbs_quickly_in_few_steps() {
    let mut viewer = Viewer::new(vec![camera().rungs(full())]);
    let ramp = |at: Duration| (300 + at.as_millis() as u64).min(5_000) * K;
    assert_eq!(viewer.run(secs(6), ramp), ["720p30 Wish"]);
    assert!(viewer.switches[0].len() <= 3, "{:?}", viewer.switches);
}

#[test]
fn the_hold_grows_with_each_climb_that_is_taken_back_and_time_forgives() {
    let mut viewer = Viewer::new(vec![camera()]);
    let mut waits = Vec::new();
    viewer.run(secs(5), |_| 1_000 * K);
    for _ in 0..12 {
        let from = viewer.now;
        while viewer.last[0] != Some(layer(2, 0)) {
            viewer.run(Duration::from_millis(100), |_| 2_100 * K);
        }
        waits.push((viewer.now - from).as_secs());
        viewer.run(secs(3), |_| 2_100 * K);
        viewer.run(secs(1), |_| 1_000 * K);
    }
    // The first few are also bound by the number of switches in a minute.
    assert_eq!(waits[0], 1);
    assert!(waits.iter().skip(6).all(|wait| (26..=30).contains(wait)), "{waits:?}");
    assert!(viewer.most_in_a_minute(0) <= 6);
    // Half as much again as what was too much is another path, so there is little to wait for.
    viewer.run(secs(30), |_| 1_000 * K);
    assert_eq!(viewer.run(Duration::from_millis(1_100), |_| 2_700 * K), ["720p30 Wish"]);
    // Minutes of calm.
    viewer.run(secs(1), |_| 1_000 * K);
    viewer.run(secs(400), |_| 1_000 * K);
    assert_eq!(viewer.run(Duration::from_millis(1_100), |_| 2_100 * K), ["720p30 Wish"]);
}

#[test]
fn what_shows_nothing_waits_eight_seconds_at_most() {
    let mut viewer = Viewer::new(vec![camera()]);
    let mut waits = Vec::new();
    viewer.run(secs(5), |_| 230 * K);
    for _ in 0..8 {
        viewer.run(secs(20), |_| 100 * K);
        let from = viewer.now;
        while viewer.last[0].is_none() {
            viewer.run(Duration::from_millis(100), |_| 230 * K);
        }
        waits.push((viewer.now - from).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 8, 8, 8, 8]);
    assert!(viewer.most_in_a_minute(0) <= 6);
}

#[test]
fn a_fall_that_the_estimate_did_not_cause_has_its_hold_too() {
    let mut viewer = Viewer::new(vec![camera()]);
    let encode = |viewer: &mut Viewer, kbps: u64| viewer.tiles[0].rungs[2].bitrate_bps = kbps * K;
    encode(&mut viewer, 1_500);
    assert_eq!(viewer.run(secs(25), |_| 1_800 * K), ["720p30 Wish"]);
    encode(&mut viewer, 1_900);
    assert_eq!(viewer.shown(1_800 * K), ["360p30 Bandwidth"]);
    encode(&mut viewer, 1_500);
    assert_eq!(viewer.run(secs(1), |_| 1_800 * K), ["360p30 Bandwidth"]);
    assert_eq!(viewer.shown(1_800 * K), ["720p30 Wish"]);
}

#[test]
fn a_slow_start_is_not_flapping() {
    let mut viewer = Viewer::new(vec![camera().rungs(full())]);
    let ramp = |at: Duration| (120 + at.as_millis() as u64 * 4 / 100) * K;
    assert_eq!(viewer.run(secs(50), ramp), ["720p30 Wish"]);
    assert_eq!(viewer.switches[0].len(), 6);
}

#[test]
fn equals_do_not_take_from_each_other_what_they_have() {
    let dear = camera().rungs(vec![rung(0, 0, 150, 180, 30), rung(1, 0, 500, 360, 30)]);
    let cheap = camera().rungs(vec![rung(0, 0, 150, 180, 30), rung(1, 0, 400, 360, 30)]);
    let mut viewer = Viewer::new(vec![dear, cheap]);
    assert_eq!(viewer.shown(680 * K), ["180p30 Bandwidth", "360p30 Wish"]);
    // The first could climb, if the second fell for it.
    assert_eq!(viewer.run(secs(60), |_| 900 * K), ["180p30 Bandwidth", "360p30 Wish"]);
    assert_eq!(viewer.run(secs(2), |_| 1_081 * K), ["360p30 Wish", "360p30 Wish"]);
}

#[test]
fn noise_in_measurements_takes_nothing_away() {
    // A better rung becomes the cheaper one: it is climbed to like any other.
    let mut viewer = Viewer::new(vec![camera()]);
    viewer.shown(200 * K);
    viewer.tiles[0].rungs[1].bitrate_bps = 140 * K;
    assert_eq!(viewer.run(secs(5), |_| 200 * K), ["180p30 Bandwidth"]);
    assert_eq!(viewer.run(secs(2), |_| 219 * K), ["360p30 Bandwidth"]);
    // A frame rate falls below what is worth climbing to.
    let mut viewer = Viewer::new(vec![camera().rungs(full())]);
    assert_eq!(viewer.shown(460 * K), ["360p15 Bandwidth"]);
    viewer.tiles[0].rungs[4].fps = 14;
    assert_eq!(viewer.run(secs(5), |_| 460 * K), ["360p14 Bandwidth"]);
}

#[test]
fn the_first_estimate_is_believed() {
    let mut viewer = Viewer::new(vec![screen(), camera()]);
    viewer.call(None);
    viewer.now += secs(10);
    viewer.call(None);
    assert_eq!(viewer.shown(3_727 * K), ["1080p30 Wish", "720p30 Wish"]);
    assert_eq!(viewer.shown(800 * K), ["1080p5 Bandwidth", "180p30 Bandwidth"]);
}

#[test]
fn history_is_exact_or_errs_on_the_long_side() {
    let start = Instant::now();
    let at = |index: u64| start + Duration::from_millis(100 * index);
    let mut history = History::default();
    for index in 0..200 {
        history.record(at(index), index);
    }
    assert_eq!(history.held(200), Held::No);
    assert_eq!(history.held(0), Held::Always);
    for bps in 1..200 {
        let Held::Since(since) = history.held(bps) else { panic!("{bps}") };
        assert!(since >= at(bps) && (bps < 140 || since == at(bps)), "{bps}");
    }
    // A dip makes forget what was above it; after half a minute it is forgotten itself.
    history.record(at(201), 50);
    history.record(at(202), 180);
    assert_eq!(history.held(100), Held::Since(at(202)));
    history.record(at(600), 180);
    assert_eq!(history.held(100), Held::Always);
}

#[test]
fn a_path_that_carries_nothing_is_probed_until_it_does() {
    let tiles = vec![screen(), camera().priority(3), camera(), camera().height(180)];
    let mut viewer = Viewer::new(tiles);
    let mut estimate_bps = 0;
    assert_eq!(viewer.run(secs(10), |_| 0), ["- Paused"; 4]);
    // An estimator that goes where it is sent, and never further.
    for _ in 0..600 {
        viewer.call(Some(estimate_bps));
        let Some(probe_to_bps) = viewer.probe_to_bps else { break };
        estimate_bps = estimate_bps.max(probe_to_bps);
        viewer.now += Duration::from_millis(500);
    }
    let shown = viewer.shown(estimate_bps);
    assert_eq!(shown, ["1080p30 Wish", "720p30 Wish", "720p30 Wish", "180p30 Wish"]);
    assert_eq!(estimate_bps, (1_500 + 1_700 + 1_700 + 150 + 40) * K * 115 / 100);
    assert!(viewer.now - viewer.start < secs(60), "{:?}", viewer.now - viewer.start);
}

/// BW-03: an estimate that swings around a rung's threshold, with noise, for ten minutes.
#[test]
fn bw_03_no_flapping_around_a_threshold() {
    // What a rung takes with audio, and what it asks for before it is climbed to.
    let thresholds = [100, 190, 390, 540, 1_740, 621, 2_001];
    for (percent, noise) in [(5, 0), (5, 3), (5, 10), (15, 5)] {
        for period in [2, 20, 45] {
            for threshold in thresholds {
                let mut random = Noise(threshold);
                let mut viewer = Viewer::new(vec![camera().rungs(full())]);
                viewer.run(secs(600), |at| {
                    random.around(wave(at, secs(period), threshold * K, percent), noise)
                });
                let most = viewer.most_in_a_minute(0);
                let all = viewer.switches[0].len();
                let case =
                    format!("{threshold} kbit/s ±{percent} % in {period} s, noise {noise} %");
                assert!(most <= 6, "{case}: {most} in a minute: {:?}", viewer.switches);
                // Within what the headroom covers, next to nothing happens at all.
                assert!(percent + noise > 8 || all <= 3, "{case}: {:?}", viewer.switches);
            }
        }
    }
}

#[test]
fn bw_03_a_gallery_around_a_threshold() {
    let mut random = Noise(7);
    let mut viewer = Viewer::new(vec![camera().rungs(full()); 9]);
    viewer.run(secs(600), |at| random.around(wave(at, secs(11), 2_000 * K, 5), 5));
    for slot in 0..9 {
        assert!(viewer.most_in_a_minute(slot) <= 6, "{:?}", viewer.switches[slot]);
    }
    assert!(viewer.last.iter().all(Option::is_some));
}

/// Bitrates swing as well: a noisy encoder at a steady estimate.
#[test]
fn bw_03_a_noisy_encoder() {
    let mut random = Noise(3);
    let mut viewer = Viewer::new(vec![camera()]);
    for _ in 0..6_000 {
        viewer.tiles[0].rungs[2].bitrate_bps = random.around(1_700 * K, 15);
        viewer.call(Some(1_800 * K));
        viewer.now += Duration::from_millis(100);
    }
    assert!(viewer.most_in_a_minute(0) <= 6, "{:?}", viewer.switches);
}

#[test]
fn the_cost_of_a_call_grows_with_what_it_is_given() {
    let work = |slots: usize| {
        let tiles = vec![camera().rungs(full()); slots];
        let wants = wants(&tiles);
        let demand = Demand { estimate_bps: Some(20_000 * K), audio_bps: AUDIO_BPS, wants: &wants };
        let mut state = State::default();
        let now = Instant::now();
        allocate(now, &demand, &mut state);
        allocate(now + secs(1), &demand, &mut state).work
    };
    let one = work(1);
    assert!(one <= 3 * 9, "{one}");
    assert_eq!(work(49), 49 * one);
    assert_eq!(work(490), 490 * one);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut viewer = Viewer::new(vec![camera(); 49]);
    let mut random = Noise(1);
    viewer.run(secs(60), |_| random.around(20_000 * K, 90));
    assert_eq!(viewer.state.slots.len(), 49);
    viewer.tiles.truncate(2);
    viewer.last.truncate(2);
    viewer.run(secs(1), |_| 20_000 * K);
    assert_eq!(viewer.state.slots.len(), 2);
    // Ever higher estimates in quick succession are the most there can be to remember.
    let mut rising = 0;
    viewer.run(secs(25), |_| {
        rising += 100;
        rising
    });
    assert!(viewer.state.history.len() <= 64, "{}", viewer.state.history.len());
}
