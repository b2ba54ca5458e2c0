//! What `publish` and `play` have in common: a runtime, signals, and the thread that tells health.

use std::future::Future;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarmcast::{Counters, HealthWatch, PlayStats, Screen, SinkCounts, StreamStats, Swarm};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::clock;
use crate::failure::{Exit, Failure};
use crate::report::{Latest, Line, Reporter};
use crate::status::{HealthMeter, Look, Measured};

/// Time between two reports of health.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Runs a command to its end on one thread, and turns its failure into a line and an exit code. Threads that
/// block on terminals, files and devices are the command's own; what they hold ends with the process.
pub(crate) fn block_on<F>(json: bool, command: impl FnOnce(Arc<Reporter>) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Failure>>,
{
    let reporter = match Reporter::start(json) {
        Ok(reporter) => reporter,
        Err(failure) => return failure.tell(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match &runtime {
        Ok(runtime) => runtime.block_on(command(Arc::clone(&reporter))),
        Err(error) => Err(Failure::new(Exit::Unexpected, "runtime", error)),
    };
    if let Ok(runtime) = runtime {
        runtime.shutdown_background();
    }
    reporter.finish(result.as_ref().err());
    result.map_or_else(|failure| failure.exit.into(), |()| ExitCode::SUCCESS)
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

/// Measures health each second and tells it.
pub(crate) struct HealthTeller {
    meter: HealthMeter,
    counters: Counters,
    /// None at a publisher.
    verdicts: Option<HealthWatch>,
    swarm: Swarm,
    delivered: Arc<Delivered>,
    every: Interval,
    reporter: Arc<Reporter>,
    last: StreamStats,
}

impl HealthTeller {
    /// Begins now. A viewer has `verdicts`; `delivered` is how far its thread is.
    pub(crate) fn new(
        reporter: &Arc<Reporter>,
        swarm: &Swarm,
        (counters, verdicts): (Counters, Option<HealthWatch>),
        meter: HealthMeter,
        delivered: &Arc<Delivered>,
    ) -> Self {
        let mut every = interval_at(Instant::now() + HEALTH_INTERVAL, HEALTH_INTERVAL);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (swarm, delivered) = (swarm.clone(), Arc::clone(delivered));
        let reporter = Arc::clone(reporter);
        Self { meter, counters, verdicts, swarm, delivered, every, reporter, last: StreamStats::default() }
    }

    /// Tells health each second, and never returns. Dropping the future loses at most one report.
    pub(crate) async fn tell(&mut self) -> std::convert::Infallible {
        loop {
            self.every.tick().await;
            let health = self.measure().await;
            self.reporter.tell_health(health);
        }
    }

    /// Measures once more. Of a stream that is closed already, it knows what was counted last.
    pub(crate) async fn measure(&mut self) -> Measured {
        if let Ok(Some(counters)) = self.counters.read().await {
            self.last = counters;
        }
        let (latest, player) = self.delivered.look();
        let look = Look {
            counters: self.last,
            transport: self.swarm.transport(),
            health: self.verdicts.as_ref().map(HealthWatch::current),
            rtt: self.swarm.neighbours().iter().map(|neighbour| neighbour.rtt).min(),
            latest,
            player,
        };
        self.meter.measure(swarmcast::now(), look)
    }
}

/// How far a viewer's thread is, shared with whoever tells health; nothing at a publisher.
#[derive(Default)]
pub(crate) struct Delivered(Mutex<Delivery>);

#[derive(Default)]
struct Delivery {
    /// None at a publisher and with an output.
    screen: Option<Screen>,
    latest: Option<Latest>,
    written: SinkCounts,
}

impl Delivered {
    /// Says that an access unit was delivered just now, whose block was closed at that time of the publisher's clock.
    pub(crate) fn set_latest(&self, closed: Duration) {
        let latest = Latest { t: clock::monotonic().as_secs_f64(), closed: closed.as_secs_f64() };
        self.lock().latest = Some(latest);
    }

    /// Says where it is shown.
    pub(crate) fn set_screen(&self, screen: Screen) {
        self.lock().screen = Some(screen);
    }

    fn look(&self) -> (Option<Latest>, Option<PlayStats>) {
        let delivery = self.lock();
        let stats = delivery.screen.as_ref().map(|screen| screen.stats(swarmcast::now()));
        (delivery.latest, stats)
    }

    /// Says how much the output has taken in all.
    pub(crate) fn set_written(&self, written: SinkCounts) {
        self.lock().written = written;
    }

    /// Returns how much the output has taken.
    pub(crate) fn written(&self) -> SinkCounts {
        self.lock().written
    }

    fn lock(&self) -> MutexGuard<'_, Delivery> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        reporter.tell(line, Some(change.code()));
    }
}
