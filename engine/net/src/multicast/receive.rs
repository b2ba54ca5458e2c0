//! Receiving from a group: the system hands over runs of equal datagrams of one sender, which stay in one allocation.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Room for the largest run: an IP packet of the largest size.
const BUFFER_BYTES: usize = 64 << 10;

/// Datagrams after which others have their turn; a run is taken whole, so there may be 63 more.
const READ_DATAGRAMS_MAX: usize = 64;

/// Runs looked at before others have their turn, those of this node's own datagrams among them.
const READ_RUNS_MAX: usize = 64;

/// What was read at once.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// Datagrams in the order of their arrival, with their sender.
    pub(super) datagrams: Vec<(SocketAddr, Bytes)>,
    /// How many more the system dropped for want of room just before them; it counts a run as one.
    pub(super) overflow: u64,
    /// Whether the socket is broken.
    pub(super) broken: bool,
}

/// What listens to one group on one interface.
#[derive(Debug)]
pub(super) struct Receiver {
    socket: Arc<UdpSocket>,
    /// Whose datagrams are this node's own.
    own: SocketAddr,
    /// The only source that is listened to.
    source: Option<IpAddr>,
    buffer: BytesMut,
    control: Vec<u8>,
    /// Datagrams that the system dropped since the socket was opened; it counts in 32 bits.
    dropped: u32,
    /// What was read last, when it came behind dropped ones and others were read before.
    held: Option<Arrived>,
}

/// One reading of the socket.
struct Run {
    from: Option<SocketAddr>,
    bytes: usize,
    /// Bytes of each datagram but the last, which may have fewer.
    stride: usize,
    dropped: Option<u32>,
}

impl Receiver {
    /// Takes a joined socket.
    pub(super) fn new(socket: Arc<UdpSocket>, own: SocketAddr, source: Option<IpAddr>) -> Self {
        let buffer = BytesMut::zeroed(BUFFER_BYTES);
        Self { socket, own, source, buffer, control: cmsg_space!(i32, u32), dropped: 0, held: None }
    }

    /// Waits until something has come from another node, or was dropped.
    pub(super) async fn next(&mut self) -> Arrived {
        loop {
            if self.held.is_none() && self.socket.readable().await.is_err() {
                return Arrived { broken: true, ..Arrived::default() };
            }
            let arrived = self.read();
            if arrived.broken || arrived.overflow > 0 || !arrived.datagrams.is_empty() {
                return arrived;
            }
            // A node that sends much hears itself: others have their turn.
            tokio::task::yield_now().await;
        }
    }

    fn read(&mut self) -> Arrived {
        let mut arrived = self.held.take().unwrap_or_default();
        for _ in 0..READ_RUNS_MAX {
            if arrived.datagrams.len() >= READ_DATAGRAMS_MAX || self.held.is_some() {
                break;
            }
            match self.read_run() {
                Ok(run) => self.take(run, &mut arrived),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    arrived.broken = true;
                    break;
                }
            }
        }
        arrived
    }

    fn read_run(&mut self) -> io::Result<Run> {
        let Self { socket, buffer, control, .. } = self;
        socket.try_io(Interest::READABLE, || {
            let mut slices = [IoSliceMut::new(&mut buffer[..])];
            let flags = MsgFlags::MSG_DONTWAIT;
            let message =
                recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control[..]), flags)?;
            let mut run = Run {
                from: address_of(message.address),
                bytes: message.bytes,
                stride: message.bytes,
                dropped: None,
            };
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::UdpGroSegments(size) => {
                        run.stride = usize::try_from(size).unwrap_or(0);
                    }
                    ControlMessageOwned::RxqOvfl(count) => run.dropped = Some(count),
                    _ => {}
                }
            }
            Ok(run)
        })
    }

    fn take(&mut self, run: Run, arrived: &mut Arrived) {
        let dropped = run.dropped.unwrap_or(self.dropped);
        let overflow = u64::from(dropped.wrapping_sub(self.dropped));
        self.dropped = dropped;
        let from = run.from.filter(|from| self.listens_to(*from));
        let mut rest = from.map(|_| self.detach(run.bytes)).unwrap_or_default();
        let behind_gap = overflow > 0 && !arrived.datagrams.is_empty();
        let arrived = if behind_gap { self.held.insert(Arrived::default()) } else { arrived };
        arrived.overflow += overflow;
        while let Some(from) = from.filter(|_| !rest.is_empty()) {
            let size = run.stride.clamp(1, rest.len());
            arrived.datagrams.push((from, rest.split_to(size)));
        }
    }

    fn listens_to(&self, from: SocketAddr) -> bool {
        !is_same_socket(from, self.own) && self.source.is_none_or(|source| source == from.ip())
    }

    /// Takes what was read out of the buffer, so that at least half of what it keeps alive is of use.
    fn detach(&mut self, bytes: usize) -> Bytes {
        if bytes < BUFFER_BYTES / 2 {
            return Bytes::copy_from_slice(&self.buffer[..bytes]);
        }
        let mut full = std::mem::replace(&mut self.buffer, BytesMut::zeroed(BUFFER_BYTES));
        full.truncate(bytes);
        full.freeze()
    }
}

/// Returns whether two addresses name one socket, whatever they say of interface and flow.
pub(super) fn is_same_socket(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}

fn address_of(address: Option<SockaddrStorage>) -> Option<SocketAddr> {
    let address = address?;
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from(*v4));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6)))
}
