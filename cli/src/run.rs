//! What `publish` and `play` have in common: a runtime, signals, and the thread that tells health.

use std::future::Future;
use std::process::ExitCode;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use swarmcast::{Counters, StreamStats, Swarm};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::clock;
use crate::failure::{Exit, Failure};
use crate::report::{Latest, Line, Reporter};
use crate::status::{Health, HealthMeter};

/// Time between two reports of health.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Runs a command to its end on one thread, and turns its failure into a line and an exit code. Threads that
/// block on terminals, files and devices are the command's own; what they hold ends with the process.
pub(crate) fn block_on<F>(reporter: &Arc<Reporter>, command: F) -> ExitCode
where
    F: Future<Output = Result<(), Failure>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match &runtime {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => Err(Failure::new(Exit::Unexpected, "runtime", error)),
    };
    if let Ok(runtime) = runtime {
        runtime.shutdown_background();
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            reporter.fail(&failure);
            failure.exit.into()
        }
    }
}

/// Ctrl-C and SIGTERM.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals over from the default, which would end the process at once.
    pub(crate) fn new() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(|error| Failure::new(Exit::Unexpected, "signals", error));
        Ok(Self { interrupt: take(SignalKind::interrupt())?, terminate: take(SignalKind::terminate())? })
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Measures health each second and has it told by a thread of its own, so that a slow terminal or reader holds up
/// nothing else.
#[derive(Debug)]
pub(crate) struct HealthTeller {
    meter: HealthMeter,
    counters: Counters,
    swarm: Swarm,
    newest: Arc<Newest>,
    every: Interval,
    lines: SyncSender<Health>,
    last: StreamStats,
}

impl HealthTeller {
    /// Starts the thread. `newest` is what a viewer delivered last.
    pub(crate) fn start(
        reporter: &Arc<Reporter>,
        swarm: &Swarm,
        counters: Counters,
        meter: HealthMeter,
        newest: &Arc<Newest>,
    ) -> Result<Self, Failure> {
        let (lines, told) = mpsc::sync_channel::<Health>(1);
        let reporter = Arc::clone(reporter);
        spawn("health", move || told.iter().for_each(|health| reporter.tell_health(&health)))?;
        let mut every = interval_at(Instant::now() + HEALTH_INTERVAL, HEALTH_INTERVAL);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (swarm, newest) = (swarm.clone(), Arc::clone(newest));
        Ok(Self { meter, counters, swarm, newest, every, lines, last: StreamStats::default() })
    }

    /// Tells health each second, and never returns. Dropping the future loses at most one report.
    pub(crate) async fn tell(&mut self) -> std::convert::Infallible {
        loop {
            self.every.tick().await;
            let health = self.measure().await;
            // A reader that is a second behind gets the next report.
            let _ = self.lines.try_send(health);
        }
    }

    /// Measures once more; what the stream had counted last, when it is closed already.
    pub(crate) async fn measure(&mut self) -> Health {
        if let Ok(Some(counters)) = self.counters.read().await {
            self.last = counters;
        }
        let rtt = self.swarm.neighbours().iter().map(|neighbour| neighbour.rtt).min();
        self.meter.measure(Instant::now().into(), self.last, rtt, self.newest.latest())
    }
}

/// The newest delivery, shared between a viewer's thread and the one that tells health; none at a publisher.
#[derive(Debug, Default)]
pub(crate) struct Newest(Mutex<Option<Latest>>);

impl Newest {
    /// Notes a delivery whose block was closed at that time of the publisher's clock.
    pub(crate) fn set(&self, closed: Duration) {
        let latest = Latest { t: clock::monotonic().as_secs_f64(), closed: closed.as_secs_f64() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(latest);
    }

    fn latest(&self) -> Option<Latest> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a thread that may block. The process does not wait for it at its end.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| Failure::new(Exit::Unexpected, "thread", error))
}

/// Tells the comings and goings of neighbours until the node stops.
pub(crate) async fn tell_neighbours(swarm: &Swarm, reporter: &Reporter) {
    let mut changes = swarm.neighbour_changes();
    while let Some(change) = changes.next().await {
        let line = Line::Neighbour { peer: change.peer.to_string(), up: change.up };
        reporter.tell(&line, Some(change.code()));
    }
}
