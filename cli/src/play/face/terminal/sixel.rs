//! Pictures by DEC's sixels: bands of six rows in colours of a palette, which many terminals show.

use std::fmt::Write as _;

use super::pixels::{Colour, Pixels};

/// Levels of red, green and blue each; the 216 colours fit every terminal's palette of 256.
const LEVELS: usize = 6;
const COLOURS: usize = LEVELS * LEVELS * LEVELS;
/// Rows of a band.
const BAND: usize = 6;
/// Thresholds of an ordered dither, in sixteenths, so that areas of one colour do not flicker from picture to picture.
const DITHER: [[usize; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];

/// Draws pixels behind the cursor.
pub(super) fn draw(pixels: &Pixels) -> String {
    let (width, height) = (pixels.width, pixels.height);
    let mut text = String::with_capacity(width * height * 2);
    let _ = write!(text, "\x1bP0;1q\"1;1;{width};{height}");
    for colour in 0..COLOURS {
        let percent = |level: usize| level * 100 / (LEVELS - 1);
        let (r, g, b) = (colour / LEVELS / LEVELS, colour / LEVELS % LEVELS, colour % LEVELS);
        let _ = write!(text, "#{colour};2;{};{};{}", percent(r), percent(g), percent(b));
    }
    let mut band = vec![0_u8; COLOURS * width];
    for top in (0..height).step_by(BAND) {
        band.fill(0);
        let mut used = [false; COLOURS];
        for y in top..(top + BAND).min(height) {
            for x in 0..width {
                let colour = nearest(pixels.at(x, y), DITHER[y % 4][x % 4]);
                used[colour] = true;
                band[colour * width + x] |= 1 << (y - top);
            }
        }
        for colour in (0..COLOURS).filter(|colour| used[*colour]) {
            let _ = write!(text, "#{colour}");
            put_row(&band[colour * width..(colour + 1) * width], &mut text);
            text.push('$');
        }
        text.push('-');
    }
    text.push_str("\x1b\\");
    text
}

/// Returns the palette's colour for one, rounded up where that leaves more than the threshold.
fn nearest((r, g, b): Colour, threshold: usize) -> usize {
    let level = |value: u8| (usize::from(value) * (LEVELS - 1) * 16 + threshold * 255 + 127) / (255 * 16);
    let level = |value: u8| level(value).min(LEVELS - 1);
    (level(r) * LEVELS + level(g)) * LEVELS + level(b)
}

/// Writes one colour's part of a band, without what is empty at its end.
fn put_row(row: &[u8], text: &mut String) {
    let end = row.iter().rposition(|sixel| *sixel != 0).map_or(0, |last| last + 1);
    for run in row[..end].chunk_by(|a, b| a == b) {
        let sixel = char::from(b'?' + run[0]);
        if run.len() > 3 {
            let _ = write!(text, "!{}{sixel}", run.len());
        } else {
            text.extend(std::iter::repeat_n(sixel, run.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn colours_of_the_palette_stay_and_others_are_mixed() {
        let all = |colour| (0..16).map(move |threshold| nearest(colour, threshold));
        assert!(all((255, 0, 51)).all(|colour| colour == 5 * 36 + 1));
        assert!(all((0, 0, 0)).all(|colour| colour == 0));
        let between = all((0, 0, 25)).filter(|colour| *colour == 1).count();
        assert!((7..=9).contains(&between), "{between}");
    }

    #[test]
    fn rows_are_in_bands_of_six_and_runs_are_counted() {
        let (white, black) = ((255, 255, 255), (0, 0, 0));
        let drawn = draw(&Pixels::of(5, [vec![white; 5], vec![black; 5 * 6]].concat()));
        let body = drawn.split("#215;2;100;100;100").nth(1).unwrap();
        // Black fills the band's lower five rows, white its uppermost; then one row of black.
        assert_eq!(body, "#0!5}$#215!5@$-#0!5@$-\x1b\\");
        assert!(drawn.starts_with("\x1bP0;1q\"1;1;5;7#0;2;0;0;0"));
    }

    /// Lets another program read what was drawn; `None` where it is not installed.
    fn decoded(drawn: &str) -> Option<Vec<u8>> {
        let room = tempfile::tempdir().unwrap();
        let [sixels, image] = ["drawn.six", "drawn.png"].map(|name| room.path().join(name));
        std::fs::write(&sixels, drawn).unwrap();
        let read = Command::new("sixel2png").arg("-i").arg(&sixels).arg("-o").arg(&image).status();
        if !read.ok()?.success() {
            panic!("libsixel refuses it");
        }
        let raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
        let output = Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&image).args(raw).output();
        Some(output.expect("ffmpeg is installed").stdout)
    }

    #[test]
    fn another_program_sees_the_picture() {
        let (width, height) = (48, 32);
        let place = |at: usize| ((at % width * 5) as u8, (at / width * 7) as u8, 128_u8);
        let colours: Vec<Colour> = (0..width * height).map(place).collect();
        let Some(seen) = decoded(&draw(&Pixels::of(width, colours.clone()))) else {
            eprintln!("SKIPPED: sixels were not decoded, since libsixel-bin is not installed");
            return;
        };
        let meant: Vec<u8> = colours.into_iter().flat_map(|(r, g, b)| [r, g, b]).collect();
        assert_eq!(seen.len(), meant.len());
        // A level is 51, and a dither of 4 by 4 keeps the mean.
        let off: Vec<i32> = seen.iter().zip(&meant).map(|(s, m)| i32::from(*s) - i32::from(*m)).collect();
        assert!(off.iter().all(|off| off.abs() <= 52), "{:?}", off.iter().map(|off| off.abs()).max());
        let mean = f64::from(off.iter().sum::<i32>()) / off.len() as f64;
        assert!(mean.abs() < 2.0, "{mean}");
    }

    #[test]
    fn what_is_empty_at_the_end_is_left_out() {
        let mut text = String::new();
        put_row(&[1, 1, 0, 2, 2, 2, 2, 0, 0], &mut text);
        assert_eq!(text, "@@?!4A");
    }
}
