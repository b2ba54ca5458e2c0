//! Whole scenarios: one publisher, viewers, a network, misfortune; built, run and judged in one call.

use std::time::Duration;

use swarmcast_core::group::GroupError;
use swarmcast_core::multicast::MulticastChoice;
use swarmcast_core::node::{Publication, Subscription};

use crate::dice::Dice;
use crate::hostile::{Flood, Script};
use crate::lan::{Blockade, Whom};
use crate::link::{LinkModel, LossModel, RateModel};
use crate::network::HostId;
use crate::report::Report;
use crate::workload::{AudioModel, DataModel, VideoModel, Workload};
use crate::world::{Deed, HostConfig, STREAM, Transmission, World, WorldConfig};

/// The publisher of every scenario.
pub const PUBLISHER: HostId = HostId(0);

/// A share of the viewers, from 0 to 1, and what they have.
#[derive(Clone, Debug)]
pub struct HostShare {
    /// How many of all.
    pub share: f64,
    /// Their access line.
    pub config: HostConfig,
}

/// A scenario. Hosts are numbered in the order of their joining: publisher, hostile members, viewers.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Seed, links, transport and clocks.
    pub world: WorldConfig,
    /// True time that it takes.
    pub duration: Duration,
    /// Honest viewers.
    pub viewers: u32,
    /// What is published.
    pub workload: Workload,
    /// Seed of the stream key; a further run of the stream has the same.
    pub key_seed: [u8; 32],
    /// Whether and where it is multicast, and listened for.
    pub multicast: MulticastChoice,
    /// Most viewers that may have all of it pushed by the publisher.
    pub unicast_max: usize,
    /// Playout delay of all viewers.
    pub playout_delay: Duration,
    /// How long a better path must be clean before viewers return to it.
    pub hold_down: Duration,
    /// Whether viewers wait for a stream that is dead.
    pub waits: bool,
    /// Access line of all hosts that have no other.
    pub host: HostConfig,
    /// That of the publisher; the same as `host` when `None`.
    pub publisher: Option<HostConfig>,
    /// Shares of the viewers that have another one; what they leave of 1 has `host`.
    pub others: Vec<HostShare>,
    /// LANs that the viewers are dealt to in turn; the publisher is on the first, and is named to those on the others.
    pub lans: u32,
    /// Viewers join within this time, evenly spread.
    pub join_spread: Duration,
    /// Share of the viewers that leave, are killed or stopped for a while; who goes is replaced.
    pub churn: f64,
    /// Members that do harm.
    pub hostile: Vec<Script>,
    /// What else happens, and when.
    pub deeds: Vec<(Duration, Deed)>,
}

impl Scenario {
    /// Time at which hostile members join, so that viewers find them there.
    const HOSTILE_JOIN: Duration = Duration::from_millis(300);
    /// Time at which the first viewer joins: the publisher is announced and runs.
    pub const FIRST_JOIN: Duration = Duration::from_millis(600);

    /// Returns a clean LAN with `viewers` viewers of 1 Mbit/s for 10 s, by the mesh alone.
    pub fn new(seed: u64, viewers: u32) -> Self {
        Self {
            world: WorldConfig::new(seed),
            duration: Duration::from_secs(10),
            viewers,
            workload: Workload::television(1_000_000),
            key_seed: Dice::new(!seed).key(),
            multicast: MulticastChoice::Off,
            unicast_max: Publication::UNICAST_MAX,
            playout_delay: Duration::from_secs(1),
            hold_down: Subscription::HOLD_DOWN,
            waits: false,
            host: HostConfig::default(),
            publisher: None,
            others: Vec::new(),
            lans: 1,
            join_spread: Duration::from_millis(500),
            churn: 0.0,
            hostile: Vec::new(),
            deeds: Vec::new(),
        }
    }

