//! A plot of one line, as SVG.

use std::fmt::Write;

/// Size of the whole, and of what is around the axes: left, top, right, bottom.
const SIZE: (f64, f64) = (640.0, 280.0);
const MARGINS: (f64, f64, f64, f64) = (60.0, 12.0, 24.0, 44.0);
/// Ticks that an axis should have.
const TICKS: f64 = 6.0;

/// An axis with its range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis<'a> {
    pub(super) label: &'a str,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Whether equal distances are equal ratios; both ends are above 0 then.
    pub(super) is_logarithmic: bool,
}

/// One line over two axes. What lies outside of them is not drawn.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    pub(super) x: Axis<'a>,
    pub(super) y: Axis<'a>,
    pub(super) points: Vec<(f64, f64)>,
}

impl<'a> Axis<'a> {
    /// Makes an axis on which equal distances are equal differences.
    pub(super) fn linear(label: &'a str, from: f64, to: f64) -> Self {
        Self { label, from, to, is_logarithmic: false }
    }

    /// Makes an axis on which equal distances are equal ratios.
    pub(super) fn logarithmic(label: &'a str, from: f64, to: f64) -> Self {
        Self { label, from, to, is_logarithmic: true }
    }

    /// Returns a tick at each round number: steps of 1, 2 or 5 times a power of ten, or those numbers themselves.
    fn ticks(&self) -> Vec<f64> {
        if self.is_logarithmic {
            let (first, last) = (self.from.log10().floor() as i32, self.to.log10().ceil() as i32);
            let round = (first..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10f64.powi(power)));
            return round.filter(|tick| (self.from..=self.to).contains(tick)).collect();
        }
        let rough = (self.to - self.from) / TICKS;
        if !rough.is_finite() || rough <= 0.0 {
            return vec![self.from];
        }
        let power = 10f64.powf(rough.log10().floor());
        let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999);
        let step = factor.unwrap_or(10.0) * power;
        let (first, last) = ((self.from / step - 1e-6).ceil() as i64, (self.to / step + 1e-6).floor() as i64);
        (first..=last).map(|tick| tick as f64 * step).collect()
    }

    /// Returns where a value lies, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.is_logarithmic { value.log10() } else { value };
        let span = scaled(self.to) - scaled(self.from);
        if span > 0.0 { ((scaled(value) - scaled(self.from)) / span).clamp(0.0, 1.0) } else { 0.0 }
    }
}

impl Plot<'_> {
    /// Draws it.
    pub(super) fn svg(&self) -> String {
        let (width, height) = SIZE;
        let (left, top, right, bottom) = MARGINS;
        let x = |value: f64| left + self.x.place(value) * (width - left - right);
        let y = |value: f64| height - bottom - self.y.place(value) * (height - top - bottom);
        let mut svg = format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\">\n");
        for tick in self.y.ticks() {
            let (at, text) = (y(tick), number(tick));
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{left} {at:.1}H{:.1}\"/>\
                 <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                width - right,
                left - 6.0,
                at + 4.0
            );
        }
        let floor = height - bottom;
        for tick in self.x.ticks() {
            let (at, text) = (x(tick), number(tick));
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{at:.1} {top}V{floor:.1}\"/>\
                 <text class=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>",
                floor + 16.0
            );
        }
        let mut line = String::new();
        for (index, (at, value)) in self.points.iter().enumerate() {
            let _ = write!(line, "{}{:.1} {:.1}", if index == 0 { 'M' } else { 'L' }, x(*at), y(*value));
        }
        let middle = (left + width - right) / 2.0;
        let _ = writeln!(
            svg,
            "<path class=\"line\" d=\"{line}\"/>\n\
             <text class=\"middle\" x=\"{middle}\" y=\"{:.1}\">{}</text>\n\
             <text class=\"middle\" transform=\"rotate(-90)\" x=\"{:.1}\" y=\"14\">{}</text>\n</svg>",
            height - 8.0,
            escaped(self.x.label),
            -(top + floor) / 2.0,
            escaped(self.y.label)
        );
        svg
    }
}

/// Returns text as it may stand in HTML and SVG.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(letter),
        }
    }
    safe
}

/// Writes a number without the noise of its binary form.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(from: f64, to: f64) -> Axis<'static> {
        Axis::linear("x", from, to)
    }

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(axis(0.0, 100.0).ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(axis(0.0, 3.0).ticks(), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]);
        assert_eq!(axis(99.9, 100.0).ticks().len(), 6);
        assert_eq!(axis(0.0, 0.0).ticks(), [0.0]);
        assert_eq!(axis(0.0, f64::NAN).ticks(), [0.0]);
        let ratios = Axis::logarithmic("x", 100.0, 10_000.0);
        assert_eq!(ratios.ticks(), [100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0]);
        assert_eq!([100.0, 1_000.0, 10_000.0].map(|value| ratios.place(value)), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn a_line_stays_within_its_axes() {
        let plot = Plot { x: axis(0.0, 10.0), y: axis(0.0, 1.0), points: vec![(0.0, 0.0), (20.0, 1.0)] };
        let svg = plot.svg();
        assert!(svg.contains("d=\"M60.0 236.0L616.0 12.0\""), "{svg}");
    }

    #[test]
    fn text_is_no_markup() {
        assert_eq!(escaped("<b a='1'>&\"x\""), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;x&quot;");
        assert_eq!([0.30000000000000004, -0.0, 20.0].map(number), ["0.3", "0", "20"]);
    }
}
