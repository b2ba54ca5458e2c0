//! Playing: access units in, pictures and sound out, each at its time.
//!
//! A [`Player`] takes access units as they come. Two threads of its own decode ahead. Whoever shows pictures takes them
//! from a [`Screen`], whoever sounds samples from a [`Speaker`]: both ask for what is due at a time that they tell, so
//! that a window, a terminal and a test with its own time play alike.
//!
//! Sound leads: pictures follow the samples that are heard, and the wall clock while none are. Both follow the
//! schedule, the jitter buffer: it tells when each unit is played, and the sound comes nearer to it by its rate.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::catalogue::{AccessUnit, TimeBase, Track, TrackId, TrackKind};
use swarmcast_core::ids::Now;

mod decode;
mod fifo;
mod lanes;
mod pictures;
mod schedule;
mod sound;
pub(crate) mod stretch;

use decode::{PictureDecoder, SoundDecoder};
use fifo::Fifo;
use lanes::{Order, Unit};
use pictures::Pictures;
pub use pictures::{Picture, Plane};
use schedule::Schedule;
use sound::{Block, Sound};

/// Pictures that are decoded ahead: 25 MB of 1920x1080, and 150 ms at 40 a second.
const PICTURES_AHEAD: usize = 6;
/// Sound that is decoded ahead.
const SOUND_AHEAD: Duration = Duration::from_millis(250);
/// Pictures that are held without being decoded: the longest playout delay at 60 a second.
const PASSED_PICTURES_MAX: usize = 3_600;
/// Sound that is held without being decoded: the longest playout delay.
const PASSED_MAX: Duration = Duration::from_secs(60);
/// Access units that wait to be decoded, apart from those of the playout delay: a late join hands over 10 s at once.
const UNITS_MIN: usize = 1_024;
/// Access units for each second of playout delay.
const UNITS_PER_SECOND: usize = 256;
/// Their bytes: 10 s of 40 Mbit/s, and as much for each second of playout delay.
const BYTES_MIN: usize = 50 << 20;
const BYTES_PER_SECOND: usize = 5 << 20;

/// What is played, and how.
#[derive(Clone, Debug)]
pub struct PlayConfig {
    /// The playout delay that access units are due by; the jitter buffer is never shorter.
    pub playout_delay: Duration,
    /// Whether pictures are played.
    pub pictures: bool,
    /// Whether sound is played.
    pub sound: bool,
    /// Whether everything is played when it is due, so that others play the same: what is late is left out, and the
    /// jitter buffer does not grow.
    pub in_step: bool,
    /// Whether anything is decoded. Without, access units count as pictures and samples, by their decoding times.
    pub decodes: bool,
}

/// Why a track cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("track {track} ({codec}) cannot be decoded: {cause}")]
pub struct PlayError {
    /// Its number.
    pub track: u8,
    /// Its codec.
    pub codec: String,
    /// What the decoder answered.
    pub cause: String,
}

/// How playing goes, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayStats {
    /// Pictures that were shown.
    pub pictures_shown: u64,
    /// Pictures that came too late to be shown, or were not decoded for it.
    pub pictures_dropped: u64,
    /// Pictures whose time was over by more than 40 ms, shown or not.
    pub pictures_late: u64,
    /// Pictures that were shown again, or behind a later one.
    pub pictures_repeated: u64,
    /// The longest time that one picture stood until the next, of the last 5 to 10 s.
    pub stood: Duration,
    /// Access units that could not be decoded.
    pub undecodable: u64,
    /// How often something came after its time, so that the jitter buffer had to grow.
    pub underruns: u64,
    /// Sound that was made up where packets are missing.
    pub concealed: Duration,
    /// How much later than its sound a picture is shown, in microseconds, mean of the last 50; `None` without sound.
    pub av_offset_micros: Option<i64>,
    /// The offset of all pictures that was furthest from 0, in microseconds.
    pub av_offset_worst_micros: Option<i64>,
    /// How long what is on hand can be played.
    pub buffer: Duration,
    /// How much the jitter buffer is longer than the playout delay.
    pub grown: Duration,
    /// Time from the close of the publisher's block to the showing of what it held; `None` before that.
    pub delay: Option<Duration>,
}

