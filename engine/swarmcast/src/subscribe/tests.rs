use bytes::Bytes;
use swarmcast_core::catalogue::{AccessUnit, Catalogue, TimeBase, Track, TrackKind};
use swarmcast_core::ids::{Epoch, Now};

use super::*;

const STREAM: StreamHandle = StreamHandle(0);

fn opened() -> Playout {
    let track = |id, kind| Track {
        id: TrackId(id),
        kind,
        codec: "x".to_owned(),
        time_base: TimeBase::MICROS,
        bitrate: 0,
        parameters: Bytes::new(),
    };
    let catalogue = Catalogue {
        name: "cam".to_owned(),
        expiry: Catalogue::EXPIRY,
        tracks: vec![track(0, TrackKind::Audio), track(1, TrackKind::Video)],
        renditions: Vec::new(),
    };
    Playout::Event(CoreEvent::Opened { stream: STREAM, key: StreamKey([1; 32]), epoch: Epoch(1), catalogue })
}

fn unit(track: u8, key: bool) -> Playout {
    let track = TrackId(track);
    let unit =
        AccessUnit { track, dts: 0, pts: 0, duration: 0, key, disposable: false, payload: Bytes::new() };
    Playout::Event(CoreEvent::AccessUnit { stream: STREAM, unit, due: Now(0), closed: Duration::ZERO })
}

/// Reads everything that `handed` becomes, as one letter an event.
fn read(handed: Vec<Option<Playout>>) -> String {
    let mut reading = Reading::default();
    let mut letters = String::new();
    for playout in handed {
        reading.put(playout);
        while let Some(Some(event)) = reading.take() {
            letters.push(match event {
                Event::Opened { .. } => 'o',
                Event::Started { .. } => 's',
                Event::AccessUnit(_) => 'u',
                Event::Closed(CloseCause::Stopped) => 'x',
                Event::Closed(CloseCause::Ambiguous { keys }) if keys.len() == 2 => 'a',
                other => panic!("{other:?}"),
            });
        }
    }
    if matches!(reading.take(), Some(None)) {
        letters.push('.');
    }
    letters
}

#[test]
fn playing_starts_with_the_first_key_unit_of_the_lead_track_of_each_run() {
    let run = || {
        vec![
            Some(opened()),
            Some(unit(0, true)),
            Some(unit(1, false)),
            Some(unit(1, true)),
            Some(unit(1, true)),
        ]
    };
    assert_eq!(read(run()), "ouusuu");
    assert_eq!(read([run(), run(), vec![None]].concat()), "ouusuuouusuux.");
}

#[test]
fn an_ambiguous_name_is_one_last_event_with_all_keys() {
    let keys = vec![StreamKey([1; 32]), StreamKey([2; 32])];
    let handed = vec![
        Some(Playout::Event(CoreEvent::Ambiguous { stream: STREAM, keys })),
        Some(Playout::Event(CoreEvent::Closed { stream: STREAM, cause: CoreCause::Refused })),
    ];
    assert_eq!(read(handed), "a.");
}

#[test]
fn playout_delays_have_a_range() {
    let with = |millis| {
        let playout_delay = Duration::from_millis(millis);
        SubscribeConfig { playout_delay, ..SubscribeConfig::new("cam") }.validate()
    };
    assert_eq!(with(49), Err(SubscribeError::PlayoutDelay(Duration::from_millis(49))));
    assert_eq!((with(50), with(60_000)), (Ok(()), Ok(())));
    assert_eq!(with(60_001), Err(SubscribeError::PlayoutDelay(Duration::from_millis(60_001))));
    assert_eq!(SubscribeConfig::new("a\nb").validate(), Err(SubscribeError::Name));
}
