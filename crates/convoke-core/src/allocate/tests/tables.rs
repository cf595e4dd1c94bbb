//! What is given for what, case by case.

use super::*;
use crate::allocate::Reason;
use crate::allocate::upstream::union;

/// What a subscriber is given at once.
fn given(estimate_bps: Option<u64>, tiles: Vec<Tile>) -> String {
    let mut viewer = Viewer::new(tiles);
    let decisions = viewer.call(estimate_bps);
    show(&viewer.tiles, &decisions).join(", ")
}

#[track_caller]
fn check(kbps: u64, tiles: &[Tile], expected: &str) {
    assert_eq!(given(Some(kbps * K), tiles.to_vec()), expected, "at {kbps} kbit/s");
}

#[test]
fn a_wish_is_met_by_the_smallest_rung_that_covers_it() {
    check(9_000, &[camera()], "720p30 Wish");
    check(9_000, &[camera().height(90)], "180p30 Wish");
    check(9_000, &[camera().height(180)], "180p30 Wish");
    check(9_000, &[camera().height(190)], "180p30 Wish"); // a border does not count
    check(9_000, &[camera().height(220)], "360p30 Wish");
    check(9_000, &[camera().height(360)], "360p30 Wish");
    check(9_000, &[camera().height(2160)], "720p30 Wish");
    check(9_000, &[camera().wish(Wish::Hidden)], "- Invisible");
    check(9_000, &[camera().wish(Wish::from_pixels(Some(0), None))], "- Invisible");
    check(9_000, &[camera().wish(Wish::from_pixels(None, None))], "720p30 Wish");
    check(9_000, &[camera().wish(Wish::from_pixels(None, Some(180)))], "180p30 Wish");
    check(9_000, &[camera().wish(Wish::from_pixels(Some(640), None))], "360p30 Wish");
    // Fitted whole into an upright box, 320 pixels of width are all there is room for.
    check(9_000, &[camera().wish(Wish::from_pixels(Some(320), Some(700)))], "180p30 Wish");
}

#[test]
fn a_frame_rate_is_met_within_the_size() {
    let camera = || camera().rungs(full());
    check(9_000, &[camera()], "720p30 Wish");
    check(9_000, &[camera().fps(15)], "720p15 Wish");
    check(9_000, &[camera().fps(14)], "720p15 Wish"); // rates are measured
    check(9_000, &[camera().fps(12)], "720p8 Wish");
    check(9_000, &[camera().fps(1)], "720p8 Wish"); // there is no slower one
    check(9_000, &[camera().fps(15).height(180)], "180p15 Wish");
}

#[test]
fn temporal_rungs_lie_between_spatial_ones() {
    let camera = || [camera().rungs(full())];
    check(99, &camera(), "- Paused");
    check(100, &camera(), "180p8 Bandwidth");
    check(161, &camera(), "180p15 Bandwidth");
    check(219, &camera(), "180p30 Bandwidth");
    check(340, &camera(), "180p30 Bandwidth"); // 360p8 would be no gain
    check(449, &camera(), "360p15 Bandwidth");
    check(622, &camera(), "360p30 Bandwidth");
    check(1_427, &camera(), "720p15 Bandwidth");
    check(2_001, &camera(), "720p30 Wish");
    // A screen is for reading.
    check(740, &[screen()], "1080p5 Bandwidth");
    // A camera that has no more frames is not kept small for it.
    let dark =
        || camera().map(|tile| tile.rungs(vec![rung(0, 0, 90, 180, 10), rung(1, 0, 300, 360, 10)]));
    check(400, &dark(), "360p10 Wish");
}

/// Given when nothing was measured, all of the largest size turns out to be a quarter of its frames.
#[test]
fn a_large_picture_that_turns_out_choppy_makes_way_for_one_that_moves() {
    let declared =
        vec![rung(0, 0, 100, 180, 20), rung(1, 0, 350, 360, 20), rung(2, 0, 600, 720, 20)];
    let mut viewer = Viewer::new(vec![camera().rungs(declared)]);
    assert_eq!(viewer.shown(950 * K), ["720p20 Wish"]);
    let measured = |slowest| {
        let mut rungs = full();
        rungs[6].fps = slowest;
        rungs
    };
    viewer.tiles = vec![camera().rungs(measured(10))];
    assert_eq!(viewer.shown(950 * K), ["720p10 Bandwidth"], "from there the rest is near");
    viewer.tiles = vec![camera().rungs(measured(5))];
    assert_eq!(viewer.shown(950 * K), ["360p30 Bandwidth"]);
}

