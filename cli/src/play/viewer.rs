//! The thread of a viewer: takes what is delivered, writes it, and tells what happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use swarmcast::{
    CloseCause, Delivery, Event, GapCause, RecordError, Recorded, Recorder, SinkError, Subscriber, TrackId,
    TrackKind,
};
use tokio::sync::oneshot;

use super::data::{DataWriter, data_failure};
use crate::clock;
use crate::failure::Failure;
use crate::report::{Line, Reporter, TrackLine};
use crate::run::Delivered;

/// Everything a viewer's thread owns.
pub(super) struct Viewer {
    reporter: Arc<Reporter>,
    delivered: Arc<Delivered>,
    recorder: Recorder,
    data: Option<DataWriter>,
    data_tracks: Vec<TrackId>,
    /// When to give up, and after how long that is; `None` once the stream was found, or without a limit.
    give_up: Option<(Instant, Duration)>,
    opened: Option<oneshot::Sender<()>>,
    first: bool,
}

/// Why a viewer left.
#[derive(Debug)]
pub(super) enum Left {
    /// The subscription is over.
    Closed(CloseCause),
    /// Whoever read the output went away.
    OutputClosed,
    /// There was no such stream for so long.
    NotFound(Duration),
}

impl Viewer {
    /// Makes a viewer. `opened` hears when the stream was found; without that, the viewer gives up after `patience`.
    pub(super) fn new(
        reporter: &Arc<Reporter>,
        delivered: Arc<Delivered>,
        recorder: Recorder,
        data: Option<DataWriter>,
        patience: Option<Duration>,
        opened: oneshot::Sender<()>,
    ) -> Self {
        Self {
            reporter: Arc::clone(reporter),
            delivered,
            recorder,
            data,
            data_tracks: Vec::new(),
            give_up: patience.map(|patience| (Instant::now() + patience, patience)),
            opened: Some(opened),
            first: true,
        }
    }

    /// Watches until the subscription is closed.
    pub(super) fn run(mut self, mut subscriber: Subscriber) -> Result<Left, Failure> {
        loop {
            if let Some(data) = &mut self.data {
                data.write_due(swarmcast::now()).map_err(data_failure)?;
            }
            let event = match self.next_wake() {
                Some(wait) => subscriber.recv_timeout(wait),
                None => Ok(subscriber.recv()),
            };
            let left = match event {
                Ok(Some(event)) => self.handle(&event)?,
                Ok(None) => Some(Left::Closed(CloseCause::Stopped)),
                Err(_) => self.check_patience(),
            };
            if let Some(left) = left {
                return Ok(left);
            }
        }
    }

    /// How long the next event may be waited for.
    fn next_wake(&self) -> Option<Duration> {
        let data = self.data.as_ref().and_then(|data| data.due_in(swarmcast::now()));
        let give_up = self.give_up.map(|(at, _)| at.saturating_duration_since(Instant::now()));
        data.into_iter().chain(give_up).min()
    }

    fn check_patience(&self) -> Option<Left> {
        let (at, patience) = self.give_up?;
        (Instant::now() >= at).then_some(Left::NotFound(patience))
    }

    fn handle(&mut self, event: &Event) -> Result<Option<Left>, Failure> {
        if let Event::AccessUnit(delivery) = event {
            if let Some(closed) = delivery.closed {
                self.delivered.set_latest(closed);
            }
            self.tell_first(delivery);
            self.take_data(delivery)?;
        }
        self.tell(event);
        let recorded = self.recorder.handle(event);
        self.delivered.set_written(self.recorder.written());
        match recorded {
            Ok(Recorded::Opened { output, part: 1.. }) => self.reporter.tell(Line::Part { output }, None),
            Ok(_) => {}
            Err(RecordError::Sink(SinkError::Closed { .. })) => return Ok(Some(Left::OutputClosed)),
            Err(error) => return Err(error.into()),
        }
        let Event::Closed(cause) = event else { return Ok(None) };
        if *cause == CloseCause::Ended {
            self.drain_data()?;
        }
        Ok(Some(Left::Closed(cause.clone())))
    }

    fn tell(&mut self, event: &Event) {
        let line = match event {
            Event::Opened { key, epoch, catalogue } => {
                self.give_up = None;
                let data = catalogue.tracks.iter().filter(|track| track.kind == TrackKind::Data);
                self.data_tracks = data.map(|track| track.id).collect();
                if let Some(opened) = self.opened.take() {
                    // Nobody listens when no duration was asked for.
                    let _ = opened.send(());
                }
                let tracks = catalogue.tracks.iter().map(TrackLine::from).collect();
                Line::Opened { key: key.to_string(), epoch: epoch.0, tracks }
            }
            Event::Gap { track, from, to, cause } => {
                let seconds = |time: swarmcast::MediaTime| time.0 as f64 / 1e6;
                let cause = match cause {
                    GapCause::Shed => "shed",
                    _ => "late",
                };
                Line::Gap { track: track.map(|id| id.0), from: seconds(*from), to: seconds(*to), cause }
            }
            Event::Overrun { access_units } => {
                let message =
                    format!("{access_units} access units were dropped: the output takes them too slowly");
                Line::Warning { code: "overrun", message }
            }
            Event::Reset { old, new } => Line::Reset { old: old.0, new: new.0 },
            _ => return,
        };
        self.reporter.tell(line, event.code());
    }

    fn tell_first(&mut self, delivery: &Delivery) {
        if !std::mem::take(&mut self.first) {
            return;
        }
        let since_start = clock::since_process_start().map(|age| age.as_secs_f64());
        let unit = &delivery.unit;
        let line = Line::FirstAccessUnit {
            track: unit.track.0,
            dts: unit.dts,
            pts: unit.pts,
            key: unit.key,
            since_start,
        };
        self.reporter.tell(line, None);
    }

    fn take_data(&mut self, delivery: &Delivery) -> Result<(), Failure> {
        let Some(data) = self.data.as_mut().filter(|_| self.data_tracks.contains(&delivery.unit.track))
        else {
            return Ok(());
        };
        if !data.take(delivery).map_err(data_failure)? {
            let message = format!("a data record of {} bytes is not JSON", delivery.unit.payload.len());
            self.reporter.tell(Line::Warning { code: "bad-data-record", message }, None);
        }
        Ok(())
    }

    /// Writes the last records at their time, when the stream came to its own end.
    fn drain_data(&mut self) -> Result<(), Failure> {
        let Some(data) = &mut self.data else { return Ok(()) };
        while let Some(wait) = data.due_in(swarmcast::now()) {
            std::thread::sleep(wait);
            data.write_due(swarmcast::now()).map_err(data_failure)?;
        }
        Ok(())
    }
}
