//! Pictures in a terminal: two pixels a character, by half blocks in 24-bit colour.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use swarmcast::Picture;

use super::{Opened, Stage, audio};
use crate::board::Board;

/// The second screen, no cursor, no wrapping; and all back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Time between two pictures at least: a terminal is sent 100 kB for each.
const INTERVAL: Duration = Duration::from_millis(60);
/// Longest time between two looks.
const STEP: Duration = Duration::from_millis(20);
/// Columns and rows of a terminal that does not tell.
const SIZE_UNKNOWN: (usize, usize) = (80, 24);
/// Width over height of a character's half.
const HALF_ASPECT: f64 = 1.0;

/// The terminal's second screen, and whether it is still to be written to.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Mutex<bool>>);

/// Gives the terminal back when it is dropped.
#[derive(Debug)]
pub(super) struct Restorer {
    place: Place,
    board: Arc<Board>,
}

impl Restorer {
    /// Goes over to the second screen.
    pub(super) fn new(board: Arc<Board>) -> Self {
        let place = Place(Arc::new(Mutex::new(true)));
        board.take_terminal(true);
        place.write(ENTER);
        Self { place, board }
    }

    /// Returns what pictures are written to.
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        self.place.write(LEAVE);
        *self.place.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.board.take_terminal(false);
    }
}

impl Place {
    /// Writes to the second screen, as long as it is shown.
    fn write(&self, text: &str) {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown {
            let mut output = io::stdout().lock();
            // A terminal that is gone shows nothing.
            let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
        }
    }
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
    let mut drawn: Option<Instant> = None;
    while stage.goes_on() {
        let picture = stage.screen.next(swarmcast::now());
        if let Some(picture) = picture.filter(|_| drawn.is_none_or(|at| at.elapsed() >= INTERVAL)) {
            drawn = Some(Instant::now());
            let size = terminal_size::terminal_size();
            let size = size.map_or(SIZE_UNKNOWN, |(width, height)| (width.0.into(), height.0.into()));
            place.write(&text(&picture, size, &stage.board.lines(true)));
        }
        let rest = stage.screen.due_in(swarmcast::now()).unwrap_or(STEP);
        sleep(rest.clamp(Duration::from_millis(1), STEP));
    }
}

/// Draws a picture as large as it fits, its middle in the middle, over a last line of text.
fn text(picture: &Picture, (columns, rows): (usize, usize), lines: &[String]) -> String {
    let rows = rows.saturating_sub(1).max(1);
    let (width, height) = fit(picture.aspect() / HALF_ASPECT, (columns.max(1), 2 * rows));
    let pixels = Pixels::new(picture, (width, height));
    let mut text = String::with_capacity(width * height * 12);
    let (left, top) = ((columns - width) / 2 + 1, (2 * rows - height) / 4 + 1);
    for row in 0..height.div_ceil(2) {
        let _ = write!(text, "\x1b[{};{left}H", top + row);
        let mut last = None;
        for column in 0..width {
            let colours = (pixels.at(column, 2 * row), pixels.at(column, 2 * row + 1));
            if last != Some(colours) {
                let ((r, g, b), (under_r, under_g, under_b)) = colours;
                let _ = write!(text, "\x1b[38;2;{r};{g};{b};48;2;{under_r};{under_g};{under_b}m");
                last = Some(colours);
            }
            text.push('▀');
        }
        text.push_str("\x1b[0m");
    }
    let said: String = lines.join("; ").chars().filter(|c| !c.is_control()).take(columns).collect();
    let _ = write!(text, "\x1b[{};1H\x1b[K{said}", rows + 1);
    text
}

/// Returns the largest size of that aspect within bounds, at least one each way.
fn fit(aspect: f64, (width, height): (usize, usize)) -> (usize, usize) {
    if aspect <= 0.0 {
        return (width, height);
    }
    let by_width = (width as f64 / aspect).round() as usize;
    if by_width <= height {
        (width, by_width.max(1))
    } else {
        (((height as f64 * aspect).round() as usize).clamp(1, width), height)
    }
}

type Colour = (u8, u8, u8);

/// A picture's colours, each the mean of what its place covers.
struct Pixels {
    width: usize,
    colours: Vec<Colour>,
}

impl Pixels {
    fn new(picture: &Picture, (width, height): (usize, usize)) -> Self {
        let black = Self { width, colours: vec![(0, 0, 0); width * height] };
        let (Some(planes), Some((wide, high))) = (picture.planes(), picture.size()) else { return black };
        let means = |plane: usize, shift: usize| {
            let plane = planes[plane];
            let (wide, high) = (wide as usize >> shift, high as usize >> shift);
            let span = |at: usize, of: usize, parts: usize| {
                let from = at * of / parts;
                from..((at + 1) * of / parts).max(from + 1).min(of)
            };
            let mut means = Vec::with_capacity(width * height);
            for y in 0..height {
                for x in 0..width {
                    let (mut sum, mut count) = (0_u32, 0_u32);
                    for line in span(y, high, height) {
                        let row = &plane.bytes[line * plane.stride..];
                        sum += row[span(x, wide, width)].iter().map(|&value| u32::from(value)).sum::<u32>();
                        count += span(x, wide, width).len() as u32;
                    }
                    means.push(sum / count.max(1));
                }
            }
            means
        };
        let (luma, blue, red) = (means(0, 0), means(1, 1), means(2, 1));
        let colours = luma.iter().zip(&blue).zip(&red).map(|((&y, &u), &v)| colour(y, u, v)).collect();
        Self { colours, ..black }
    }

    fn at(&self, x: usize, y: usize) -> Colour {
        self.colours.get(y * self.width + x).copied().unwrap_or_default()
    }
}

/// Converts limited range, which most cameras and files have (BT.601, 8 bits).
fn colour(luma: u32, blue: u32, red: u32) -> Colour {
    let (y, u, v) = (298 * (luma as i32 - 16), blue as i32 - 128, red as i32 - 128);
    let clamp = |value: i32| ((value + 128) >> 8).clamp(0, 255) as u8;
    (clamp(y + 409 * v), clamp(y - 100 * u - 208 * v), clamp(y + 516 * u))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_aspect() {
        assert_eq!(fit(16.0 / 9.0, (80, 46)), (80, 45));
        assert_eq!(fit(16.0 / 9.0, (200, 46)), (82, 46));
        assert_eq!(fit(0.0, (80, 46)), (80, 46));
        assert_eq!(fit(1000.0, (3, 2)), (3, 1));
    }

    #[test]
    fn colours_are_those_of_the_bars() {
        assert_eq!(colour(16, 128, 128), (0, 0, 0));
        assert_eq!(colour(235, 128, 128), (255, 255, 255));
        assert_eq!(colour(81, 90, 240), (255, 0, 0));
        assert_eq!(colour(41, 240, 110), (0, 0, 255));
    }
}
