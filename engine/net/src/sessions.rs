//! All sessions of a node: dialling, accepting, and everything that arrives, from one task.
//!
//! Two nodes that dial each other at once get two sessions. Both ends then keep the one that the smaller [`PeerId`]
//! dialled, so they agree without a word; a session that comes up when the other is older than any dial can last
//! replaces it, since then its neighbour has given the old one up.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt};
use iroh::Endpoint;
use iroh::endpoint::{Incoming, SendStream};
use swarmcast_core::ids::{PathId, PeerId};
use swarmcast_core::node::{ConnectError, PathSample};

use crate::clock;
use crate::control::{self, ControlError};
use crate::session::{self, CloseCode, DIAL_MAX, Opened, Received, Session};
use crate::transport::TransportCounters;

/// Most sessions; the core keeps fewer and closes the rest itself.
const SESSIONS_MAX: usize = 64;

/// Most connections that are being accepted at once.
const ACCEPTS_MAX: usize = 32;

/// The numbers of paths: sessions and multicast share them, so that none is used twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathIds(Arc<AtomicU32>);

impl PathIds {
    /// Returns a number that no path had before.
    pub(crate) fn fresh(&self) -> PathId {
        PathId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// What happens to sessions, as the core is told of it.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    Up { path: PathId, peer: PeerId, dialed: bool, remote: Option<SocketAddr>, datagram_bytes_max: usize },
    DialFailed { peer: PeerId, why: ConnectError },
    Down { path: PathId, peer: PeerId },
    Control { path: PathId, message: Bytes },
    Datagrams { path: PathId, datagrams: Vec<Bytes> },
}

/// The end of something that takes several packets.
enum Done {
    Dial(PeerId, Result<Opened, ConnectError>),
    Accept(Option<Opened>),
    Write(PathId, SendStream, Result<(), ControlError>),
}

/// The sessions of a node.
pub(crate) struct Sessions {
    endpoint: Endpoint,
    own: PeerId,
    open: BTreeMap<PathId, Session>,
    /// What the sessions that are closed sent and received.
    closed: TransportCounters,
    path_ids: PathIds,
    accepting: usize,
    received: SelectAll<BoxStream<'static, (PathId, Received)>>,
    working: FuturesUnordered<BoxFuture<'static, Done>>,
    events: VecDeque<SessionEvent>,
}

impl Sessions {
    /// Makes the sessions of an endpoint, none so far.
    pub(crate) fn new(endpoint: Endpoint, path_ids: PathIds) -> Self {
        let own = PeerId(*endpoint.id().as_bytes());
        Self {
            endpoint,
            own,
            open: BTreeMap::new(),
            closed: TransportCounters::default(),
            path_ids,
            accepting: 0,
            received: SelectAll::new(),
            working: FuturesUnordered::new(),
            events: VecDeque::new(),
        }
    }

