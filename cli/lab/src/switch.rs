//! A switch in user space whose links delay, limit and lose: what the kernel's own bridge cannot.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::host::INTERFACE;
use crate::namespace::Namespace;

/// Frames that the switch holds at most, on all links together: 1 s at 700 Mbit/s.
const HELD_FRAMES_MAX: usize = 65_536;

/// Longest frame: an MTU of 1,500 with its Ethernet header and a VLAN tag.
const FRAME_BYTES_MAX: usize = 1_518;

/// Frames read from one link before the others get their turn.
const FRAMES_PER_TURN: usize = 64;

/// What happens to the frames that a host sends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkProfile {
    /// Time on the way.
    pub delay: Duration,
    /// Most time that is added to it, drawn anew for every frame; frames may overtake each other.
    pub jitter: Duration,
    /// Share of the frames that are lost, 0 to 1.
    pub loss: f64,
    /// Bits a second that the link carries; `None` carries all.
    pub rate: Option<u64>,
    /// Time that a frame may wait for the link; what would wait longer is dropped.
    pub queue: Duration,
    /// Share of the frames that arrive twice, 0 to 1.
    pub duplicated: f64,
    /// Share of the frames that wait [`OVERTAKEN_BY`] longer than others, 0 to 1.
    pub overtaken: f64,
    /// Time after which all frames are lost for a while, and that while; none when zero.
    pub outage: (Duration, Duration),
}

/// How long a frame is held that others shall overtake: some twenty of them at 8 Mbit/s.
pub const OVERTAKEN_BY: Duration = Duration::from_millis(20);

/// A switch with a port for each host; stops when dropped.
#[derive(Debug)]
pub struct Switch {
    profiles: Arc<Mutex<Vec<LinkProfile>>>,
    disturbed: Arc<AtomicU64>,
    wake: UnixDatagram,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Makes the interface of each namespace and starts to carry frames between them.
    ///
    /// # Errors
    /// The kernel has no TAP devices, or refuses one.
    pub fn start(namespaces: &[Namespace], profile: LinkProfile) -> Result<Self> {
        let mut ports = Vec::with_capacity(namespaces.len());
        for namespace in namespaces {
            let device = namespace.enter(|| {
                let device =
                    DeviceBuilder::new().name(INTERFACE).layer(Layer::L2).enable(false).build_sync()?;
                device.set_nonblocking(true)?;
                io::Result::Ok(device)
            })?;
            ports.push(device.with_context(|| format!("cannot make a TAP device in {}", namespace.name()))?);
        }
        let profiles = Arc::new(Mutex::new(vec![profile; ports.len()]));
        let (wake, stop) = UnixDatagram::pair().context("cannot make the switch's stop signal")?;
        let fabric = Fabric::new(ports, Arc::clone(&profiles));
        let disturbed = Arc::clone(&fabric.disturbed);
        let thread = thread::Builder::new().name("switch".into()).spawn(move || fabric.run(&stop))?;
        Ok(Self { profiles, disturbed, wake, thread: Some(thread) })
    }

    /// Sets what happens from now on to the frames that the host at `index` sends.
    pub fn set_profile(&self, index: usize, profile: LinkProfile) {
        let mut profiles = self.profiles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = profiles.get_mut(index) {
            *slot = profile;
        }
    }

