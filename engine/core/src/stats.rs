//! Counters, under the names that the field uses (Flash's `NetStreamMulticastInfo`, SRT, Plumtree).

use std::time::Duration;

use crate::catalogue::Catalogue;
use crate::ids::{BlockId, Epoch, PeerId, StreamKey};

/// Counters and gauges of one stream at this node; counters only grow while the handle lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Fragment payload sent unasked to neighbours, bytes.
    pub bytes_pushed_to_peers: u64,
    /// Fragments sent unasked to neighbours.
    pub fragments_pushed_to_peers: u64,
    /// Fragment payload received unasked, bytes.
    pub bytes_pushed_from_peers: u64,
    /// Fragments received unasked.
    pub fragments_pushed_from_peers: u64,
    /// Fragment payload sent on request, bytes.
    pub bytes_requested_by_peers: u64,
    /// Fragments sent on request.
    pub fragments_requested_by_peers: u64,
    /// Fragment payload received on request, bytes.
    pub bytes_requested_from_peers: u64,
    /// Fragments received on request.
    pub fragments_requested_from_peers: u64,
    /// Fragment payload received from the publisher's own session, pushed or on request, bytes.
    pub bytes_received_from_server: u64,
    /// Fragments received from the publisher's own session.
    pub fragments_received_from_server: u64,
    /// Fragment payload that came by IP multicast, bytes.
    pub bytes_received_from_ip_multicast: u64,
    /// Fragments that came by IP multicast.
    pub fragments_received_from_ip_multicast: u64,
    /// Fragment payload sent by IP multicast, bytes, parity and repetitions included.
    pub bytes_sent_to_ip_multicast: u64,
    /// Fragments sent by IP multicast, parity and repetitions included.
    pub fragments_sent_to_ip_multicast: u64,
    /// Bytes of everything else sent: have-maps, pulls, beacons, reliable messages.
    pub control_bytes_to_peers: u64,
    /// The part of those that went to the publisher's own session.
    pub control_bytes_to_server: u64,
    /// Bytes of everything else received.
    pub control_bytes_from_peers: u64,
    /// Access units delivered to the caller, or published.
    pub access_units: u64,
    /// Payload bytes of those.
    pub access_unit_bytes: u64,
    /// Fragments that were missing at their deadline.
    pub lost: u64,
    /// Fragments that were missing and made good: the sum of the next three.
    pub repaired: u64,
    /// Fragments made good by parity.
    pub repaired_by_parity: u64,
    /// Fragments made good by a peer.
    pub repaired_by_peer: u64,
    /// Fragments made good by the publisher.
    pub repaired_by_publisher: u64,
    /// Fragments that arrived behind their deadline.
    pub late: u64,
    /// Fragments that were there already.
    pub duplicate: u64,
    /// Fragments dropped since their block header did not come.
    pub orphan: u64,
    /// Headers, beacons and catalogues of an epoch that is over.
    pub replay: u64,
    /// Headers, fragments, beacons and catalogues that failed verification.
    pub forged: u64,
    /// Datagrams that could not be parsed.
    pub malformed: u64,
    /// Promises that a neighbour did not keep: a fragment that it claimed to hold, and neither sent in time nor
    /// refused; a stripe that it took on, and did not push. Something was lost on the way, or the promise was false.
    pub unkept: u64,
    /// Fragments shed before sending, since they were too old or the path too narrow.
    pub shed: u64,
    /// Access units that were skipped, in gaps.
    pub skipped: u64,
    /// Datagrams that the system dropped since this process was too slow: local loss. At least so many: a run that
    /// the system had joined counts as one.
    pub overflowed: u64,
    /// Share of the multicast path's fragments that did not come by it of late: parts of 10,000.
    pub multicast_loss: u32,
    /// Parity shards that the publisher adds to 100 data shards.
    pub parity_percent: u32,
    /// Viewers that reported of late, as the publisher hears them.
    pub reporters: u32,
    /// Median and 95th percentile of the share of fragments that reporters lost in spite of repair: parts of 10,000.
    pub reported_loss_p50: u32,
    /// See [`StreamStats::reported_loss_p50`].
    pub reported_loss_p95: u32,
    /// The worst reporter's share: parts of 10,000.
    pub reported_loss_max: u32,
    /// Newest block known to exist.
    pub newest: Option<BlockId>,
    /// Time since the last verified fragment.
    pub since_last_fragment: Duration,
    /// Media time between the last delivered access unit and the newest block.
    pub distance_to_live_edge: Duration,
    /// Bytes that the window pins.
    pub window_bytes: u64,
    /// Neighbours that push at least one stripe and advance.
    pub suppliers: u32,
    /// Neighbours that this node pushes to.
    pub consumers: u32,
    /// Neighbours with an open session.
    pub neighbours: u32,
    /// Subscribers known in the group, this one included.
    pub viewers: u32,
    /// How far off the publisher's time may be as known here, for playing in step; `None` where nobody asks for it.
    pub clock_error: Option<Duration>,
}

