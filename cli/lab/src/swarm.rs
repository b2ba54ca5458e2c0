//! The shipped binary in its roles.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::clock;
use crate::counters::Counters;
use crate::event::Event;
use crate::feed::{Feed, TransportStream};
use crate::host::Host;
use crate::lab::{Lab, target_directory};
use crate::network::Network;
use crate::output::Exit;
use crate::process::Process;

/// The group that every scenario uses.
pub const GROUP: &str = "lab";

/// The stream that every scenario publishes.
pub const STREAM: &str = "cam";

/// Longest that a process may take to say that it runs, and to end when asked: far above any goal.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Longest between two `stats` events: one second, and a busy machine.
const STATS_PATIENCE: Duration = Duration::from_secs(5);

/// Finds the binary that is tested: `SWARMCAST_BIN`, else the release build, else the debug build.
///
/// # Errors
/// There is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = env::var_os("SWARMCAST_BIN") {
        let named = PathBuf::from(named);
        ensure!(named.is_file(), "SWARMCAST_BIN names {}, which is no file", named.display());
        return Ok(named);
    }
    let target = target_directory()?;
    for profile in ["release", "debug"] {
        let built = target.join(profile).join("swarmcast");
        if built.is_file() {
            return Ok(built);
        }
    }
    bail!("no swarmcast in {}: build it with `cargo build --release -p swarmcast-cli`", target.display())
}

/// Returns where a program lies that the scenarios need beside the binary, built as a cargo example of that name: with
/// the same profile as the binary first, then with any.
pub fn companions(name: &str) -> Vec<PathBuf> {
    let beside = binary().ok().and_then(|binary| binary.parent().map(Path::to_path_buf));
    let target = target_directory().ok();
    let built = ["release", "debug"].into_iter().filter_map(|profile| Some(target.as_ref()?.join(profile)));
    let places = beside.into_iter().chain(built);
    places.map(|directory| directory.join("examples").join(name)).filter(|file| file.is_file()).collect()
}

/// A network on which one stream is published and watched.
#[derive(Debug)]
pub struct Swarm<'a> {
    network: &'a Network,
    binary: PathBuf,
    directory: PathBuf,
    started: AtomicU32,
    /// Words that every member gets.
    words: &'static [&'static str],
}

/// What becomes of what a viewer receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// It is counted.
    Nothing,
    /// It is written to a Matroska file, as most people do.
    Recording,
    /// It is written to a NUT file, in which every payload stays as it is; Matroska puts H.264 that comes from an
    /// encoder into another form.
    Archive,
    /// It is written as MPEG-TS, and kept nowhere.
    TransportStream,
    /// Its sound is written to a file at its time: 48,000 times a second left and right, four bytes each.
    Sound,
    /// The hash of each access unit goes to this address by TCP, as soon as the unit is delivered.
    Hashes(SocketAddr),
}

/// How a viewer watches.
#[derive(Clone, Debug)]
pub struct Watch {
    /// How long a lost fragment may be waited for.
    pub playout_delay: Duration,
    /// A peer that it is told; else it finds one itself.
    pub peer: Option<String>,
    /// What becomes of what it receives.
    pub output: Output,
    /// When it stops by itself, counted from when it found the stream.
    pub duration: Option<Duration>,
    /// Further words of its command line.
    pub words: Vec<String>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            playout_delay: Duration::from_secs(1),
            peer: None,
            output: Output::Nothing,
            duration: None,
            words: Vec::new(),
        }
    }
}

impl Watch {
    /// Records until stopped.
    pub fn recording() -> Self {
        Self { output: Output::Recording, ..Self::default() }
    }

    /// The same with further words behind its command line.
    pub fn with(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|&word| word.to_owned()));
        self
    }
}

impl<'a> Swarm<'a> {
    /// Prepares a swarm on `network`, whose files go into a directory called `name`.
    ///
    /// # Errors
    /// There is no binary, or the directory cannot be made.
    pub fn new(lab: &Lab, network: &'a Network, name: &str) -> Result<Self> {
        let (binary, directory) = (binary()?, lab.scratch(name)?);
        Ok(Self { network, binary, directory, started: AtomicU32::new(0), words: &[] })
    }

