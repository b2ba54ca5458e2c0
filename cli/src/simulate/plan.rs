//! From a file to a scenario: every value is checked, and a refusal names its key.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use swarmcast_sim::hostile::{Flood, Script};
use swarmcast_sim::link::{LinkModel, LossModel, RateModel};
use swarmcast_sim::network::Trunk;
use swarmcast_sim::scenario::{HostShare, PUBLISHER, Scenario};
use swarmcast_sim::workload::{AudioModel, VideoModel, Workload};
use swarmcast_sim::world::HostConfig;

use super::deeds;
use super::file::{Audio, Hostile, Lans, Line, Network, Rate, ScenarioFile, Span, Stream};

/// Most viewers that one world takes.
pub(super) const VIEWERS_MAX: u32 = 20_000;
/// Longest virtual time, seconds: a day.
pub(super) const SECONDS_MAX: f64 = 86_400.0;
/// Longest delay of a link or a line, milliseconds.
const DELAY_MS_MAX: f64 = 10_000.0;
/// Time between two ticks of a picture's clock that a whole number must fit into.
const PICTURE_CLOCK: u32 = 90_000;
/// Share of packets that a burst of losses takes while it lasts.
const BURST_LOSS: f64 = 0.9;

/// Why a file is no scenario.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Its place in the file, such as `viewers.count`.
    pub(super) key: String,
    /// What is wrong, and what would be right.
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// A scenario that can be run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) scenario: Scenario,
    /// When the joining is over, for figures of the time behind it.
    pub(super) settled: Option<Duration>,
    /// What happens, in words, in the order of its times.
    pub(super) happenings: Vec<(Duration, String)>,
}

impl Plan {
    /// Makes a plan of a file; `peers` and `duration` of the command line go before its own.
    pub(super) fn of(
        file: &ScenarioFile,
        seed: u64,
        peers: Option<u32>,
        duration: Option<Duration>,
    ) -> Result<Self, Refusal> {
        let mut scenario = Scenario::new(seed, peers.unwrap_or(file.viewers.count));
        within("viewers.count", f64::from(file.viewers.count), 1.0..=f64::from(VIEWERS_MAX))?;
        let first_join = Scenario::FIRST_JOIN.as_secs_f64();
        let own = seconds("duration_s", file.duration_s, first_join..=SECONDS_MAX)?;
        scenario.duration = own;
        set_viewers(&mut scenario, file)?;
        set_stream(&mut scenario, &file.stream)?;
        set_network(&mut scenario, &file.network)?;
        set_lines(&mut scenario, file)?;
        set_lans(&mut scenario, &file.lans)?;
        for (place, hostile) in file.hostile.iter().enumerate() {
            let script = script(&format!("hostile[{}]", place + 1), hostile)?;
            scenario.hostile.extend(std::iter::repeat_n(script, hostile.count as usize));
        }
        let mut happenings = Vec::new();
        for (place, deed) in file.deed.iter().enumerate() {
            let key = format!("deed[{}]", place + 1);
            happenings.push(deeds::add(&mut scenario, &key, deed)?);
        }
        happenings.sort();
        let after = |at| seconds("settled_s", at, 0.0..=SECONDS_MAX);
        let settled = file.settled_s.map(after).transpose()?;
        scenario.duration = duration.unwrap_or(own);
        Ok(Self { scenario, settled, happenings })
    }
}

fn set_viewers(scenario: &mut Scenario, file: &ScenarioFile) -> Result<(), Refusal> {
    let viewers = &file.viewers;
    let spread = 0.0..=file.duration_s;
    scenario.join_spread = seconds("viewers.join_within_s", viewers.join_within_s, spread)?;
    let playout_delay = within("viewers.playout_delay_ms", viewers.playout_delay_ms, 50.0..=60_000.0)?;
    scenario.playout_delay = Duration::from_secs_f64(playout_delay / 1e3);
    if let Some(hold_down) = viewers.hold_down_s {
        scenario.hold_down = seconds("viewers.hold_down_s", hold_down, 0.1..=3_600.0)?;
    }
    scenario.churn = share("viewers.churn", viewers.churn)?;
    scenario.waits = viewers.waits;
    Ok(())
}

