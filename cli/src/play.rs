//! `swarmcast play`: watches a stream, records it or hands it to a player.

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use swarmcast::{
    CloseCause, FallbackPolicy, Interrupt, Quality, Recorder, SinkConfig, Stopped, StreamKey,
    SubscribeConfig, Swarm,
};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;
use tokio::time::sleep;

use crate::args::{
    GroupKeyArgs, MulticastArgs, NetworkArgs, hold_down, quality, seconds, stream_key, stream_name,
};
use crate::failure::{Exit, Failure};
use crate::report::{Ended, Line, Reporter, Started};
use crate::run::{Delivered, HealthTeller, Signals, block_on, spawn, tell_neighbours};
use crate::status::HealthMeter;

mod data;
mod face;
mod telling;
mod viewer;

use data::{DataWriter, data_failure};
use face::{Face, FaceArgs};
use telling::Closing;
use viewer::{Left, Viewer};

/// How long a recording may take to be completed after the user stopped.
const FINISH_MAX: Duration = Duration::from_secs(5);

/// How long a stream is looked for without `--wait`.
const WAIT: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  Watch it in a window, with sound; ? explains the keys:
    swarmcast play cam --group lobby
  Watch with another player (any that reads MPEG-TS from standard input):
    swarmcast play cam --group lobby --output - | mpv -
  Record ten seconds:
    swarmcast play cam --group lobby --output cam.mkv --duration 10
  Wait until somebody publishes, however long that takes:
    swarmcast play cam --group lobby --wait
  See how healthy a stream is, without showing it:
    swarmcast play cam --group lobby --headless
  Play the same instant in several rooms:
    swarmcast play cam --group lobby --sync
  Print the data that travels beside the pictures, in time with them:
    swarmcast play cam --group lobby --data -";

