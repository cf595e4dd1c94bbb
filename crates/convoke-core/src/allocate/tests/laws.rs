//! Laws, for any wants and any course of the estimate.

use proptest::prelude::*;

use super::*;
use crate::allocate::Reason;
use crate::allocate::plan::{AtBest, at_best};

/// A ladder of up to three sizes and three frame rates, mostly but not always dearer upward.
fn ladder() -> impl Strategy<Value = Vec<Rung>> {
    let steps = prop::collection::vec((5..400u64, prop::bool::weighted(0.9)), 9);
    (1..=3u8, 1..=3u8, steps).prop_map(|(sizes, rates, steps)| {
        let mut kbps = 0;
        let mut rungs = Vec::new();
        for (index, (more, flowing)) in (0..sizes * rates).zip(steps) {
            kbps += more;
            let (size, rate) = (index / rates, index % rates);
            // A size's lowest rate is sometimes cheaper than the highest of the size below.
            let cheaper = if rate == 0 && more % 3 == 0 { kbps / 4 } else { 0 };
            let fps = 30 >> (rates - 1 - rate);
            let rung = rung(size, rate, kbps - cheaper, 180 << size, fps);
            rungs.push(Rung { flowing, ..rung });
        }
        rungs
    })
}

/// A ladder all of which flows, each rung dearer than the one below.
fn steady_ladder() -> impl Strategy<Value = Vec<Rung>> {
    prop::collection::vec(20..600u64, 1..=3).prop_map(|steps| {
        let mut kbps = 0;
        let rung = |(size, more): (u8, u64)| {
            kbps += more;
            rung(size, 0, kbps, 180 << size, 30)
        };
        (0..).zip(steps).map(rung).collect()
    })
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let height = prop::sample::select(vec![90, 180, 200, 360, 720, 1080]);
    prop_oneof![
        2 => Just(Wish::Any),
        1 => Just(Wish::Hidden),
        5 => height.prop_map(|height| Wish::from_pixels(None, Some(height))),
    ]
}

fn tile_of(rungs: impl Strategy<Value = Vec<Rung>>) -> impl Strategy<Value = Tile> {
    let kind = prop_oneof![1 => Just(Kind::Screen), 3 => Just(Kind::Camera)];
    let fps_max = prop::option::weighted(0.3, 5..40u32);
    (kind, 0..3u8, any_wish(), fps_max, rungs).prop_map(|(kind, priority, wish, fps_max, rungs)| {
        Tile { track: 0, kind, priority, wish, fps_max, rungs }
    })
}

fn tiles(most: usize) -> impl Strategy<Value = Vec<Tile>> {
    prop::collection::vec(tile_of(ladder()), 0..most)
}

/// An estimate for each 100 ms: a base that moves now and then, with noise on top.
fn course() -> impl Strategy<Value = Vec<u64>> {
    let stretch = (0..3_000u64, 1..60usize, prop::collection::vec(80..120u64, 7));
    prop::collection::vec(stretch, 1..25).prop_map(|stretches| {
        let of = |(kbps, calls, noise): (u64, usize, Vec<u64>)| {
            noise.into_iter().cycle().take(calls).map(move |noise| kbps * K * noise / 100)
        };
        stretches.into_iter().flat_map(of).collect()
    })
}

/// A course that never comes to half as much again as anything that it was: nobody is relieved.
fn narrow_course() -> impl Strategy<Value = Vec<u64>> {
    let stretch = (100..148u64, 1..60usize);
    (0..2_000u64, prop::collection::vec(stretch, 1..25)).prop_map(|(kbps, stretches)| {
        let of = |(share, calls)| std::iter::repeat_n(kbps * K * share / 100, calls);
        stretches.into_iter().flat_map(of).collect()
    })
}

/// Any course, and how often a slot may switch in it in a minute, a pause among them: more often only where
/// a path is relieved (see `allocate.md`, 3).
fn flapping() -> impl Strategy<Value = (Vec<u64>, usize)> {
    prop_oneof![
        course().prop_map(|course| (course, 9)),
        narrow_course().prop_map(|course| (course, 7)),
    ]
}

fn best(tiles: &[Tile], limit_bps: u64) -> AtBest {
    let wants = wants(tiles);
    let demand = Demand { estimate_bps: None, audio_bps: AUDIO_BPS, wants: &wants };
    at_best(Instant::now(), &demand, limit_bps)
}

fn cost(ladder: &[crate::allocate::ladder::Foot], level: usize) -> u64 {
    level.checked_sub(1).map_or(0, |index| ladder[index].bitrate_bps)
}

fn total(best: &AtBest) -> u64 {
    AUDIO_BPS + best.granted.iter().map(|(ladder, level)| cost(ladder, *level)).sum::<u64>()
}

fn rank(tile: &Tile) -> (bool, u8) {
    (tile.kind == Kind::Camera, u8::MAX - tile.priority)
}

fn has_video(best: &AtBest) -> bool {
    best.granted.iter().any(|(_, level)| *level > 0)
}

