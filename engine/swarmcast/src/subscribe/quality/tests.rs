use swarmcast_core::catalogue::{AccessUnit, Track, TrackKind};
use swarmcast_core::health::PathKind;
use swarmcast_core::ids::{Epoch, MediaTime};

use super::*;
use crate::data_track;
use crate::event::Delivery;

const SECOND: u64 = 1_000_000;
const DELAY: Duration = Duration::from_secs(1);
const HOLD_DOWN: Duration = Duration::from_secs(4);

fn rendition(place: u8, bitrate: u32) -> Rendition {
    Rendition { key: StreamKey([place; 32]), name: format!("cam {place}"), width: 64, height: 64, bitrate }
}

fn opened(place: u8) -> Event {
    let track = Track { kind: TrackKind::Video, ..data_track(TrackId(0)) };
    let catalogue = Catalogue {
        name: "cam".to_owned(),
        expiry: Catalogue::EXPIRY,
        tracks: vec![track],
        renditions: vec![rendition(0, 900), rendition(1, 300), rendition(2, 600)],
        multicast: None,
    };
    Event::Opened { key: StreamKey([place; 32]), epoch: Epoch(1), catalogue }
}

fn verdict(to: Verdict, reason: Option<Reason>) -> Event {
    let (path, last_media, since_last_fragment) = (PathKind::Mesh, None, None);
    Event::Verdict { from: Verdict::Joining, to, reason, path, last_media, since_last_fragment }
}

fn unit(due: u64) -> Event {
    let unit = AccessUnit {
        track: TrackId(0),
        dts: 0,
        pts: 0,
        duration: 0,
        key: false,
        disposable: false,
        payload: crate::Bytes::new(),
    };
    Event::AccessUnit(Delivery { unit, due: Now(due), closed: None })
}

fn gap(cause: GapCause) -> Event {
    Event::Gap { track: None, from: MediaTime(0), to: MediaTime(1), cause }
}

/// A ladder that plays a rendition from time 0, and is live.
fn playing(choice: Quality, place: u8) -> Ladder {
    let mut ladder = Ladder::new(choice, HOLD_DOWN, DELAY);
    ladder.witness(Now(0), &opened(place));
    ladder.witness(Now(0), &verdict(Verdict::Live, None));
    ladder
}

fn wish(ladder: &Ladder, seconds: u64) -> Option<(usize, QualityCause)> {
    ladder.wish(Now(seconds * SECOND)).map(|Wish { to, cause }| (to, cause))
}

#[test]
fn trouble_leads_one_rung_down_once_it_is_settled() {
    let down = [
        (Event::Overrun { access_units: 1 }, QualityCause::Overrun),
        (verdict(Verdict::Degraded, Some(Reason::Overrun)), QualityCause::Overrun),
        (verdict(Verdict::Starved, Some(Reason::Overrun)), QualityCause::Overrun),
        (verdict(Verdict::Starved, Some(Reason::ExcessLoss)), QualityCause::Capacity),
        (gap(GapCause::Shed), QualityCause::Capacity),
    ];
    for (event, cause) in down {
        let mut ladder = playing(Quality::Auto, 0);
        ladder.witness(Now(SECOND), &event);
        assert_eq!(wish(&ladder, 1), None, "that of before");
        ladder.witness(Now(3 * SECOND), &event);
        assert_eq!(wish(&ladder, 3), Some((2, cause)), "{event:?}");
        let mut lowest = playing(Quality::Auto, 1);
        lowest.witness(Now(3 * SECOND), &event);
        assert_eq!(wish(&lowest, 3), None, "there is nothing below");
    }
    let mut ladder = playing(Quality::Auto, 0);
    for event in [
        verdict(Verdict::Starved, Some(Reason::PublisherGone)),
        verdict(Verdict::Starved, Some(Reason::NetworkDown)),
        verdict(Verdict::Degraded, Some(Reason::ExcessLoss)),
        gap(GapCause::Late),
    ] {
        ladder.witness(Now(3 * SECOND), &event);
        assert_eq!(wish(&ladder, 3), None, "{event:?}");
    }
    ladder.witness(Now(4 * SECOND), &gap(GapCause::Late));
    assert_eq!(wish(&ladder, 4), Some((2, QualityCause::Capacity)), "two gaps are no accident");
}

#[test]
fn pictures_that_come_late_lead_down_before_anything_is_missing() {
    let mut ladder = playing(Quality::Auto, 0);
    let mut at = |millis: u64, in_hand: Option<u64>| {
        let now = 3 * SECOND + millis * 1_000;
        in_hand.into_iter().for_each(|hand| ladder.witness(Now(now), &unit(now + hand * 1_000)));
        ladder.look(Now(now));
        ladder.wish(Now(now)).map(|wish| wish.cause)
    };
    let repair = [at(0, Some(900)), at(300, None), at(500, None), at(600, Some(900))];
    assert_eq!(repair, [None; 4], "the time in hand runs out for 100 ms");
    assert_eq!([at(1_010, None), at(1_100, Some(490)), at(1_250, None)], [None; 3]);
    assert_eq!(at(1_260, Some(450)), Some(QualityCause::Capacity));
}

