//! Pictures in a terminal: by its graphics where it has any, else two pixels a character.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use swarmcast::Picture;

use super::{Opened, Stage, audio};
use crate::board::Board;

mod blocks;
mod kitty;
mod pixels;
mod probe;
mod sixel;

use pixels::{Pixels, fit};
use probe::Ability;
pub(in crate::play) use probe::Drawing;

/// The second screen, no cursor, no wrapping; and all back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const CLEAR: &str = "\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Time between two pictures at least: a terminal is sent 100 kB for each.
const INTERVAL: Duration = Duration::from_millis(60);
/// Longest time between two looks.
const STEP: Duration = Duration::from_millis(20);
/// Columns and rows of a terminal that does not tell.
const SIZE_UNKNOWN: (usize, usize) = (80, 24);
/// Pixels of a picture by graphics at most: 400 kB in base 64.
const PIXELS_MAX: usize = 100_000;

/// The terminal's second screen.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Whether it is still to be written to.
    shown: Arc<Mutex<bool>>,
    ability: Ability,
}

/// Gives the terminal back when it is dropped.
#[derive(Debug)]
pub(super) struct Restorer {
    place: Place,
    board: Arc<Board>,
}

impl Restorer {
    /// Goes over to the second screen, and asks the terminal what it can unless that is told.
    pub(super) fn new(board: Arc<Board>, drawing: Drawing) -> Self {
        board.take_terminal(true);
        write(ENTER);
        let ability = Ability::of_terminal(drawing);
        // What a terminal did not take for a question is gone.
        write(CLEAR);
        Self { place: Place { shown: Arc::new(Mutex::new(true)), ability }, board }
    }

    /// Returns what pictures are written to.
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        if self.place.ability.drawing == Drawing::Kitty {
            self.place.write(kitty::CLEAR);
        }
        self.place.write(LEAVE);
        *self.place.shown.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.board.take_terminal(false);
    }
}

impl Place {
    /// Writes to the second screen, as long as it is shown.
    fn write(&self, text: &str) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown {
            write(text);
        }
    }
}

fn write(text: &str) {
    let mut output = io::stdout().lock();
    // A terminal that is gone shows nothing.
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Shows pictures until the player is gone.
pub(super) fn run(stage: &Stage, place: &Place, opened: Opened) {
    let device = match &stage.speaker {
        Some(speaker) => {
            let device = sdl2::init().and_then(|sdl| audio::open(&sdl, speaker));
            if device.is_err() {
                speaker.close();
            }
            Some(device)
        }
        None => None,
    };
    let warning = device.as_ref().and_then(|device| device.as_ref().err()).cloned();
    // Nobody waits any more when the user stopped meanwhile.
    let _ = opened.send(Ok(warning));
    let mut canvas = Canvas { ability: place.ability, size: SIZE_UNKNOWN, drawn: 0 };
    let mut drawn: Option<Instant> = None;
    while stage.goes_on() {
        let picture = stage.screen.next(swarmcast::now());
        if let Some(picture) = picture.filter(|_| drawn.is_none_or(|at| at.elapsed() >= INTERVAL)) {
            drawn = Some(Instant::now());
            let size = terminal_size::terminal_size();
            let size = size.map_or(SIZE_UNKNOWN, |(width, height)| (width.0.into(), height.0.into()));
            place.write(&canvas.text(&picture, size, &stage.board.lines(true)));
        }
        let rest = stage.screen.due_in(swarmcast::now()).unwrap_or(STEP);
        sleep(rest.clamp(Duration::from_millis(1), STEP));
    }
}

/// Where pictures are drawn.
struct Canvas {
    ability: Ability,
    /// Columns and rows at the last picture.
    size: (usize, usize),
    drawn: u32,
}

impl Canvas {
    /// Draws a picture as large as it fits, its middle in the middle, over a last line of text.
    fn text(&mut self, picture: &Picture, (columns, rows): (usize, usize), lines: &[String]) -> String {
        let (columns, rows) = (columns.max(1), rows.saturating_sub(1).max(1));
        let mut text = String::new();
        if std::mem::replace(&mut self.size, (columns, rows)) != (columns, rows) {
            text.push_str(CLEAR);
        }
        text.push_str(&match self.ability.drawing {
            Drawing::Kitty | Drawing::Sixel => self.graphics(picture, (columns, rows)),
            Drawing::Auto | Drawing::Blocks => {
                let (width, height) = fit(picture.aspect(), (columns, 2 * rows));
                let place = ((columns - width) / 2 + 1, (2 * rows - height) / 4 + 1);
                blocks::draw(&Pixels::new(picture, (width, height)), place)
            }
        });
        self.drawn = self.drawn.wrapping_add(1);
        let said: String = lines.join("; ").chars().filter(|c| !c.is_control()).take(columns).collect();
        let _ = write!(text, "\x1b[{};1H\x1b[K{said}", rows + 1);
        text
    }

    fn graphics(&self, picture: &Picture, (columns, rows): (usize, usize)) -> String {
        let (cell_width, cell_height) = self.ability.cell;
        let room = (columns * cell_width, rows * cell_height);
        let shown = fit(picture.aspect(), room);
        let sent = within(shown, PIXELS_MAX);
        let (width, height) = if self.ability.drawing == Drawing::Kitty { shown } else { sent };
        let cells = (width.div_ceil(cell_width).min(columns), height.div_ceil(cell_height).min(rows));
        let (left, top) = ((columns - cells.0) / 2 + 1, (rows - cells.1) / 2 + 1);
        let pixels = Pixels::new(picture, sent);
        let drawn = match self.ability.drawing {
            Drawing::Kitty => kitty::draw(&pixels, cells, self.drawn),
            _ => sixel::draw(&pixels),
        };
        format!("\x1b[{top};{left}H{drawn}")
    }
}

/// Returns a size of the same aspect with so many pixels at most.
fn within((width, height): (usize, usize), pixels_max: usize) -> (usize, usize) {
    let scale = (pixels_max as f64 / (width * height).max(1) as f64).sqrt().min(1.0);
    let scaled = |length: usize| ((length as f64 * scale) as usize).max(1);
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_picture_is_sent_smaller() {
        assert_eq!(within((640, 360), 1_000_000), (640, 360));
        assert_eq!(within((640, 360), 57_600), (320, 180));
        assert_eq!(within((0, 0), 10), (1, 1));
    }
}