#[test]
fn screens_come_first_then_priority_then_breadth() {
    check(2_600, &[camera(), screen()], "360p30 Bandwidth, 1080p30 Wish");
    check(1_900, &[camera(), screen()], "180p30 Bandwidth, 1080p30 Wish");
    check(740, &[camera().priority(255), screen()], "- Paused, 1080p5 Bandwidth");
    check(510, &[camera(), screen().priority(9), screen()], "- Paused, 720p30 Bandwidth, - Paused");
    check(2_200, &[camera(), camera().priority(9)], "180p30 Bandwidth, 720p30 Wish");
    check(800, &[camera(), camera().priority(9)], "180p30 Bandwidth, 360p30 Bandwidth");
    check(
        800,
        &[camera(), camera(), camera()],
        "180p30 Bandwidth, 180p30 Bandwidth, 180p30 Bandwidth",
    );
    check(
        990,
        &[camera(), camera(), camera()],
        "360p30 Bandwidth, 180p30 Bandwidth, 180p30 Bandwidth",
    );
    check(350, &[camera(), camera(), camera()], "180p30 Bandwidth, 180p30 Bandwidth, - Paused");
    check(200, &[camera(), camera(), camera()], "180p30 Bandwidth, - Paused, - Paused");
    check(9_000, &[camera().height(180), camera()], "180p30 Wish, 720p30 Wish");
    // Small pictures grow before large ones, whatever their number of rungs.
    let fine = camera().rungs(full());
    check(460, &[camera(), fine], "180p30 Bandwidth, 180p30 Bandwidth");
    // What is too dear for the first is not kept from the second.
    let heavy = camera().rungs(vec![rung(0, 0, 4_000, 1080, 30)]);
    check(400, &[heavy, camera()], "- Paused, 180p30 Bandwidth");
}

#[test]
fn audio_comes_before_all() {
    check(189, &[camera()], "- Paused");
    check(190, &[camera()], "180p30 Bandwidth");
    check(20, &[screen(), camera()], "- Paused, - Paused");
    check(0, &[camera()], "- Paused");
}

#[test]
fn only_what_flows_is_given() {
    check(9_000, &[camera().flowing(&[0, 1])], "360p30 NotPublished");
    check(9_000, &[camera().flowing(&[])], "- NotPublished");
    check(9_000, &[camera().rungs(vec![])], "- NotPublished");
    check(9_000, &[camera().flowing(&[0, 1]).height(360)], "360p30 Wish");
    check(600, &[camera().flowing(&[0, 2])], "180p30 Bandwidth");
    check(9_000, &[camera().flowing(&[0, 2]).height(360)], "180p30 NotPublished");
    check(9_000, &[camera().flowing(&[2]).height(180)], "720p30 Wish"); // better than nothing
    check(9_000, &[camera().flowing(&[]).wish(Wish::Hidden)], "- Invisible");
}

#[test]
fn odd_measurements() {
    // A still screen costs little in full.
    let still = vec![rung(0, 0, 90, 720, 30), rung(1, 0, 60, 1080, 30)];
    check(120, &[screen().rungs(still)], "1080p30 Wish");
    // Nobody climbs to what is not measured; but it may be all there is.
    let unknown = vec![rung(0, 0, 150, 180, 30), rung(1, 0, 0, 360, 30)];
    check(9_000, &[camera().rungs(unknown)], "180p30 NotPublished");
    check(100, &[camera().rungs(vec![rung(0, 0, 0, 180, 30)])], "180p30 Wish");
    // Sizes not known: the best there is, whatever is wished.
    let blind = vec![rung(0, 0, 150, 0, 0), rung(1, 0, 500, 0, 0)];
    check(9_000, &[camera().rungs(blind).height(180)], "0p0 Wish");
    // In any order, and more than once.
    let mut mixed = full();
    mixed.reverse();
    mixed.extend(full());
    check(622, &[camera().rungs(mixed)], "360p30 Bandwidth");
    // Beyond all bounds.
    let absurd = vec![Rung { bitrate_bps: u64::MAX, width: u32::MAX, ..rung(0, 0, 0, 1, 1) }];
    assert_eq!(given(Some(u64::MAX), vec![camera().rungs(absurd); 2]), "1p1 Wish, 1p1 Wish");
}

