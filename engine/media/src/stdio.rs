//! Stdin and stdout that an [`Interrupt`] can stop: ffmpeg's own pipes block for good.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::interrupt::Interrupt;

/// How long a blocked read or write goes without looking at the interrupt.
const LOOK_MILLIS: u8 = 50;

/// A stream whose reads and writes end when interrupted.
pub(crate) struct Stoppable<T> {
    stream: T,
    /// Whether a write of more than is free may block.
    blocks: bool,
    interrupt: Interrupt,
}

impl<T: AsFd> Stoppable<T> {
    pub(crate) fn new(stream: T, interrupt: Interrupt) -> Self {
        Self { stream, blocks: true, interrupt }
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
        while !self.blocks && !self.interrupt.is_set() {
            match self.stream.write(buffer) {
                Err(full) if full.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::POLLOUT)?,
                done => return done,
            }
        }
        self.wait(PollFlags::POLLOUT)?;
        // A pipe that is ready takes PIPE_BUF bytes without blocking, more perhaps not.
        self.stream.write(&buffer[..buffer.len().min(4_096)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Stoppable<File> {
    /// Makes the output of a standard stream. A pipe is opened once more, so that it takes at once what it has room
    /// for; to make the stream itself so would change it for all who have it.
    pub(crate) fn output(stream: impl AsFd, interrupt: Interrupt) -> io::Result<Self> {
        let file = duplicate(stream)?;
        let is_pipe = file.metadata()?.file_type().is_fifo();
        let again = || {
            let name = format!("/proc/self/fd/{}", file.as_raw_fd());
            OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(name)
        };
        // Somebody else's pipe may be forbidden to open.
        Ok(match is_pipe.then(again).and_then(Result::ok) {
            Some(file) => Self { stream: file, blocks: false, interrupt },
            None => Self::new(file, interrupt),
        })
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
    fn a_pipe_takes_at_once_what_it_has_room_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut output = Stoppable::output(&writer, Interrupt::new()).unwrap();
        assert_eq!(output.write(&[7; 40_000]).unwrap(), 40_000);
        let mut read = vec![0; 40_000];
        reader.read_exact(&mut read).unwrap();
        assert!(read.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_full_pipe_is_stopped() {
        let (_reader, writer) = io::pipe().unwrap();
        let interrupt = Interrupt::new();
        is_stopped_when_full(Stoppable::output(&writer, interrupt.clone()).unwrap(), &interrupt);
        let (_reader, writer) = io::pipe().unwrap();
        let interrupt = Interrupt::new();
        is_stopped_when_full(Stoppable::new(writer, interrupt.clone()), &interrupt);
    }

    fn is_stopped_when_full(mut full: Stoppable<impl AsFd + Write + Send + 'static>, interrupt: &Interrupt) {
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
