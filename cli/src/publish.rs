//! `swarmcast publish`: sends a file, a device or a stream to everybody in the group.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use swarmcast::{
    DataError, FeedError, Group, Interrupt, PublishConfig, Publisher, SendError, Sender, Source, SourceError,
    StateDir, Stopped, Swarm, Unpublished,
};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;
use tokio::time::timeout;

use crate::args::{GroupKeyArgs, MulticastArgs, NetworkArgs, rate, stream_name};
use crate::failure::{EXIT_CODES, Exit, Failure};
use crate::report::{Ended, Line, Reporter, Started};
use crate::run::{Delivered, HealthTeller, Signals, block_on, spawn, tell_neighbours};
use crate::status::HealthMeter;

mod data;
mod source;

use data::JsonLines;
use source::{SourceArgs, tell_connections};

/// How long a source may take to notice that it was stopped.
const STOP_MAX: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  Publish a file over and over:
    swarmcast publish clip.mkv --loop --group lobby --name cam
  Publish a webcam with its microphone:
    swarmcast publish --camera --mic --size 1280x720 --fps 25 --group lobby --name cam
  Let OBS publish (Settings > Stream > Custom, the same address), as often as it comes and goes:
    swarmcast publish --listen rtmp://127.0.0.1:1935/live/x --group lobby --name obs
  Offer two qualities, for viewers on lines of different width:
    swarmcast publish --camera --mic --rendition 1280x720@2M --rendition 640x360@600k --group lobby --name cam
  Send data beside the pictures, one JSON value a line:
    my-scores | swarmcast publish clip.mkv --group lobby --name cam --data -
  Only holders of a secret may watch:
    openssl rand -hex 32 > group.key
    swarmcast publish clip.mkv --group lobby --group-key group.key --name cam";

/// Publishes a file, a device or a stream
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct PublishArgs {
    /// Group to publish in: 1 to 128 bytes; viewers give the same
    #[arg(short, long)]
    group: String,
    #[command(flatten)]
    group_key: GroupKeyArgs,
    /// Name of the stream: 1 to 128 bytes; viewers ask for it
    #[arg(short, long, value_parser = stream_name)]
    name: String,
    /// Data to send in time with the media, one JSON value of at most 64 KiB a line: a file, or - for standard input
    #[arg(long, value_name = "FILE|-")]
    data: Option<PathBuf>,
    /// Directory that keeps the stream's key between runs [default: $XDG_STATE_HOME/swarmcast, else
    /// ~/.local/state/swarmcast]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    multicast: MulticastArgs,
    /// Most bits per second on each multicast interface; a stream that needs more is not multicast there
    #[arg(long, value_name = "RATE", default_value = "50M", value_parser = rate)]
    multicast_rate_max: u64,
    /// Most viewers that get all of the stream from here when neither multicast nor neighbours reach them
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(0..=1000))]
    unicast_max: u16,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Print events and counters as JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Runs `swarmcast publish`.
pub(crate) fn run(args: &PublishArgs) -> ExitCode {
    block_on(args.json, |reporter| async move { publish(args, &reporter).await })
}

async fn publish(args: &PublishArgs, reporter: &Arc<Reporter>) -> Result<(), Failure> {
    if args.source.reads_stdin() && args.data.as_deref() == Some("-".as_ref()) {
        let message = "INPUT - and --data - both read standard input: read one of them from a file";
        return Err(Failure::usage(message));
    }
    let group = args.group_key.group(&args.group)?;
    let data = args.data.as_deref().map(JsonLines::open).transpose().map_err(data_failure)?;
    let mut signals = Signals::new()?;
    let interrupt = Interrupt::new();
    let source = tokio::select! {
        source = open(args, &interrupt) => source?,
        () = signals.next() => {
            interrupt.interrupt();
            return Ok(());
        }
    };
    args.source.tell_encoder(source.encoder(), reporter);
    let (swarm, driver) = Swarm::bind(args.network.config(group.clone())).await?;
    let driver = tokio::spawn(driver.run());
    let sent = match start(args, &group, &swarm, &source).await {
        Ok(publisher) => {
            let (swarm, signals, interrupt) = (&swarm, &mut signals, &interrupt);
            send(publisher, source, data, Surroundings { swarm, signals, interrupt, reporter }).await
        }
        Err(failure) => Err(failure),
    };
    tokio::select! {
        () = swarm.close() => {}
        () = signals.next() => {}
    }
    driver.abort();
    sent
}

/// Opens the input on a thread, since a device, a listener or a network may let it wait.
async fn open(args: &PublishArgs, interrupt: &Interrupt) -> Result<Source, Failure> {
    let config = args.source.config(args.data.is_some(), interrupt)?;
    let (done, opened) = oneshot::channel();
    spawn("open", move || {
        // Nobody waits any more when the user stopped.
        let _ = done.send(Source::open(config));
    })?;
    let died = |_| Failure::new(Exit::Unexpected, "source", "the source's thread died: please report this");
    Ok(opened.await.map_err(died)??)
}