/// Watches a stream: in a window, in the terminal, or by a recording, and tells its health
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", crate::failure::EXIT_CODES))]
pub(crate) struct PlayArgs {
    /// Name of the stream
    #[arg(value_parser = stream_name)]
    name: String,
    /// Group in which it is published
    #[arg(short, long)]
    group: String,
    #[command(flatten)]
    group_key: GroupKeyArgs,
    /// Where it goes instead of a window: a file (.mkv, .mp4, .ts), a URL that ffmpeg can write, or - for MPEG-TS on
    /// standard output
    #[arg(short, long, value_name = "FILE|URL|-")]
    output: Option<String>,
    /// Container of the output, as `ffmpeg -formats` names it [default: by the name's ending]
    #[arg(long, value_name = "FORMAT", requires = "output")]
    format: Option<String>,
    /// Where data records go, one JSON value a line, each at its time: a file, or - for standard output
    #[arg(long, value_name = "FILE|-")]
    data: Option<PathBuf>,
    /// Stop this long after the stream was found
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// How far behind the publisher it plays at least, 50 to 60000 ms: more repairs more, less is nearer to live
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    playout_delay: u64,
    /// Play the same instant as all other viewers with --sync and the same --playout-delay, within 20 ms; what comes
    /// late is left out, so leave the delay room
    #[arg(long, conflicts_with = "output")]
    sync: bool,
    /// Key of the publisher, when several use the name
    #[arg(long, value_name = "KEY", value_parser = stream_key)]
    publisher: Option<StreamKey>,
    /// Which quality, where there are several: auto goes down while it does not come in time and up again, or highest,
    /// lowest, the largest that is no larger than WIDTHxHEIGHT, or a place in the list that `swarmcast list` prints
    #[arg(long, value_name = "auto|highest|lowest|WIDTHxHEIGHT|INDEX", default_value = "auto", value_parser = quality)]
    quality: Quality,
    /// Wait so long for the stream to be published; without SECONDS for ever, also for a publisher that has gone to
    /// come back [default: 5 seconds]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, value_parser = seconds)]
    wait: Option<Option<Duration>>,
    #[command(flatten)]
    multicast: MulticastArgs,
    /// Who goes over to another path when one fails: multicast, then neighbours, then the publisher, then the URL
    #[arg(long, value_enum, default_value_t = Fallback::Auto)]
    fallback: Fallback,
    /// What is played when nothing else can be had, until it can: a URL or a file that ffmpeg reads
    #[arg(long, value_name = "URL")]
    fallback_url: Option<String>,
    /// How long a better path must deliver cleanly before it is returned to, and a quality before a higher one is
    /// tried, 0.1 to 3600 seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = hold_down)]
    hold_down: Duration,
    #[command(flatten)]
    face: FaceArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Print events and counters as JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Who decides on going over to another path.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Fallback {
    /// The engine, by itself
    Auto,
    /// Nobody here: --json tells what a program needs to take over
    Manual,
    /// Nobody: multicast and neighbours only
    Off,
}

impl From<Fallback> for FallbackPolicy {
    fn from(fallback: Fallback) -> Self {
        match fallback {
            Fallback::Auto => Self::Auto,
            Fallback::Manual => Self::Manual,
            Fallback::Off => Self::Off,
        }
    }
}

/// Runs `swarmcast play`.
pub(crate) fn run(args: &PlayArgs) -> ExitCode {
    block_on(args.json, |reporter| async move { play(args, &reporter).await })
}

async fn play(args: &PlayArgs, reporter: &Arc<Reporter>) -> Result<(), Failure> {
    args.check()?;
    let group = args.group_key.group(&args.group)?;
    let data = args.data.as_deref().map(DataWriter::open).transpose().map_err(data_failure)?;
    let mut signals = Signals::new()?;
    let (swarm, driver) = Swarm::bind(args.network.config(group)).await?;
    let driver = tokio::spawn(driver.run());
    let watched = watch(args, data, &swarm, &mut signals, reporter).await;
    tokio::select! {
        () = swarm.close() => {}
        () = signals.next() => {}
    }
    driver.abort();
    watched
}

impl PlayArgs {
    /// Refuses what each flag allows but all together do not.
    fn check(&self) -> Result<(), Failure> {
        if self.fallback_url.is_some() && self.fallback != Fallback::Auto {
            let message = "--fallback-url is played by --fallback auto alone: leave --fallback out";
            return Err(Failure::usage(message));
        }
        if self.fallback_url.as_deref().is_some_and(|url| url.is_empty() || url == "-") {
            let message = "--fallback-url: give a URL or a file, such as http://192.168.1.10/live.m3u8";
            return Err(Failure::usage(message));
        }
        let takers = [
            (self.output.as_deref() == Some("-"), "--output -"),
            (self.data.as_deref() == Some("-".as_ref()), "--data -"),
            (self.face.takes_output(), "--terminal"),
            (self.json, "--json"),
        ];
        let taken: Vec<_> = takers.iter().filter(|(takes, _)| *takes).map(|(_, flag)| *flag).collect();
        match taken[..] {
            [first, second, ..] => Err(Failure::usage(format_args!(
                "{first} and {second} both take standard output: write one of them to a file, or leave it out"
            ))),
            _ => Ok(()),
        }
    }

    fn sink(&self, interrupt: &Interrupt) -> SinkConfig {
        let sink = match &self.output {
            None => SinkConfig::headless(),
            Some(output) => SinkConfig { format: self.format.clone(), ..SinkConfig::new(output) },
        };
        SinkConfig { interrupt: interrupt.clone(), ..sink }
    }

    fn config(&self) -> SubscribeConfig {
        SubscribeConfig {
            publisher: self.publisher,
            quality: self.quality,
            playout_delay: Duration::from_millis(self.playout_delay),
            multicast: self.multicast.multicast,
            fallback: self.fallback.into(),
            hold_down: self.hold_down,
            find_within: self.patience(),
            waits: self.wait == Some(None),
            in_step: self.sync,
            foreign: self.fallback_url.clone(),
            ..SubscribeConfig::new(&self.name)
        }
    }

