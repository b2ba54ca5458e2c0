//! Runs the binary, reads its JSON lines as they come, and ends it when a test is over.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything that a test expects; ten times what a busy machine with two cores takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What one test has for itself: a directory for state and recordings, and a group, since nodes of the same group
/// find each other on the loopback interface too.
pub(crate) struct Room {
    directory: tempfile::TempDir,
    group: String,
    clip: String,
}

impl Room {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let group = directory.path().to_string_lossy().into_owned();
        let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/clip.mkv");
        Self { directory, group, clip: clip.to_str().expect("a path in UTF-8").to_owned() }
    }

    /// Returns a room with its own state in the group of this one.
    pub(crate) fn beside(&self) -> Self {
        Self { group: self.group.clone(), ..Self::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// Returns the clip that the project ships: 10 s, 25 pictures a second, with sound.
    pub(crate) fn clip(&self) -> &str {
        &self.clip
    }

    /// Returns the command line that publishes the clip over and over as `cam`.
    pub(crate) fn publish<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        self.publish_input(&self.clip, &[&["--loop"], rest].concat())
    }

    /// Returns the command line that publishes an input as `cam`.
    pub(crate) fn publish_input<'a>(&'a self, input: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
        [&["publish", input, "--group", &self.group, "--name", "cam"], rest].concat()
    }

    /// Returns the command line that plays `cam`.
    pub(crate) fn play<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["play", "cam", "--group", &self.group], rest].concat()
    }

    /// Returns the binary with that command line; it knows no state directory but this room's.
    pub(crate) fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swarmcast"));
        command.args(line).env("XDG_STATE_HOME", self.path("state")).current_dir(self.directory.path());
        // On a desktop, too, windows open only where a test asks for one.
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        command
    }

    /// Runs it to its end; 124 is the exit code of one that comes to none.
    pub(crate) fn run(&self, line: &[&str]) -> Finished {
        let binary = self.command(line);
        let mut bounded = Command::new("timeout");
        bounded.arg("--kill-after=1").arg(PATIENCE.as_secs().to_string());
        bounded.arg(binary.get_program()).args(binary.get_args());
        bounded.envs(binary.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bounded.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        bounded.current_dir(self.directory.path()).stdin(Stdio::null());
        Finished::from(bounded.output().expect("the binary runs"))
    }

    /// Runs `ffmpeg` or `ffprobe` here; its output when it is content.
    pub(crate) fn ffmpeg(&self, program: &str, line: &[&str]) -> String {
        let mut command = Command::new(program);
        let output = command.args(["-v", "error"]).args(line).current_dir(self.directory.path()).output();
        let finished = Finished::from(output.expect("ffmpeg is installed"));
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{program} {line:?}");
        finished.stdout
    }
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().expect("an exit code, not a signal");
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A process that tells JSON.
pub(crate) struct Told {
    child: Child,
    lines: Receiver<String>,
    /// All lines so far.
    pub(crate) events: Vec<Value>,
}

impl Told {
    /// Starts the binary with `--json`, on the loopback interface.
    pub(crate) fn start(room: &Room, line: &[&str]) -> Self {
        Self::start_with(room, line, |_| {})
    }

    /// Starts it so, with more of an environment.
    pub(crate) fn start_with(room: &Room, line: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = room.command(line);
        prepare(&mut command);
        command.args(["--json", "--iface", "lo"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = sync_channel(4096);
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for line in lines {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, events: Vec::new() }
    }

    /// Waits for an event of that name among those not yet seen.
    pub(crate) fn expect(&mut self, name: &str) -> Value {
        self.expect_where(name, |_| true)
    }

    /// Waits for an event of that name that fits.
    pub(crate) fn expect_where(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let event: Value = serde_json::from_str(&line).expect("each line is JSON");
                    self.events.push(event.clone());
                    if event["event"] == name && fits(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {name} in time: {:#?}", self.events),
                Err(RecvTimeoutError::Disconnected) => {
                    let stderr = self.stderr();
                    panic!("ended without {name}: {:#?} {stderr}", self.events)
                }
            }
        }
    }

    /// Writes to its standard input.
    pub(crate) fn write(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(text.as_bytes()).expect("it reads");
    }

    /// Sends a signal by its name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), pid.as_str()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Reads what it still has to tell, waits for its end, and returns its exit code; `None` for a signal.
    pub(crate) fn finish(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.events.push(serde_json::from_str(&line).expect("each line is JSON"));
        }
        assert!(Instant::now() < until, "it does not end: {:#?}", self.events);
        self.child.wait().expect("it was started").code()
    }

    /// Returns everything that it wrote to standard error, once it has ended.
    pub(crate) fn stderr(&mut self) -> String {
        let mut text = String::new();
        let stderr = self.child.stderr.as_mut().expect("piped");
        stderr.read_to_string(&mut text).expect("UTF-8");
        text
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the ticket that a process told when it started.
pub(crate) fn ticket(started: &Value) -> String {
    started["ticket"].as_str().expect("a ticket").to_owned()
}
