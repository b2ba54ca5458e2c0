//! What a terminal can show: it is asked, and believed what it answers within a moment.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

/// Time in which answers are believed: terminals answer in microseconds, through a slow line in a round trip.
const ANSWERED_WITHIN: Duration = Duration::from_millis(400);
/// Tenths of a second that one read waits.
const READ_WAITS: u8 = 1;
/// Most bytes of answers.
const ANSWERS_MAX: usize = 1_024;
/// Asks for a picture of one pixel by kitty's protocol, without showing it; for the size of a character; and for what
/// every terminal tells, so that no more is waited for behind it.
const QUESTIONS: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c";
/// Terminals that show such questions.
const NEVER_ASKED: [&str; 3] = ["", "dumb", "linux"];
/// Pixels of a character where the terminal does not tell: half blocks take no more than their ratio of it.
const CELL: (usize, usize) = (8, 16);

/// How pictures are drawn in a terminal.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::play) enum Drawing {
    /// By the best of these that the terminal says it can
    Auto,
    /// Two pixels a character, in 24-bit colour
    Blocks,
    /// By kitty's graphics protocol
    Kitty,
    /// By sixels
    Sixel,
}

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ability {
    pub(super) drawing: Drawing,
    /// Width and height of a character in pixels.
    pub(super) cell: (usize, usize),
}

impl Ability {
    /// Returns what is wanted, or what the terminal can: half blocks where it does not answer.
    pub(super) fn of_terminal(wanted: Drawing) -> Self {
        let told = if wanted == Drawing::Blocks { None } else { ask() };
        let told = told.map_or(Self { drawing: Drawing::Blocks, cell: CELL }, |answers| read(&answers));
        if wanted == Drawing::Auto { told } else { Self { drawing: wanted, ..told } }
    }
}

/// Asks the terminal; `None` when there is none, or it is another program's for now.
fn ask() -> Option<Vec<u8>> {
    let name = std::env::var("TERM").unwrap_or_default();
    if NEVER_ASKED.contains(&name.as_str()) || !is_in_front() {
        return None;
    }
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
    let before = tcgetattr(&terminal).ok()?;
    let mut quiet = before.clone();
    quiet.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO);
    quiet.special_codes[SpecialCodeIndex::VMIN] = 0;
    quiet.special_codes[SpecialCodeIndex::VTIME] = READ_WAITS;
    tcsetattr(&terminal, OptionalActions::Now, &quiet).ok()?;
    let answers = terminal.write_all(QUESTIONS).map(|()| answers(&mut terminal));
    // What comes later would be taken for keys.
    let _ = tcsetattr(&terminal, OptionalActions::Flush, &before);
    answers.ok()
}

fn answers(terminal: &mut File) -> Vec<u8> {
    let until = Instant::now() + ANSWERED_WITHIN;
    let (mut answers, mut buffer) = (Vec::new(), [0; 256]);
    while answers.len() < ANSWERS_MAX && attributes(&answers).is_none() && Instant::now() < until {
        match terminal.read(&mut buffer) {
            Ok(length) => answers.extend_from_slice(&buffer[..length]),
            Err(_) => break,
        }
    }
    answers
}

/// Returns whether this process may speak with its terminal without being stopped for it: `proc_pid_stat(5)` tells its
/// own group, and behind session and terminal the one in front.
fn is_in_front() -> bool {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    matches!(fields[..], [_, _, group, _, _, front, ..] if group == front)
}

/// Reads answers.
fn read(answers: &[u8]) -> Ability {
    let text = String::from_utf8_lossy(answers);
    let cell = text.split("\x1b[6;").nth(1).and_then(|size| {
        let (height, width) = size.split_once('t')?.0.split_once(';')?;
        let (width, height) = (width.parse().ok()?, height.parse().ok()?);
        (width > 0 && height > 0).then_some((width, height))
    });
    let sixels = attributes(answers).is_some_and(|told| told.split(';').skip(1).any(|told| told == "4"));
    let drawing = match cell {
        _ if text.contains("\x1b_Gi=31;OK") => Drawing::Kitty,
        // Without the size of a character nobody knows where a picture ends.
        Some(_) if sixels => Drawing::Sixel,
        _ => Drawing::Blocks,
    };
    Ability { drawing, cell: cell.unwrap_or(CELL) }
}

/// Returns what a terminal says of itself, if it has.
fn attributes(answers: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answers);
    let (told, _) = text.split_once("\x1b[?")?.1.split_once('c')?;
    Some(told.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_believed_what_it_answers() {
        let read = |answers: &str| {
            let ability = read(answers.as_bytes());
            (ability.drawing, ability.cell)
        };
        let kitty = "\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t\x1b[?62;c";
        assert_eq!(read(kitty), (Drawing::Kitty, (10, 20)));
        assert_eq!(read("\x1b[6;20;10t\x1b[?63;1;4;22c"), (Drawing::Sixel, (10, 20)));
        assert_eq!(read("\x1b[?63;1;4;22c"), (Drawing::Blocks, CELL), "of unknown size");
        assert_eq!(read("\x1b[6;0;0t\x1b[?4;1;2c"), (Drawing::Blocks, CELL), "4 is its class here");
        assert_eq!(read("\x1b_Gi=31;ENOTSUP\x1b\\\x1b[?1;2c"), (Drawing::Blocks, CELL));
        assert_eq!(read(""), (Drawing::Blocks, CELL));
    }

    #[test]
    fn the_last_answer_is_known() {
        assert_eq!(attributes(b"\x1b[6;20;10t\x1b[?63;4"), None);
        assert_eq!(attributes(b"\x1b[6;20;10t\x1b[?63;4c").as_deref(), Some("63;4"));
    }
}
