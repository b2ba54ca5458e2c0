use swarmcast_core::catalogue::{AccessUnit, TimeBase};
use swarmcast_core::ids::{MediaTime, StreamHandle};
use swarmcast_core::node::{Event as CoreEvent, GapCause};

use super::*;
use crate::data_track;

const STREAM: StreamHandle = StreamHandle(0);
const VIDEO: u8 = 0;
const SOUND: u8 = 1;
/// How long after its media time a unit is due, in microseconds.
const DELAY: i64 = 1_000_000;

fn catalogue(bitrate: u32) -> Catalogue {
    let track = |id, kind| Track { kind, bitrate, ..data_track(TrackId(id)) };
    Catalogue {
        name: "cam".to_owned(),
        expiry: Catalogue::EXPIRY,
        tracks: vec![
            track(VIDEO, TrackKind::Video),
            Track {
                time_base: TimeBase { numerator: 1, denominator: 1_000 },
                ..track(SOUND, TrackKind::Audio)
            },
        ],
        renditions: Vec::new(),
        multicast: None,
    }
}

/// A unit at a time in milliseconds; a picture every 100 ms and a key every second, a sound every 20 ms.
fn unit(track: u8, millis: i64) -> (AccessUnit, Now) {
    let (ticks, duration) = if track == VIDEO { (millis * 1_000, 100_000) } else { (millis, 20) };
    let key = track == SOUND || millis % 1_000 == 0;
    let (track, disposable, payload) = (TrackId(track), false, crate::Bytes::new());
    let unit = AccessUnit { track, dts: ticks, pts: ticks, duration, key, disposable, payload };
    (unit, Now((millis * 1_000 + DELAY) as u64))
}

fn delivery(track: u8, millis: i64) -> Delivery {
    let (unit, due) = unit(track, millis);
    Delivery { unit, due, closed: Some(Duration::ZERO) }
}

fn opened(epoch: u64) -> CoreEvent {
    CoreEvent::Opened {
        stream: STREAM,
        key: StreamKey([2; 32]),
        epoch: Epoch(epoch),
        catalogue: catalogue(300),
    }
}

/// Another rendition that is fetched since time 0, from that random-access point to before that time.
fn candidate(cause: QualityCause, epoch: u64, from: i64, to: i64) -> Candidate {
    let mut candidate = Candidate::new(Now(0), cause, Reading::new(false));
    candidate.put(Some(Playout::Event(opened(epoch))));
    for millis in (from..to).step_by(20) {
        for track in [VIDEO, SOUND] {
            if track == SOUND || millis % 100 == 0 {
                let (unit, due) = unit(track, millis);
                let closed = Duration::ZERO;
                candidate.put(Some(Playout::Event(CoreEvent::AccessUnit {
                    stream: STREAM,
                    unit,
                    due,
                    closed,
                })));
            }
        }
    }
    candidate
}

/// A subscriber that was told all before a time.
fn heard(before: i64) -> Heard {
    let mut heard = Heard::default();
    heard.note(&Event::Opened { key: StreamKey([1; 32]), epoch: Epoch(1), catalogue: catalogue(900) });
    for millis in (0..before).step_by(20) {
        heard.note(&Event::AccessUnit(delivery(SOUND, millis)));
        if millis % 100 == 0 {
            heard.note(&Event::AccessUnit(delivery(VIDEO, millis)));
        }
    }
    heard
}

/// The media times, in milliseconds, of what is delivered of a track.
fn times(events: &VecDeque<Event>, track: u8) -> Vec<i64> {
    let of = events.iter().filter_map(|event| match event {
        Event::AccessUnit(delivery) if delivery.unit.track == TrackId(track) => Some(delivery.due),
        _ => None,
    });
    of.map(|due| (due.0 as i64 - DELAY) / 1_000).collect()
}

#[test]
fn it_takes_over_where_what_is_played_has_come_to() {
    let candidate = candidate(QualityCause::Capacity, 1, 1_000, 2_500);
    let now = Now(2_400_000);
    assert_eq!(candidate.takes_over(now, &heard(1_900), None), None, "there is time");
    assert_eq!(candidate.takes_over(now, &heard(1_900), Some(&delivery(VIDEO, 1_900))), None, "not reached");
    assert_eq!(candidate.takes_over(now, &heard(2_000), Some(&delivery(SOUND, 2_000))), None, "not the lead");
    let heard = heard(2_000);
    let place = candidate.takes_over(now, &heard, Some(&delivery(VIDEO, 2_000))).expect("reached");
    let (_, events) = candidate.succeed(&heard, place).expect("it was opened");
    assert!(matches!(events[0], Event::Opened { key: StreamKey([2, ..]), .. }));
    assert!(matches!(events[1], Event::Started { track: TrackId(VIDEO) }));
    assert_eq!(times(&events, VIDEO), [2_000, 2_100, 2_200, 2_300, 2_400]);
    assert_eq!(
        times(&events, SOUND),
        (2_000..2_500).step_by(20).collect::<Vec<_>>(),
        "none missing, none twice"
    );
}

