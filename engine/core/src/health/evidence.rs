//! Evidence: the times and counts of one subscription's stream, and the reason that they speak for.

use std::time::Duration;

use super::{Reason, Unreached};
use crate::ids::{BlockId, Now};
use crate::node::ProbeOutcome;
use crate::playout::CATCH_UP_GRACE;
use crate::wire::StreamState;

/// Longest time without a useful fragment before a stream starves: the goal for a killed publisher. Fifteen pictures
/// at 30 a second are overdue by then, and no LAN repairs later than this.
pub(crate) const SILENCE_MAX: Duration = Duration::from_millis(500);
/// Longest age at which a beacon's word that the publisher pauses excuses silence. One is made each 250 ms: two may
/// be lost in a row, and the third still has 150 ms to arrive.
pub(crate) const EXCUSE_MAX: Duration = Duration::from_millis(900);
/// Time after the last useful fragment or excuse at which a stream is dead.
pub(crate) const DEATH: Duration = Duration::from_secs(5);
/// Time without loss after which a stream is clean again.
pub(crate) const CLEAN: Duration = Duration::from_secs(2);
/// Silence after which a sign of life proves that its sender outlived the stream's last fragment: a publisher beacons,
/// and a have-map is renewed, every 250 ms, so what was on its way before may arrive until then.
const SIGN_MARGIN: Duration = Duration::from_millis(250);
/// Longest age at which a neighbour's sign of life counts: four have-map periods and a round trip.
const SIGN_AGE_MAX: Duration = Duration::from_millis(1_500);
/// Time for which an overflow of the receive buffer explains silence.
const OVERFLOW_AGE_MAX: Duration = Duration::from_secs(1);
/// Part of a silence that this process must have slept through to be its cause: 200 ms explain the half second after
/// which a stream starves, and do not explain the five seconds after which it is dead.
const STALLED_SHARE: u32 = 4;
/// Longest time after a stall for which it explains what is missing: neighbours gave this node up meanwhile, and have
/// to be dialled anew. A shorter stall explains as much time as it took.
const AFTERMATH_MAX: Duration = Duration::from_secs(3);
/// Forgeries below which there is no talk of a share: a neighbour is shunned after as many.
const FORGED_MIN: u64 = 16;

/// What the newest verified beacon says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// When the publisher made it, on this node's clock.
    pub(crate) made: Now,
    /// State of the source.
    pub(crate) state: StreamState,
    /// Whether this node holds (or has given up) all blocks that it names, and none newer.
    pub(crate) level: bool,
}

/// Who there is to get a stream from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neighbours {
    /// Neighbours that greeted.
    pub(crate) count: u32,
    /// Peers that were dialled.
    pub(crate) attempted: u32,
    /// What the last attempt met.
    pub(crate) why: Unreached,
}

/// What was seen since the last useful fragment.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    stalled: Duration,
    neighbours_before: u32,
    probe: Option<ProbeOutcome>,
}

/// Verified and forged fragments within a second or two.
#[derive(Clone, Copy, Debug, Default)]
struct Shares {
    since: Now,
    /// Arrived and forged, in the running second and in the one before.
    counts: [[u64; 2]; 2],
}

/// Times and counts of one stream.
#[derive(Debug)]
pub(crate) struct Evidence {
    delay: Duration,
    /// When the stream began to be looked for, or the present run of its publisher was heard of.
    pub(crate) started: Now,
    /// When somebody first offered it.
    pub(crate) offered: Option<Now>,
    /// When its publisher was proven to live.
    pub(crate) opened: Option<Now>,
    pub(crate) last_useful: Option<Now>,
    pub(crate) last_loss: Option<Now>,
    word: Option<(Now, Word)>,
    /// Until when silence was excused, as far as beacons have said.
    excused: Option<Now>,
    last_overrun: Option<Now>,
    last_overflow: Option<Now>,
    /// Until when a stall explains silence.
    aftermath: Option<Now>,
    pub(crate) network: Option<bool>,
    pub(crate) neighbours: Neighbours,
    heard: Option<Now>,
    /// Newest block that a neighbour says to have, and since when.
    others: Option<(BlockId, Now)>,
    silence: Silence,
    shares: Shares,
}