/// Takes the stream's key and a new epoch from the state directory, and starts the stream.
async fn start(
    args: &PublishArgs,
    group: &Group,
    swarm: &Swarm,
    source: &Source,
) -> Result<Publisher, Failure> {
    let state = match &args.state_dir {
        Some(path) => StateDir::at(path),
        None => StateDir::of_user()?,
    };
    let identity = state.identity(group, &args.name)?;
    let config = PublishConfig {
        multicast: args.multicast.multicast,
        multicast_rate_max: args.multicast_rate_max,
        unicast_max: args.unicast_max.into(),
        renditions: source.renditions().to_vec(),
        ..PublishConfig::new(&args.name, source.tracks().to_vec(), identity)
    };
    Ok(swarm.publish(config).await?)
}

/// What a running publication is told and stopped by.
struct Surroundings<'a> {
    swarm: &'a Swarm,
    signals: &'a mut Signals,
    interrupt: &'a Interrupt,
    reporter: &'a Arc<Reporter>,
}

/// Sends until the source ends, the user stops or the name is lost; then ends the stream and tells how it went.
async fn send(
    publisher: Publisher,
    mut source: Source,
    data: Option<JsonLines>,
    around: Surroundings<'_>,
) -> Result<(), Failure> {
    let Surroundings { swarm, signals, interrupt, reporter } = around;
    let started = Line::Started(Box::new(Started::publisher(swarm, &publisher)));
    reporter.tell(started, Some(Publisher::CODE));
    let delivered = Arc::new(Delivered::default());
    let mut health = HealthTeller::new(
        reporter,
        swarm,
        (publisher.counters(), None),
        HealthMeter::new(swarmcast::now(), None),
        &delivered,
    );
    if let Some(lines) = data {
        let (sender, reporter) = (publisher.sender(), Arc::clone(reporter));
        spawn("data", move || send_data(lines, &sender, &reporter))?;
    }
    let (connections, told) = (source.connections(), Arc::clone(reporter));
    spawn("connections", move || tell_connections(connections, &told))?;
    let (done, mut fed) = oneshot::channel();
    let sender = publisher.sender();
    spawn("source", move || {
        // Nobody waits any more when the source was too slow to stop.
        let _ = done.send(sender.feed(&mut source));
    })?;

    let (cause, failure) = tokio::select! {
        fed = &mut fed => ("ended", failure_of(fed)),
        lost = publisher.lost() => ("lost", failure_of_loss(lost)),
        () = signals.next() => ("local", None),
        () = reporter.reader_gone() => ("local", None),
        () = tell_neighbours(swarm, reporter) => ("stopped", Some(Stopped.into())),
        never = health.tell() => match never {},
    };
    interrupt.interrupt();
    if cause != "ended" {
        // What the source has already handed over still belongs to the stream.
        let _ = timeout(STOP_MAX, fed).await;
    }
    health.measure().await;
    tokio::select! {
        _ = publisher.end() => {}
        () = signals.next() => {}
        never = health.tell() => match never {},
    }
    match failure {
        Some(failure) => Err(failure),
        None => {
            let stats = health.measure().await.stats();
            let ended = Line::Ended(Box::new(Ended::new(cause, stats)));
            reporter.tell(ended, Some(Unpublished::Ended { complete: true }.code()));
            Ok(())
        }
    }
}

fn failure_of(fed: Result<Result<(), FeedError>, RecvError>) -> Option<Failure> {
    match fed {
        Ok(Ok(()) | Err(FeedError::Source(SourceError::Interrupted))) => None,
        Ok(Err(error)) => Some(error.into()),
        Err(_) => {
            Some(Failure::new(Exit::Unexpected, "source", "the source's thread died: please report this"))
        }
    }
}

fn failure_of_loss(lost: Unpublished) -> Option<Failure> {
    Some(match lost {
        Unpublished::BadName => SendError::BadName.into(),
        _ => Stopped.into(),
    })
}

/// Sends records until the input or the stream ends.
fn send_data(mut lines: JsonLines, sender: &Sender, reporter: &Reporter) {
    while let Some(line) = lines.next() {
        let refused = match line {
            Ok(record) => match sender.data_blocking(record) {
                Ok(()) => continue,
                Err(DataError::Send(_)) => return,
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        let message = format!("--data: {refused}");
        reporter.tell(Line::Warning { code: "bad-data-line", message }, None);
    }
}

fn data_failure(error: std::io::Error) -> Failure {
    let message = format_args!("--data: {error}: give a file that can be read");
    Failure::new(Exit::Media, "bad-data-input", message)
}
