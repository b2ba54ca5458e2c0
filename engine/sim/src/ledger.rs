//! What was published, so that oracles can judge what is delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use swarmcast_core::catalogue::{AccessUnit, Catalogue, TimeBase, TrackId};
use swarmcast_core::ids::{Epoch, StreamHandle, StreamKey, StreamTag};
use swarmcast_core::wire::peek_tag;

use crate::clock::HostClock;
use crate::network::HostId;
use crate::workload;

/// A publisher whose source makes nothing for 200 ms says that it pauses; its clock may be fast.
const GAP: Duration = Duration::from_millis(190);

/// One published access unit without its payload, which can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) dts: i64,
    pub(crate) pts: i64,
    pub(crate) duration: u32,
    pub(crate) key: bool,
    pub(crate) disposable: bool,
    pub(crate) bytes: usize,
    /// True time of its publication.
    pub(crate) at: Duration,
    /// Its place among all units of the stream.
    pub(crate) order: u64,
}

/// One run of a stream.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) host: HostId,
    pub(crate) handle: StreamHandle,
    pub(crate) epoch: Epoch,
    pub(crate) key: Option<StreamKey>,
    pub(crate) catalogue: Catalogue,
    /// True time at which the publisher began.
    pub(crate) began: Duration,
    /// True time at which the publisher ended the stream.
    pub(crate) ended: Option<Duration>,
    /// True time at which the publisher vanished without a word.
    pub(crate) vanished: Option<Duration>,
    /// True times between which its source was silent.
    pub(crate) silences: Vec<(Duration, Duration)>,
    /// When its last unit was published, and when a gap between two ended last.
    last_at: Duration,
    last_gap_at: Option<Duration>,
    /// What heads its datagrams, once its key is known.
    pub(crate) tag: Option<StreamTag>,
    /// The publisher's clock.
    clock: HostClock,
    /// Hashes of all datagrams that the publisher sent, in a world where somebody forges some.
    genuine: BTreeSet<u64>,
    salt: u64,
    tracks: BTreeMap<TrackId, Vec<Record>>,
    count: u64,
    bytes: u64,
}

impl Run {
    pub(crate) fn track(&self, track: TrackId) -> &[Record] {
        self.tracks.get(&track).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn tracks(&self) -> impl Iterator<Item = (TrackId, &[Record])> {
        self.tracks.iter().map(|(track, records)| (*track, records.as_slice()))
    }

    pub(crate) fn time_base(&self, track: TrackId) -> TimeBase {
        self.catalogue.track(track).map_or(TimeBase::MICROS, |track| track.time_base)
    }

    /// Returns the true time of what the publisher says happened so long after the run began.
    pub(crate) fn true_time(&self, since_epoch: Duration) -> Duration {
        self.clock.when(self.clock.now(self.began).after(since_epoch))
    }

    /// Returns since when the source has been silent.
    pub(crate) fn silent_since(&self, at: Duration) -> Option<Duration> {
        self.silences.iter().find(|(from, to)| (*from..*to).contains(&at)).map(|(from, _)| *from)
    }

    /// Returns whether the source was silent at any time in between, be it that its units are that far apart.
    pub(crate) fn was_silent(&self, from: Duration, to: Duration) -> bool {
        let paused = self.silences.iter().any(|(begins, ends)| *begins <= to && *ends >= from);
        paused || self.last_gap_at.is_some_and(|at| at >= from) || self.last_at + GAP < to
    }

    /// Takes note of a datagram that the publisher sent.
    pub(crate) fn sent(&mut self, datagram: &[u8]) {
        self.genuine.insert(workload::hash(datagram));
    }

    /// Returns whether the publisher sent this very datagram.
    pub(crate) fn is_genuine(&self, datagram: &[u8]) -> bool {
        self.genuine.contains(&workload::hash(datagram))
    }

    /// Returns the number of access units and of their payload bytes so far.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.count, self.bytes)
    }

    /// Returns the unit's number and record when it is exactly what was published.
    pub(crate) fn identify(&self, unit: &AccessUnit) -> Option<(u64, Record)> {
        let index = workload::index_of(&unit.payload)?;
        let record = *self.track(unit.track).get(usize::try_from(index).ok()?)?;
        let expected = AccessUnit {
            track: unit.track,
            dts: record.dts,
            pts: record.pts,
            duration: record.duration,
            key: record.key,
            disposable: record.disposable,
            payload: workload::payload(self.salt, unit.track, index, record.bytes),
        };
        (expected == *unit).then_some((index, record))
    }
}

/// All runs of all streams of a world.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    runs: Vec<Run>,
}

impl Ledger {
    pub(crate) fn open(
        &mut self,
        host: HostId,
        handle: StreamHandle,
        epoch: Epoch,
        catalogue: Catalogue,
        salt: u64,
        (began, clock): (Duration, HostClock),
    ) {
        self.runs.push(Run {
            host,
            handle,
            epoch,
            key: None,
            catalogue,
            began,
            ended: None,
            vanished: None,
            silences: Vec::new(),
            last_at: began,
            last_gap_at: None,
            tag: None,
            clock,
            genuine: BTreeSet::new(),
            salt,
            tracks: BTreeMap::new(),
            count: 0,
            bytes: 0,
        });
    }

    pub(crate) fn record(&mut self, host: HostId, unit: &AccessUnit, at: Duration) {
        let Some(run) = self.runs.iter_mut().rev().find(|run| run.host == host) else { return };
        if at > run.last_at + GAP {
            run.last_gap_at = Some(at);
        }
        run.last_at = at;
        run.tracks.entry(unit.track).or_default().push(Record {
            dts: unit.dts,
            pts: unit.pts,
            duration: unit.duration,
            key: unit.key,
            disposable: unit.disposable,
            bytes: unit.payload.len(),
            at,
            order: run.count,
        });
        run.count += 1;
        run.bytes += unit.payload.len() as u64;
    }

    pub(crate) fn run_of(&mut self, host: HostId) -> Option<&mut Run> {
        self.runs.iter_mut().rev().find(|run| run.host == host)
    }

    /// Returns the newest run of a host.
    pub(crate) fn run_by(&self, host: HostId) -> Option<&Run> {
        self.runs.iter().rev().find(|run| run.host == host)
    }

    /// Returns the run whose datagrams begin like this one.
    pub(crate) fn run_in(&self, datagram: &[u8]) -> Option<&Run> {
        let tag = peek_tag(datagram)?;
        self.runs.iter().find(|run| run.tag == Some(tag))
    }

    pub(crate) fn find(&self, key: StreamKey, epoch: Epoch) -> Option<&Run> {
        self.runs.iter().find(|run| run.key == Some(key) && run.epoch == epoch)
    }

    /// Returns whether the same stream had a newer run by then.
    pub(crate) fn has_newer(&self, run: &Run, at: Duration) -> bool {
        self.runs.iter().any(|other| other.key == run.key && other.epoch > run.epoch && other.began < at)
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }
}
