//! Nodes that publish and watch.

use std::time::Duration;

use bytes::Bytes;
use nix::time::ClockId;
use swarmcast_core::catalogue::{AccessUnit, Catalogue, TimeBase, Track, TrackId, TrackKind};
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::{Epoch, StreamHandle};
use swarmcast_core::multicast::MulticastChoice;
use swarmcast_core::node::{Event, Publication, Subscription};
use swarmcast_net::{
    Handle, NetConfig, PeerAddress, Playout, PublicationHandle, SubscriptionHandle, bench, bind,
};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::{Cost, Outcome, Plan, cpu};

const NAME: &str = "cost";
const PLAYOUT_DELAY: Duration = Duration::from_secs(1);
/// A group that is only heard on loopback.
const GROUP: &str = "239.255.9.30:24630";
/// Longest wait of a viewer for all that was sent.
const PATIENCE: Duration = Duration::from_secs(600);

/// Publishes units at their pace, and watches them.
pub(super) async fn run(plan: Plan) -> Outcome<Cost> {
    let publisher = node(Vec::new(), None).await?;
    let publication = publish(&publisher, plan).await?;
    let (mut nodes, mut viewers) = (Vec::new(), JoinSet::new());
    for _ in 0..plan.viewers {
        let viewer = node(vec![here(&publisher)], None).await?;
        viewers.spawn(count(watch(&viewer, plan).await?, plan));
        nodes.push(viewer);
    }
    let process = ClockId::CLOCK_PROCESS_CPUTIME_ID;
    let (mut before, mut sent_before) = (Duration::ZERO, 0);
    send(&publication, plan, || {
        (before, sent_before) = (cpu(process), publisher.transport().udp_bytes_sent);
    })
    .await?;
    let sent = publisher.transport().udp_bytes_sent - sent_before;
    publication.end().await?;
    let delivered = viewers.join_all().await.into_iter().sum();
    let spent = cpu(process) - before;
    for node in nodes.iter().chain([&publisher]) {
        node.close().await;
    }
    let upload = sent as f64 / (plan.unit_bytes * plan.units as usize) as f64;
    Ok(Cost { delivered, cpu: spent, upload })
}

/// Starts a node that knows these peers; with a limit, one that takes no more neighbours than that.
pub(super) async fn node(peers: Vec<PeerAddress>, neighbours_max: Option<usize>) -> Outcome<Handle> {
    let mut config = NetConfig::new(GroupSpec::open(NAME)?);
    (config.discovery, config.interfaces, config.peers) = (false, vec!["lo".into()], peers);
    let (handle, driver) = match neighbours_max {
        Some(most) => bench::bind_with_neighbours(config, most).await?,
        None => bind(config).await?,
    };
    tokio::spawn(driver.run());
    Ok(handle)
}

/// Returns how a node on this host is reached.
pub(super) fn here(node: &Handle) -> PeerAddress {
    PeerAddress { peer: Some(node.peer()), addresses: vec![([127, 0, 0, 1], node.port()).into()] }
}

pub(super) async fn publish(node: &Handle, plan: Plan) -> Outcome<PublicationHandle> {
    let track = Track {
        id: TrackId(0),
        kind: TrackKind::Video,
        codec: "test".into(),
        time_base: TimeBase { numerator: 1, denominator: plan.units_per_second },
        bitrate: 0,
        parameters: Bytes::new(),
    };
    let catalogue = Catalogue {
        name: NAME.into(),
        expiry: Catalogue::EXPIRY,
        tracks: vec![track],
        renditions: Vec::new(),
        multicast: None,
    };
    let publication = Publication::new(StreamHandle(0), catalogue, [1; 32], Epoch(1));
    let publication =
        Publication { multicast: multicast(plan)?, multicast_rate_max: u64::MAX, ..publication };
    Ok(node.publish(publication).await?)
}

pub(super) async fn watch(node: &Handle, plan: Plan) -> Outcome<SubscriptionHandle> {
    let subscription = Subscription::new(StreamHandle(0), NAME, PLAYOUT_DELAY);
    Ok(node.subscribe(Subscription { multicast: multicast(plan)?, ..subscription }).await?)
}

fn multicast(plan: Plan) -> Outcome<MulticastChoice> {
    Ok(if plan.multicast { GROUP.parse()? } else { MulticastChoice::Off })
}

/// Sends all units at their pace; `warm` is called behind those of the warm-up.
pub(super) async fn send(publication: &PublicationHandle, plan: Plan, mut warm: impl FnMut()) -> Outcome<()> {
    let payload = Bytes::from(vec![7; plan.unit_bytes]);
    let mut pace = interval(plan.period());
    for dts in 0..plan.warm_up + plan.units {
        pace.tick().await;
        if dts == plan.warm_up {
            warm();
        }
        let (dts, payload) = (i64::from(dts), payload.clone());
        let key = dts % i64::from(plan.units_per_second) == 0;
        let unit =
            AccessUnit { track: TrackId(0), dts, pts: dts, duration: 1, key, disposable: false, payload };
        publication.send(unit).await?;
    }
    Ok(())
}

/// Returns the bytes that arrive behind the warm-up, until the stream ends.
pub(super) async fn count(subscription: SubscriptionHandle, plan: Plan) -> usize {
    let mut received = 0;
    let receive = async {
        while let Ok(playout) = subscription.receive().await {
            if let Playout::Event(Event::AccessUnit { unit, .. }) = playout
                && unit.dts >= i64::from(plan.warm_up)
            {
                received += unit.payload.len();
            }
        }
    };
    let _ = timeout(PATIENCE, receive).await;
    received
}