/// Takes access units and has them played. Dropping it ends the playing.
pub struct Player {
    config: PlayConfig,
    shared: Arc<Shared>,
    pictures: Option<Lane>,
    sound: Option<Lane>,
    /// What makes media times of this run play times.
    base: Option<i64>,
}

/// One track with the queue of its thread.
struct Lane {
    id: TrackId,
    time_base: TimeBase,
    orders: Arc<Fifo<Order>>,
    /// Whether units are missing, so that the next one must be a key.
    awaits_key: bool,
}

/// Where pictures come out. Cheap to clone.
#[derive(Clone)]
pub struct Screen(Arc<Shared>);

/// Where sound comes out. Cheap to clone.
#[derive(Clone)]
pub struct Speaker(Arc<Shared>);

/// What the threads that decode and those that show have in common.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// There is room, or nothing more is wanted.
    room: Condvar,
    playout_delay: Duration,
}

/// What is played and when.
#[derive(Default)]
pub(crate) struct State {
    schedule: Schedule,
    pictures: Pictures,
    sound: Sound,
    /// Threads that decode.
    lanes: usize,
    /// Whether the player was dropped.
    closed: bool,
    /// Whether nobody listens.
    silent: bool,
    /// The newest time that was told.
    clock: Option<Now>,
    undecodable: u64,
    skipped: u64,
    concealed: u64,
    /// Play times of the newest picture and sound that came.
    newest: [Option<i64>; 2],
}

impl Player {
    /// Makes a player that has nothing to play.
    pub fn new(config: PlayConfig) -> Self {
        let state = State { schedule: Schedule::new(config.in_step), ..State::default() };
        let playout_delay = config.playout_delay;
        let shared = Shared { state: Mutex::new(state), room: Condvar::new(), playout_delay };
        Self { config, shared: Arc::new(shared), pictures: None, sound: None, base: None }
    }

    /// Returns where pictures come out.
    pub fn screen(&self) -> Screen {
        Screen(Arc::clone(&self.shared))
    }

    /// Returns where sound comes out.
    pub fn speaker(&self) -> Speaker {
        Speaker(Arc::clone(&self.shared))
    }

    /// Begins a run: what follows has these tracks and a timeline of its own. What came before is still played. The
    /// first track of pictures and the first one of sound are played; one that cannot be decoded is left out, and told.
    pub fn open(&mut self, tracks: &[Track]) -> Vec<PlayError> {
        self.base = None;
        self.shared.lock().schedule.begin();
        let mut errors = Vec::new();
        self.open_pictures(tracks, &mut errors);
        let audio = tracks.iter().find(|track| track.kind == TrackKind::Audio);
        let sound = audio.filter(|_| self.config.sound).map(|track| {
            let decodes = self.config.decodes;
            let made = if decodes { SoundDecoder::new(track).map(Order::Sound) } else { Ok(Order::None) };
            (track, made)
        });
        let before = self.sound.take().map(|lane| lane.orders);
        self.sound = self.lane(before, sound, &mut errors);
        errors
    }

    /// Goes on with another rendition of the same pictures, from its next key unit on, on the same timeline. Its sound
    /// is that of before, and plays on.
    pub fn renew(&mut self, tracks: &[Track]) -> Vec<PlayError> {
        let mut errors = Vec::new();
        self.open_pictures(tracks, &mut errors);
        errors
    }

    fn open_pictures(&mut self, tracks: &[Track], errors: &mut Vec<PlayError>) {
        let video = tracks.iter().find(|track| track.kind == TrackKind::Video);
        let pictures = video.filter(|_| self.config.pictures).map(|track| {
            let decodes = self.config.decodes;
            let made =
                if decodes { PictureDecoder::new(track).map(Order::Pictures) } else { Ok(Order::None) };
            (track, made)
        });
        let before = self.pictures.take().map(|lane| lane.orders);
        self.pictures = self.lane(before, pictures, errors);
    }

