//! Sending to a group: runs of equal datagrams go out in one system call, and what the socket does not take waits.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::transport::TransportCounters;

/// Most datagrams in one call (`UDP_MAX_SEGMENTS` of Linux).
const RUN_DATAGRAMS_MAX: usize = 64;

/// Most bytes in one call: an IP packet of the largest size without the headers of IPv6 and UDP.
const RUN_BYTES_MAX: usize = 65_535 - 48;

/// Bytes that are asked of the core at once: the largest run.
const CREDIT_BYTES: usize = 64 << 10;

/// What sends to one group on one interface.
#[derive(Debug)]
pub(super) struct Sender {
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    /// Whether the system cuts runs into datagrams (`UDP_SEGMENT`), as far as is known.
    runs: bool,
    unsent: VecDeque<Bytes>,
    transport: TransportCounters,
}

impl Sender {
    /// Takes a socket that is connected to its group.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let transport = TransportCounters::default();
        Ok(Self { socket: Arc::new(socket), local, runs: true, unsent: VecDeque::new(), transport })
    }

    /// Returns the address that others see as the source.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Returns how many bytes of datagrams may be given now: none while some wait.
    pub(super) fn credit(&self) -> usize {
        if self.unsent.is_empty() { CREDIT_BYTES } else { 0 }
    }

    /// Sends datagrams. Returns whether all are gone; otherwise [`Sender::flush`] goes on when the socket is writable.
    pub(super) fn send(&mut self, datagrams: &mut Vec<Bytes>) -> bool {
        self.unsent.extend(datagrams.drain(..));
        self.flush()
    }

    /// Sends what waits. Returns whether all is gone.
    pub(super) fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() {
            let run = if self.runs { run_length(self.unsent.iter().map(Bytes::len)) } else { 1 };
            match self.send_run(run) {
                Ok(bytes) => {
                    self.transport.add_multicast_sent(bytes as u64, run as u64);
                    self.unsent.drain(..run);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if run > 1 && refuses_runs(&error) => self.runs = false,
                Err(_) => {
                    self.transport.multicast_datagrams_refused += run as u64;
                    self.unsent.drain(..run);
                }
            }
        }
        true
    }

    /// Returns the socket, so that its being writable can be waited for.
    pub(super) fn socket(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.socket)
    }

    /// Returns what was sent.
    pub(super) fn transport(&self) -> TransportCounters {
        self.transport
    }

    fn send_run(&self, run: usize) -> io::Result<usize> {
        let slices: Vec<_> = self.unsent.range(..run).map(|datagram| IoSlice::new(datagram)).collect();
        let size = self.unsent.front().map_or(0, Bytes::len) as u16;
        let cut = [ControlMessage::UdpGsoSegments(&size)];
        let control = if run > 1 { &cut[..] } else { &[] };
        self.socket.try_io(Interest::WRITABLE, || {
            let sent = sendmsg::<()>(self.socket.as_raw_fd(), &slices, control, MsgFlags::MSG_DONTWAIT, None);
            sent.map_err(|errno: Errno| errno.into())
        })
    }
}

/// Returns whether the interface's driver or an old kernel cannot cut runs.
fn refuses_runs(error: &io::Error) -> bool {
    let refusals = [Errno::EIO, Errno::EINVAL, Errno::EMSGSIZE, Errno::EOPNOTSUPP, Errno::ENOPROTOOPT];
    error.raw_os_error().is_some_and(|code| refusals.contains(&Errno::from_raw(code)))
}

/// Returns how many datagrams from the first one on can go out as a run: all as long as the first, the last perhaps
/// shorter.
fn run_length(mut sizes: impl Iterator<Item = usize>) -> usize {
    let Some(first) = sizes.next() else { return 0 };
    let (mut run, mut bytes) = (1, first);
    for size in sizes {
        if size > first || size == 0 || run == RUN_DATAGRAMS_MAX || bytes + size > RUN_BYTES_MAX {
            break;
        }
        (run, bytes) = (run + 1, bytes + size);
        if size < first {
            break;
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_of_one_length_but_for_its_end_and_keeps_the_systems_limits() {
        let run = |sizes: &[usize]| run_length(sizes.iter().copied());
        assert_eq!(run(&[]), 0);
        assert_eq!(run(&[900, 1100, 1100]), 1);
        assert_eq!(run(&[1100, 1100, 300, 300]), 3);
        assert_eq!(run(&[1100, 0]), 1);
        assert_eq!(run(&[100; 70]), RUN_DATAGRAMS_MAX);
        assert_eq!(run(&[1414; 64]), RUN_BYTES_MAX / 1414);
    }
}