    /// As [`Swarm::new`], for a swarm that has its mesh and no multicast.
    ///
    /// # Errors
    /// As [`Swarm::new`].
    pub fn without_multicast(lab: &Lab, network: &'a Network, name: &str) -> Result<Self> {
        Ok(Self { words: &["--multicast", "off"], ..Self::new(lab, network, name)? })
    }

    /// The network.
    pub fn network(&self) -> &'a Network {
        self.network
    }

    /// Publishes a file in a loop from the host at `index`, and waits until it runs.
    ///
    /// # Errors
    /// It does not start.
    pub fn publish_loop(&self, index: usize, clip: &Path) -> Result<Publisher<'a>> {
        self.publish(index, &[&clip.to_string_lossy(), "--loop"])
    }

    /// Publishes whatever `input` says, and waits until it runs.
    ///
    /// # Errors
    /// It does not start.
    pub fn publish(&self, index: usize, input: &[&str]) -> Result<Publisher<'a>> {
        let mut command = self.publish_command(index, input);
        let process = Process::spawn(self.network.host(index), "publisher", &mut command)?;
        self.published(index, process)
    }

    /// Publishes what a source writes into a pipe, and waits until it runs.
    ///
    /// # Errors
    /// It does not start.
    pub fn publish_feed(
        &self,
        index: usize,
        stream: TransportStream,
        words: &[&str],
    ) -> Result<(Publisher<'a>, Feed)> {
        let mut command = self.publish_command(index, &["-"]);
        command.args(words);
        let (process, pipe) = Process::spawn_fed(self.network.host(index), "publisher", &mut command)?;
        let feed = Feed::start(stream, pipe);
        Ok((self.published(index, process)?, feed))
    }

    fn publish_command(&self, index: usize, input: &[&str]) -> Command {
        let mut command = self.command(index, "publish");
        command.args(input).args(["--name", STREAM]);
        command
    }

    fn published(&self, index: usize, mut process: Process) -> Result<Publisher<'a>> {
        process.log_to(self.next_log("publisher"));
        let started = process.wait_event("started", PATIENCE)?;
        Ok(Publisher { member: Member { process, host: self.network.host(index) }, started })
    }

    /// Starts a viewer on the host at `index`; does not wait for anything.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn watch(&self, index: usize, watch: &Watch) -> Result<Viewer<'a>> {
        self.watch_name(index, STREAM, watch)
    }

    /// As [`Swarm::watch`], with the stream's name.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn watch_name(&self, index: usize, name: &str, watch: &Watch) -> Result<Viewer<'a>> {
        let mut command = self.command(index, "play");
        command.arg(name).args(&watch.words);
        command.args(["--playout-delay", &watch.playout_delay.as_millis().to_string()]);
        if let Some(peer) = &watch.peer {
            command.args(["--peer", peer]);
        }
        if let Some(duration) = watch.duration {
            command.args(["--duration", &duration.as_secs_f64().to_string()]);
        }
        let mut recording = None;
        match watch.output {
            Output::Nothing => {
                command.arg("--headless");
            }
            Output::Recording | Output::Archive => {
                let ending = if watch.output == Output::Recording { "mkv" } else { "nut" };
                let file = self.directory.join(format!("viewer{index}.{ending}"));
                command.arg("--output").arg(&file);
                recording = Some(file);
            }
            Output::TransportStream => {
                command.args(["--output", "/dev/null", "--format", "mpegts"]);
            }
            Output::Sound => {
                let file = self.directory.join(format!("viewer{index}.f32"));
                command.arg("--audio-only").arg("--sound").arg(&file);
                recording = Some(file);
            }
            Output::Hashes(to) => {
                command.args(["--output", &format!("tcp://{to}"), "--format", "framehash"]);
            }
        }
        let host = self.network.host(index);
        let mut process = Process::spawn(host, &format!("viewer {index}"), &mut command)?;
        process.log_to(self.next_log(&format!("viewer{index}")));
        Ok(Viewer { member: Member { process, host }, recording })
    }

    /// Starts viewers on the hosts in `indices` and waits until each has its first access unit.
    ///
    /// # Errors
    /// One gets none.
    pub fn watch_all(&self, indices: std::ops::Range<usize>, watch: &Watch) -> Result<Vec<Viewer<'a>>> {
        let viewers: Vec<Viewer> = indices.map(|index| self.watch(index, watch)).collect::<Result<_>>()?;
        for viewer in &viewers {
            viewer.first_access_unit()?;
        }
        Ok(viewers)
    }

    /// A file for what the next process says, numbered in the order of their starts.
    fn next_log(&self, role: &str) -> PathBuf {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        self.directory.join(format!("{number:03}-{role}.log"))
    }

    fn command(&self, index: usize, role: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.args([role, "--group", GROUP, "--json"]).args(self.words);
        // Hosts share this machine's files, but not their keys.
        command.env("XDG_STATE_HOME", self.directory.join(format!("state{index}")));
        command
    }
}

