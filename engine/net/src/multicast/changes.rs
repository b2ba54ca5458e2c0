//! When to look at the interfaces again.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use nix::errno::Errno;
use nix::libc::{RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_LINK};
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use tokio::net::UnixDatagram;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

/// Time between two looks when nothing is heard: what failed is tried again then.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Time that a change has to settle: an interface that comes up is announced several times.
const SETTLE: Duration = Duration::from_millis(20);

/// Messages taken before a look; what is left over leads to the next one.
const TAKEN_AT_ONCE_MAX: usize = 64;

struct Changes {
    /// Tells of links and addresses; `None` where that is forbidden. It is a netlink socket, which is read like the one
    /// kind of datagram socket that the runtime takes without knowing its addresses.
    news: Option<UnixDatagram>,
    look: Interval,
}

/// Yields whenever interfaces or their addresses may have changed, and at least every second.
pub(super) fn changes() -> BoxStream<'static, ()> {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let changes = Changes { news: subscribe().ok(), look };
    stream::unfold(changes, async |mut changes| {
        changes.wait().await;
        Some(((), changes))
    })
    .boxed()
}

impl Changes {
    async fn wait(&mut self) {
        let Self { news, look } = self;
        let heard = async {
            match news {
                Some(news) => news.readable().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            heard = heard => {
                if heard {
                    sleep(SETTLE).await;
                }
                self.drain();
            }
            _ = look.tick() => {}
        }
    }

    /// Takes what was told; what it means is found out by looking.
    fn drain(&mut self) {
        let Some(news) = &self.news else { return };
        let mut told = [0; 8192];
        for _ in 0..TAKEN_AT_ONCE_MAX {
            match news.try_recv(&mut told) {
                Ok(_) => {}
                // More was told than the system keeps: looking finds it all the same.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.news = None;
                    return;
                }
            }
        }
    }
}

fn subscribe() -> io::Result<UnixDatagram> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups as u32))?;
    UnixDatagram::from_std(StdDatagram::from(socket))
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::tests::namespace::Namespace;

    #[tokio::test]
    async fn a_change_is_heard_of_before_the_next_look() {
        let Some(host) = Namespace::new() else { return };
        let mut changes = host.within(changes);
        for device in ["d0", "d1"] {
            // What was told before, and the looks at the beginning.
            while timeout(LOOK_EVERY / 4, changes.next()).await.is_ok() {}
            host.run(&format!("ip link add {device} type veth peer name other-{device}"));
            assert!(timeout(LOOK_EVERY / 2, changes.next()).await.is_ok(), "{device} was not heard of");
        }
    }
}
