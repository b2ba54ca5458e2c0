//! What is told while a command runs: one JSON object a line on standard output, or lines for people on standard
//! error and results on standard output.
//!
//! A thread of its own writes, so that a terminal or a reader that stands still holds up neither the node, which
//! others depend on, nor the end of the command.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Notify;

use crate::board::Board;
use crate::clock;
use crate::failure::Failure;
use crate::live_line::LiveLine;
use crate::run::spawn;
use crate::status::Measured;

mod lines;
mod listing;
mod player;
pub(crate) mod words;

pub(crate) use player::PlayerLine;

pub(crate) use lines::{
    ClosedLine, Counters, Ended, HealthLine, Latest, Line, PathLine, PathVerdictLine, Started, Stats,
    Transport, VerdictLine,
};
pub(crate) use listing::{
    DeviceLine, FormatLine, GroupLine, QualityLine, RenditionLine, StreamLine, TrackLine,
};

/// Lines that wait for the reader: a quarter of an hour of health. What comes then is left out, and counted.
const LINES_MAX: usize = 1024;
/// How long the end of the command waits for the reader.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// How often a status line is written to a standard error that is no terminal.
const PLAIN_STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// Cut what is too long for the terminal's line, or wrap it as before.
const WRAP: [&str; 2] = ["\x1b[?7l", "\x1b[?7h"];

/// Where reports go. Never waits for their reader.
#[derive(Debug)]
pub(crate) struct Reporter {
    queue: Mutex<Queue>,
    reader_gone: Arc<Notify>,
    board: Arc<Board>,
}

#[derive(Debug)]
struct Queue {
    lines: SyncSender<Message>,
    left_out: u64,
}

#[derive(Debug)]
enum Message {
    Line(Stamped),
    Health(Box<Measured>, f64),
    /// For people alone; programs get the same by an event.
    Text(String),
    /// Everything before was written; the reply is dropped when nobody waits any more.
    Flush(SyncSender<()>),
}

/// A line with the time at which it was told.
#[derive(Debug, Serialize)]
struct Stamped {
    #[serde(flatten)]
    line: Line,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    t: f64,
}

impl Reporter {
    /// Starts to report to programs (`json`) or to people.
    pub(crate) fn start(json: bool) -> Result<Arc<Self>, Failure> {
        let (lines, told) = mpsc::sync_channel(LINES_MAX);
        let reader_gone = Arc::new(Notify::new());
        let gone = Arc::clone(&reader_gone);
        let board = Arc::new(Board::default());
        let shown = Arc::clone(&board);
        spawn("report", move || {
            let written = if json { write_json(&told) } else { Screen::new(shown).write(&told) };
            if written.is_err() {
                gone.notify_one();
            }
        })?;
        Ok(Arc::new(Self { queue: Mutex::new(Queue { lines, left_out: 0 }), reader_gone, board }))
    }

    /// Returns what is told in the picture as well.
    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Waits until the reader of the reports has gone away.
    pub(crate) async fn reader_gone(&self) {
        self.reader_gone.notified().await;
    }

    /// Tells what happened, with the status code that people know it by.
    pub(crate) fn tell(&self, line: Line, status: Option<&'static str>) {
        if let Some(text) = line.for_viewers() {
            self.board.notice(&text);
        }
        // Stamped under the lock, so that no line is older than the one before.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).put(|| stamped(line, status));
    }

    /// Tells the health of the stream: every second to programs and to a terminal, every five to a log.
    pub(crate) fn tell_health(&self, health: Measured) {
        self.board.status(health.in_brief(), health.is_trouble());
        let stamped = || Message::Health(Box::new(health), now());
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).put(stamped);
    }

    /// Tells people alone.
    pub(crate) fn say(&self, text: &str) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).put(|| Message::Text(text.to_owned()));
    }

    /// Waits until the reader has everything, at most a second. Then tells why the command failed, if it did: one
    /// line on standard error, and an event to programs.
    pub(crate) fn finish(&self, failure: Option<&Failure>) {
        if let Some(failure) = failure {
            let line = Line::Error { code: failure.code, message: failure.message.clone() };
            self.tell(line, failure.status);
        }
        let (reply, done) = mpsc::sync_channel(1);
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).put(|| Message::Flush(reply));
        // A writer whose reader went away has dropped the reply.
        let _ = done.recv_timeout(FLUSH_MAX);
        if let Some(failure) = failure {
            failure.tell();
        }
    }
}

