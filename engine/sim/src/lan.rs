//! Multicast on the LAN: who is a member of which group, and what stands in the way of a datagram to it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use swarmcast_core::ids::{ChannelId, PathId};
use swarmcast_core::multicast::MulticastGroup;

use crate::dice::Dice;
use crate::link::{Link, LinkModel};
use crate::network::HostId;

/// Whom a fault concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All hosts.
    All,
    /// One host.
    Host(HostId),
}

impl Whom {
    fn is(self, host: HostId) -> bool {
        self == Self::All || self == Self::Host(host)
    }
}

/// What multicast the network keeps from passing, both from and to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blockade {
    /// None.
    Lifted,
    /// All of it.
    Everything,
    /// Datagrams longer than so many bytes: media does not pass, beacons do.
    LongerThan(usize),
}

impl Blockade {
    fn stops(self, bytes: usize) -> bool {
        match self {
            Self::Lifted => false,
            Self::Everything => true,
            Self::LongerThan(most) => bytes > most,
        }
    }
}

/// A membership on a host's one interface.
#[derive(Clone, Copy, Debug)]
struct Member {
    channel: ChannelId,
    group: MulticastGroup,
    /// When the switch last heard of it.
    heard_at: Duration,
}

/// One receiver's copies of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copies {
    pub(crate) host: HostId,
    pub(crate) path: PathId,
    pub(crate) arrivals: [Option<Duration>; 2],
}

/// One switched LAN with IGMP snooping.
#[derive(Debug)]
pub(crate) struct Lan {
    model: LinkModel,
    /// What is different for single receivers.
    models: BTreeMap<HostId, LinkModel>,
    channels: BTreeMap<(HostId, ChannelId), MulticastGroup>,
    members: BTreeMap<(HostId, PathId), Member>,
    links: BTreeMap<(HostId, HostId), Link>,
    blockades: Vec<(Whom, Blockade)>,
    /// Since when membership queries do not arrive, and how long a membership then lasts unless it is renewed.
    unqueried: Vec<(Whom, Duration, Duration)>,
    /// Datagrams of a host, longer than so many bytes, that nobody is going to get.
    doomed: BTreeMap<HostId, (u32, usize)>,
}

impl Lan {
    pub(crate) fn new(model: LinkModel) -> Self {
        Self {
            model,
            models: BTreeMap::new(),
            channels: BTreeMap::new(),
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            blockades: Vec::new(),
            unqueried: Vec::new(),
            doomed: BTreeMap::new(),
        }
    }

    /// Notes that a host wants a channel wherever it has an interface.
    pub(crate) fn open(&mut self, host: HostId, channel: ChannelId, group: MulticastGroup) {
        self.channels.insert((host, channel), group);
    }

    /// Returns whether any host wants multicast.
    pub(crate) fn is_used(&self) -> bool {
        !self.channels.is_empty()
    }

    /// Returns the channels that a host has open.
    pub(crate) fn channels(&self, host: HostId) -> Vec<ChannelId> {
        let all = (host, ChannelId(0))..=(host, ChannelId(u32::MAX));
        self.channels.range(all).map(|((_, channel), _)| *channel).collect()
    }

    /// Makes a host a member of a channel's group by a path.
    pub(crate) fn join(&mut self, at: Duration, host: HostId, channel: ChannelId, path: PathId) {
        if let Some(group) = self.channels.get(&(host, channel)) {
            self.members.insert((host, path), Member { channel, group: *group, heard_at: at });
        }
    }

    /// Lets the switch hear of a membership again.
    pub(crate) fn renew(&mut self, at: Duration, host: HostId, path: PathId) {
        if let Some(member) = self.members.get_mut(&(host, path)) {
            member.heard_at = at;
        }
    }

    /// Ends a channel.
    pub(crate) fn close(&mut self, host: HostId, channel: ChannelId) {
        self.channels.remove(&(host, channel));
        self.members.retain(|(of, _), member| *of != host || member.channel != channel);
    }

    /// Ends all of a host's memberships and returns their paths; its channels stay open.
    pub(crate) fn leave(&mut self, host: HostId) -> Vec<PathId> {
        let paths: Vec<_> = self.paths(host).collect();
        self.members.retain(|(of, _), _| *of != host);
        paths
    }

