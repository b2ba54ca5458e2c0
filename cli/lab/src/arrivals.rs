//! When each access unit reaches a program that a viewer feeds.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::host::Host;

/// Access units noted at most: an hour of pictures at 25 a second.
const ARRIVALS_MAX: usize = 90_000;

/// Milliseconds to wait for the viewer's connection, and for more from it.
const PATIENCE_MS: u16 = 30_000;

/// The arrival of one access unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// When, since the epoch of the wall clock.
    pub at: Duration,
    /// SHA-256 of its payload, in hexadecimal.
    pub hash: String,
}

/// A listener on a host that takes the hashes of a viewer on the same host.
#[derive(Debug)]
pub struct Arrivals {
    address: SocketAddr,
    thread: JoinHandle<Result<Vec<Arrival>>>,
}

impl Arrivals {
    /// Starts to listen.
    ///
    /// # Errors
    /// The host has no loopback interface.
    pub fn listen(host: &Host) -> Result<Self> {
        let listener = host.namespace().enter(|| TcpListener::bind("127.0.0.1:0"))??;
        let address = listener.local_addr()?;
        let thread = thread::Builder::new().name("arrivals".into()).spawn(move || collect(&listener))?;
        Ok(Self { address, thread })
    }

    /// Where the viewer connects to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the viewer closes its connection, and returns what arrived.
    ///
    /// # Errors
    /// It never connected, or fell silent for half a minute.
    pub fn finish(self) -> Result<Vec<Arrival>> {
        self.thread.join().map_err(|_| anyhow!("the thread that notes arrivals panicked"))?
    }
}

fn collect(listener: &TcpListener) -> Result<Vec<Arrival>> {
    let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    if poll(&mut waiting, PollTimeout::from(PATIENCE_MS))? == 0 {
        bail!("no viewer connected to {:?}", listener.local_addr());
    }
    let (stream, _): (TcpStream, _) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS.into())))?;
    let mut arrivals = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.context("a viewer fell silent")?;
        let at = SystemTime::now().duration_since(UNIX_EPOCH)?;
        // `stream, dts, pts, duration, size, hash`, behind lines of comment.
        let hash = line.split(',').nth(5).filter(|_| !line.starts_with('#'));
        if let (Some(hash), true) = (hash, arrivals.len() < ARRIVALS_MAX) {
            arrivals.push(Arrival { at, hash: hash.trim().to_owned() });
        }
    }
    Ok(arrivals)
}
