//! Publishing a stream: from a media source, or access unit by access unit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use swarmcast_core::catalogue::{AccessUnit, Catalogue, TRACKS_MAX, Track, TrackId, TrackKind};
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::{Epoch, MediaTime, Now, StreamKey};
use swarmcast_core::multicast::MulticastChoice;
use swarmcast_core::node::Publication;
use swarmcast_media::{Source, SourceError, data_track};
use swarmcast_net::{Handle, PublicationHandle, PublicationState, PublishError as NetError};
use tokio::sync::watch;

use crate::Identity;
use crate::counters::Counters;
use crate::media_clock::MediaClock;

mod programme;

pub(crate) use programme::at_place;
use programme::{Route, divide};

/// Most bytes of a data record.
pub const DATA_BYTES_MAX: usize = 64 << 10;

/// What is published.
#[derive(Clone, Debug)]
pub struct PublishConfig {
    /// The stream's name, 1 to 128 bytes without control characters.
    pub name: String,
    /// Its tracks, numbered from 0 in this order.
    pub tracks: Vec<Track>,
    /// The right to publish under its key, in this run.
    pub identity: Identity,
    /// Age at which a fragment is no longer sent to those whose playout delay is shorter (2 s by default).
    pub expiry: Duration,
    /// Whether and where it is multicast; where its name says, by default. Viewers with the default find it there. At a
    /// group that is named, further renditions have the ports that follow.
    pub multicast: MulticastChoice,
    /// Most bits a second on each multicast interface (50 Mbit/s by default); a stream that needs more is not
    /// multicast there. Renditions share it by their rates.
    pub multicast_rate_max: u64,
    /// Tracks that are renditions of the same pictures, as [`Source::renditions`] tells: each is a stream of its own,
    /// together with all tracks that are none of them, under the one name. Empty, by default, for one stream.
    pub renditions: Vec<TrackId>,
    /// Most viewers that may have all of the stream, or of one rendition, pushed from here when neither multicast nor
    /// their neighbours reach them (8 by default); others are told when to ask again.
    pub unicast_max: usize,
}

/// Why a stream cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The name is empty, longer than 128 bytes, or holds control characters.
    #[error("the name of a stream has 1 to 128 bytes and no control characters")]
    Name,
    /// The tracks break a limit: 1 to 32, of codec names and parameters that fit a catalogue.
    #[error("its tracks do not fit a catalogue")]
    Refused,
    /// The driver has ended.
    #[error("the node has stopped")]
    Stopped,
}

/// Why an access unit is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The publication has ended, or its node has.
    #[error("the publication has ended")]
    Ended,
    /// A newer run with the same key has taken the name.
    #[error("a newer run publishes under this name")]
    BadName,
}

/// Why a data record is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The stream was published without a data track.
    #[error("the stream has no data track")]
    NoTrack,
    /// The record has more than [`DATA_BYTES_MAX`] bytes.
    #[error("a data record has at most {DATA_BYTES_MAX} bytes, not {0}")]
    TooLong(usize),
    /// The stream cannot take it.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Why a source stopped being published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The source cannot be read on, or was interrupted.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The stream has ended before the source.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// How a publication came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unpublished {
    /// It was ended.
    Ended {
        /// Whether every neighbour had all of it.
        complete: bool,
    },
    /// A newer run with the same key has taken the name.
    BadName,
    /// The driver has ended.
    Stopped,
}

impl Unpublished {
    /// Returns the status code that people know it by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ended { .. } => "NetStream.Unpublish.Success",
            Self::BadName => "NetStream.Publish.BadName",
            Self::Stopped => "NetStream.Connect.Closed",
        }
    }
}

/// A stream that is published, or a programme of several. Dropping it ends the publication.
#[derive(Debug)]
pub struct Publisher {
    sender: Sender,
    /// One for each rendition; the first bears the name.
    publications: Vec<Arc<PublicationHandle>>,
    catalogue: Catalogue,
    epoch: Epoch,
    began: Now,
    counters: Counters,
}

/// The end of a publication. Whatever ended it, the node tells one state; only a name that was lost ends it unasked.
#[derive(Debug)]
struct End {
    /// One for each rendition.
    states: Vec<watch::Receiver<PublicationState>>,
    asked: AtomicBool,
    node_closes: Arc<AtomicBool>,
}

/// Sends on a stream, from any thread. Cheap to clone; does not keep the publication alive.
#[derive(Clone, Debug)]
pub struct Sender {
    routes: Vec<Route>,
    end: Arc<End>,
    tracks: Arc<[Track]>,
    clock: Arc<MediaClock>,
    /// Decoding time of the newest data record, which the next may not precede.
    newest_data: Arc<Mutex<i64>>,
    data_track: Option<TrackId>,
}