    /// Draws a scenario: 2 to 24 viewers, any loss up to 10 %, delay, churn and access lines wide enough.
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x5ce7_a210);
        let ms = |dice: &mut Dice, low, high| {
            dice.duration(Duration::from_millis(low), Duration::from_millis(high))
        };
        let mut scenario = Self::new(seed, 2 + dice.below(23) as u32);
        let share = dice.between(0, 100) as f64 / 1_000.0;
        let link = &mut scenario.world.link;
        link.latency = ms(&mut dice, 0, 30);
        link.jitter = ms(&mut dice, 0, 20);
        link.loss = match dice.below(3) {
            0 => LossModel::None,
            1 => LossModel::Random(share),
            _ => LossModel::Bursty { worsens: share * 0.2, recovers: 0.2, good: 0.0, bad: 0.8 },
        };
        link.reorder = dice.between(0, 30) as f64 / 1_000.0;
        link.duplicate = dice.between(0, 20) as f64 / 1_000.0;
        scenario.world.drift_ppm_max = dice.below(101) as u32;
        scenario.duration = ms(&mut dice, 5_000, 12_000);
        scenario.join_spread = ms(&mut dice, 0, 3_000);
        scenario.playout_delay = ms(&mut dice, 800, 2_500);
        scenario.churn = dice.between(0, 40) as f64 / 100.0;
        scenario.workload = random_workload(&mut dice);
        scenario.hostile = random_hostile(&mut dice);
        scenario.draw_misfortune(&mut dice);
        let rate = scenario.workload.bits_per_second() * dice.between(8, 40).unsigned_abs();
        scenario.host.up = RateModel::limited(rate);
        scenario.host.down = RateModel::limited(rate);
        if dice.chance(0.5) {
            scenario.multicast = MulticastChoice::Auto;
            scenario.draw_multicast(&mut dice);
        }
        scenario
    }

    /// Makes all directions of all links lose this share of packets.
    pub fn with_loss(mut self, loss: f64) -> Self {
        self.world.link.loss = LossModel::Random(loss);
        self
    }

    /// Makes the links between all hosts so.
    pub fn with_link(mut self, link: LinkModel) -> Self {
        self.world.link = link;
        self
    }

    /// Lets the stream be multicast to the groups that are derived from its name.
    pub fn with_multicast(mut self) -> Self {
        self.multicast = MulticastChoice::Auto;
        self
    }

    /// Makes the world as it is before the first step.
    ///
    /// # Errors
    /// [`GroupError`] when the group's name is not acceptable.
    pub fn build(&self) -> Result<World, GroupError> {
        let mut world = World::new(self.world.clone())?;
        let mut dice = Dice::new(self.world.seed ^ 0x000a_11ce);
        let publisher = self.publisher.as_ref().unwrap_or(&self.host);
        let publisher = world.add_host(HostConfig { hostile: None, ..publisher.clone() });
        let transmission = Box::new(self.transmission());
        world.at(Duration::ZERO, Deed::Publish { host: publisher, transmission });
        for script in &self.hostile {
            let config = HostConfig { hostile: Some(script.clone()), ..self.host.clone() };
            world.at(Self::HOSTILE_JOIN, self.join(config));
        }
        let mut joins: Vec<Duration> = (0..self.viewers)
            .map(|_| Self::FIRST_JOIN + dice.duration(Duration::ZERO, self.join_spread))
            .collect();
        joins.sort_unstable();
        for (index, at) in joins.into_iter().enumerate() {
            world.at(at, self.join_of(index));
        }
        self.plan_churn(&mut world, &mut dice);
        for (at, deed) in &self.deeds {
            world.at(*at, deed.clone());
        }
        Ok(world)
    }

    /// Builds, runs and judges.
    ///
    /// # Errors
    /// [`GroupError`] when the group's name is not acceptable.
    pub fn run(&self) -> Result<Report, GroupError> {
        let mut world = self.build()?;
        world.run_until(self.duration);
        world.judge_end();
        Ok(Report::of(&world, self.world.seed))
    }

    /// Returns the stream as its publisher is told to send it.
    pub fn transmission(&self) -> Transmission {
        Transmission {
            workload: self.workload.clone(),
            key_seed: self.key_seed,
            multicast: self.multicast,
            multicast_rate_max: Publication::MULTICAST_RATE_MAX,
            unicast_max: self.unicast_max,
        }
    }

    /// Returns what a viewer asks for; the world gives it its handle.
    pub fn subscription(&self) -> Subscription {
        Subscription {
            multicast: self.multicast,
            hold_down: self.hold_down,
            waits: self.waits,
            ..Subscription::new(STREAM, self.workload.name.clone(), self.playout_delay)
        }
    }

    /// Returns the deed of one more viewer.
    pub fn join(&self, config: HostConfig) -> Deed {
        Deed::Join { config: Box::new(config), subscription: Box::new(self.subscription()) }
    }

    /// Returns the deed of one more viewer, which has what is due to one of that number, counted from 0.
    pub fn join_of(&self, index: usize) -> Deed {
        self.join(self.viewer(index))
    }

    /// Returns what the viewer of that number has: whoever joined so far holds the shares as nearly as can be.
    fn viewer(&self, index: usize) -> HostConfig {
        let lan = index as u32 % self.lans.max(1);
        let config = self.line(index);
        let peers = if lan == 0 { config.peers } else { vec![PUBLISHER] };
        HostConfig { lan, peers, ..config }
    }

    fn line(&self, index: usize) -> HostConfig {
        const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
        let mut place = (0.5 + index as f64 * GOLDEN_RATIO).fract();
        for other in &self.others {
            if place < other.share {
                return other.config.clone();
            }
            place -= other.share;
        }
        self.host.clone()
    }

    /// Draws small limits, a cable that is pulled for a while, and the end of the stream.
    fn draw_misfortune(&mut self, dice: &mut Dice) {
        if dice.chance(0.3) {
            self.host.neighbours_max = Some(4 + dice.below(12) as usize);
        }
        if dice.chance(0.2) {
            self.host.window_bytes_max = Some(4 << 20);
        }
        let settled = Self::FIRST_JOIN + self.join_spread;
        if dice.chance(0.3) {
            let host = HostId(1 + dice.below(u64::from(self.viewers)) as u32);
            let at = dice.duration(settled, self.duration.max(settled));
            let back = at + dice.duration(Duration::from_millis(50), Duration::from_secs(4));
            self.deeds.extend([(at, Deed::Cut(host, true)), (back, Deed::Cut(host, false))]);
        }
        if dice.chance(0.2) {
            let at = dice.duration(settled, self.duration.max(settled));
            self.deeds.push((at, Deed::Leave(PUBLISHER)));
            self.duration = at + self.playout_delay + Duration::from_secs(6);
        }
    }

    /// Draws what happens to multicast: a blockade for a while, memberships that expire, or losses of its own.
    fn draw_multicast(&mut self, dice: &mut Dice) {
        let settled = Self::FIRST_JOIN + self.join_spread;
        let at = dice.duration(settled, self.duration.max(settled));
        let back = at + dice.duration(Duration::from_millis(50), Duration::from_secs(4));
        let whom = match dice.below(u64::from(self.viewers) + 1) as u32 {
            0 => Whom::All,
            host => Whom::Host(HostId(host)),
        };
        let blockade = if dice.chance(0.5) { Blockade::Everything } else { Blockade::LongerThan(400) };
        match dice.below(4) {
            0 => {}
            1 => self.deeds.push((at, Deed::StopQueries(whom, Some(Duration::from_secs(2))))),
            2 => {
                let loss = LossModel::Random(dice.between(0, 300) as f64 / 1_000.0);
                self.world.multicast = Some(LinkModel { loss, ..self.world.link });
            }
            _ => self.deeds.extend([
                (at, Deed::BlockMulticast(whom, blockade)),
                (back, Deed::BlockMulticast(whom, Blockade::Lifted)),
            ]),
        }
    }

    /// Draws who goes, when and how: a third each is killed, leaves, or is stopped for up to 2 s.
    fn plan_churn(&self, world: &mut World, dice: &mut Dice) {
        let first = 1 + self.hostile.len() as u64;
        let mut present: Vec<u64> = (first..first + u64::from(self.viewers)).collect();
        let settled = Self::FIRST_JOIN + self.join_spread + Duration::from_secs(1);
        let goers = (f64::from(self.viewers) * self.churn) as usize;
        for goer in 0..goers {
            let host = HostId(present.swap_remove(dice.below(present.len() as u64) as usize) as u32);
            let at = dice.duration(settled, self.duration.mul_f64(0.8).max(settled));
            let deed = match dice.below(3) {
                0 => Deed::Kill(host),
                1 => Deed::Leave(host),
                _ => Deed::Pause(host, dice.duration(Duration::from_millis(300), Duration::from_secs(2))),
            };
            if !matches!(deed, Deed::Pause(..)) {
                let back = at + dice.duration(Duration::from_millis(100), Duration::from_secs(2));
                world.at(back, self.join_of(self.viewers as usize + goer));
            }
            world.at(at, deed);
        }
    }
}