impl Evidence {
    pub(crate) fn new(now: Now, delay: Duration) -> Self {
        Self {
            delay,
            started: now,
            offered: None,
            opened: None,
            last_useful: None,
            last_loss: None,
            word: None,
            excused: None,
            last_overrun: None,
            last_overflow: None,
            aftermath: None,
            network: None,
            neighbours: Neighbours { count: 0, attempted: 0, why: Unreached::NobodyFound },
            heard: None,
            others: None,
            silence: Silence::default(),
            shares: Shares { since: now, ..Shares::default() },
        }
    }

    /// Forgets what was said of the run before; what is known of this host and its neighbours stays.
    pub(crate) fn handle_reset(&mut self, now: Now) {
        self.started = now;
        self.offered = Some(now);
        self.opened = Some(now);
        (self.last_useful, self.last_loss, self.word, self.excused) = (None, None, None, None);
        self.others = None;
        self.begin_silence();
    }

    pub(crate) fn handle_useful(&mut self, now: Now) {
        self.last_useful = Some(now);
        self.begin_silence();
    }

    fn begin_silence(&mut self) {
        self.silence = Silence { neighbours_before: self.neighbours.count, ..Silence::default() };
    }

    pub(crate) fn handle_arrival(&mut self, now: Now, forged: bool) {
        if now.since(self.shares.since) >= Duration::from_secs(1) {
            let fresh = now.since(self.shares.since) < Duration::from_secs(2);
            let before = if fresh { self.shares.counts[0] } else { [0; 2] };
            self.shares = Shares { since: now, counts: [[0; 2], before] };
        }
        self.shares.counts[0][usize::from(forged)] += 1;
    }

    /// Takes a beacon that is newer than those before.
    pub(crate) fn handle_beacon(&mut self, now: Now, word: Word) {
        let word = Word { made: word.made.min(now), ..word };
        let excuses = self.excuses(now);
        self.opened = self.opened.or(Some(now));
        match word.state {
            StreamState::Paused => self.excused = self.excused.max(Some(word.made)),
            // Media begins again from here, so it cannot have been overdue before.
            StreamState::Live if excuses => self.excused = self.excused.max(Some(now)),
            StreamState::Live | StreamState::Ended => {}
        }
        self.word = Some((now, word));
    }

    pub(crate) fn handle_neighbours(&mut self, neighbours: Neighbours) {
        if self.last_useful.is_none() {
            self.silence.neighbours_before = self.silence.neighbours_before.max(neighbours.count);
        }
        self.neighbours = neighbours;
    }

    pub(crate) fn handle_neighbour(&mut self, now: Now, newest: Option<BlockId>) {
        self.heard = Some(now);
        if let Some(newest) = newest
            && self.others.is_none_or(|(before, _)| newest > before)
        {
            self.others = Some((newest, now));
        }
    }

    pub(crate) fn handle_probe(&mut self, outcome: ProbeOutcome) {
        self.silence.probe = Some(outcome);
    }

    pub(crate) fn handle_overflow(&mut self, now: Now) {
        self.last_overflow = Some(now);
        self.last_overrun = Some(now);
    }

    /// Moves all that was seen by the time in which this process did not look.
    pub(crate) fn handle_stalled(&mut self, now: Now, stall: Duration) {
        let shift = |at: Now| at.after(stall).min(now);
        self.started = shift(self.started);
        self.shares.since = shift(self.shares.since);
        let times = [
            &mut self.offered,
            &mut self.opened,
            &mut self.last_useful,
            &mut self.last_loss,
            &mut self.excused,
            &mut self.heard,
        ];
        times.into_iter().flatten().for_each(|at| *at = shift(*at));
        if let Some((received, word)) = &mut self.word {
            (*received, word.made) = (shift(*received), shift(word.made));
        }
        self.others = self.others.map(|(block, at)| (block, shift(at)));
        self.silence.stalled += stall;
        self.aftermath = self.aftermath.max(Some(now.after(stall.min(AFTERMATH_MAX))));
        self.last_overrun = Some(now);
    }

