//! A line of standard error that is written anew where it stands, and makes way for others.

use std::io::{self, Write};

/// Back to the first column and erase the line.
const CLEAR: &str = "\r\x1b[K";

/// Whether the cursor stands behind such a line.
#[derive(Debug, Default)]
pub(crate) struct LiveLine(bool);

impl LiveLine {
    /// Writes it in place of the one before.
    pub(crate) fn show(&mut self, text: &str) -> io::Result<()> {
        self.0 = true;
        write!(io::stderr().lock(), "{CLEAR}{text}")
    }

    /// Erases it, if there is one.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.0) { write!(io::stderr().lock(), "{CLEAR}") } else { Ok(()) }
    }
}