/// Draws at most one hostile member, whose flood is one that a test can afford.
fn random_hostile(dice: &mut Dice) -> Vec<Script> {
    if dice.chance(0.7) {
        return Vec::new();
    }
    let mut share = || if dice.chance(0.4) { dice.between(0, 100) as f64 / 100.0 } else { 0.0 };
    let (alter, withhold) = (share(), share());
    let flood = dice.chance(0.3).then(|| Flood {
        after: dice.duration(Duration::ZERO, Duration::from_secs(2)),
        lasting: Duration::from_secs(1),
        bits_per_second: 20_000_000,
    });
    vec![Script { alter, withhold, boast: dice.chance(0.4), flood, ..Script::default() }]
}

fn random_workload(dice: &mut Dice) -> Workload {
    let gop = dice.duration(Duration::from_millis(500), Duration::from_secs(3));
    let pictures_per_second = [10, 25, 30, 50][dice.below(4) as usize];
    let bits_per_second = dice.between(200_000, 2_000_000) as u32;
    let b_pictures = dice.below(4) as u8;
    Workload {
        video: Some(VideoModel { bits_per_second, pictures_per_second, gop, b_pictures }),
        audio: dice.chance(0.8).then_some(if dice.chance(0.5) { AudioModel::AAC } else { AudioModel::OPUS }),
        data: dice.chance(0.3).then_some(DataModel { every: Duration::from_millis(100), bytes: 80 }),
        ..Workload::television(0)
    }
}