#[test]
fn a_longer_delay_tells_earlier() {
    let low = |delay: u64, in_hand: u64| {
        let mut ladder = Ladder::new(Quality::Auto, HOLD_DOWN, Duration::from_millis(delay));
        ladder.witness(Now(0), &opened(0));
        ladder.witness(Now(0), &verdict(Verdict::Live, None));
        ladder.witness(Now(3 * SECOND), &unit(4 * SECOND + in_hand * 1_000));
        [3_000, 3_999, 4_000, 4_300].into_iter().for_each(|now| ladder.look(Now(now * 1_000)));
        ladder.suffers()
    };
    let limits = [(200, 100), (1_000, 500), (2_000, 1_500), (8_000, 6_000)];
    for (delay, least) in limits {
        assert!(low(delay, least - 10) && !low(delay, least + 310), "{delay} ms");
    }
}

#[test]
fn a_publisher_that_has_nothing_to_send_is_no_trouble() {
    let mut ladder = playing(Quality::Auto, 0);
    ladder.witness(Now(3 * SECOND), &unit(4 * SECOND));
    ladder.witness(Now(3_300_000), &verdict(Verdict::Paused, None));
    (33..60).for_each(|tenth| ladder.look(Now(tenth * 100_000)));
    assert_eq!(wish(&ladder, 6), None);
}

#[test]
fn it_goes_up_after_the_hold_down_which_doubles_with_each_relapse() {
    let mut ladder = playing(Quality::Auto, 1);
    assert_eq!((wish(&ladder, 3), wish(&ladder, 4)), (None, Some((2, QualityCause::Clean))));
    ladder.witness(Now(3 * SECOND), &gap(GapCause::Late));
    assert_eq!(
        (wish(&ladder, 4), wish(&ladder, 7)),
        (None, Some((2, QualityCause::Clean))),
        "not clean before"
    );
    ladder.witness(Now(8 * SECOND), &verdict(Verdict::Starved, None));
    assert_eq!(wish(&ladder, 20), None, "what is starved is not clean");
    ladder.witness(Now(8 * SECOND), &verdict(Verdict::Live, None));

    let up = ladder.wish(Now(8 * SECOND)).unwrap();
    ladder.switched(Now(8 * SECOND), up);
    ladder.witness(Now(8 * SECOND), &opened(2));
    ladder.witness(Now(11 * SECOND), &gap(GapCause::Shed));
    let down = ladder.wish(Now(11 * SECOND)).unwrap();
    assert_eq!(down, Wish { to: 1, cause: QualityCause::Capacity });
    ladder.switched(Now(11 * SECOND), down);
    ladder.witness(Now(11 * SECOND), &opened(1));
    assert_eq!((wish(&ladder, 18), wish(&ladder, 19)), (None, Some((2, QualityCause::Clean))), "8 s");
    let up = ladder.wish(Now(20 * SECOND)).unwrap();
    ladder.failed(Now(20 * SECOND), up);
    assert_eq!((wish(&ladder, 35), wish(&ladder, 36)), (None, Some((2, QualityCause::Clean))), "16 s");
}

#[test]
fn it_goes_up_from_the_lowest_that_was_in_trouble_too() {
    let mut ladder = playing(Quality::Auto, 1);
    ladder.witness(Now(3 * SECOND), &gap(GapCause::Shed));
    ladder.look(Now(6 * SECOND));
    assert_eq!((ladder.suffers(), wish(&ladder, 6)), (true, None), "there is nothing lower");
    ladder.look(Now(7 * SECOND));
    assert_eq!((ladder.suffers(), wish(&ladder, 7)), (false, Some((2, QualityCause::Clean))));
}

#[test]
fn it_goes_down_without_a_hold_down_too() {
    let mut ladder = Ladder::new(Quality::Auto, Duration::ZERO, DELAY);
    ladder.witness(Now(0), &opened(2));
    ladder.witness(Now(3 * SECOND), &gap(GapCause::Shed));
    ladder.look(Now(3 * SECOND));
    assert_eq!(wish(&ladder, 3), Some((1, QualityCause::Capacity)));
}

#[test]
fn a_quality_that_was_chosen_is_left_for_another_choice_alone() {
    let mut ladder = playing(Quality::Highest, 0);
    ladder.witness(Now(3 * SECOND), &Event::Overrun { access_units: 1 });
    assert_eq!(wish(&ladder, 3), None);
    ladder.choose(Quality::Lowest);
    assert_eq!(wish(&ladder, 3), Some((1, QualityCause::Asked)));
    ladder.choose(Quality::Index(0));
    assert_eq!(wish(&ladder, 3), None);
}
