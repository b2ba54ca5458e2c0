//! A picture scaled to what a terminal shows.

use swarmcast::Picture;

/// Returns the largest size of that aspect within bounds, at least one each way.
pub(super) fn fit(aspect: f64, (width, height): (usize, usize)) -> (usize, usize) {
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

/// Red, green, blue.
pub(super) type Colour = (u8, u8, u8);

/// A picture's colours, each the mean of what its place covers.
pub(super) struct Pixels {
    pub(super) width: usize,
    pub(super) height: usize,
    colours: Vec<Colour>,
}

impl Pixels {
    /// Scales a picture.
    pub(super) fn new(picture: &Picture, (width, height): (usize, usize)) -> Self {
        let black = Self { width, height, colours: vec![(0, 0, 0); width * height] };
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

    /// Returns the colour of a place.
    pub(super) fn at(&self, x: usize, y: usize) -> Colour {
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
impl Pixels {
    /// Makes pixels of these colours, row after row.
    pub(super) fn of(width: usize, colours: Vec<Colour>) -> Self {
        Self { width, height: colours.len() / width, colours }
    }
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