    /// Ends everything of a host.
    pub(crate) fn forget(&mut self, host: HostId) {
        self.leave(host);
        self.channels.retain(|(of, _), _| *of != host);
    }

    pub(crate) fn has(&self, host: HostId, path: PathId) -> bool {
        self.members.contains_key(&(host, path))
    }

    /// Sets what datagrams meet on their way to a receiver, or to all of them.
    pub(crate) fn set_model(&mut self, whom: Whom, model: LinkModel) {
        match whom {
            Whom::All => {
                self.model = model;
                self.models.clear();
            }
            Whom::Host(host) => {
                self.models.insert(host, model);
            }
        }
        let links = self.links.iter_mut().filter(|((_, to), _)| whom.is(*to));
        links.for_each(|(_, link)| link.model = model);
    }

    pub(crate) fn block(&mut self, whom: Whom, blockade: Blockade) {
        self.blockades.retain(|(of, _)| *of != whom);
        self.blockades.push((whom, blockade));
    }

    /// Keeps membership queries from arriving; `None` lets them through again.
    pub(crate) fn stop_queries(&mut self, at: Duration, whom: Whom, lifetime: Option<Duration>) {
        self.unqueried.retain(|(of, ..)| *of != whom);
        match lifetime {
            Some(lifetime) => self.unqueried.push((whom, at, lifetime)),
            None => {
                self.members.iter_mut().filter(|((host, _), _)| whom.is(*host)).for_each(|(_, member)| {
                    member.heard_at = at;
                })
            }
        }
    }

    pub(crate) fn doom(&mut self, host: HostId, datagrams: u32, longer_than: usize) {
        self.doomed.insert(host, (datagrams, longer_than));
    }

    /// Carries a datagram that has left `from` at `departs` to everybody whom it reaches.
    pub(crate) fn carry(
        &mut self,
        dice: &mut Dice,
        departs: Duration,
        (from, address, path): (HostId, IpAddr, PathId),
        bytes: usize,
        reaches: impl Fn(HostId) -> bool,
    ) -> Vec<Copies> {
        let Some(group) = self.members.get(&(from, path)).map(|member| member.group) else {
            return Vec::new();
        };
        if self.is_stopped(from, bytes) || self.is_doomed(from, bytes) {
            return Vec::new();
        }
        let mut all = Vec::new();
        for ((host, path), member) in &self.members {
            let listens = member.group.socket_address() == group.socket_address()
                && member.group.source.is_none_or(|source| source == address)
                && self.is_known(*host, member, departs);
            if *host == from || !listens || !reaches(*host) || self.is_stopped(*host, bytes) {
                continue;
            }
            let model = self.models.get(host).copied().unwrap_or(self.model);
            let link = self.links.entry((from, *host)).or_insert_with(|| Link::new(model));
            let arrivals = link.carry(dice, departs);
            all.push(Copies { host: *host, path: *path, arrivals });
        }
        all
    }

    fn paths(&self, host: HostId) -> impl Iterator<Item = PathId> {
        let all = (host, PathId(0))..=(host, PathId(u32::MAX));
        self.members.range(all).map(|((_, path), _)| *path)
    }

    fn is_stopped(&self, host: HostId, bytes: usize) -> bool {
        self.blockades.iter().any(|(whom, blockade)| whom.is(host) && blockade.stops(bytes))
    }

    fn is_doomed(&mut self, from: HostId, bytes: usize) -> bool {
        let Some((left, longer_than)) = self.doomed.get_mut(&from) else { return false };
        let is_doomed = *left > 0 && bytes > *longer_than;
        *left -= u32::from(is_doomed);
        is_doomed
    }

    /// Returns whether the switch still knows of the membership.
    fn is_known(&self, host: HostId, member: &Member, at: Duration) -> bool {
        let mut faults = self.unqueried.iter().filter(|(whom, ..)| whom.is(host));
        faults.all(|(_, since, lifetime)| at < member.heard_at.max(*since) + *lifetime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const SENDER: (HostId, PathId) = (HostId(0), PathId(7));
    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 0));

    fn group(source: Option<&str>) -> MulticastGroup {
        let source = source.map(|text| text.parse().unwrap());
        MulticastGroup { address: "239.255.1.2".parse().unwrap(), port: 24_600, source }
    }