impl StreamStats {
    /// Adds what was counted of another stream; the gauges stay.
    pub fn add_counters(&mut self, other: &Self) {
        let pairs = [
            (&mut self.bytes_pushed_to_peers, other.bytes_pushed_to_peers),
            (&mut self.fragments_pushed_to_peers, other.fragments_pushed_to_peers),
            (&mut self.bytes_pushed_from_peers, other.bytes_pushed_from_peers),
            (&mut self.fragments_pushed_from_peers, other.fragments_pushed_from_peers),
            (&mut self.bytes_requested_by_peers, other.bytes_requested_by_peers),
            (&mut self.fragments_requested_by_peers, other.fragments_requested_by_peers),
            (&mut self.bytes_requested_from_peers, other.bytes_requested_from_peers),
            (&mut self.fragments_requested_from_peers, other.fragments_requested_from_peers),
            (&mut self.bytes_received_from_server, other.bytes_received_from_server),
            (&mut self.fragments_received_from_server, other.fragments_received_from_server),
            (&mut self.bytes_received_from_ip_multicast, other.bytes_received_from_ip_multicast),
            (&mut self.fragments_received_from_ip_multicast, other.fragments_received_from_ip_multicast),
            (&mut self.bytes_sent_to_ip_multicast, other.bytes_sent_to_ip_multicast),
            (&mut self.fragments_sent_to_ip_multicast, other.fragments_sent_to_ip_multicast),
            (&mut self.control_bytes_to_peers, other.control_bytes_to_peers),
            (&mut self.control_bytes_to_server, other.control_bytes_to_server),
            (&mut self.control_bytes_from_peers, other.control_bytes_from_peers),
            (&mut self.access_units, other.access_units),
            (&mut self.access_unit_bytes, other.access_unit_bytes),
            (&mut self.lost, other.lost),
            (&mut self.repaired, other.repaired),
            (&mut self.repaired_by_parity, other.repaired_by_parity),
            (&mut self.repaired_by_peer, other.repaired_by_peer),
            (&mut self.repaired_by_publisher, other.repaired_by_publisher),
            (&mut self.late, other.late),
            (&mut self.duplicate, other.duplicate),
            (&mut self.orphan, other.orphan),
            (&mut self.replay, other.replay),
            (&mut self.forged, other.forged),
            (&mut self.malformed, other.malformed),
            (&mut self.unkept, other.unkept),
            (&mut self.shed, other.shed),
            (&mut self.skipped, other.skipped),
            (&mut self.overflowed, other.overflowed),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
    }

    /// Returns the fragments received by all paths.
    pub fn fragments_received(&self) -> u64 {
        self.fragments_pushed_from_peers
            + self.fragments_requested_from_peers
            + self.fragments_received_from_ip_multicast
    }
}

/// A stream that some neighbour carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownStream {
    /// Who publishes.
    pub key: StreamKey,
    /// Which run.
    pub epoch: Epoch,
    /// What it is made of.
    pub catalogue: Catalogue,
    /// The endpoint that the publisher certified.
    pub publisher: Option<PeerId>,
    /// Subscribers known.
    pub viewers: u32,
}
