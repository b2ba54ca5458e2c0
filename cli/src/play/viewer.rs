//! The thread of a viewer: takes what is delivered, writes it, and tells what happens.

use std::sync::Arc;

use swarmcast::{
    CloseCause, Delivery, Event, RecordError, Recorded, Recorder, SinkError, Subscriber, Swarm, TrackId,
    TrackKind,
};
use tokio::sync::oneshot;

use super::data::{DataWriter, data_failure};
use super::face::Feed;
use super::telling::{Closing, line};
use crate::clock;
use crate::failure::Failure;
use crate::report::{Line, Reporter};
use crate::run::Delivered;

/// Everything a viewer's thread owns.
pub(super) struct Viewer {
    reporter: Arc<Reporter>,
    closing: Closing,
    swarm: Swarm,
    delivered: Arc<Delivered>,
    recorder: Recorder,
    feed: Option<Feed>,
    data: Option<DataWriter>,
    data_tracks: Vec<TrackId>,
    found: Option<oneshot::Sender<()>>,
    first: bool,
}

/// Why a viewer left.
#[derive(Debug)]
pub(super) enum Left {
    /// The subscription is over.
    Closed(CloseCause),
    /// Whoever read the output went away.
    OutputClosed,
}

impl Viewer {
    /// Makes a viewer. `found` hears when there is something to play.
    pub(super) fn new(
        (reporter, closing): (&Arc<Reporter>, &Closing),
        swarm: &Swarm,
        delivered: &Arc<Delivered>,
        (recorder, feed, data): (Recorder, Option<Feed>, Option<DataWriter>),
        found: oneshot::Sender<()>,
    ) -> Self {
        Self {
            reporter: Arc::clone(reporter),
            closing: closing.clone(),
            swarm: swarm.clone(),
            delivered: Arc::clone(delivered),
            recorder,
            feed,
            data,
            data_tracks: Vec::new(),
            found: Some(found),
            first: true,
        }
    }

    /// Watches until the subscription is closed.
    pub(super) fn run(mut self, mut subscriber: Subscriber) -> Result<Left, Failure> {
        loop {
            if let Some(data) = &mut self.data {
                data.write_due(swarmcast::now()).map_err(data_failure)?;
            }
            let next_record = self.data.as_ref().and_then(|data| data.due_in(swarmcast::now()));
            let event = match next_record {
                Some(wait) => subscriber.recv_timeout(wait),
                None => Ok(subscriber.recv()),
            };
            let left = match event {
                Ok(Some(event)) => {
                    let left = self.handle(&event)?;
                    self.feed.iter().for_each(|feed| subscriber.set_grown(feed.grown()));
                    left
                }
                Ok(None) => Some(Left::Closed(CloseCause::Stopped)),
                Err(_) => None,
            };
            if let Some(left) = left {
                return Ok(left);
            }
        }
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
        self.play(event);
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
            self.feed.iter().for_each(Feed::drain);
        }
        Ok(Some(Left::Closed(cause.clone())))
    }

    fn tell(&mut self, event: &Event) {
        match event {
            Event::Opened { catalogue, .. } => {
                let data = catalogue.tracks.iter().filter(|track| track.kind == TrackKind::Data);
                self.data_tracks = data.map(|track| track.id).collect();
                self.tell_found();
            }
            Event::Foreign { .. } => {
                self.data_tracks.clear();
                self.tell_found();
            }
            Event::Closed(cause) => return self.closing.tell(cause),
            _ => {}
        }
        if let Some(line) = line(event, self.swarm.neighbours().len()) {
            // Lines that have a code of their own say it there.
            let own = matches!(
                line,
                Line::Verdict(_) | Line::Path(_) | Line::PathDue(_) | Line::ControlPlane { .. }
            );
            self.reporter.tell(line, event.code().filter(|_| !own));
        }
    }

    fn play(&mut self, event: &Event) {
        let Some(feed) = &mut self.feed else { return };
        for message in feed.handle(event) {
            self.reporter.tell(Line::Warning { code: "not-played", message }, None);
        }
    }

    fn tell_found(&mut self) {
        if let Some(found) = self.found.take() {
            // Nobody listens when no duration was asked for.
            let _ = found.send(());
        }
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
