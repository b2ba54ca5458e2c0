//! What people are told in the picture itself: the newest event for a while, and how the stream fares.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an event stays: time to read two lines.
const NOTICE: Duration = Duration::from_secs(6);

/// Written by whoever reports, read by whoever draws.
#[derive(Debug, Default)]
pub(crate) struct Board {
    told: Mutex<Told>,
    /// Whether the terminal shows the picture, so that nothing else may be written there.
    terminal_taken: AtomicBool,
}

#[derive(Debug, Default)]
struct Told {
    notice: Option<(String, Instant)>,
    status: String,
    trouble: bool,
}

impl Board {
    /// Tells an event.
    pub(crate) fn notice(&self, text: &str) {
        self.lock().notice = Some((text.to_owned(), Instant::now()));
    }

    /// Tells how the stream fares; in `trouble` it is shown unasked.
    pub(crate) fn status(&self, text: String, trouble: bool) {
        let mut told = self.lock();
        (told.status, told.trouble) = (text, trouble);
    }

    /// Returns what is to be read now, with the status in any case when `asked` for it.
    pub(crate) fn lines(&self, asked: bool) -> Vec<String> {
        let told = self.lock();
        let notice = told.notice.iter().filter(|(_, at)| at.elapsed() < NOTICE).map(|(text, _)| text.clone());
        let shown = (asked || told.trouble) && !told.status.is_empty();
        let status = shown.then(|| told.status.clone());
        let mut lines: Vec<String> = notice.collect();
        if let Some(status) = status {
            // An event and the status may say the same, but for the numbers.
            lines.retain(|line| words(line) != words(&status));
            lines.push(status);
        }
        lines
    }

    /// Says whether the terminal shows the picture.
    pub(crate) fn take_terminal(&self, taken: bool) {
        self.terminal_taken.store(taken, Ordering::Release);
    }

    /// Returns whether the terminal shows the picture.
    pub(crate) fn terminal_taken(&self) -> bool {
        self.terminal_taken.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the words before the first number.
fn words(text: &str) -> &str {
    text.split(|c: char| c.is_ascii_digit()).next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_shown_in_trouble_or_when_asked_for() {
        let board = Board::default();
        board.status("Playing from multicast".to_owned(), false);
        assert_eq!(board.lines(false), [""; 0]);
        assert_eq!(board.lines(true), ["Playing from multicast"]);
        board.notice("The stream is back");
        assert_eq!(board.lines(true), ["The stream is back", "Playing from multicast"]);
        board.notice("The publisher stopped answering 0.8 s ago");
        board.status("The publisher stopped answering 1.2 s ago; lost 0".to_owned(), true);
        assert_eq!(
            board.lines(false),
            ["The publisher stopped answering 1.2 s ago; lost 0"],
            "not said twice"
        );
    }
}
