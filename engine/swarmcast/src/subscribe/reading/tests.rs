use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::catalogue::{TimeBase, TrackKind};
use swarmcast_core::health::{PathCause, Reason};
use swarmcast_core::ids::{MediaTime, StreamHandle};
use swarmcast_core::node::GapCause;

use super::*;

const STREAM: StreamHandle = StreamHandle(0);
const AUDIO: u8 = 0;
const VIDEO: u8 = 1;

/// What is handed over, in the order of a test.
enum Handed {
    Node(CoreEvent),
    NodeGone,
    Foreign(Brought),
    ForeignGone,
}

use Handed::{Foreign, ForeignGone, Node, NodeGone};

fn tracks() -> Vec<Track> {
    let track = |id, kind| Track {
        id: TrackId(id),
        kind,
        codec: "x".to_owned(),
        time_base: TimeBase::MICROS,
        bitrate: 0,
        parameters: Bytes::new(),
    };
    vec![track(AUDIO, TrackKind::Audio), track(VIDEO, TrackKind::Video)]
}

fn opened() -> Handed {
    let catalogue = Catalogue {
        name: "cam".to_owned(),
        expiry: Catalogue::EXPIRY,
        tracks: tracks(),
        renditions: Vec::new(),
        multicast: None,
    };
    Node(CoreEvent::Opened { stream: STREAM, key: StreamKey([1; 32]), epoch: Epoch(1), catalogue })
}

fn access_unit(track: u8, dts: i64, key: bool) -> AccessUnit {
    let track = TrackId(track);
    AccessUnit { track, dts, pts: dts, duration: 0, key, disposable: false, payload: Bytes::new() }
}

fn unit(track: u8, key: bool) -> Handed {
    let unit = access_unit(track, 0, key);
    Node(CoreEvent::AccessUnit { stream: STREAM, unit, due: Now(0), closed: Duration::ZERO })
}

fn foreign_unit(track: u8, key: bool) -> Handed {
    Foreign(Brought::Unit(access_unit(track, 0, key)))
}

fn path(from: PathKind, to: PathKind) -> Handed {
    Node(CoreEvent::Path { stream: STREAM, from, to, cause: PathCause::Healed, last_media: None })
}

fn gap() -> Handed {
    let (from, to) = (MediaTime(0), MediaTime(1));
    Node(CoreEvent::Gap { stream: STREAM, track: None, from, to, cause: GapCause::Late })
}

fn fall() -> Handed {
    path(PathKind::Mesh, PathKind::Foreign)
}

fn heal() -> Handed {
    path(PathKind::Foreign, PathKind::Mesh)
}

fn play() -> Handed {
    Foreign(Brought::Opened(tracks()))
}

fn dead() -> CoreEvent {
    CoreEvent::Closed { stream: STREAM, cause: CoreCause::Dead(Reason::PublisherGone) }
}

/// Reads what is handed over: a letter an event, upper case for media of the foreign source, and a sign a turn.
fn read(handed: Vec<Handed>) -> String {
    read_by(&mut Reading::new(true), handed)
}

fn read_by(reading: &mut Reading, handed: Vec<Handed>) -> String {
    let mut told = String::new();
    for handed in handed {
        let turn = match handed {
            Node(event) => reading.put(Some(Playout::Event(event))),
            NodeGone => reading.put(None),
            Foreign(brought) => reading.bring(Some(brought), Now(0)),
            ForeignGone => reading.bring(None, Now(0)),
        };
        while let Some(Some(event)) = reading.take() {
            told.push(match event {
                Event::Opened { .. } => 'o',
                Event::Started { .. } => 's',
                Event::AccessUnit(Delivery { closed: Some(_), .. }) => 'u',
                Event::AccessUnit(_) => 'U',
                Event::Gap { .. } => 'g',
                Event::Path { .. } => 'p',
                Event::Reset { .. } => 'r',
                Event::Foreign { .. } => 'F',
                Event::ForeignLost { .. } => 'L',
                Event::Closed(CloseCause::Stopped) => 'x',
                Event::Closed(CloseCause::Dead(Reason::PublisherGone)) => 'd',
                Event::Closed(CloseCause::Ambiguous { keys }) if keys.len() == 2 => 'a',
                other => panic!("{other:?}"),
            });
        }
        told.push_str(match turn {
            Some(Turn::Start) => "<",
            Some(Turn::Stop) => ">",
            Some(Turn::Tell(true)) => "+",
            Some(Turn::Tell(false)) => "-",
            None => "",
        });
    }
    if matches!(reading.take(), Some(None)) {
        told.push('.');
    }
    told
}