    fn joined(lan: &mut Lan, (host, path): (HostId, PathId), group: MulticastGroup) {
        lan.open(host, ChannelId(1), group);
        lan.join(Duration::ZERO, host, ChannelId(1), path);
    }

    fn lan_of_three() -> Lan {
        let mut lan = Lan::new(LinkModel::default());
        joined(&mut lan, SENDER, group(None));
        joined(&mut lan, (HostId(1), PathId(1)), group(None));
        joined(&mut lan, (HostId(2), PathId(1)), group(None));
        lan
    }

    fn reached(lan: &mut Lan, at: Duration, bytes: usize) -> Vec<u32> {
        let from = (SENDER.0, ADDRESS, SENDER.1);
        let copies = lan.carry(&mut Dice::new(1), at, from, bytes, |_| true);
        copies.iter().filter(|copies| copies.arrivals[0].is_some()).map(|copies| copies.host.0).collect()
    }

    #[test]
    fn members_get_it_and_the_sender_does_not() {
        let mut lan = lan_of_three();
        joined(&mut lan, (HostId(3), PathId(1)), MulticastGroup { port: 24_601, ..group(None) });
        joined(&mut lan, (HostId(4), PathId(1)), group(Some("10.0.0.9")));
        joined(&mut lan, (HostId(5), PathId(1)), group(Some("10.0.0.0")));
        assert_eq!(reached(&mut lan, S, 1_000), [1, 2, 5]);
        lan.close(HostId(1), ChannelId(1));
        lan.forget(HostId(5));
        assert_eq!(reached(&mut lan, S, 1_000), [2]);
    }

    #[test]
    fn a_blockade_stops_one_host_all_or_what_is_long() {
        let mut lan = lan_of_three();
        lan.block(Whom::Host(HostId(1)), Blockade::Everything);
        assert_eq!(reached(&mut lan, S, 100), [2]);
        lan.block(Whom::All, Blockade::LongerThan(400));
        assert_eq!((reached(&mut lan, S, 400), reached(&mut lan, S, 401)), (vec![2], vec![]));
        lan.block(Whom::Host(HostId(1)), Blockade::Lifted);
        lan.block(Whom::All, Blockade::Lifted);
        assert_eq!(reached(&mut lan, S, 1_000), [1, 2]);
    }

    #[test]
    fn a_membership_expires_for_good_unless_it_is_renewed() {
        let mut lan = lan_of_three();
        lan.stop_queries(S, Whom::Host(HostId(1)), Some(S * 2));
        assert_eq!(reached(&mut lan, S * 2, 100), [1, 2]);
        assert_eq!(reached(&mut lan, S * 3, 100), [2]);
        assert_eq!(reached(&mut lan, S * 300, 100), [2], "a plain receiver hears nothing any more");
        lan.renew(S * 300, HostId(1), PathId(1));
        assert_eq!(reached(&mut lan, S * 301, 100), [1, 2]);
        assert_eq!(reached(&mut lan, S * 302, 100), [2]);
        lan.stop_queries(S * 303, Whom::Host(HostId(1)), None);
        assert_eq!(reached(&mut lan, S * 900, 100), [1, 2]);
    }

    #[test]
    fn each_receiver_has_its_own_losses_and_what_is_doomed_reaches_nobody() {
        let mut lan = lan_of_three();
        lan.doom(SENDER.0, 1, 500);
        let counts: Vec<usize> =
            [100, 1_000, 1_000].iter().map(|bytes| reached(&mut lan, S, *bytes).len()).collect();
        assert_eq!(counts, [2, 0, 2]);
        let lossy = |p| LinkModel { loss: crate::link::LossModel::Random(p), ..LinkModel::default() };
        lan.set_model(Whom::Host(HostId(1)), lossy(1.0));
        assert_eq!(reached(&mut lan, S, 100), [2]);
        lan.set_model(Whom::All, lossy(0.5));
        let mut dice = Dice::new(2);
        let fates = (0..1_000).map(|_| {
            let copies = lan.carry(&mut dice, S, (SENDER.0, ADDRESS, SENDER.1), 9, |_| true);
            copies.iter().map(|copies| copies.arrivals[0].is_some()).collect::<Vec<_>>()
        });
        let differ = fates.filter(|fates| fates[0] != fates[1]).count();
        assert!((400..600).contains(&differ), "{differ} of 1,000");
    }
}