proptest! {
    #[test]
    fn the_sum_fits_and_nothing_that_fits_is_withheld(tiles in tiles(9), kbps in 0..9_000u64) {
        let best = best(&tiles, kbps * K);
        let spent_bps = total(&best);
        prop_assert!(spent_bps <= kbps * K || !has_video(&best));
        for (ladder, level) in best.granted.iter().filter(|(ladder, level)| *level < ladder.len()) {
            let more_bps = cost(ladder, level + 1) - cost(ladder, *level);
            prop_assert!(spent_bps + more_bps > kbps * K);
        }
    }

    #[test]
    fn more_estimate_is_never_worse(tiles in tiles(9), kbps in 0..5_000u64, more in 0..3_000u64) {
        let (less, more) = (best(&tiles, kbps * K), best(&tiles, (kbps + more) * K));
        // The first step, in the order of service, that is decided otherwise is decided for more.
        prop_assert!(more.grants >= less.grants, "{:?} {:?}", less.grants, more.grants);
        // So whoever is first among all is never worse off by itself.
        let first = (0..tiles.len()).min_by_key(|index| rank(&tiles[*index]));
        let alone = first.filter(|first| {
            tiles.iter().filter(|tile| rank(tile) == rank(&tiles[*first])).count() == 1
        });
        if let Some(first) = alone {
            prop_assert!(more.granted[first].1 >= less.granted[first].1);
        }
    }

    #[test]
    fn enough_is_enough(tiles in tiles(9)) {
        let all = best(&tiles, u64::MAX);
        prop_assert!(all.granted.iter().all(|(ladder, level)| *level == ladder.len()));
        let same = best(&tiles, total(&all));
        prop_assert_eq!(all.grants, same.grants);
    }

    #[test]
    fn a_wish_of_lower_rank_harms_nobody(
        tiles in tiles(9),
        mut extra in tile_of(ladder()),
        kbps in 0..5_000u64,
    ) {
        extra.kind = Kind::Camera;
        extra.priority = 0;
        let without: Vec<Tile> = tiles.into_iter().map(|tile| {
            let priority = tile.priority + 1;
            tile.priority(priority)
        }).collect();
        let mut with = without.clone();
        with.push(extra);
        let mut granted = best(&with, kbps * K).granted;
        granted.pop();
        prop_assert_eq!(granted, best(&without, kbps * K).granted);
    }

    #[test]
    fn among_equals_breadth_comes_first(
        tiles in prop::collection::vec(tile_of(ladder()), 2..9),
        kbps in 0..5_000u64,
    ) {
        let best = best(&tiles, kbps * K);
        let each = || tiles.iter().zip(&best.granted);
        for (tile, (ladder, level)) in each() {
            if *level > 0 || ladder.is_empty() {
                continue;
            }
            let before = each().filter(|(other, _)| rank(other) < rank(tile));
            let before_bps: u64 = before.map(|(_, (ladder, level))| cost(ladder, *level)).sum();
            let equals = each().filter(|(other, (_, level))| rank(other) == rank(tile) && *level > 0);
            let lowest_bps: u64 = equals.map(|(_, (ladder, _))| cost(ladder, 1)).sum();
            // Even if all equals had but their lowest, it would not fit.
            prop_assert!(AUDIO_BPS + before_bps + lowest_bps + cost(ladder, 1) > kbps * K);
        }
    }

    #[test]
    fn never_more_than_the_wish(tile in tile_of(ladder()), kbps in 0..9_000u64) {
        let mut viewer = Viewer::new(vec![tile.clone()]);
        let decision = viewer.call(Some(kbps * K))[0];
        let flowing = || tile.rungs.iter().filter(|rung| rung.flowing);
        let given = tile.rungs.iter().find(|rung| Some(rung.layer) == decision.rung);
        prop_assert!(given.is_none_or(|given| given.flowing));
        let Wish::Within { height, .. } = tile.wish else {
            prop_assert!(tile.wish == Wish::Any || given.is_none());
            return Ok(());
        };
        let enough = tile.rungs.iter().map(|rung| rung.height).find(|h| h * 11 >= height * 10);
        if let (Some(given), Some(enough)) = (given, enough) {
            let nothing_less = flowing().all(|rung| rung.height >= given.height);
            prop_assert!(given.height <= enough || nothing_less, "{given:?} for {height}");
        }
    }
}