    /// Waits for the next event. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> SessionEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            // What is rare goes first, so that a flood of datagrams cannot starve it.
            tokio::select! {
                biased;
                Some(done) = self.working.next() => self.handle_done(done),
                Some(incoming) = self.endpoint.accept() => self.handle_incoming(incoming),
                Some((path, received)) = self.received.next() => {
                    if let Some(event) = self.handle_received(path, received) {
                        return event;
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    /// Starts to dial a peer; answered by `Up` or `DialFailed`.
    pub(crate) fn dial(&mut self, peer: PeerId, addresses: Vec<SocketAddr>) {
        let dial = session::dial(self.endpoint.clone(), peer, addresses);
        self.working.push(dial.map(move |result| Done::Dial(peer, result)).boxed());
    }

    /// Queues a message for a session's reliable stream; a neighbour that does not read is disconnected.
    pub(crate) fn send_control(&mut self, path: PathId, message: Bytes) {
        let Some(session) = self.open.get_mut(&path) else { return };
        match session.push_control(message) {
            Ok(()) => self.start_write(path),
            Err(_) => self.lose(path, CloseCode::Violation),
        }
    }

    /// Closes a session, without an event; returns whose it was.
    pub(crate) fn close(&mut self, path: PathId) -> Option<PeerId> {
        let session = self.open.remove(&path)?;
        Some(self.end(session, CloseCode::Done))
    }

    /// Returns a session that is up.
    pub(crate) fn session(&self, path: PathId) -> Option<&Session> {
        self.open.get(&path)
    }

    /// Returns a session that is up, to send by it.
    pub(crate) fn session_mut(&mut self, path: PathId) -> Option<&mut Session> {
        self.open.get_mut(&path)
    }

    /// Returns what the transport measured: on `all` sessions, or on those that sent since they were sampled last.
    pub(crate) fn sample(&mut self, all: bool) -> Vec<(PathId, PathSample)> {
        let due = self.open.iter_mut().filter(|(_, session)| all || session.has_sent());
        due.map(|(path, session)| (*path, session.sample())).collect()
    }

    /// Returns whether any session sent since it was sampled last.
    pub(crate) fn has_sent(&self) -> bool {
        self.open.values().any(Session::has_sent)
    }

    /// Returns what all sessions ever sent and received.
    pub(crate) fn transport(&self) -> TransportCounters {
        let mut all = self.closed;
        self.open.values().for_each(|session| all += session.transport());
        all
    }

    /// Returns whether every message has been handed to the transport.
    pub(crate) fn are_flushed(&self) -> bool {
        self.open.values().all(Session::is_flushed)
    }

    fn handle_incoming(&mut self, incoming: Incoming) {
        if self.accepting >= ACCEPTS_MAX || self.open.len() >= SESSIONS_MAX {
            incoming.refuse();
            return;
        }
        self.accepting += 1;
        self.working.push(session::accept(incoming).map(Done::Accept).boxed());
    }

    fn handle_done(&mut self, done: Done) {
        match done {
            Done::Dial(_, Ok(opened)) => self.admit(opened),
            // The neighbour refuses what it has already: then its own session is up here, or was.
            Done::Dial(peer, Err(_)) if self.open.values().any(|session| session.peer == peer) => {}
            Done::Dial(peer, Err(why)) => self.events.push_back(SessionEvent::DialFailed { peer, why }),
            Done::Accept(opened) => {
                self.accepting -= 1;
                if let Some(opened) = opened {
                    self.admit(opened);
                }
            }
            Done::Write(path, send, Ok(())) => {
                if let Some(session) = self.open.get_mut(&path) {
                    session.end_write(send);
                    self.start_write(path);
                }
            }
            Done::Write(path, _, Err(_)) => self.lose(path, CloseCode::Violation),
        }
    }

    fn handle_received(&mut self, path: PathId, received: Received) -> Option<SessionEvent> {
        if !self.open.contains_key(&path) {
            return None;
        }
        match received {
            Received::Datagrams(datagrams) => Some(SessionEvent::Datagrams { path, datagrams }),
            Received::Control(message) => Some(SessionEvent::Control { path, message }),
            Received::Ended(error) => {
                let broken = error.is_some_and(|error| error != ControlError::Ended);
                self.lose(path, if broken { CloseCode::Violation } else { CloseCode::Done });
                None
            }
        }
    }

    /// Numbers a new session, unless another one with the same neighbour survives it.
    fn admit(&mut self, opened: Opened) {
        let peer = opened.peer();
        let now = clock::now();
        let known = self.open.iter().find(|(_, session)| session.peer == peer);
        if let Some((&path, known)) = known {
            let at_once = known.dialed != opened.dialed && now.since(known.since) < DIAL_MAX;
            if at_once && known.dialed == (self.own < peer) {
                session::close(&opened.connection, CloseCode::Duplicate);
                return;
            }
            self.lose(path, CloseCode::Duplicate);
        }
        if self.open.len() >= SESSIONS_MAX {
            session::close(&opened.connection, CloseCode::Done);
            return;
        }
        let path = self.path_ids.fresh();
        let dialed = opened.dialed;
        let (session, received) = Session::new(path, opened, now);
        let (remote, datagram_bytes_max) = (session.remote(), session.datagram_bytes_max());
        self.open.insert(path, session);
        self.received.push(received);
        self.events.push_back(SessionEvent::Up { path, peer, dialed, remote, datagram_bytes_max });
    }

    fn start_write(&mut self, path: PathId) {
        let Some((mut send, wire)) = self.open.get_mut(&path).and_then(Session::take_write) else { return };
        let write = async move {
            let result = control::write(&mut send, &wire).await;
            Done::Write(path, send, result)
        };
        self.working.push(write.boxed());
    }

    fn lose(&mut self, path: PathId, code: CloseCode) {
        if let Some(session) = self.open.remove(&path) {
            let peer = self.end(session, code);
            self.events.push_back(SessionEvent::Down { path, peer });
        }
    }

    /// Closes a session and keeps its counters; returns whose it was.
    fn end(&mut self, session: Session, code: CloseCode) -> PeerId {
        self.closed += session.transport();
        let peer = session.peer;
        session.close(code);
        peer
    }
}

#[cfg(test)]
mod tests;
