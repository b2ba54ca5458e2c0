//! The loop: an honest node in the middle, whose words are twisted on their way out.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use iroh::Endpoint;
use nix::ifaddrs::getifaddrs;
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use swarmcast_core::ids::{Now, PathId, PeerId, StreamHandle, WallClock};
use swarmcast_core::node::{
    Action, Batch, Command, ConnectError, Event, Input, Node, NodeConfig, Sighting, Subscription,
};
use swarmcast_net::{Browser, LanChange, PeerAddress, now};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::Task;
use crate::lies::{Lies, TICK};
use crate::session::{self, DONE, DUPLICATE, Heard, Opened, Session};

/// What may wait for the loop.
const HEARD_MAX: usize = 1024;
/// Free bytes from which a session is filled.
const CREDIT_MIN: usize = 1500;
/// Wait before a session without free bytes is looked at again.
const RETRY_AFTER: Duration = Duration::from_millis(2);
/// Ticks between two samples of every path, and between two reports.
const SAMPLE_EVERY: u64 = 5;
const REPORT_EVERY: u64 = 100;
/// Most neighbours that it remembers in order to come back to them.
const REMEMBERED_MAX: usize = 64;

/// A member that lies. One that forges is thrown out, and comes back with a new identity.
pub(crate) struct Liar {
    task: Task,
    lies: Lies,
    node: Node,
    endpoint: Endpoint,
    /// A socket that belongs to no session.
    outside: UdpSocket,
    /// Counts its identities.
    life: u32,
    thrown_out: u64,
    /// When the first neighbour of this life threw it out.
    thrown_out_at: Option<Now>,
    sessions: BTreeMap<PathId, Session>,
    paths_used: u32,
    /// Neighbours that came since the last tick.
    fresh: BTreeSet<PathId>,
    blocked: BTreeSet<PathId>,
    remembered: BTreeMap<PeerId, SocketAddr>,
    heard: mpsc::Receiver<Heard>,
    tell: mpsc::Sender<Heard>,
}

impl Liar {
    /// Opens an endpoint, tells `started`, and begins to watch.
    pub(crate) async fn new(task: Task) -> Result<Self, Box<dyn Error>> {
        let endpoint = session::endpoint().await?;
        let outside = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        outside.set_nonblocking(true)?;
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        let mut liar = Self {
            lies: Lies::new(task.script),
            node: honest(&task, &endpoint),
            task,
            endpoint,
            outside,
            life: 0,
            thrown_out: 0,
            thrown_out_at: None,
            sessions: BTreeMap::new(),
            paths_used: 0,
            fresh: BTreeSet::new(),
            blocked: BTreeSet::new(),
            remembered: BTreeMap::new(),
            heard,
            tell,
        };
        liar.begin();
        liar.tell_started()?;
        Ok(liar)
    }

    /// Lies until it is killed.
    pub(crate) async fn run(mut self) -> Result<(), Box<dyn Error>> {
        let mut browser = Browser::start(&[])?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0;
        loop {
            let due = self.node.poll_timeout().map(|at| at.since(now()));
            tokio::select! {
                biased;
                _ = tick.tick() => {
                    ticks += 1;
                    self.handle_tick(ticks).await?;
                }
                () = sleep(due.unwrap_or_default()), if due.is_some() => self.feed(Input::Timeout),
                Some(heard) = self.heard.recv() => self.handle(heard),
                change = browser.next() => self.handle_lan(change),
                () = sleep(RETRY_AFTER), if !self.blocked.is_empty() => {}
            }
            self.transmit();
        }
    }