    /// How long the stream is looked for; `None` is for ever.
    fn patience(&self) -> Option<Duration> {
        self.wait.unwrap_or(Some(WAIT))
    }
}

/// Watches until the stream ends, the user stops or the time is over; then tells how it went.
async fn watch(
    args: &PlayArgs,
    data: Option<DataWriter>,
    swarm: &Swarm,
    signals: &mut Signals,
    reporter: &Arc<Reporter>,
) -> Result<(), Failure> {
    let config = args.config();
    let playout_delay = config.playout_delay;
    let shown = match &args.output {
        None => Some(Face::open(&args.face, &args.name, (playout_delay, args.sync), reporter).await?),
        Some(_) => None,
    };
    let (face, feed) = shown.unzip();
    let mut subscriber = swarm.subscribe(config).await?;
    reporter.tell(Line::Started(Box::new(Started::viewer(swarm, &args.name))), None);

    let delivered = Arc::new(Delivered::default());
    face.iter().for_each(|face| delivered.set_screen(face.screen()));
    let meter = HealthMeter::new(swarmcast::now(), Some(playout_delay));
    let sources = (subscriber.counters(), Some(subscriber.health()));
    let mut health = HealthTeller::new(reporter, swarm, sources, meter, &delivered);
    let (interrupt, closing) = (Interrupt::new(), Closing::new(reporter));
    let recorder = Recorder::new(args.sink(&interrupt));
    let (opened, found) = oneshot::channel();
    let viewer = Viewer::new((reporter, &closing), swarm, &delivered, (recorder, feed, data), opened);
    let stopper = subscriber.stopper();
    if let Some(foreign) = subscriber.foreign_source() {
        spawn("foreign", move || foreign.run())?;
    }
    let (done, left) = oneshot::channel();
    spawn("viewer", move || {
        // Nobody waits any more when the user stopped for the second time.
        let _ = done.send(viewer.run(subscriber));
    })?;

    let mut left = pin!(left);
    let stopped = tokio::select! {
        left = &mut left => Stop::Left(left),
        () = time_is_over(found, args.duration) => Stop::Asked("duration"),
        () = signals.next() => Stop::Asked("local"),
        () = reporter.reader_gone() => Stop::Asked("local"),
        () = left_by(face.as_ref()) => Stop::Asked("local"),
        () = tell_neighbours(swarm, reporter) => Stop::Asked("stopped"),
        never = health.tell() => match never {},
    };
    let cause = match stopped {
        Stop::Left(left) => cause_of(left, args, swarm).await,
        Stop::Asked(cause) => {
            health.measure().await;
            stopper.stop().await;
            tokio::select! {
                left = &mut left => cause_of(left, args, swarm).await.map(|_| cause),
                () = sleep(FINISH_MAX) => Ok(cause),
                () = signals.next() => Ok(cause),
            }
        }
    };
    // What is told from here on is read where the picture was.
    if let Some(face) = face {
        face.close().await;
    }
    // Only a sink that blocks is still at work by now.
    interrupt.interrupt();
    // A viewer that left by itself, or is still at work, was not told that the subscription is over.
    closing.tell(&CloseCause::Local);
    let cause = cause?;
    let stats = health.measure().await.stats();
    let status = if cause == "ended" { "NetStream.Play.UnpublishNotify" } else { "NetStream.Play.Stop" };
    let ended = Ended::viewer(cause, stats, delivered.written());
    reporter.tell(Line::Ended(Box::new(ended)), Some(status));
    Ok(())
}

/// Why the wait for the viewer's thread is over.
enum Stop {
    Left(Result<Result<Left, Failure>, RecvError>),
    Asked(&'static str),
}

async fn cause_of(
    left: Result<Result<Left, Failure>, RecvError>,
    args: &PlayArgs,
    swarm: &Swarm,
) -> Result<&'static str, Failure> {
    let died = |_| Failure::new(Exit::Unexpected, "viewer", "the viewer's thread died: please report this");
    match left.map_err(died)?? {
        Left::Closed(CloseCause::Ended) => Ok("ended"),
        Left::Closed(CloseCause::Local) => Ok("local"),
        Left::Closed(CloseCause::Ambiguous { keys }) => Err(Failure::ambiguous(&args.name, &keys)),
        Left::Closed(CloseCause::Dead(reason)) => {
            Err(Failure::dead(swarm, &args.name, &reason, args.patience().unwrap_or_default()).await)
        }
        Left::Closed(_) => Err(Stopped.into()),
        Left::OutputClosed => Ok("output-closed"),
    }
}

/// Waits until the user leaves by the window; for ever without one.
async fn left_by(face: Option<&Face>) {
    match face {
        Some(face) => face.exited().wait().await,
        None => std::future::pending().await,
    }
}

/// Waits until the stream was found and its time is over; for ever without a duration.
async fn time_is_over(found: oneshot::Receiver<()>, duration: Option<Duration>) {
    match (duration, found.await) {
        (Some(duration), Ok(())) => sleep(duration).await,
        _ => std::future::pending().await,
    }
}