fn set_stream(scenario: &mut Scenario, stream: &Stream) -> Result<(), Refusal> {
    let Rate(rate) = stream.rate;
    within("stream.rate", rate as f64, 2e5..=1e8)?;
    within("stream.pictures_per_second", f64::from(stream.pictures_per_second), 1.0..=240.0)?;
    if !PICTURE_CLOCK.is_multiple_of(stream.pictures_per_second) {
        let message = format!("{} does not divide 90000: give 25, 30, 50 or 60", stream.pictures_per_second);
        return Err(Refusal::new("stream.pictures_per_second", message));
    }
    within("stream.b_pictures", f64::from(stream.b_pictures), 0.0..=7.0)?;
    let audio = match stream.audio {
        Audio::Aac => Some(AudioModel::AAC),
        Audio::Opus => Some(AudioModel::OPUS),
        Audio::Off => None,
    };
    let video = rate - audio.map_or(0, |audio| u64::from(audio.bits_per_second));
    scenario.workload = Workload {
        video: Some(VideoModel {
            bits_per_second: u32::try_from(video).unwrap_or(u32::MAX),
            pictures_per_second: stream.pictures_per_second,
            gop: seconds("stream.gop_s", stream.gop_s, 0.1..=60.0)?,
            b_pictures: stream.b_pictures,
        }),
        audio,
        ..Workload::television(0)
    };
    scenario.multicast = stream.multicast.0;
    if let Some(most) = stream.unicast_max {
        within("stream.unicast_max", f64::from(most), 0.0..=1_000.0)?;
        scenario.unicast_max = most as usize;
    }
    Ok(())
}

fn set_network(scenario: &mut Scenario, network: &Network) -> Result<(), Refusal> {
    let latency = within("network.latency_ms", network.latency_ms, 0.0..=DELAY_MS_MAX)?;
    let jitter = within("network.jitter_ms", network.jitter_ms, 0.0..=DELAY_MS_MAX)?;
    let loss = within("network.loss", network.loss, 0.0..=0.5)?;
    let burst = within("network.loss_burst", network.loss_burst, 1.0..=1_000.0)?;
    let link = LinkModel {
        latency: Duration::from_secs_f64(latency / 1e3),
        jitter: Duration::from_secs_f64(jitter / 1e3),
        loss: loss_model(loss, burst),
        reorder: share("network.reorder", network.reorder)?,
        duplicate: share("network.duplicate", network.duplicate)?,
        ..LinkModel::default()
    };
    scenario.world.link = link;
    if let Some(loss) = network.multicast_loss {
        let loss = LossModel::Random(share("network.multicast_loss", loss)?);
        scenario.world.multicast = Some(LinkModel { loss, ..link });
    }
    within("network.clock_drift_ppm", f64::from(network.clock_drift_ppm), 0.0..=1_000.0)?;
    scenario.world.drift_ppm_max = network.clock_drift_ppm;
    if !network.discovery {
        scenario.publisher = Some(HostConfig { discovery: false, ..HostConfig::default() });
        scenario.host = HostConfig { discovery: false, peers: vec![PUBLISHER], ..HostConfig::default() };
    }
    Ok(())
}

/// Makes losses of that mean: each on its own, or in bursts of that many packets that take 90 % while they last.
fn loss_model(mean: f64, burst: f64) -> LossModel {
    match () {
        () if mean == 0.0 => LossModel::None,
        () if burst <= 1.0 => LossModel::Random(mean),
        () => {
            let (share, recovers) = (mean / BURST_LOSS, 1.0 / burst);
            LossModel::Bursty {
                worsens: recovers * share / (1.0 - share),
                recovers,
                good: 0.0,
                bad: BURST_LOSS,
            }
        }
    }
}

fn set_lines(scenario: &mut Scenario, file: &ScenarioFile) -> Result<(), Refusal> {
    let publisher = scenario.publisher.take().unwrap_or_default();
    let publisher = with_line(&publisher, "line", &file.line)?;
    scenario.publisher = Some(with_line(&publisher, "publisher_line", &file.publisher_line)?);
    scenario.host = with_line(&scenario.host, "line", &file.line)?;
    let mut shares = 0.0;
    for (place, others) in file.others.iter().enumerate() {
        let key = format!("others[{}]", place + 1);
        let share = share(&format!("{key}.share"), others.share)?;
        shares += share;
        let config = with_line(&scenario.host, &format!("{key}.line"), &others.line)?;
        scenario.others.push(HostShare { share, config });
    }
    if shares > 1.0 + 1e-9 {
        return Err(Refusal::new("others", format!("the shares make {shares}: at most 1 in all")));
    }
    Ok(())
}

