//! Stdin and stdout that an [`Interrupt`] can stop: ffmpeg's own pipes block for good.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::interrupt::Interrupt;

/// How long a blocked read or write goes without looking at the interrupt.
const LOOK_MILLIS: u8 = 50;

/// A stream whose reads and writes end when interrupted.
pub(crate) struct Stoppable<T> {
    stream: T,
    interrupt: Interrupt,
}

impl<T: AsFd> Stoppable<T> {
    pub(crate) fn new(stream: T, interrupt: Interrupt) -> Self {
        Self { stream, interrupt }
    }

    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        loop {
            if self.interrupt.is_set() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let mut fds = [PollFd::new(self.stream.as_fd(), flags)];
            match poll(&mut fds, PollTimeout::from(LOOK_MILLIS)) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl<T: AsFd + Read> Read for Stoppable<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(PollFlags::POLLIN)?;
        self.stream.read(buffer)
    }
}

impl<T: AsFd + Write> Write for Stoppable<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.wait(PollFlags::POLLOUT)?;
        // A pipe that is ready takes PIPE_BUF bytes without blocking, more perhaps not.
        self.stream.write(&buffer[..buffer.len().min(4_096)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Opens a standard stream again, without Rust's buffer between.
pub(crate) fn duplicate(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_silent_pipe_is_stopped() {
        let (reader, mut writer) = io::pipe().unwrap();
        let interrupt = Interrupt::new();
        let mut silent = Stoppable::new(reader, interrupt.clone());
        writer.write_all(b"x").unwrap();
        assert_eq!(silent.read(&mut [0; 2]).unwrap(), 1);
        let reading = thread::spawn(move || silent.read(&mut [0; 2]).map_err(|error| error.kind()));
        let told = Instant::now();
        interrupt.interrupt();
        assert_eq!(reading.join().unwrap(), Err(io::ErrorKind::TimedOut));
        assert!(told.elapsed() < Duration::from_millis(500), "{:?}", told.elapsed());
    }

    #[test]
    fn a_full_pipe_is_stopped() {
        let (_reader, writer) = io::pipe().unwrap();
        let interrupt = Interrupt::new();
        let mut full = Stoppable::new(writer, interrupt.clone());
        let writing = thread::spawn(move || {
            loop {
                if let Err(error) = full.write(&[0; 65_536]) {
                    return error.kind();
                }
            }
        });
        interrupt.interrupt();
        assert_eq!(writing.join().unwrap(), io::ErrorKind::TimedOut);
    }
}