#[test]
fn without_an_estimate_everyone_is_shown_and_upgrades_share_a_fixed_sum() {
    assert_eq!(given(None, vec![camera()]), "720p30 Wish");
    assert_eq!(given(None, vec![screen(), camera()]), "1080p30 Wish, 360p30 Bandwidth");
    let heavy = camera().rungs(vec![rung(0, 0, 4_000, 1080, 30)]);
    assert_eq!(given(None, vec![heavy]), "1080p30 Wish");
    let many = given(None, vec![camera(); 49]);
    assert_eq!(many.matches("180p30 Bandwidth").count(), 49);
}

#[test]
fn totals() {
    let totals = |kbps: u64, tiles: &[Tile]| {
        let wants = wants(tiles);
        let demand = Demand { estimate_bps: Some(kbps * K), audio_bps: AUDIO_BPS, wants: &wants };
        let allocation = allocate(Instant::now(), &demand, &mut State::default());
        let probe = allocation.probe_to_bps.map(|bps| bps / K);
        (allocation.allocated_bps / K, allocation.desired_bps / K, probe)
    };
    let desired = |kbps: u64| (kbps + 40) * 115 / 100;
    assert_eq!(totals(0, &[camera()]), (0, desired(1_700), Some(desired(150))));
    assert_eq!(totals(300, &[camera()]), (150, desired(1_700), Some(desired(500))));
    assert_eq!(totals(9_000, &[camera()]), (1_700, desired(1_700), None));
    assert_eq!(totals(9_000, &[camera().height(180)]), (150, desired(150), None));
    assert_eq!(totals(9_000, &[camera().wish(Wish::Hidden)]), (0, desired(0), None));
    assert_eq!(totals(9_000, &[]), (0, desired(0), None));
    // What is wished but not sent yet is aimed at, though no upgrade could follow from it.
    assert_eq!(totals(9_000, &[camera().flowing(&[0])]), (150, desired(1_700), None));
    // The screen's next rung stands before the cameras' first.
    let both = totals(400, &[camera(), screen()]);
    assert_eq!(both, (350, desired(3_200), Some(desired(550))));
}

#[test]
fn publishers_are_asked_for_one_size_more_than_bandwidth_allows() {
    let asked = |kbps: u64, tile: Tile| {
        let mut viewer = Viewer::new(vec![tile]);
        viewer.call(Some(kbps * K))[0].upstream
    };
    assert_eq!(asked(9_000, camera()), Some(layer(2, 0)));
    assert_eq!(asked(9_000, camera().height(360)), Some(layer(1, 0)));
    assert_eq!(asked(300, camera()), Some(layer(1, 0)));
    assert_eq!(asked(700, camera()), Some(layer(2, 0)));
    assert_eq!(asked(0, camera()), Some(layer(0, 0)));
    assert_eq!(asked(0, camera().rungs(full())), Some(layer(0, 2)));
    assert_eq!(asked(300, camera().height(180)), Some(layer(0, 0)));
    // Nothing flows yet: the first who watches gets the publisher going.
    assert_eq!(asked(300, camera().flowing(&[])), Some(layer(2, 0)));
    assert_eq!(asked(9_000, camera().wish(Wish::Hidden)), None);
    assert_eq!(asked(9_000, camera().rungs(vec![])), None);

    assert_eq!(union([]), None);
    assert_eq!(union([None, None]), None);
    assert_eq!(union([Some(layer(0, 2)), None, Some(layer(1, 0))]), Some(layer(1, 0)));
    assert_eq!(union([Some(layer(1, 0)), Some(layer(1, 2))]), Some(layer(1, 2)));
}

#[test]
fn another_track_takes_over_what_the_slot_had() {
    // 2.0 Mbit/s carry 720p, but not with headroom.
    let mut viewer = Viewer::new(vec![camera()]);
    viewer.call(Some(3_000 * K));
    viewer.now += Duration::from_secs(60);
    assert_eq!(viewer.call(Some(1_800 * K))[0].reason, Reason::Wish);
    viewer.tiles[0].track = 77;
    assert_eq!(viewer.call(Some(1_800 * K))[0].reason, Reason::Wish);
    // One that needs more has to wait like everyone.
    viewer.tiles[0] = camera().rungs(full());
    viewer.tiles[0].rungs[8].bitrate_bps = 1_750 * K;
    viewer.tiles[0].track = 78;
    let decisions = viewer.call(Some(1_800 * K));
    assert_eq!(show(&viewer.tiles, &decisions), ["720p15 Bandwidth"]);
}