impl PublishConfig {
    /// Publishes those tracks under that name.
    pub fn new(name: impl Into<String>, tracks: Vec<Track>, identity: Identity) -> Self {
        Self {
            name: name.into(),
            tracks,
            identity,
            expiry: Catalogue::EXPIRY,
            multicast: MulticastChoice::Auto,
            multicast_rate_max: Publication::MULTICAST_RATE_MAX,
            renditions: Vec::new(),
            unicast_max: Publication::UNICAST_MAX,
        }
    }

    /// Adds a track for timed data behind the others, for [`Publisher::data`]. A stream that has one, or no room
    /// for one more, stays as it is.
    #[must_use]
    pub fn with_data(mut self) -> Self {
        let has_one = self.tracks.iter().any(|track| track.kind == TrackKind::Data);
        if let (false, 0..TRACKS_MAX, Ok(id)) = (has_one, self.tracks.len(), u8::try_from(self.tracks.len()))
        {
            self.tracks.push(data_track(TrackId(id)));
        }
        self
    }
}

impl Publisher {
    /// Status code of a publication that has started.
    pub const CODE: &'static str = "NetStream.Publish.Start";

    pub(crate) async fn start(
        node: &Handle,
        node_closes: Arc<AtomicBool>,
        group: &GroupSpec,
        config: PublishConfig,
    ) -> Result<Self, PublishError> {
        let (tracks, epoch, began) = (config.tracks.clone(), config.identity.epoch, node.now());
        let parts = divide(config, group)?;
        let catalogue = parts.first().ok_or(PublishError::Refused)?.publication.catalogue.clone();
        let (mut publications, mut routes) = (Vec::new(), Vec::new());
        for part in parts {
            let publication = node.publish(part.publication).await.map_err(|error| match error {
                NetError::Refused => PublishError::Refused,
                _ => PublishError::Stopped,
            })?;
            let publication = Arc::new(publication);
            routes.push(Route::new(&publication, part.tracks));
            publications.push(publication);
        }
        let streams = publications.iter().map(|publication| publication.stream()).collect();
        let counters = Counters::new(node.clone(), streams);
        let states = publications.iter().map(|publication| publication.state()).collect();
        let end = Arc::new(End { states, asked: AtomicBool::new(false), node_closes });
        let sender = Sender::new(routes, tracks, end);
        Ok(Self { sender, publications, catalogue, epoch, began, counters })
    }

    /// Sends one access unit, waiting for room in the publish queue.
    ///
    /// # Errors
    /// [`SendError`] once the publication is over.
    pub async fn send(&self, unit: AccessUnit) -> Result<(), SendError> {
        self.sender.send(unit).await
    }

    /// Sends a data record at the media's present time, waiting for room in the publish queue.
    ///
    /// # Errors
    /// [`DataError`] when the stream has no data track, the record is too long, or the publication is over.
    pub async fn data(&self, record: impl Into<Bytes>) -> Result<(), DataError> {
        self.sender.data(record).await
    }

    /// Returns a way to send from other tasks and threads.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Returns the identity of the stream that bears the name.
    pub fn key(&self) -> StreamKey {
        self.catalogue.renditions.first().map_or(self.publications[0].key(), |first| first.key)
    }

    /// Returns which run of the publisher this is.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns when the run began: the zero of [`crate::Delivery::closed`], on this host's clock.
    pub fn began(&self) -> Now {
        self.began
    }

    /// Returns what the stream is made of that bears the name, which lists all renditions.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Returns the counters, which can be read from elsewhere.
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Waits until the stream is over without [`Publisher::end`]: its name was lost, or the node stopped.
    pub async fn lost(&self) -> Unpublished {
        // All renditions are of one run; whoever takes the name takes it of the first.
        self.sender.end.wait_for(0).await
    }

    /// Ends the stream behind what was sent, and waits until every neighbour has it, at most 5 s.
    pub async fn end(self) -> Unpublished {
        let end = Arc::clone(&self.sender.end);
        if end.states.iter().all(|state| *state.borrow() == PublicationState::Running) {
            end.asked.store(true, Ordering::Release);
        }
        drop(self);
        let mut complete = true;
        for place in 0..end.states.len() {
            match end.wait_for(place).await {
                Unpublished::Ended { complete: this } => complete &= this,
                other => return other,
            }
        }
        Unpublished::Ended { complete }
    }
}

impl End {
    /// Waits for the end of a rendition.
    async fn wait_for(&self, place: usize) -> Unpublished {
        let mut state = self.states[place].clone();
        let over = |state: &PublicationState| *state != PublicationState::Running;
        match state.wait_for(over).await.as_deref() {
            Ok(state) => self.meaning(state),
            Err(_) => Unpublished::Stopped,
        }
    }

