//! A clock in the picture: what a simulated camera shows of the time at which it captured.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command;

/// Milliseconds of wall clock in the picture, modulo 2^24: 4.6 hours.
const BITS: u32 = 24;

/// Side of the square that shows one bit, pixels: survives any rate that a camera is encoded at.
const SQUARE: u32 = 32;

/// Seconds that reading a recording may take.
const LIMIT_SECONDS: u32 = 120;

/// A source for ffmpeg's `lavfi` device: moving pictures in real time, on whose first row of squares stands the time
/// at which each was made.
///
/// The code is Gray's, so that a time that ticks while it is drawn is off by no more than the tick.
pub fn source(width: u32, height: u32, rate: u32) -> String {
    let mut graph = format!("testsrc2=size={width}x{height}:rate={rate},realtime");
    graph += &format!(",drawbox=x=0:y=0:w={}:h={SQUARE}:color=black:t=fill", BITS * SQUARE);
    for bit in 0..BITS {
        // Bit k of the Gray code of n is the lowest bit of floor(n / 2^(k+1) + 1/2).
        let lit = format!("mod(floor(mod(time(0)*1000,{})/{}+0.5),2)", 1 << BITS, 2 << bit);
        let x = bit * SQUARE;
        graph += &format!(",drawbox=x={x}:y=0:w={SQUARE}:h={SQUARE}:color=white:t=fill:enable='{lit}'");
    }
    graph
}

/// Reads the time from each picture of a recording, in the order of presentation, since the wall clock's epoch
/// modulo 2^24 ms.
///
/// # Errors
/// `ffmpeg` is missing or cannot decode the recording.
pub fn read(recording: &Path) -> Result<Vec<Duration>> {
    let name = recording.to_string_lossy();
    // The middle of each square, away from what the encoder blurs.
    let inner = format!(
        "crop={}:{}:0:{},scale={BITS}:1:flags=area,format=gray",
        BITS * SQUARE,
        SQUARE / 2,
        SQUARE / 4
    );
    let as_numbers = ["-f", "rawvideo", "-"];
    let mut arguments =
        vec!["-v", "error", "-nostdin", "-i", &name, "-an", "-vf", &inner, "-vsync", "passthrough"];
    arguments.extend(as_numbers);
    let pixels = command::bytes_within(LIMIT_SECONDS, "ffmpeg", &arguments)
        .with_context(|| format!("cannot read the clock in {name}"))?;
    Ok(pixels.chunks_exact(BITS as usize).map(decode).collect())
}

/// The time that one row of squares shows.
fn decode(squares: &[u8]) -> Duration {
    let gray = squares.iter().rev().fold(0_u64, |code, &light| code << 1 | u64::from(light > 127));
    let mut value = gray;
    for shift in [1, 2, 4, 8, 16] {
        value ^= value >> shift;
    }
    Duration::from_millis(value)
}

/// Time from what a picture shows to `at`, both since the epoch of the wall clock.
pub fn age(shown: Duration, at: Duration) -> Duration {
    let period = Duration::from_millis(1 << BITS);
    let at = Duration::from_micros((at.as_micros() % period.as_micros()) as u64);
    if at >= shown { at - shown } else { at + period - shown }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BITS, age, decode};

    #[test]
    fn squares_are_read_back() {
        for milliseconds in [0_u64, 1, 999, 8_388_607, 8_388_608, 16_777_215] {
            let bit = |bit: u32| ((milliseconds >> (bit + 1)) + ((milliseconds >> bit) & 1)) & 1;
            let squares: Vec<u8> = (0..BITS).map(|k| if bit(k) == 1 { 235 } else { 16 }).collect();
            assert_eq!(decode(&squares), Duration::from_millis(milliseconds));
        }
    }

    #[test]
    fn an_age_runs_over_the_end_of_the_period() {
        let period = 1 << BITS;
        let age_ms = |shown, at| age(Duration::from_millis(shown), Duration::from_millis(at)).as_millis();
        assert_eq!(age_ms(10, 35), 25);
        assert_eq!(age_ms(period - 10, 3 * period + 15), 25);
    }
}
