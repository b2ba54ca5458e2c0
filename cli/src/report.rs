//! What is told while a command runs: one JSON object a line on standard output, or lines for people on
//! standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Notify;

use crate::clock;
use crate::failure::Failure;
use crate::status::Health;

mod lines;

pub(crate) use lines::{Counters, Ended, GroupLine, Latest, Line, Started, Stats, StreamLine, TrackLine};

/// How often a status line is written to a standard error that is no terminal.
const PLAIN_STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// Back to the first column, erase the line, and cut what is too long instead of wrapping it.
const LINE_START: &str = "\r\x1b[K\x1b[?7l";
/// Wrap again, as the terminal was.
const LINE_END: &str = "\x1b[?7h";

/// Where reports go. Shared by the threads of a command; each report is written whole.
#[derive(Debug)]
pub(crate) struct Reporter {
    form: Form,
    broken: Notify,
}

#[derive(Debug)]
enum Form {
    Json,
    People { terminal: bool, screen: Mutex<Screen> },
}

#[derive(Debug, Default)]
struct Screen {
    live_line: bool,
    status_at: Option<Instant>,
}

/// A line with the time at which it was written.
#[derive(Serialize)]
struct Stamped<'a> {
    #[serde(flatten)]
    line: &'a Line,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    t: f64,
}

impl Reporter {
    /// Makes a reporter for programs (`json`) or for people.
    pub(crate) fn new(json: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let form =
            if json { Form::Json } else { Form::People { terminal, screen: Mutex::new(Screen::default()) } };
        Self { form, broken: Notify::new() }
    }

    /// Waits until the reader of the reports has gone away.
    pub(crate) async fn broken(&self) {
        self.broken.notified().await;
    }

    /// Tells what happened, with the status code that people know it by.
    pub(crate) fn tell(&self, line: &Line, status: Option<&'static str>) {
        match &self.form {
            Form::Json => self.write_json(&Stamped { line, status, t: clock::monotonic().as_secs_f64() }),
            Form::People { .. } => {
                if let Some(text) = line.for_people() {
                    self.say(&text);
                }
            }
        }
    }

    /// Tells the health of the stream: every second to programs and to a terminal, every five to a log.
    pub(crate) fn tell_health(&self, health: &Health) {
        let Form::People { terminal, screen } = &self.form else {
            return self.tell(&Line::Stats(Box::new(health.stats())), None);
        };
        let mut screen = screen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut stderr = io::stderr().lock();
        // A terminal that went away is noticed by the signal that comes with it.
        if *terminal {
            screen.live_line = true;
            let _ = write!(stderr, "{LINE_START}{health}{LINE_END}");
        } else if screen.status_at.is_none_or(|at| at.elapsed() >= PLAIN_STATUS_INTERVAL) {
            screen.status_at = Some(Instant::now());
            let _ = writeln!(stderr, "{health}");
        }
    }

    /// Tells people alone; programs get the same by an event.
    pub(crate) fn say(&self, text: &str) {
        let Form::People { screen, .. } = &self.form else { return };
        let mut screen = screen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let clear = if std::mem::take(&mut screen.live_line) { "\r\x1b[K" } else { "" };
        let _ = writeln!(io::stderr().lock(), "{clear}{text}");
    }

    /// Tells why the command failed: always on standard error, and as an event to programs.
    pub(crate) fn fail(&self, failure: &Failure) {
        match &self.form {
            Form::Json => {
                let line = Line::Error { code: failure.code, message: failure.message.clone() };
                self.tell(&line, failure.status);
                eprintln!("error: {}", failure.message);
            }
            Form::People { .. } => self.say(&format!("error: {}", failure.message)),
        }
    }

    fn write_json(&self, line: &Stamped<'_>) {
        let written = serde_json::to_vec(line).map_err(io::Error::from).and_then(|mut text| {
            text.push(b'\n');
            let mut stdout = io::stdout().lock();
            stdout.write_all(&text)?;
            stdout.flush()
        });
        if written.is_err() {
            self.broken.notify_one();
        }
    }
}