    fn meaning(&self, state: &PublicationState) -> Unpublished {
        let asked = self.asked.load(Ordering::Acquire) || self.node_closes.load(Ordering::Acquire);
        match state {
            PublicationState::Ended { complete } if asked => Unpublished::Ended { complete: *complete },
            PublicationState::Running => Unpublished::Stopped,
            _ => Unpublished::BadName,
        }
    }
}

impl Sender {
    fn new(routes: Vec<Route>, tracks: Vec<Track>, end: Arc<End>) -> Self {
        let clock = MediaClock::default();
        if tracks.iter().all(|track| track.kind == TrackKind::Data) {
            clock.advance(MediaTime(0), crate::now());
        }
        let data_track = tracks.iter().find(|track| track.kind == TrackKind::Data).map(|track| track.id);
        let (tracks, clock, newest_data) = (tracks.into(), Arc::new(clock), Arc::new(Mutex::new(i64::MIN)));
        Self { routes, end, tracks, clock, newest_data, data_track }
    }

    /// Sends one access unit, waiting for room in the publish queue.
    ///
    /// # Errors
    /// [`SendError`] once the publication is over.
    pub async fn send(&self, unit: AccessUnit) -> Result<(), SendError> {
        self.advance(&unit);
        for route in &self.routes {
            route.send(&unit).await.ok_or_else(|| self.send_error())?;
        }
        Ok(())
    }

    /// Sends one access unit, blocking the thread until there is room. Not for asynchronous code.
    ///
    /// # Errors
    /// [`SendError`] once the publication is over.
    pub fn send_blocking(&self, unit: AccessUnit) -> Result<(), SendError> {
        self.advance(&unit);
        self.routes.iter().try_for_each(|route| route.send_blocking(&unit)).ok_or_else(|| self.send_error())
    }

    /// Sends a data record at the media's present time, waiting for room in the publish queue. Before the first
    /// access unit of the media, that time is 0.
    ///
    /// # Errors
    /// [`DataError`] when the stream has no data track, the record is too long, or the publication is over.
    pub async fn data(&self, record: impl Into<Bytes>) -> Result<(), DataError> {
        Ok(self.send(self.data_unit(record.into())?).await?)
    }

    /// Sends a data record as [`Sender::data`] does, blocking the thread. Not for asynchronous code.
    ///
    /// # Errors
    /// [`DataError`] when the stream has no data track, the record is too long, or the publication is over.
    pub fn data_blocking(&self, record: impl Into<Bytes>) -> Result<(), DataError> {
        Ok(self.send_blocking(self.data_unit(record.into())?)?)
    }

    /// Publishes a source to its end, on a thread of the caller's. Its tracks, and their renditions, must be those that
    /// are published. To stop it,
    /// fire the source's interrupt.
    ///
    /// # Errors
    /// [`FeedError::Source`] when the source fails or is interrupted, [`FeedError::Send`] once the publication is
    /// over.
    pub fn feed(&self, source: &mut Source) -> Result<(), FeedError> {
        while let Some(unit) = source.next()? {
            self.send_blocking(unit)?;
        }
        Ok(())
    }

    /// Returns the media's present time; `None` before its first access unit.
    pub fn media_time(&self) -> Option<MediaTime> {
        self.clock.at(crate::now())
    }

    fn advance(&self, unit: &AccessUnit) {
        if self.data_track != Some(unit.track)
            && let Some(track) = self.tracks.iter().find(|track| track.id == unit.track)
        {
            self.clock.advance(MediaTime(track.time_base.to_micros(unit.dts)), crate::now());
        }
    }

    fn data_unit(&self, payload: Bytes) -> Result<AccessUnit, DataError> {
        let track = self.data_track.ok_or(DataError::NoTrack)?;
        if payload.len() > DATA_BYTES_MAX {
            return Err(DataError::TooLong(payload.len()));
        }
        let mut newest = self.newest_data.lock();
        let dts = self.media_time().unwrap_or_default().0.max(*newest);
        *newest = dts;
        Ok(AccessUnit { track, dts, pts: dts, duration: 0, key: true, disposable: false, payload })
    }

    fn send_error(&self) -> SendError {
        let lost = |state: &watch::Receiver<_>| self.end.meaning(&state.borrow()) == Unpublished::BadName;
        if self.end.states.iter().any(lost) { SendError::BadName } else { SendError::Ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_track_is_added_once_and_last() {
        let identity = Identity::ephemeral().unwrap();
        let config = PublishConfig::new("cam", vec![data_track(TrackId(0))], identity.clone()).with_data();
        assert_eq!(config.tracks.len(), 1);
        let mut video = data_track(TrackId(0));
        video.kind = TrackKind::Video;
        let config = PublishConfig::new("cam", vec![video], identity).with_data().with_data();
        assert_eq!(config.tracks.iter().map(|track| track.id.0).collect::<Vec<_>>(), [0, 1]);
    }
}
