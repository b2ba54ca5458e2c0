//! Reception: shares of loss, proof of life, and reports.

use super::*;
use crate::group::GroupSpec;
use crate::ids::Epoch;
use crate::seal::Sealer;
use crate::wire::Want;

const PATH: PathId = PathId(3);
/// Header and three shards.
const WHOLE: u64 = Want::HEADER | 0b111;
/// Time between two blocks.
const STEP: u64 = 20_000;

/// A window in which `count` blocks of three shards are known, one each 20 ms.
fn window(count: u64) -> Window {
    let group = GroupSpec::open("lobby").expect("a name");
    let sealer = Sealer::new(&group, &[1; 32], Epoch(1)).expect("a key");
    let mut window = Window::new(BlockId(0), 1 << 24, Duration::from_secs(60));
    for block in 0..count {
        let header = BlockHeader::unsealed(BlockId(block), Duration::ZERO);
        window.insert_header(Now(block * STEP), sealer.seal(header, &[0; 3000], 0).header);
    }
    window
}

/// Hears every block of a range as `word` tells, and judges a second behind it.
fn hear(reception: &mut Reception, window: &Window, blocks: std::ops::Range<u64>, word: impl Fn(u64) -> u64) {
    let end = blocks.end;
    for block in blocks.filter(|block| word(*block) != 0) {
        reception.handle_parts(Now(block * STEP), BlockId(block), word(block));
    }
    reception.judge(Now(end * STEP + 200_000), window);
}

#[test]
fn the_share_of_loss_follows_what_is_missing() {
    let (window, mut reception) = (window(1000), Reception::new(Now(0), 1));
    hear(&mut reception, &window, 0..1000, |block| if block % 2 == 0 { WHOLE } else { WHOLE & !1 });
    assert!((0.11..0.13).contains(&reception.loss()), "{}", reception.loss());
    let report = reception.report(Now(30_000_000), 0, (0, 0), (0, false));
    assert_eq!(report.received, 3500);
    assert!((485..=500).contains(&report.missed), "{}", report.missed);
}

#[test]
fn silence_and_gaps_of_a_known_cause_are_no_loss() {
    let (window, mut reception) = (window(1000), Reception::new(Now(0), 1));
    hear(&mut reception, &window, 0..200, |_| WHOLE);
    // A block of it is lost in the middle of a run, and counted.
    hear(&mut reception, &window, 200..300, |block| if block == 250 { 0 } else { WHOLE });
    let lossy = reception.loss();
    assert!(lossy > 0.0);
    // Ten blocks, 200 ms, go by before the system tells that it dropped them, or the group is joined again.
    reception.break_run();
    hear(&mut reception, &window, 310..400, |_| WHOLE);
    // And five seconds in which nothing comes.
    hear(&mut reception, &window, 400..650, |_| 0);
    hear(&mut reception, &window, 650..800, |_| WHOLE);
    assert!(reception.loss() < lossy, "{} {lossy}", reception.loss());
    assert_eq!(reception.report(Now(30_000_000), 0, (0, 0), (0, false)).missed, 4);
}

#[test]
fn three_beacons_prove_life_and_hasten_the_first_report() {
    let mut reception = Reception::new(Now(0), 1);
    let source = IpAddr::from([10, 0, 0, 1]);
    for (beacon, proves) in [(0, false), (0, false), (1, false), (2, true)] {
        reception.handle_beacon(Now(10), PATH, source, Duration::from_millis(250 * beacon), 7);
        assert_eq!(reception.proves(), proves, "{beacon}");
    }
    assert_eq!(reception.next_timeout(), Some(Now(57_010)));
    let report = reception.report(Now(57_010), 500, (90, 10), (0, false));
    assert_eq!((report.hears, report.source, report.due, report.lost), (true, Some(source), 100, 10));
    assert!(!reception.report(Now(900_000), 500, (90, 10), (0, false)).hears);
}

#[test]
fn a_crowd_reports_more_seldom() {
    let mut reception = Reception::new(Now(0), 1);
    reception.report(Now(0), 0, (0, 0), (250, false));
    assert_eq!(reception.next_timeout(), Some(Now(1_000_000)));
    (0..100).for_each(|_| reception.handle_other(Now(1)));
    reception.report(Now(2), 0, (0, 0), (250, false));
    assert_eq!(reception.next_timeout(), Some(Now(1_750_002)));
}
