//! Data records on their way out: one JSON value a line, each at its time beside the media.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::de::IgnoredAny;
use swarmcast::{Delivery, Now};

use crate::failure::{Exit, Failure};

/// Most records that wait for their time: 17 a second over the longest playout delay of 60 s.
const PENDING_MAX: usize = 1024;
/// Most bytes of them.
const PENDING_BYTES_MAX: usize = 16 << 20;

/// Holds records until they are due and writes them in order. Once full, it writes the oldest ahead of its time.
pub(super) struct DataWriter {
    output: Box<dyn Write + Send>,
    pending: VecDeque<(Now, Vec<u8>)>,
    pending_bytes: usize,
}

impl DataWriter {
    /// Opens a file, or standard output for `-`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let output: Box<dyn Write + Send> =
            if path == "-" { Box::new(io::stdout()) } else { Box::new(File::create(path)?) };
        Ok(Self::new(output))
    }

    fn new(output: Box<dyn Write + Send>) -> Self {
        Self { output, pending: VecDeque::new(), pending_bytes: 0 }
    }

    /// Takes a record; returns whether it is JSON and so will be written.
    pub(super) fn take(&mut self, delivery: &Delivery) -> io::Result<bool> {
        let Some(line) = json_line(&delivery.unit.payload) else { return Ok(false) };
        self.pending_bytes += line.len();
        self.pending.push_back((delivery.due, line));
        while self.pending.len() > PENDING_MAX || self.pending_bytes > PENDING_BYTES_MAX {
            self.write_oldest()?;
        }
        self.output.flush()?;
        Ok(true)
    }

    /// Returns how long it is until the next record is due; `None` when none waits.
    pub(super) fn due_in(&self, now: Now) -> Option<Duration> {
        self.pending.front().map(|(due, _)| due.since(now))
    }

    /// Writes what is due.
    pub(super) fn write_due(&mut self, now: Now) -> io::Result<()> {
        let mut written = false;
        while self.pending.front().is_some_and(|(due, _)| *due <= now) {
            self.write_oldest()?;
            written = true;
        }
        if written { self.output.flush() } else { Ok(()) }
    }

    fn write_oldest(&mut self) -> io::Result<()> {
        let Some((_, line)) = self.pending.pop_front() else { return Ok(()) };
        self.pending_bytes -= line.len();
        self.output.write_all(&line)
    }
}

/// Puts a JSON text on one line. Line breaks in it can only stand between tokens, since strings escape theirs.
fn json_line(payload: &[u8]) -> Option<Vec<u8>> {
    serde_json::from_slice::<IgnoredAny>(payload).ok()?;
    let one_line = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
    let mut line: Vec<u8> = payload.trim_ascii().iter().map(one_line).collect();
    line.push(b'\n');
    Some(line)
}

/// Says why records cannot be written.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn data_failure(error: io::Error) -> Failure {
    let message = format_args!("--data: {error}: give a file that can be written");
    Failure::new(Exit::Media, "bad-data-output", message)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use swarmcast::{AccessUnit, Bytes, TrackId};

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Screen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn record(due: u64, payload: &str) -> Delivery {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let track = TrackId(2);
        let unit = AccessUnit { track, dts: 0, pts: 0, duration: 0, key: true, disposable: false, payload };
        Delivery { unit, due: Now(due), closed: None }
    }

    #[test]
    fn records_are_written_in_order_at_their_time() {
        let screen = Screen::default();
        let mut writer = DataWriter::new(Box::new(screen.clone()));
        assert_eq!(writer.due_in(Now(0)), None);
        assert!(writer.take(&record(100, "{\"a\":1}")).unwrap());
        assert!(writer.take(&record(200, " [1,\n 2]\r\n")).unwrap());
        assert!(!writer.take(&record(300, "no json")).unwrap());
        assert_eq!(writer.due_in(Now(40)), Some(Duration::from_micros(60)));
        writer.write_due(Now(99)).unwrap();
        assert_eq!(screen.text(), "");
        writer.write_due(Now(100)).unwrap();
        assert_eq!(screen.text(), "{\"a\":1}\n");
        writer.write_due(Now(250)).unwrap();
        assert_eq!(screen.text(), "{\"a\":1}\n[1,  2]\n");
        assert_eq!((writer.due_in(Now(0)), writer.pending_bytes), (None, 0));
    }

    #[test]
    fn too_many_are_written_early_rather_than_lost() {
        let screen = Screen::default();
        let mut writer = DataWriter::new(Box::new(screen.clone()));
        for number in 0..PENDING_MAX + 2 {
            writer.take(&record(1_000, &number.to_string())).unwrap();
        }
        assert_eq!(screen.text(), "0\n1\n");
        assert_eq!(writer.pending.len(), PENDING_MAX);
    }
}