impl Queue {
    fn put(&mut self, message: impl FnOnce() -> Message) {
        if self.left_out > 0 {
            let message = format!("{} reports were left out: read standard output faster", self.left_out);
            let warning = stamped(Line::Warning { code: "reports-left-out", message }, None);
            if self.lines.try_send(warning).is_ok() {
                self.left_out = 0;
            }
        }
        if let Err(TrySendError::Full(_)) = self.lines.try_send(message()) {
            self.left_out += 1;
        }
    }
}

fn stamped(line: Line, status: Option<&'static str>) -> Message {
    Message::Line(Stamped { line, status, t: now() })
}

fn now() -> f64 {
    clock::monotonic().as_secs_f64()
}

/// Writes one object a line; fails once the reader has gone away.
fn write_json(told: &Receiver<Message>) -> io::Result<()> {
    for message in told {
        let line = match message {
            Message::Line(line) => line,
            Message::Health(health, t) => {
                Stamped { line: Line::Stats(Box::new(health.stats())), status: None, t }
            }
            Message::Text(_) => continue,
            Message::Flush(reply) => {
                // The waiting side may have given up.
                let _ = reply.try_send(());
                continue;
            }
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(&text)?;
        stdout.flush()?;
    }
    Ok(())
}

/// What people see.
#[derive(Debug)]
struct Screen {
    board: Arc<Board>,
    /// The status line, written anew each second.
    live_line: LiveLine,
    status_at: Option<Instant>,
}

impl Screen {
    fn new(board: Arc<Board>) -> Self {
        Self { board, live_line: LiveLine::default(), status_at: None }
    }

    fn write(&mut self, told: &Receiver<Message>) -> io::Result<()> {
        let terminal = io::stderr().is_terminal();
        for message in told {
            match message {
                Message::Line(_) if terminal && self.board.terminal_taken() => {}
                Message::Line(Stamped { line, .. }) => match line.result() {
                    Some(result) => writeln!(io::stdout().lock(), "{result}")?,
                    None => line.for_people().map_or(Ok(()), |text| self.say(&text))?,
                },
                // The picture has these words itself.
                Message::Health(..) | Message::Text(_) if terminal && self.board.terminal_taken() => {}
                Message::Health(health, _) => self.show(&health, terminal)?,
                Message::Text(text) => self.say(&text)?,
                Message::Flush(reply) => {
                    self.live_line.clear()?;
                    // The waiting side may have given up.
                    let _ = reply.try_send(());
                }
            }
        }
        Ok(())
    }

    fn show(&mut self, health: &Measured, terminal: bool) -> io::Result<()> {
        if terminal {
            let [cut, wrap] = WRAP;
            self.live_line.show(&format!("{cut}{health}{wrap}"))
        } else if self.status_at.is_none_or(|at| at.elapsed() >= PLAIN_STATUS_INTERVAL) {
            self.status_at = Some(Instant::now());
            writeln!(io::stderr().lock(), "{health}")
        } else {
            Ok(())
        }
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.live_line.clear()?;
        writeln!(io::stderr().lock(), "{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_stands_still_loses_lines_and_hears_how_many() {
        let (lines, told) = mpsc::sync_channel(2);
        let mut queue = Queue { lines, left_out: 0 };
        (0..5).for_each(|old| queue.put(|| stamped(Line::Reset { old, new: 9 }, None)));
        assert_eq!(queue.left_out, 3);
        let kept: Vec<Message> = told.try_iter().collect();
        assert!(matches!(&kept[..], [Message::Line(_), Message::Line(_)]));
        queue.put(|| Message::Text("on".to_owned()));
        let Ok(Message::Line(Stamped { line: Line::Warning { message, .. }, .. })) = told.try_recv() else {
            panic!("no warning")
        };
        assert!(message.starts_with("3 reports were left out"), "{message}");
        assert!(matches!(told.try_recv(), Ok(Message::Text(_))));
        assert_eq!(queue.left_out, 0);
    }

    #[test]
    fn lines_carry_their_name_time_and_status() {
        let Message::Line(line) =
            stamped(Line::Reset { old: 1, new: 2 }, Some("NetStream.MulticastStream.Reset"))
        else {
            panic!("a line")
        };
        let text = serde_json::to_value(&line).unwrap();
        assert_eq!((&text["event"], &text["old"], &text["new"]), (&"reset".into(), &1.into(), &2.into()));
        assert_eq!(text["status"], "NetStream.MulticastStream.Reset");
        assert!(text["t"].as_f64() > Some(0.0));
    }
}