    /// Returns since when nothing useful came: before the first fragment, since the stream is looked for.
    pub(crate) fn silent_since(&self) -> Now {
        self.last_useful.unwrap_or(self.started)
    }

    /// Returns whether the newest beacon excuses silence.
    pub(crate) fn excuses(&self, now: Now) -> bool {
        self.word.is_some_and(|(_, word)| match word.state {
            StreamState::Live => false,
            StreamState::Paused => now < word.made.after(EXCUSE_MAX),
            StreamState::Ended => true,
        })
    }

    /// Returns whether the publisher pauses, all it made is here, and nothing has come since it said so.
    pub(crate) fn pauses(&self, now: Now) -> bool {
        let Some((received, word)) = self.word else { return false };
        word.state == StreamState::Paused
            && word.level
            && self.excuses(now)
            && self.last_useful.is_none_or(|at| at <= received)
    }

    /// Returns whether media should be coming in: the publisher sends, or something that it sent is missing.
    pub(crate) fn expects_media(&self, now: Now) -> bool {
        self.word.is_none_or(|(_, word)| !word.level) || !self.excuses(now)
    }

    /// Returns when silence starves the stream. What has ended does not starve.
    pub(crate) fn starves_at(&self) -> Option<Now> {
        let base = self.last_useful.max(self.excused)?.after(SILENCE_MAX);
        match self.word {
            Some((_, word)) if word.state == StreamState::Ended => None,
            Some((_, word)) if word.state == StreamState::Paused => {
                Some(base.max(word.made.after(EXCUSE_MAX)))
            }
            _ => Some(base),
        }
    }

    /// Returns until when playout has a reason to be dry: what follows a pause is due a playout delay behind it.
    pub(crate) fn dry_until(&self) -> Option<Now> {
        Some(self.excused?.after(self.delay))
    }

    /// Returns when silence kills the stream; `None` before its publisher was proven to live. What has ended has the
    /// playout delay to be completed.
    pub(crate) fn dies_at(&self) -> Option<Now> {
        let base = self.last_useful.max(self.excused).max(self.opened)?.after(DEATH);
        let ended = self.word.filter(|(_, word)| word.state == StreamState::Ended);
        Some(ended.map_or(base, |(received, _)| base.max(received.after(self.delay).after(DEATH))))
    }

    /// Returns when a stream that lost something is clean again.
    pub(crate) fn clean_at(&self) -> Option<Now> {
        Some(self.last_loss?.after(CLEAN))
    }

    /// Returns why a stream loses fragments that still come.
    pub(crate) fn reason_of_loss(&self, now: Now) -> Reason {
        // What was swallowed is missed a playout delay later; what was slept through is waited for longer.
        let charged = CLEAN + self.delay + CATCH_UP_GRACE;
        if self.last_overrun.is_some_and(|at| now.since(at) <= charged) {
            Reason::Overrun
        } else if self.is_forged(now) {
            Reason::AuthFailures
        } else {
            Reason::ExcessLoss
        }
    }

    /// Returns why a stream was not found.
    pub(crate) fn reason_of_absence(&self, now: Now) -> Reason {
        if self.network == Some(false) {
            Reason::NetworkDown
        } else if self.is_udp_blocked(now) {
            Reason::UdpBlocked
        } else if self.offered.is_some() {
            self.reason_of_silence(now)
        } else if self.neighbours.count > 0 {
            Reason::NoSuchStream
        } else {
            let Neighbours { attempted, why, .. } = self.neighbours;
            Reason::NoReachablePeers { attempted, why }
        }
    }