    /// Gives a track its lane: that of the track before it, or a new one.
    fn lane(
        &self,
        before: Option<Arc<Fifo<Order>>>,
        opened: Option<(&Track, Result<Order, PlayError>)>,
        errors: &mut Vec<PlayError>,
    ) -> Option<Lane> {
        let (track, order) = match opened {
            Some((track, Ok(order))) => (track, order),
            none => {
                errors.extend(none.and_then(|(_, failed)| failed.err()));
                before.inspect(|orders| orders.close());
                return None;
            }
        };
        let orders = match before {
            Some(orders) => orders,
            None => {
                let seconds = self.config.playout_delay.as_secs_f64().ceil() as usize;
                let units = UNITS_MIN + seconds * UNITS_PER_SECOND;
                let orders = Arc::new(Fifo::new(units, BYTES_MIN + seconds * BYTES_PER_SECOND));
                if !matches!(order, Order::None) {
                    self.start(&orders, track, errors)?;
                }
                orders
            }
        };
        orders.put(order);
        Some(Lane { id: track.id, time_base: track.time_base, orders, awaits_key: true })
    }

    fn start(&self, orders: &Arc<Fifo<Order>>, track: &Track, errors: &mut Vec<PlayError>) -> Option<()> {
        let (shared, queue) = (Arc::clone(&self.shared), Arc::clone(orders));
        self.shared.lock().lanes += 1;
        let started = thread::Builder::new().name("decode".to_owned()).spawn(move || shared.decode(&queue));
        if let Err(error) = started {
            self.shared.lock().lanes -= 1;
            errors.push(PlayError {
                track: track.id.0,
                codec: track.codec.clone(),
                cause: error.to_string(),
            });
            return None;
        }
        Some(())
    }

    /// Takes an access unit that arrives `now` and is due at `due`; one of another track than is played is passed over.
    pub fn put(&mut self, unit: &AccessUnit, due: Now, now: Now) {
        let lanes = [&mut self.pictures, &mut self.sound].into_iter().enumerate();
        let Some((place, lane)) = lanes
            .filter_map(|(place, lane)| Some((place, lane.as_mut()?)))
            .find(|(_, lane)| lane.id == unit.track)
        else {
            return;
        };
        let mut state = self.shared.lock();
        state.clock = state.clock.max(Some(now));
        let decoded = lane.time_base.to_micros(unit.dts);
        let base =
            *self.base.get_or_insert_with(|| (due.0 as i64 - decoded).saturating_sub(state.schedule.drift()));
        let at = base.saturating_add(decoded);
        let kind = if place == 0 { TrackKind::Video } else { TrackKind::Audio };
        state.schedule.handle_arrival(now, at, due, kind);
        state.newest[place] = state.newest[place].max(Some(at));
        if !self.config.decodes {
            let length = lane.time_base.to_micros(i64::from(unit.duration));
            state.pass(place == 0, at, length);
            return;
        }
        drop(state);
        if lane.awaits_key && !unit.key {
            self.shared.lock().skipped += u64::from(place == 0);
            return;
        }
        let shown = base.saturating_add(lane.time_base.to_micros(unit.pts));
        let payload: Bytes = unit.payload.clone();
        lane.awaits_key = !lane.orders.put(Order::Unit(Unit { payload, decoded: at, shown, key: unit.key }));
    }

    /// Returns by how much the jitter buffer has grown: for so long what is lost is still of use when it comes.
    pub fn grown(&self) -> Duration {
        self.shared.lock().schedule.extra()
    }

    /// Says that nothing more comes; what is on hand is still played.
    pub fn end(&mut self) {
        for lane in [self.pictures.take(), self.sound.take()].into_iter().flatten() {
            lane.orders.close();
        }
    }

    /// Waits until all was played, behind [`Player::end`], at most for `wait`; returns whether it was.
    pub fn drain(&self, wait: Duration) -> bool {
        let state = self.shared.lock();
        let waited = self.shared.room.wait_timeout_while(state, wait, |state| !state.is_over());
        waited.map_or(true, |(_, waited)| !waited.timed_out())
    }

    /// Returns how it goes.
    pub fn stats(&self, now: Now) -> PlayStats {
        self.shared.stats(now)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.end();
        self.shared.lock().closed = true;
        self.shared.room.notify_all();
    }
}