fn set_lans(scenario: &mut Scenario, lans: &Lans) -> Result<(), Refusal> {
    within("lans.count", f64::from(lans.count), 1.0..=f64::from(VIEWERS_MAX))?;
    let latency = within("lans.latency_ms", lans.latency_ms, 0.0..=DELAY_MS_MAX)?;
    let queue = within("lans.queue_ms", lans.queue_ms, 1.0..=DELAY_MS_MAX)?;
    let limit =
        |Rate(rate)| RateModel { bits_per_second: Some(rate), queue: Duration::from_secs_f64(queue / 1e3) };
    scenario.lans = lans.count;
    scenario.world.trunk = Trunk {
        rate: lans.rate.map_or(RateModel::UNLIMITED, limit),
        latency: Duration::from_secs_f64(latency / 1e3),
    };
    Ok(())
}

/// Returns what a host has with that line; what the line leaves out stays.
fn with_line(base: &HostConfig, key: &str, line: &Line) -> Result<HostConfig, Refusal> {
    let mut config = base.clone();
    if let Some(Rate(rate)) = line.up {
        config.up = limited(config.up, rate);
    }
    if let Some(Rate(rate)) = line.down {
        config.down = limited(config.down, rate);
    }
    if let Some(queue) = line.queue_ms {
        let queue = within(&format!("{key}.queue_ms"), queue, 1.0..=DELAY_MS_MAX)?;
        (config.up.queue, config.down.queue) =
            (Duration::from_secs_f64(queue / 1e3), Duration::from_secs_f64(queue / 1e3));
    }
    if let Some(latency) = line.latency_ms {
        let [low, high] = match latency {
            Span::One(latency) => [latency, latency],
            Span::Range(range) => range,
        };
        let key = format!("{key}.latency_ms");
        within(&key, low, 0.0..=DELAY_MS_MAX)?;
        within(&key, high, low..=DELAY_MS_MAX)?;
        config.latency = (Duration::from_secs_f64(low / 1e3), Duration::from_secs_f64(high / 1e3));
    }
    if let Some(most) = line.neighbours_max {
        within(&format!("{key}.neighbours_max"), f64::from(most), 2.0..=1_000.0)?;
        config.neighbours_max = Some(most as usize);
    }
    config.behind_nat = line.nat.unwrap_or(config.behind_nat);
    config.up_told = line.up_told.unwrap_or(config.up_told);
    Ok(config)
}

/// Returns a line with another rate; its queue stays, if it has one.
fn limited(base: RateModel, rate: u64) -> RateModel {
    if base.queue.is_zero() {
        return RateModel::limited(rate);
    }
    RateModel { bits_per_second: Some(rate), ..base }
}

fn script(key: &str, hostile: &Hostile) -> Result<Script, Refusal> {
    within(&format!("{key}.count"), f64::from(hostile.count), 1.0..=f64::from(VIEWERS_MAX))?;
    let flood = hostile.flood.as_ref().map(|flood| {
        Ok(Flood {
            after: seconds(&format!("{key}.flood.after_s"), flood.after_s, 0.0..=SECONDS_MAX)?,
            lasting: seconds(&format!("{key}.flood.for_s"), flood.for_s, 0.0..=SECONDS_MAX)?,
            bits_per_second: flood.rate.0,
        })
    });
    Ok(Script {
        alter: share(&format!("{key}.alter"), hostile.alter)?,
        withhold: share(&format!("{key}.withhold"), hostile.withhold)?,
        boast: hostile.boast,
        replay: hostile.replay,
        outsider: hostile.outsider,
        flood: flood.transpose()?,
    })
}

/// Checks a share.
pub(super) fn share(key: &str, value: f64) -> Result<f64, Refusal> {
    within(key, value, 0.0..=1.0)
}

/// Checks a time.
pub(super) fn seconds(key: &str, value: f64, range: RangeInclusive<f64>) -> Result<Duration, Refusal> {
    within(key, value, range).map(Duration::from_secs_f64)
}

/// Checks a number.
pub(super) fn within(key: &str, value: f64, range: RangeInclusive<f64>) -> Result<f64, Refusal> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (low, high) = range.into_inner();
    Err(Refusal::new(key, format!("{value} is out of range: give {low} to {high}")))
}