    /// Takes up a life under the name of its endpoint.
    fn begin(&mut self) {
        tokio::spawn(session::accept(self.endpoint.clone(), self.life, self.tell.clone()));
        // The clock exists on every Linux.
        let wall = clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |time| time.num_milliseconds());
        self.feed(Input::WallClock(WallClock(wall.unsigned_abs())));
        self.feed(Input::Command(Command::Subscribe(Box::new(Subscription::new(
            StreamHandle(0),
            self.task.name.clone(),
            Duration::from_secs(1),
        )))));
        if let Some(peer) = self.task.publisher.peer {
            self.sight(peer, self.task.publisher.addresses.clone());
        }
        for (peer, address) in self.remembered.clone() {
            self.sight(peer, vec![address]);
        }
    }

    async fn rebirth(&mut self) -> Result<(), Box<dyn Error>> {
        self.sessions.values().for_each(|session| session.close(DONE));
        self.sessions.clear();
        self.blocked.clear();
        self.fresh.clear();
        let endpoint = session::endpoint().await?;
        let old = std::mem::replace(&mut self.endpoint, endpoint);
        tokio::spawn(async move { old.close().await });
        self.node = honest(&self.task, &self.endpoint);
        self.life += 1;
        self.thrown_out_at = None;
        self.begin();
        Ok(())
    }

    fn sight(&mut self, peer: PeerId, addresses: Vec<SocketAddr>) {
        let publishes = Vec::new();
        self.feed(Input::Sighted(Sighting { peer, addresses, group: None, manual: true, publishes }));
    }

    fn handle_lan(&mut self, change: LanChange) {
        if let LanChange::Found(found) = change
            && found.group == self.task.group.id()
        {
            let (peer, addresses, publishes) = (found.peer, found.addresses, found.publishes);
            let group = Some(found.group);
            self.feed(Input::Sighted(Sighting { peer, addresses, group, manual: false, publishes }));
        }
    }

    fn handle(&mut self, heard: Heard) {
        match heard {
            Heard::Up { life, opened } if life == self.life => self.admit(opened),
            Heard::Up { opened, .. } => opened.close(DONE),
            Heard::Failed { life, peer } if life == self.life => {
                self.feed(Input::ConnectFailed { peer, why: ConnectError::TimedOut });
            }
            Heard::Failed { .. } => {}
            Heard::Down { path, thrown_out } => self.handle_down(path, thrown_out),
            // What a session of an earlier life said last is of no use.
            Heard::Control(path, _) | Heard::Datagram(path, _) if !self.sessions.contains_key(&path) => {}
            Heard::Control(path, message) => {
                self.lies.overhear_control(&message);
                self.feed(Input::Control { path, message });
            }
            Heard::Datagram(path, datagram) => {
                if self.lies.overhear(&datagram) {
                    self.feed(Input::Datagram { path, datagram });
                }
            }
        }
    }

    /// Numbers a session; of two that were dialled at once both ends keep the one of the smaller key.
    fn admit(&mut self, opened: Opened) {
        let peer = opened.peer();
        let own_survives = *self.endpoint.id().as_bytes() < peer.0;
        let known = self.sessions.iter().find(|(_, session)| session.peer == peer);
        if let Some((&path, known)) = known {
            if known.dialed != opened.dialed && known.dialed == own_survives {
                return opened.close(DUPLICATE);
            }
            known.close(DUPLICATE);
            self.handle_down(path, false);
        }
        let path = PathId(self.paths_used);
        self.paths_used += 1;
        let dialed = opened.dialed;
        let session = Session::start(path, opened, &self.tell);
        let (remote, datagram_bytes_max) = (session.remote(), session.datagram_bytes_max());
        self.sessions.insert(path, session);
        if let Some(address) = remote.filter(|_| self.remembered.len() < REMEMBERED_MAX) {
            self.remembered.insert(peer, address);
        }
        self.feed(Input::Connected { path, peer, dialed, remote, datagram_bytes_max });
    }

    fn handle_down(&mut self, path: PathId, thrown_out: bool) {
        let Some(session) = self.sessions.remove(&path) else { return };
        self.blocked.remove(&path);
        self.fresh.remove(&path);
        if thrown_out && session.lied_to && self.task.script.forges() {
            self.thrown_out += 1;
            self.thrown_out_at.get_or_insert(now());
        }
        self.feed(Input::Disconnected { path });
    }

    /// Gives the honest node one input, and does all that it wants done.
    fn feed(&mut self, input: Input) {
        self.node.handle(now(), input);
        loop {
            if let Some(event) = self.node.poll_event() {
                // What it watches is of no interest, only who is there to be lied to.
                if let Event::NeighbourUp { path, .. } = event
                    && let Some(session) = self.sessions.get_mut(&path)
                {
                    session.greeted = true;
                    self.fresh.insert(path);
                }
            } else if let Some(action) = self.node.poll_action() {
                self.act(action);
            } else {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect { peer, addresses } => {
                let (endpoint, tell) = (self.endpoint.clone(), self.tell.clone());
                tokio::spawn(session::dial(endpoint, self.life, (peer, addresses), tell));
            }
            Action::Control { path, message } => {
                let session = self.sessions.get(&path).filter(|_| !self.lies.withholds(&message));
                session.into_iter().for_each(|session| session.control(message.clone()));
            }
            Action::Disconnect { path } => {
                self.sessions.remove(&path).into_iter().for_each(|session| session.close(DONE));
                self.blocked.remove(&path);
                self.fresh.remove(&path);
            }
            // Those that it lies to were told where it is; it lies to neighbours alone.
            Action::Announce(_)
            | Action::OpenMulticast { .. }
            | Action::RejoinMulticast { .. }
            | Action::CloseMulticast { .. }
            | Action::Probe { .. } => {}
        }
    }

    /// Sends what the honest node has, twisted.
    fn transmit(&mut self) {
        let mut ready = std::mem::take(&mut self.blocked);
        ready.extend(std::iter::from_fn(|| self.node.poll_ready()));
        for path in ready {
            self.fill(path);
        }
    }

    fn fill(&mut self, path: PathId) {
        let Some(session) = self.sessions.get_mut(&path) else { return };
        let mut batch = Batch::default();
        loop {
            let credit = session.credit();
            if credit < CREDIT_MIN {
                self.blocked.insert(path);
                return;
            }
            self.node.fill(now(), path, credit, &mut batch);
            if batch.datagrams.is_empty() {
                return;
            }
            for datagram in batch.datagrams.drain(..) {
                let told = self.lies.told;
                if let Some(datagram) = self.lies.tampered(datagram) {
                    session.datagram(datagram);
                }
                session.lied_to |= self.lies.told > told;
            }
        }
    }

    async fn handle_tick(&mut self, ticks: u64) -> Result<(), Box<dyn Error>> {
        if self.thrown_out_at.is_some_and(|at| now().since(at) >= self.task.script.returns_after()) {
            self.rebirth().await?;
        }
        if ticks.is_multiple_of(SAMPLE_EVERY) {
            let samples = self.sessions.iter_mut().map(|(path, session)| (*path, session.sample())).collect();
            self.feed(Input::PathSamples(samples));
        }
        self.make_up();
        self.flood();
        if ticks.is_multiple_of(REPORT_EVERY) {
            self.report();
        }
        Ok(())
    }

    /// Sends this tick's inventions to everybody who takes them.
    fn make_up(&mut self) {
        let publisher = self.task.publisher.peer;
        let greeted = || self.sessions.values().filter(|session| session.greeted);
        let victim = greeted().filter(|session| Some(session.peer) != publisher).find_map(Session::remote);
        self.lies.tick(now(), victim);
        for (path, session) in self.sessions.iter_mut().filter(|(_, session)| session.greeted) {
            let told = self.lies.told;
            let fresh = self.fresh.remove(path);
            self.lies.made_up_messages(fresh).into_iter().for_each(|message| session.control(message));
            let datagrams = self.lies.made_up_datagrams(*path);
            let mut credit = session.credit();
            for datagram in datagrams {
                if datagram.len() <= credit {
                    credit -= datagram.len();
                    session.datagram(datagram);
                }
            }
            session.lied_to |= self.lies.told > told;
        }
    }

    /// Sends this tick's part of the flood, what no session takes from outside.
    fn flood(&mut self) {
        let Some((victim, datagrams)) = self.lies.flood(now()) else { return };
        let to_victim = |session: &&mut Session| session.greeted && session.remote() == Some(victim);
        let mut session = self.sessions.values_mut().find(to_victim);
        let mut credit = session.as_ref().map_or(0, |session| session.credit());
        for datagram in datagrams {
            match &mut session {
                Some(session) if datagram.len() <= credit => {
                    credit -= datagram.len();
                    session.lied_to = true;
                    session.datagram(datagram);
                }
                // What the system refuses is late for nothing.
                _ => drop(self.outside.send_to(&datagram, victim)),
            }
        }
    }

    fn tell_started(&self) -> Result<(), Box<dyn Error>> {
        let port =
            self.endpoint.bound_sockets().iter().find(|address| address.is_ipv4()).map(SocketAddr::port);
        let port = port.ok_or("no IPv4 socket")?;
        let peer = PeerId(*self.endpoint.id().as_bytes());
        let own = getifaddrs()?.filter_map(|entry| Some(entry.address?.as_sockaddr_in()?.ip()));
        let addresses = own.filter(|ip| !ip.is_loopback()).map(|ip| (IpAddr::V4(ip), port).into()).collect();
        let ticket = PeerAddress { peer: Some(peer), addresses };
        say("started", &format!(r#""role":"hostile","endpoint":"{peer}","ticket":"{ticket}""#));
        Ok(())
    }

    fn report(&self) {
        let Self { life, thrown_out, sessions, .. } = self;
        let (neighbours, told) = (sessions.len(), self.lies.told);
        let fields = format!(
            r#""told":{told},"neighbours":{neighbours},"identities":{},"thrown_out":{thrown_out}"#,
            life + 1
        );
        say("lies", &fields);
    }
}

/// Makes the honest half.
fn honest(task: &Task, endpoint: &Endpoint) -> Node {
    let peer = PeerId(*endpoint.id().as_bytes());
    // Its dice need not be secret.
    Node::new(now(), NodeConfig::new(peer, task.group.clone(), peer.0))
}

/// Writes one event as a line of JSON; `fields` hold numbers and hexadecimal digits, so nothing needs escaping.
fn say(event: &str, fields: &str) {
    println!(r#"{{"event":"{event}","t":{:.6},{fields}}}"#, now().0 as f64 / 1e6);
}