impl Screen {
    /// Takes the picture that is to be shown from `now` on; `None` while the one before still is.
    pub fn next(&self, now: Now) -> Option<Picture> {
        let mut state = self.0.lock();
        state.clock = state.clock.max(Some(now));
        let (play_time, sound) = state.play_time(now);
        let waiting = state.pictures.len();
        let picture = state.pictures.next(now, play_time, sound);
        if state.pictures.len() < waiting {
            self.0.room.notify_all();
        }
        picture
    }

    /// Returns how long it is until the next picture; `None` when none is on hand.
    pub fn due_in(&self, now: Now) -> Option<Duration> {
        let mut state = self.0.lock();
        let (play_time, _) = state.play_time(now);
        state.pictures.due_in(play_time)
    }

    /// Returns how playing goes.
    pub fn stats(&self, now: Now) -> PlayStats {
        self.0.stats(now)
    }

    /// Returns whether the player was dropped.
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed
    }
}

impl Speaker {
    /// Samples a second.
    pub const RATE: u32 = sound::RATE;

    /// Fills a buffer of left and right samples by turns, the first of which is heard `latency` after `now`.
    pub fn fill(&self, now: Now, latency: Duration, out: &mut [f32]) {
        let mut state = self.0.lock();
        state.clock = state.clock.max(Some(now));
        let State { schedule, sound, .. } = &mut *state;
        sound.fill(schedule, now, latency, out);
        self.0.room.notify_all();
    }

    /// Says that nothing is heard here: sound is thrown away, and pictures follow the wall clock.
    pub fn close(&self) {
        self.0.lock().silent = true;
        self.0.room.notify_all();
    }

    /// Sets how loud it is, 0 to 1, without changing whether it is muted.
    pub fn set_volume(&self, volume: f32) {
        self.0.lock().sound.volume = volume.clamp(0.0, 1.0);
    }

    /// Mutes, or no longer.
    pub fn set_muted(&self, muted: bool) {
        self.0.lock().sound.muted = muted;
    }
}

impl State {
    /// Returns the play time of what is to be seen now, and of what is heard.
    fn play_time(&mut self, now: Now) -> (i64, Option<i64>) {
        let heard = self.sound.play_time(now);
        (heard.unwrap_or_else(|| now.0 as i64 - self.schedule.lag(now)), heard)
    }

    /// Takes a unit for what it would be decoded to.
    fn pass(&mut self, is_picture: bool, at: i64, length: i64) {
        if is_picture && self.pictures.len() < PASSED_PICTURES_MAX {
            self.pictures.put(Picture { at, image: None });
        } else if !is_picture && self.sound.held() < PASSED_MAX && !self.silent {
            let frames = usize::try_from(length * i64::from(sound::RATE) / 1_000_000).unwrap_or(0);
            self.sound.put(Block { at, frames, samples: Vec::new() });
        }
    }

    fn is_over(&self) -> bool {
        let heard = self.silent || self.sound.held().is_zero();
        self.closed || (self.lanes == 0 && self.pictures.len() == 0 && heard)
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self, now: Now) -> PlayStats {
        let mut state = self.lock();
        let (play_time, _) = state.play_time(now);
        let newest = state.newest.into_iter().flatten().min();
        let offsets = state.pictures.offsets();
        let published = |at: i64| at + state.schedule.drift() - self.playout_delay.as_micros() as i64;
        let delay = state.pictures.last.map(|(at, shown)| micros(shown.0 as i64 - published(at)));
        PlayStats {
            pictures_shown: state.pictures.shown,
            pictures_dropped: state.pictures.dropped + state.skipped,
            pictures_late: state.pictures.late,
            pictures_repeated: state.pictures.repeated,
            stood: state.pictures.stood(),
            undecodable: state.undecodable,
            underruns: state.schedule.underruns(),
            concealed: Duration::from_micros(state.concealed * 1_000_000 / u64::from(sound::RATE)),
            av_offset_micros: offsets.map(|(mean, _)| mean),
            av_offset_worst_micros: offsets.map(|(_, worst)| worst),
            buffer: newest.map_or(Duration::ZERO, |newest| micros(newest - play_time)),
            grown: state.schedule.extra(),
            delay,
        }
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(micros.max(0) as u64)
}

#[cfg(test)]
mod tests;
