//! Text over the picture, from a built-in font of 8 by 8 dots.

use font8x8::UnicodeFonts;

/// Dots of a character each way.
const DOTS: usize = 8;
/// Dots between two lines, and around them.
const SPACE: usize = 4;
/// White, and black that lets a third of the picture through; red, green, blue, opacity.
const INK: [u8; 4] = [255, 255, 255, 255];
const GROUND: [u8; 4] = [0, 0, 0, 170];

/// Painted text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Painted {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Red, green, blue and opacity of each pixel, row after row.
    pub(super) pixels: Vec<u8>,
}

/// Paints lines, broken so that they fit into `width_max` pixels, each dot `scale` pixels wide; `None` for no text.
pub(super) fn paint(lines: &[String], width_max: usize, scale: usize) -> Option<Painted> {
    let columns = (width_max / scale).saturating_sub(2 * SPACE) / DOTS;
    let lines: Vec<String> = lines.iter().flat_map(|line| broken(line, columns.max(8))).collect();
    let longest = lines.iter().map(|line| line.chars().count()).max()?;
    let width = (longest * DOTS + 2 * SPACE) * scale;
    let height = (lines.len() * (DOTS + SPACE) + SPACE) * scale;
    let mut painted = Painted { width, height, pixels: GROUND.repeat(width * height) };
    for (row, line) in lines.iter().enumerate() {
        for (column, character) in line.chars().enumerate() {
            let at = (SPACE + column * DOTS, SPACE + row * (DOTS + SPACE));
            painted.character(character, at, scale);
        }
    }
    Some(painted)
}

impl Painted {
    fn character(&mut self, character: char, (left, top): (usize, usize), scale: usize) {
        let known = font8x8::BASIC_FONTS.get(character).or_else(|| font8x8::LATIN_FONTS.get(character));
        let glyph = known.or_else(|| font8x8::BASIC_FONTS.get('?')).unwrap_or_default();
        for (y, row) in glyph.iter().enumerate() {
            for x in (0..DOTS).filter(|x| row >> x & 1 == 1) {
                self.dot((left + x) * scale, (top + y) * scale, scale);
            }
        }
    }

    fn dot(&mut self, left: usize, top: usize, scale: usize) {
        for y in top..top + scale {
            let start = (y * self.width + left) * INK.len();
            let end = start + scale * INK.len();
            if let Some(pixels) = self.pixels.get_mut(start..end) {
                pixels.copy_from_slice(&INK.repeat(scale));
            }
        }
    }
}

/// Breaks a line at its spaces, and within words that are too long.
fn broken(line: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        let used = lines.last().map_or(0, |line| line.chars().count());
        if used > 0 && used + 1 + rest.len() > columns {
            lines.push(String::new());
        } else if used > 0 {
            lines.last_mut().into_iter().for_each(|line| line.push(' '));
        }
        while rest.len() > columns {
            let tail = rest.split_off(columns);
            lines.last_mut().into_iter().for_each(|line| line.extend(&rest));
            lines.push(String::new());
            rest = tail;
        }
        lines.last_mut().into_iter().for_each(|line| line.extend(&rest));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_or_where_they_must() {
        assert_eq!(broken("The stream is back", 10), ["The stream", "is back"]);
        assert_eq!(broken("abcdefghijkl mn", 5), ["abcde", "fghij", "kl mn"]);
        assert_eq!(broken("", 5), [""]);
    }

    #[test]
    fn letters_are_painted_on_a_box() {
        let painted = paint(&["I".to_owned()], 320, 2).unwrap();
        assert_eq!((painted.width, painted.height), (32, 32));
        let pixel = |x: usize, y: usize| &painted.pixels[4 * (y * 32 + x)..][..4];
        assert_eq!((pixel(0, 0), pixel(14, 10)), (&GROUND[..], &INK[..]));
        let ink = painted.pixels.chunks_exact(4).filter(|pixel| *pixel == INK).count();
        assert_eq!(ink % 4, 0, "dots are squares of two pixels");
        assert_eq!(paint(&[], 320, 2), None);
        assert!(
            paint(&["ü\u{4e2d}".to_owned()], 1, 3).is_some(),
            "unknown letters and no room are no matter"
        );
    }
}