#[test]
fn playing_starts_with_the_first_key_unit_of_the_lead_track_of_each_run() {
    let run = || vec![opened(), unit(AUDIO, true), unit(VIDEO, false), unit(VIDEO, true), unit(VIDEO, true)];
    assert_eq!(read(run()), "ouusuu");
    assert_eq!(read(run().into_iter().chain(run()).chain([NodeGone]).collect()), "ouusuuouusuux.");
}

#[test]
fn an_ambiguous_name_is_one_last_event_with_all_keys() {
    let keys = vec![StreamKey([1; 32]), StreamKey([2; 32])];
    let handed = vec![
        Node(CoreEvent::Ambiguous { stream: STREAM, keys }),
        Node(CoreEvent::Closed { stream: STREAM, cause: CoreCause::Refused }),
    ];
    assert_eq!(read(handed), "a.");
}

#[test]
fn a_foreign_source_takes_over_once_it_plays_and_gives_back_at_a_random_access_point() {
    let handed = vec![
        opened(),
        unit(VIDEO, true),
        fall(),
        unit(VIDEO, false),
        play(),
        foreign_unit(VIDEO, true),
        foreign_unit(AUDIO, true),
        // The swarm comes back: it is held back until it can be decoded from the start.
        unit(VIDEO, true),
        gap(),
        heal(),
        unit(VIDEO, false),
        unit(AUDIO, true),
        foreign_unit(VIDEO, false),
        unit(VIDEO, true),
        unit(AUDIO, true),
        gap(),
    ];
    assert_eq!(read(handed), "osup<uF+sUUpUosu>ug");
}

#[test]
fn a_swarm_that_heals_before_the_foreign_source_plays_goes_on_without_a_seam() {
    let handed = vec![opened(), unit(VIDEO, true), fall(), heal(), unit(VIDEO, false)];
    assert_eq!(read(handed), "osup<p>u");
}

#[test]
fn a_relapse_before_the_random_access_point_keeps_the_foreign_source() {
    let handed =
        vec![opened(), fall(), play(), foreign_unit(VIDEO, true), heal(), fall(), unit(VIDEO, true), heal()];
    assert_eq!(read(handed), "op<F+sUppp");
}

#[test]
fn a_publisher_that_restarts_behind_the_foreign_source_is_opened_when_it_takes_over() {
    let reset = CoreEvent::Reset { stream: STREAM, old: Epoch(1), new: Epoch(2) };
    let handed = vec![
        opened(),
        fall(),
        play(),
        foreign_unit(VIDEO, true),
        Node(reset),
        opened(),
        heal(),
        unit(VIDEO, true),
    ];
    assert_eq!(read(handed), "op<F+sUrposu>");
}

#[test]
fn a_foreign_source_that_fails_is_told_once_to_the_node_and_to_the_caller() {
    let lost = || Foreign(Brought::Lost(None));
    assert_eq!(read(vec![opened(), fall(), lost(), ForeignGone, Node(dead())]), "op<L-d.");
    assert_eq!(read(vec![opened(), fall(), ForeignGone, Node(dead())]), "op<L-d.", "nobody runs it");
    // One that played is followed by the swarm at a random-access point, and may be asked to play once more.
    let handed = vec![
        opened(),
        fall(),
        play(),
        foreign_unit(VIDEO, true),
        lost(),
        ForeignGone,
        unit(VIDEO, false),
        unit(VIDEO, true),
        fall(),
        play(),
        foreign_unit(VIDEO, true),
    ];
    assert_eq!(read(handed), "op<F+sUL-osup<F+sU");
}

#[test]
fn without_a_foreign_source_the_swarm_goes_on_when_the_caller_falls_back_by_itself() {
    let mut reading = Reading::new(false);
    let handed = vec![opened(), fall(), unit(VIDEO, true), heal(), unit(VIDEO, false), Node(dead())];
    assert_eq!(read_by(&mut reading, handed), "opsupud.");
}

#[test]
fn the_end_stops_the_foreign_source() {
    assert_eq!(read(vec![opened(), fall(), play(), Node(dead())]), "op<F+d>.");
}

#[test]
fn a_foreign_source_begins_where_the_buffer_of_the_swarm_ends() {
    let mut clock = ForeignClock::new(tracks());
    let mut due = |dts, newest, now| clock.due(&access_unit(VIDEO, dts, true), newest, Now(now)).0;
    assert_eq!(due(5_000_000, Some(Now(900_000)), 400_000), 900_000);
    assert_eq!(due(5_040_000, Some(Now(900_000)), 440_000), 940_000);
    // Its clock jumps, and it goes on at once.
    assert_eq!(due(905_000_000, Some(Now(940_000)), 1_000_000), 1_000_000);
    assert_eq!(due(905_040_000, Some(Now(1_000_000)), 1_040_000), 1_040_000);
    let mut late = ForeignClock::new(tracks());
    assert_eq!(late.due(&access_unit(VIDEO, 0, true), Some(Now(0)), Now(200_000_000)), Now(200_000_000));
}
