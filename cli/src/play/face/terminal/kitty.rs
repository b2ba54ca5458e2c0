//! Pictures by the graphics protocol of the terminal kitty, which others have taken over: pixels in base 64.

use std::fmt::Write as _;

use super::pixels::Pixels;

/// Characters of data in one command at most, as the protocol has it.
const DATA_MAX: usize = 4_096;
/// Removes all pictures.
pub(super) const CLEAR: &str = "\x1b_Ga=d,d=A,q=2\x1b\\";

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Draws pixels over so many columns and rows behind the cursor, and removes the picture before. The terminal scales.
pub(super) fn draw(pixels: &Pixels, (columns, rows): (usize, usize), number: u32) -> String {
    let bytes = (0..pixels.height).flat_map(|y| (0..pixels.width).map(move |x| pixels.at(x, y)));
    let data = base64(&bytes.flat_map(|(r, g, b)| [r, g, b]).collect::<Vec<_>>());
    let mut text = String::with_capacity(data.len() + data.len() / DATA_MAX * 16 + 256);
    // Two take turns, so that there is one at any time.
    let (own, before) = (number % 2 + 1, (number + 1) % 2 + 1);
    let (width, height) = (pixels.width, pixels.height);
    let _ = write!(text, "\x1b_Ga=T,q=2,C=1,f=24,s={width},v={height},c={columns},r={rows},i={own},");
    let mut parts = data.as_bytes().chunks(DATA_MAX).peekable();
    while let Some(part) = parts.next() {
        let more = u8::from(parts.peek().is_some());
        let _ = write!(text, "m={more};{}\x1b\\", String::from_utf8_lossy(part));
        if more == 1 {
            text.push_str("\x1b_Gq=2,");
        }
    }
    let _ = write!(text, "\x1b_Ga=d,d=I,q=2,i={before}\x1b\\");
    text
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let value = (0..3).fold(0_usize, |value, at| value << 8 | usize::from(*group.get(at).unwrap_or(&0)));
        for digit in 0..4 {
            let known = digit <= group.len();
            text.push(if known { char::from(DIGITS[value >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_that_of_rfc_4648() {
        let encoded = ["", "f", "fo", "foo", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYmFy"]);
    }

    #[test]
    fn a_picture_replaces_the_one_before_and_comes_in_parts() {
        let small = draw(&Pixels::of(1, vec![(102, 111, 111)]), (3, 2), 0);
        let first = "\x1b_Ga=T,q=2,C=1,f=24,s=1,v=1,c=3,r=2,i=1,m=0;Zm9v\x1b\\";
        assert_eq!(small, format!("{first}\x1b_Ga=d,d=I,q=2,i=2\x1b\\"));
        let large = draw(&Pixels::of(64, vec![(0, 0, 0); 64 * 32]), (3, 2), 1);
        let commands: Vec<&str> = large.split_terminator("\x1b\\").collect();
        assert_eq!(commands.len(), 3, "6,144 bytes are 8,192 characters, and the one before goes");
        assert!(commands[0].contains("i=2,m=1;") && commands[1].starts_with("\x1b_Gq=2,m=0;AAAA"));
        assert!(commands.iter().all(|command| command.len() < DATA_MAX + 100));
    }
}
