use super::*;
use crate::{Source, SourceConfig};

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/clip.mkv");
const DELAY: Duration = Duration::from_millis(500);
/// Where the wall clock stands when the clip begins.
const START: u64 = 10_000_000;
/// How often the clock is told, and the loudspeaker filled.
const STEP: u64 = 10_000;
/// How much later than due everything is played without sound: what is on hand when it is due is still decoded.
const MARGIN: u64 = 20_000;

/// What a screen and a speaker with a clock of their own got.
#[derive(Default)]
struct Seen {
    times: Vec<(u64, i64)>,
    samples: Vec<f32>,
}

fn config(decodes: bool) -> PlayConfig {
    PlayConfig { playout_delay: DELAY, pictures: true, sound: true, in_step: false, decodes }
}

/// Plays the clip in steps of 10 ms of its own time, each unit arriving `early` before it is due, and waits for the
/// threads that decode at every step.
fn play(player: &mut Player, early: impl Fn(u64) -> i64, wanted: impl Fn(&AccessUnit) -> bool) -> Seen {
    let mut source = Source::open(SourceConfig { paced: false, ..SourceConfig::new(CLIP) }).unwrap();
    let tracks = source.tracks().to_vec();
    assert_eq!(player.open(&tracks), []);
    let mut units = Vec::new();
    while let Some(unit) = source.next().unwrap() {
        let base = tracks.iter().find(|track| track.id == unit.track).unwrap().time_base;
        let due = (START as i64 + base.to_micros(unit.dts)) as u64;
        units.push((due, unit));
    }
    let (screen, speaker) = (player.screen(), player.speaker());
    let mut seen = Seen::default();
    let mut next = units.into_iter().filter(|(_, unit)| wanted(unit)).peekable();
    for now in (START - 1_000_000..START + 11_000_000).step_by(STEP as usize) {
        while let Some((due, unit)) = next.next_if(|(due, _)| due.saturating_add_signed(-early(*due)) <= now)
        {
            player.put(&unit, Now(due), Now(now));
        }
        settle(player);
        let mut out = vec![0.0; 960];
        speaker.fill(Now(now), Duration::ZERO, &mut out);
        seen.samples.extend(out);
        if let Some(picture) = screen.next(Now(now)) {
            seen.times.push((now, picture.at));
        }
    }
    seen
}

/// Waits until the threads have decoded as much as they may.
fn settle(player: &Player) {
    let until = std::time::Instant::now() + Duration::from_secs(5);
    let idle = |lane: &Option<Lane>| lane.as_ref().is_none_or(|lane| lane.orders.is_idle());
    while std::time::Instant::now() < until {
        let state = player.shared.lock();
        let pictures = state.pictures.len() >= PICTURES_AHEAD || idle(&player.pictures);
        let sound = state.sound.held() >= SOUND_AHEAD || idle(&player.sound);
        if !player.config.decodes || (pictures && sound) {
            return;
        }
        drop(state);
        thread::yield_now();
    }
}

#[test]
fn every_picture_is_shown_once_in_order_and_in_step_with_the_sound() {
    for decodes in [true, false] {
        let mut player = Player::new(config(decodes));
        let seen = play(&mut player, |_| 400_000, |_| true);
        assert!(seen.times.windows(2).all(|pair| pair[0].1 < pair[1].1), "{:?}", seen.times);
        let stats = player.stats(Now(START + 11_000_000));
        let held_back = if decodes { 3 } else { 0 };
        assert!(stats.pictures_shown >= 250 - held_back, "{stats:?}");
        assert_eq!((stats.pictures_dropped, stats.pictures_late, stats.underruns), (0, 0, 0), "{stats:?}");
        let worst = stats.av_offset_worst_micros.unwrap();
        assert!(worst.abs() <= 20_000, "{stats:?}");
    }
}

#[test]
fn the_beep_of_each_second_is_heard_at_its_time() {
    let mut player = Player::new(config(true));
    let seen = play(&mut player, |_| 400_000, |_| true);
    let (pairs, _) = seen.samples.as_chunks::<2>();
    // The buffer begins a second before the clip; a beep lasts 100 ms at four times the level of the rest. The clip's
    // AAC begins with 1,024 samples of priming, which its container does not tell of.
    let loud =
        |from: usize| pairs[from..from + 480].iter().map(|pair| pair[0].abs()).fold(0.0, f32::max) > 0.12;
    for second in 2..9 {
        // What it is played later than due: to be decoded, and as a step is taken at once.
        let later = (MARGIN + STEP) as usize * 48 / 1_000;
        let at = (1 + second) * 48_000 + 1_024 + later;
        let first = (at - 4_800..at + 4_800).step_by(48).find(|from| loud(*from)).expect("a beep");
        let off = first as i64 + 480 - at as i64;
        assert!(off.abs() < 240, "second {second}: {off} samples off");
    }
}