/// A process of the swarm on its host.
#[derive(Debug)]
pub struct Member<'a> {
    /// The process.
    pub process: Process,
    /// Where it runs.
    pub host: &'a Host,
}

/// What a member and its interface counted up to one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When, in seconds of CLOCK_MONOTONIC.
    pub t: f64,
    /// The member's own counters.
    pub stats: Event,
    /// Those of its interface.
    pub interface: Counters,
    /// When those were read, in seconds of CLOCK_MONOTONIC: behind `t` by what a busy machine takes.
    pub interface_t: f64,
}

impl Member<'_> {
    /// Waits for the member's next `stats` and reads the interface in the same moment.
    ///
    /// # Errors
    /// It says nothing for 5 s.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let now = clock::monotonic();
        let stats = self.process.wait_event_where("stats", STATS_PATIENCE, |stats| stats.t() >= now)?;
        let interface = self.host.counters()?;
        Ok(Snapshot { t: stats.t(), stats, interface, interface_t: clock::monotonic() })
    }
}

impl Snapshot {
    /// By how much the sum of some counters grew since an earlier snapshot.
    ///
    /// # Errors
    /// One of them is not told.
    pub fn growth(&self, earlier: &Self, counters: &[&str]) -> Result<f64> {
        let read = |snapshot: &Self, name: &str| {
            snapshot.stats.number(name).with_context(|| format!("`stats` does not tell `{name}`"))
        };
        counters.iter().map(|name| Ok(read(self, name)? - read(earlier, name)?)).sum()
    }
}

/// The publishing process.
#[derive(Debug)]
pub struct Publisher<'a> {
    /// The process on its host.
    pub member: Member<'a>,
    started: Event,
}

impl Publisher<'_> {
    /// What it told of itself when it began.
    pub fn started(&self) -> &Event {
        &self.started
    }

    /// What a viewer is given to find it.
    ///
    /// # Errors
    /// It did not tell.
    pub fn ticket(&self) -> Result<String> {
        self.started.text("ticket").map(str::to_owned).context("`started` does not tell `ticket`")
    }

    /// The second of CLOCK_MONOTONIC at which its media clock was 0.
    ///
    /// # Errors
    /// It did not tell.
    pub fn epoch_t(&self) -> Result<f64> {
        self.started.number("epoch_t").context("`started` does not tell `epoch_t`")
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub fn stop(&self) -> Result<Exit> {
        stop(&self.member.process)
    }
}

/// A watching process.
#[derive(Debug)]
pub struct Viewer<'a> {
    /// The process on its host.
    pub member: Member<'a>,
    recording: Option<PathBuf>,
}

impl Viewer<'_> {
    /// Waits until it has its first access unit.
    ///
    /// # Errors
    /// It gets none for 20 s.
    pub fn first_access_unit(&self) -> Result<Event> {
        self.member.process.wait_event("first_access_unit", PATIENCE)
    }

    /// The file that it writes.
    ///
    /// # Errors
    /// It does not record.
    pub fn recording(&self) -> Result<&Path> {
        self.recording.as_deref().with_context(|| format!("{} does not record", self.member.process.label()))
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub fn stop(&self) -> Result<Exit> {
        stop(&self.member.process)
    }

    /// Waits until it ends by itself, `patience` beyond `duration` at most.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub fn wait(&self, duration: Duration) -> Result<Exit> {
        let exit = self.member.process.wait_exit(duration + PATIENCE)?;
        well(&self.member.process, exit)
    }
}

fn stop(process: &Process) -> Result<Exit> {
    let exit = process.interrupt(PATIENCE)?;
    well(process, exit)
}

fn well(process: &Process, exit: Exit) -> Result<Exit> {
    if exit.code != Some(0) {
        return Err(process.failure("did not end well"));
    }
    Ok(exit)
}
