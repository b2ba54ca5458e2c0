//! Pictures of characters: two pixels each, by half blocks in 24-bit colour.

use std::fmt::Write as _;

use super::pixels::Pixels;

/// Draws pixels with their first row in the upper half of the row `top`, both places from 1.
pub(super) fn draw(pixels: &Pixels, (left, top): (usize, usize)) -> String {
    let mut text = String::with_capacity(pixels.width * pixels.height * 12);
    for row in 0..pixels.height.div_ceil(2) {
        let _ = write!(text, "\x1b[{};{left}H", top + row);
        let mut last = None;
        for column in 0..pixels.width {
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
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_has_two_pixels_and_equal_ones_share_their_colours() {
        let (red, blue) = ((255, 0, 0), (0, 0, 255));
        let drawn = draw(&Pixels::of(2, vec![red, red, blue, blue]), (3, 4));
        assert_eq!(drawn, "\x1b[4;3H\x1b[38;2;255;0;0;48;2;0;0;255m▀▀\x1b[0m");
    }
}