#[test]
fn a_burst_of_jitter_grows_the_buffer_and_shows_no_picture_twice() {
    let mut player = Player::new(config(false));
    let burst =
        |due: u64| if (START + 2_000_000..START + 2_200_000).contains(&due) { -200_000 } else { 400_000 };
    let seen = play(&mut player, burst, |_| true);
    let stats = player.stats(Now(START + 11_000_000));
    assert_eq!(stats.underruns, 1, "{stats:?}");
    assert!(stats.grown > Duration::ZERO && stats.grown < Duration::from_millis(180), "{stats:?}");
    assert!(seen.times.windows(2).all(|pair| pair[0].1 < pair[1].1));
    assert!(stats.pictures_shown + stats.pictures_dropped == 250, "{stats:?}");
    assert!(stats.pictures_dropped <= 10, "{stats:?}");
}

#[test]
fn pictures_go_on_by_the_wall_clock_when_sound_is_missing() {
    let mut player = Player::new(config(false));
    let seen = play(&mut player, |_| 400_000, |unit| unit.track == TrackId(0));
    assert_eq!(seen.times.len(), 250);
    assert!(
        seen.times.iter().all(|(now, at)| (MARGIN..MARGIN + STEP).contains(&(now - *at as u64))),
        "{:?}",
        seen.times
    );
    assert_eq!(player.stats(Now(START)).av_offset_micros, None);
}

#[test]
fn a_track_that_cannot_be_decoded_is_told_and_left_out() {
    let source = Source::open(SourceConfig { paced: false, ..SourceConfig::new(CLIP) }).unwrap();
    let mut tracks = source.tracks().to_vec();
    tracks[0].parameters = Bytes::from_static(b"nonsense");
    let mut player = Player::new(config(true));
    let errors = player.open(&tracks);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().starts_with("track 0 (h264) cannot be decoded:"), "{}", errors[0]);
    assert!(player.pictures.is_none() && player.sound.is_some());
}

#[test]
fn behind_the_end_everything_is_played_and_then_it_is_over() {
    let mut player = Player::new(config(true));
    assert!(player.drain(Duration::ZERO), "nothing to play");
    play(&mut player, |_| 400_000, |_| true);
    player.end();
    let screen = player.screen();
    // Decoders may be behind on a busy machine: time goes on until they are done.
    let over = (START + 11_000_000..START + 71_000_000).step_by(STEP as usize).any(|now| {
        screen.next(Now(now));
        player.speaker().fill(Now(now), Duration::ZERO, &mut [0.0; 960]);
        player.drain(Duration::from_millis(if now < START + 13_000_000 { 0 } else { 10 }))
    });
    assert!(over);
    assert!(!screen.is_closed());
    drop(player);
    assert!(screen.is_closed());
}

#[test]
fn another_run_is_played_behind_the_one_before() {
    let mut player = Player::new(config(false));
    let unit = |millis: i64| AccessUnit {
        track: TrackId(0),
        dts: millis,
        pts: millis,
        duration: 40,
        key: true,
        disposable: false,
        payload: Bytes::new(),
    };
    let source = Source::open(SourceConfig { paced: false, ..SourceConfig::new(CLIP) }).unwrap();
    let tracks = &source.tracks()[..1];
    let mut shown = Vec::new();
    let screen = player.screen();
    for now in (START..START + 4_000_000).step_by(STEP as usize) {
        let at = (now - START) as i64 / 1_000;
        if at % 2_000 == 0 {
            assert_eq!(player.open(tracks), []);
        }
        if at % 40 == 0 {
            // The second run has media times of its own.
            let media = if at < 2_000 { at } else { at + 7_000_000 };
            player.put(&unit(media), Now(now + 100_000), Now(now));
        }
        shown.extend(screen.next(Now(now)).map(|_| now));
    }
    assert!(shown.windows(2).all(|pair| pair[1] - pair[0] == 40_000), "{shown:?}");
    assert_eq!((shown.len(), player.stats(Now(START)).underruns), (97, 0));
}