#[test]
fn sound_that_is_behind_the_pictures_is_not_lost() {
    let candidate = candidate(QualityCause::Capacity, 1, 1_000, 2_200);
    let mut heard = heard(1_500);
    (1_500..2_000).step_by(100).for_each(|millis| heard.note(&Event::AccessUnit(delivery(VIDEO, millis))));
    let place = candidate.takes_over(Now(0), &heard, Some(&delivery(VIDEO, 2_000))).expect("reached");
    let (_, events) = candidate.succeed(&heard, place).expect("it was opened");
    assert_eq!((times(&events, VIDEO)[0], times(&events, SOUND)[0]), (2_000, 1_500));
}

#[test]
fn it_waits_for_sound_that_begins_late() {
    let candidate = candidate(QualityCause::Capacity, 1, 2_000, 3_200);
    let mut heard = heard(1_500);
    (1_500..2_000).step_by(100).for_each(|millis| heard.note(&Event::AccessUnit(delivery(VIDEO, millis))));
    assert_eq!(
        candidate.takes_over(Now(0), &heard, Some(&delivery(VIDEO, 2_000))),
        None,
        "0.5 s would be missing"
    );
    assert!(candidate.takes_over(Now(2_900_000), &heard, None).is_some(), "its time has come");
}

#[test]
fn a_higher_rendition_has_to_prove_itself() {
    let higher = candidate(QualityCause::Clean, 1, 1_000, 3_100);
    let reached = |millis| higher.takes_over(Now(0), &heard(millis), Some(&delivery(VIDEO, millis)));
    assert_eq!((reached(2_000), reached(3_000).is_some()), (None, true), "2 s");
    assert!(!higher.has_failed(Now(0), false) && higher.has_failed(Now(0), true), "it gives way");
    assert!(higher.has_failed(Now(20_000_000), false));
    let gap = || {
        let (from, to) = (MediaTime(0), MediaTime(1));
        let gap = CoreEvent::Gap { stream: STREAM, track: None, from, to, cause: GapCause::Late };
        Some(Playout::Event(gap))
    };
    let mut lower = candidate(QualityCause::Capacity, 1, 1_000, 3_100);
    for (candidate, fails) in [(&mut lower, false), (&mut { higher }, true)] {
        candidate.put(gap());
        assert_eq!(candidate.has_failed(Now(0), false), fails);
    }
    lower.put(None);
    assert!(lower.has_failed(Now(0), false), "its subscription is over");
}

#[test]
fn another_run_does_not_take_over() {
    let other = candidate(QualityCause::Capacity, 2, 1_000, 2_100);
    assert_eq!(other.takes_over(Now(0), &heard(2_000), Some(&delivery(VIDEO, 2_000))), None);
}

#[test]
fn what_is_known_of_it_is_told_where_it_differs() {
    let verdict = |from, to| CoreEvent::Verdict {
        stream: STREAM,
        from,
        to,
        reason: None,
        path: PathKind::Mesh,
        last_media: None,
        since_last_fragment: None,
    };
    for (before, told) in [(Verdict::Degraded, true), (Verdict::Live, false)] {
        let mut candidate = candidate(QualityCause::Capacity, 1, 1_000, 2_100);
        candidate.put(Some(Playout::Event(verdict(Verdict::Joining, Verdict::Live))));
        let mut heard = heard(2_000);
        heard.verdict = before;
        let (_, events) = candidate.succeed(&heard, 0).expect("it was opened");
        let is_told = events.iter().any(|event| match event {
            Event::Verdict { from, to, .. } => (*from, *to) == (before, Verdict::Live),
            _ => false,
        });
        assert_eq!(is_told, told);
    }
}

#[test]
fn what_was_told_is_known_up_to_each_tracks_end() {
    let mut heard = heard(2_000);
    heard.note(&Event::AccessUnit(delivery(SOUND, 2_500)));
    let known = |track, millis| heard.has(&delivery(track, millis));
    assert!(known(SOUND, 2_500) && !known(SOUND, 2_520));
    assert!(known(VIDEO, 1_900) && !known(VIDEO, 2_000));
    assert!(!Heard::default().has(&delivery(SOUND, 0)));
}

#[test]
fn a_key_unit_waits_for_the_one_that_takes_over_at_it() {
    let higher = candidate(QualityCause::Clean, 1, 1_000, 2_900);
    let heard = heard(3_000);
    let awaits = |track, millis| higher.awaits(&heard, &delivery(track, millis));
    assert!(awaits(VIDEO, 3_000), "it will bring its own");
    assert!(!awaits(VIDEO, 2_000) && !awaits(VIDEO, 3_100) && !awaits(SOUND, 3_000));
    assert_eq!(higher.takes_over(Now(0), &heard, Some(&delivery(VIDEO, 3_000))), None, "it has not yet");
}
