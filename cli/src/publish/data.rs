//! Data records on their way in: JSON lines from a file or from standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::de::IgnoredAny;
use swarmcast::{Bytes, DATA_BYTES_MAX};

/// Reads lines, each a JSON value of at most 64 KiB. Empty lines do not count.
pub(super) struct JsonLines {
    input: Box<dyn BufRead + Send>,
    number: u64,
}

/// Why a line is left out.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// It is not JSON.
    #[error("line {number} is not JSON ({error}): write one JSON value a line")]
    NotJson { number: u64, error: serde_json::Error },
    /// It is too long.
    #[error("line {number} has more than {} KiB: split it into several records", DATA_BYTES_MAX >> 10)]
    TooLong { number: u64 },
    /// Nothing more can be read.
    #[error("behind line {number}: {error}")]
    Unreadable { number: u64, error: io::Error },
}

impl JsonLines {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let input: Box<dyn BufRead + Send> = if path == "-" {
            Box::new(BufReader::new(io::stdin()))
        } else {
            Box::new(BufReader::new(File::open(path)?))
        };
        Ok(Self { input, number: 0 })
    }

    /// Waits for the next line; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Result<Bytes, LineError>> {
        loop {
            self.number += 1;
            let number = self.number;
            let mut line = Vec::new();
            let most = DATA_BYTES_MAX as u64 + 1;
            match self.input.by_ref().take(most).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(LineError::Unreadable { number: number - 1, error })),
            }
            if line.last() != Some(&b'\n') && line.len() > DATA_BYTES_MAX {
                return Some(match self.skip_line() {
                    Ok(()) => Err(LineError::TooLong { number }),
                    Err(error) => Err(LineError::Unreadable { number, error }),
                });
            }
            let value = line.trim_ascii();
            if value.is_empty() {
                continue;
            }
            return Some(match serde_json::from_slice::<IgnoredAny>(value) {
                Ok(_) => Ok(Bytes::copy_from_slice(value)),
                Err(error) => Err(LineError::NotJson { number, error }),
            });
        }
    }

    /// Reads to the end of the line without keeping it.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let passed = end.map_or(buffer.len(), |end| end + 1);
            self.input.consume(passed);
            if end.is_some() || passed == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Result<Bytes, LineError>> {
        let mut lines = JsonLines { input: Box::new(io::Cursor::new(text.to_owned())), number: 0 };
        std::iter::from_fn(|| lines.next()).collect()
    }

    #[test]
    fn each_line_is_one_value() {
        let read = lines("{\"a\": 1}\n\n  \"b\"  \r\nnull");
        let read: Vec<Bytes> = read.into_iter().map(Result::unwrap).collect();
        assert_eq!(read, ["{\"a\": 1}", "\"b\"", "null"]);
    }

    #[test]
    fn what_is_not_json_is_named_and_passed_over() {
        let read = lines("{\"a\":\n1 2\n3\n");
        assert!(matches!(read[0], Err(LineError::NotJson { number: 1, .. })));
        assert!(matches!(read[1], Err(LineError::NotJson { number: 2, .. })));
        assert_eq!(read[2].as_ref().unwrap(), "3");
    }

    #[test]
    fn the_longest_line_fits_and_a_longer_one_does_not() {
        let longest = format!("\"{}\"", "x".repeat(DATA_BYTES_MAX - 2));
        let read = lines(&format!("{longest}\n{longest} \n{longest}\n7\n"));
        assert_eq!(read[0].as_ref().unwrap().len(), DATA_BYTES_MAX);
        assert!(matches!(read[1], Err(LineError::TooLong { number: 2 })));
        assert_eq!(read[2].as_ref().unwrap().len(), DATA_BYTES_MAX);
        assert_eq!(read[3].as_ref().unwrap(), "7");
        assert!(lines(&longest)[0].is_ok());
        assert!(matches!(lines(&(longest + "x"))[..], [Err(LineError::TooLong { .. })]));
    }
}