    /// Returns why nothing comes, in the order of what excludes most: this host's own faults before the network's,
    /// and both before the publisher's.
    pub(crate) fn reason_of_silence(&self, now: Now) -> Reason {
        use ProbeOutcome::{Mute, NoRoute, Refused, Silent};
        if self.network == Some(false) {
            return Reason::NetworkDown;
        }
        if self.is_overrun(now) {
            return Reason::Overrun;
        }
        if self.is_udp_blocked(now) {
            return Reason::UdpBlocked;
        }
        let (lives, heard, probe) = (self.publisher_lives(now), self.is_heard(now), self.silence.probe);
        match probe {
            Some(Refused | Mute) if !lives => return Reason::PublisherGone,
            Some(Silent | NoRoute) if !lives && heard => return Reason::PublisherGone,
            Some(Silent | NoRoute) if !lives && self.silence.neighbours_before > 1 => {
                return Reason::PartitionedLocal;
            }
            _ => {}
        }
        if self.is_forged(now) && (lives || probe.is_some()) {
            return Reason::AuthFailures;
        }
        if lives && self.word.is_some_and(|(_, word)| !word.level) {
            return Reason::ExcessLoss;
        }
        Reason::Undetermined { candidates: self.candidates(now, lives, heard) }
    }

    /// Returns the reasons that nothing excludes.
    fn candidates(&self, now: Now, lives: bool, heard: bool) -> Vec<Reason> {
        let probe = self.silence.probe;
        let mut candidates = Vec::new();
        if !lives && probe != Some(ProbeOutcome::Answered) {
            candidates.push(Reason::PublisherGone);
        }
        if !heard && !lives && !matches!(probe, Some(ProbeOutcome::Answered | ProbeOutcome::Refused)) {
            candidates.push(Reason::PartitionedLocal);
        }
        if matches!(probe, None | Some(ProbeOutcome::Answered)) {
            candidates.push(Reason::UdpBlocked);
        }
        if self.is_forged(now) {
            candidates.push(Reason::AuthFailures);
        }
        if lives || probe == Some(ProbeOutcome::Answered) {
            candidates.push(Reason::ExcessLoss);
        }
        candidates
    }

    /// Returns whether this process slept through a good part of the silence, or the system dropped what came.
    fn is_overrun(&self, now: Now) -> bool {
        let stalled = self.silence.stalled;
        let slept = !stalled.is_zero() && stalled * STALLED_SHARE >= now.since(self.silent_since());
        let recovers = self.aftermath.is_some_and(|until| now <= until);
        slept || recovers || self.last_overflow.is_some_and(|at| now.since(at) <= OVERFLOW_AGE_MAX)
    }

    /// Returns whether a peer answers by TCP while nothing comes by UDP, or the system forbids to send.
    fn is_udp_blocked(&self, now: Now) -> bool {
        let nothing_comes = !self.publisher_lives(now) && !self.is_heard(now);
        let no_session = self.opened.is_some() || self.neighbours.count == 0;
        match self.silence.probe {
            Some(ProbeOutcome::Forbidden) => true,
            Some(ProbeOutcome::Answered) => nothing_comes && no_session,
            _ => false,
        }
    }

    /// Returns whether the publisher was alive well after the last fragment: by its beacon, or since others advance.
    fn publisher_lives(&self, now: Now) -> bool {
        let proof = self.silent_since().after(SIGN_MARGIN);
        let beacon =
            self.word.is_some_and(|(_, word)| word.made >= proof && now.since(word.made) <= EXCUSE_MAX);
        let others = self.others.is_some_and(|(_, at)| at >= proof && now.since(at) <= SIGN_AGE_MAX);
        beacon || others
    }

    /// Returns whether a neighbour beside the publisher gave a sign of life well after the last fragment.
    fn is_heard(&self, now: Now) -> bool {
        let proof = self.silent_since().after(SIGN_MARGIN);
        self.heard.is_some_and(|at| at >= proof && now.since(at) <= SIGN_AGE_MAX)
    }

    /// Returns whether more than half of what came of late was forged.
    fn is_forged(&self, now: Now) -> bool {
        if now.since(self.shares.since) >= Duration::from_secs(2) {
            return false;
        }
        let [running, before] = self.shares.counts;
        let (arrived, forged) = (running[0] + before[0], running[1] + before[1]);
        forged >= FORGED_MIN && forged > arrived
    }
}