    /// Frames that were duplicated or overtaken so far.
    pub fn disturbed(&self) -> u64 {
        self.disturbed.load(Ordering::Relaxed)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // The thread ends by itself where it cannot be told.
        let _ = self.wake.send(&[0]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A frame on its way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    /// Keeps the order of frames that are due together.
    number: u64,
    to: usize,
    frame: Vec<u8>,
}

/// The inside of the switch: its ports and the frames on their way.
struct Fabric {
    ports: Vec<SyncDevice>,
    profiles: Arc<Mutex<Vec<LinkProfile>>>,
    /// When each host's link will have sent what waits for it.
    link_free: Vec<Instant>,
    held: BinaryHeap<Reverse<Held>>,
    numbered: u64,
    disturbed: Arc<AtomicU64>,
    started: Instant,
    random: u64,
}

impl Fabric {
    fn new(ports: Vec<SyncDevice>, profiles: Arc<Mutex<Vec<LinkProfile>>>) -> Self {
        let link_free = vec![Instant::now(); ports.len()];
        Self {
            ports,
            profiles,
            link_free,
            held: BinaryHeap::new(),
            numbered: 0,
            disturbed: Arc::default(),
            started: Instant::now(),
            random: 0x5eed,
        }
    }

    fn run(mut self, stop: &UnixDatagram) {
        let mut frame = vec![0; FRAME_BYTES_MAX];
        loop {
            let Ok((readable, stopped)) = self.wait(stop) else { return };
            if stopped {
                return;
            }
            for from in readable {
                self.take_in(from, &mut frame);
            }
            self.hand_out();
        }
    }

    /// Waits for a frame, the time of a held one, or the end; tells which ports are readable.
    fn wait(&self, stop: &UnixDatagram) -> nix::Result<(Vec<usize>, bool)> {
        let timeout = self
            .held
            .peek()
            .map(|Reverse(held)| TimeSpec::from_duration(held.due.saturating_duration_since(Instant::now())));
        let mut watched: Vec<PollFd> =
            self.ports.iter().map(|port| PollFd::new(port.as_fd(), PollFlags::POLLIN)).collect();
        watched.push(PollFd::new(stop.as_fd(), PollFlags::POLLIN));
        match ppoll(&mut watched, timeout, None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        let ready = |slot: &PollFd| slot.any().unwrap_or(false);
        let stopped = watched.pop().is_some_and(|slot| ready(&slot));
        let readable = watched.iter().enumerate().filter(|(_, slot)| ready(slot)).map(|(port, _)| port);
        Ok((readable.collect(), stopped))
    }

    /// Reads what a host sent and works out when it arrives, if it does.
    fn take_in(&mut self, from: usize, frame: &mut [u8]) {
        let profile = {
            let profiles = self.profiles.lock().unwrap_or_else(PoisonError::into_inner);
            profiles[from]
        };
        for _ in 0..FRAMES_PER_TURN {
            // The device says `WouldBlock` when it is empty; one that is gone has nothing to read either.
            let Ok(length) = self.ports[from].recv(frame) else { return };
            let now = Instant::now();
            let Some(sent) = self.cross_link(from, length, &profile, now) else { continue };
            let copies = 1 + u32::from(self.disturbs(profile.duplicated));
            let extra = if self.disturbs(profile.overtaken) { OVERTAKEN_BY } else { Duration::ZERO };
            for to in destinations(from, self.ports.len(), &frame[..length]) {
                let due = sent + profile.delay + extra + profile.jitter.mul_f64(self.draw());
                for _ in 0..copies {
                    self.hold(due, to, frame[..length].to_vec());
                }
            }
        }
    }

    /// When the link of `from` has sent the frame; `None` if it is lost or its queue is full.
    fn cross_link(
        &mut self,
        from: usize,
        length: usize,
        profile: &LinkProfile,
        now: Instant,
    ) -> Option<Instant> {
        let (every, lasting) = profile.outage;
        let since = now.duration_since(self.started);
        let in_outage = !every.is_zero() && since.as_micros() % every.as_micros() < lasting.as_micros();
        if in_outage || self.draw() < profile.loss {
            return None;
        }
        let Some(rate) = profile.rate else { return Some(now) };
        let start = self.link_free[from].max(now);
        if start.duration_since(now) > profile.queue {
            return None;
        }
        self.link_free[from] = start + Duration::from_secs_f64(length as f64 * 8.0 / rate.max(1) as f64);
        Some(self.link_free[from])
    }

    /// Whether the next frame is one of that share; counts it if so.
    fn disturbs(&mut self, share: f64) -> bool {
        let disturbs = share > 0.0 && self.draw() < share;
        self.disturbed.fetch_add(u64::from(disturbs), Ordering::Relaxed);
        disturbs
    }

    fn hold(&mut self, due: Instant, to: usize, frame: Vec<u8>) {
        if self.held.len() < HELD_FRAMES_MAX {
            self.numbered += 1;
            self.held.push(Reverse(Held { due, number: self.numbered, to, frame }));
        }
    }

    /// Delivers the frames whose time has come.
    fn hand_out(&mut self) {
        let now = Instant::now();
        while let Some(Reverse(held)) = self.held.peek() {
            if held.due > now {
                return;
            }
            if let Some(Reverse(held)) = self.held.pop() {
                // A host whose interface is down or whose queue is full loses it, as on any network.
                let _ = self.ports[held.to].send(&held.frame);
            }
        }
    }

    /// A number from 0 to below 1 (SplitMix64): the same in every run.
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The ports that a frame goes to: the host whose hardware address ends in its number from 1, else all others.
fn destinations(from: usize, count: usize, frame: &[u8]) -> Vec<usize> {
    match frame.first_chunk::<6>() {
        Some([0x02, 0x77, 0, 0, 0, last]) => {
            let to = usize::from(*last).checked_sub(1);
            to.filter(|&to| to < count && to != from).into_iter().collect()
        }
        _ => (0..count).filter(|&to| to != from).collect(),
    }
}