proptest! {
    // Each is some hundred calls.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_course_keeps_the_books(tiles in tiles(7), course in course()) {
        let mut viewer = Viewer::new(tiles);
        for estimate_bps in course {
            // The call itself checks the sum.
            let decisions = viewer.call(Some(estimate_bps));
            let short = decisions
                .iter()
                .any(|decision| matches!(decision.reason, Reason::Bandwidth | Reason::Paused));
            prop_assert_eq!(short, viewer.probe_to_bps.is_some());
            for (tile, decision) in viewer.tiles.iter().zip(&decisions) {
                let flows = tile.rungs.iter().any(|rung| rung.flowing);
                let hidden = tile.wish == Wish::Hidden;
                let expected = match (decision.reason, decision.rung) {
                    (Reason::Invisible, None) => hidden,
                    (Reason::NotPublished, None) => !hidden && !flows,
                    (Reason::Paused, None) => !hidden && flows,
                    (Reason::Wish | Reason::Bandwidth | Reason::NotPublished, Some(_)) => !hidden,
                    _ => false,
                };
                prop_assert!(expected, "{decision:?}");
                prop_assert_eq!(decision.upstream.is_none(), hidden || tile.rungs.is_empty());
                prop_assert!(hidden || decision.upstream >= decision.rung
                    || decision.reason == Reason::Wish);
            }
            viewer.now += Duration::from_millis(100);
        }
    }

    #[test]
    fn any_course_with_lower_wishes_is_the_same_for_higher_ones(
        tiles in prop::collection::vec(tile_of(ladder()), 1..5),
        extra in tile_of(ladder()),
        course in course(),
    ) {
        let raise = |tile: Tile| { let priority = tile.priority + 1; tile.priority(priority) };
        let without: Vec<Tile> = tiles.into_iter().map(raise).collect();
        let mut with = without.clone();
        with.push(Tile { kind: Kind::Camera, priority: 0, ..extra });
        let (mut without, mut with) = (Viewer::new(without), Viewer::new(with));
        for estimate_bps in course {
            let mut decisions = with.call(Some(estimate_bps));
            decisions.pop();
            prop_assert_eq!(decisions, without.call(Some(estimate_bps)));
            with.now += Duration::from_millis(100);
            without.now += Duration::from_millis(100);
        }
    }

    #[test]
    fn no_course_makes_a_slot_flap(
        tiles in prop::collection::vec(tile_of(steady_ladder()), 1..4),
        (course, most_of_all) in flapping(),
    ) {
        let mut viewer = Viewer::new(tiles);
        // What is counted begins after the first climb.
        let mut fallen_at = vec![None; viewer.tiles.len()];
        for estimate_bps in course {
            let before = viewer.last.clone();
            viewer.call(Some(estimate_bps));
            for (slot, was) in before.iter().enumerate() {
                if viewer.last[slot] < *was && fallen_at[slot].is_none() {
                    fallen_at[slot] = Some(viewer.now - viewer.start);
                }
            }
            viewer.now += Duration::from_millis(100);
        }
        for (slot, fallen_at) in fallen_at.iter().enumerate() {
            let from = fallen_at.unwrap_or(Duration::MAX);
            viewer.switches[slot].retain(|at| *at >= from);
            let most = viewer.most_in_a_minute(slot);
            prop_assert!(most <= most_of_all, "{most} switches: {:?}", viewer.switches[slot]);
        }
    }

    #[test]
    fn nobody_is_paused_while_the_lowest_fit_and_eight_switches_are_the_most(
        tiles in prop::collection::vec(tile_of(steady_ladder()), 1..5),
        course in course(),
    ) {
        let equal = |tile: Tile| Tile { kind: Kind::Camera, priority: 0, ..tile };
        let mut viewer = Viewer::new(tiles.into_iter().map(equal).collect());
        let lowest = |tile: &Tile| tile.rungs[0].bitrate_bps;
        let least_bps = AUDIO_BPS + viewer.tiles.iter().map(lowest).sum::<u64>();
        let mut fallen = vec![false; viewer.tiles.len()];
        for estimate_bps in course {
            let before = viewer.last.clone();
            let decisions = viewer.call(Some(least_bps + estimate_bps));
            prop_assert!(decisions.iter().all(|decision| decision.reason != Reason::Paused));
            for (slot, was) in before.iter().enumerate() {
                if viewer.last[slot] < *was && !fallen[slot] {
                    fallen[slot] = true;
                    viewer.switches[slot] = vec![viewer.now - viewer.start];
                }
            }
            viewer.now += Duration::from_millis(100);
        }
        for slot in (0..fallen.len()).filter(|slot| fallen[*slot]) {
            let most = viewer.most_in_a_minute(slot);
            prop_assert!(most <= 8, "{most} switches: {:?}", viewer.switches[slot]);
        }
    }

    /// However it began: with what is desired, called only when asked to, all is well in the end.
    #[test]
    fn everything_is_recovered(tiles in tiles(7), course in course()) {
        let mut viewer = Viewer::new(tiles);
        for estimate_bps in course {
            viewer.call(Some(estimate_bps));
            viewer.now += Duration::from_millis(100);
        }
        let wants = wants(&viewer.tiles);
        let demand = Demand { estimate_bps: None, audio_bps: AUDIO_BPS, wants: &wants };
        let desired_bps = allocate(viewer.now, &demand, &mut State::default()).desired_bps;
        let until = viewer.now + Duration::from_secs(75);
        let mut calls = 0;
        loop {
            viewer.call(Some(desired_bps));
            calls += 1;
            match viewer.again_at {
                Some(at) => {
                    prop_assert!(at > viewer.now, "a wait that is over");
                    viewer.now = at;
                }
                None => break,
            }
        }
        prop_assert!(viewer.now <= until && viewer.probe_to_bps.is_none());
        prop_assert!(calls <= 100, "{calls} calls");
    }
}
