//! What happens in a scenario, and when: from the file's words to the world's deeds.

use std::time::Duration;

use swarmcast_sim::lan::{Blockade, Whom};
use swarmcast_sim::network::{Between, Firewall, HostId};
use swarmcast_sim::scenario::{PUBLISHER, Scenario};
use swarmcast_sim::world::Deed as WorldDeed;

use super::file::{Act, Deed, Who};
use super::plan::{Refusal, VIEWERS_MAX, seconds, share, within};

/// Adds a deed to the scenario; returns when it happens, and what, in words.
pub(super) fn add(scenario: &mut Scenario, key: &str, deed: &Deed) -> Result<(Duration, String), Refusal> {
    let most = scenario.duration.as_secs_f64();
    let at = seconds(&format!("{key}.at_s"), deed.at_s, 0.0..=most)?;
    refuse_superfluous(key, deed)?;
    let until = match deed.for_s {
        Some(span) => Some(at + seconds(&format!("{key}.for_s"), span, 0.0..=most)?),
        None => None,
    };
    let draft = Draft { scenario, key, deed, at, until };
    let deeds = draft.deeds()?;
    scenario.deeds.extend(deeds);
    Ok((at, words(deed)))
}

/// A deed on its way into the scenario.
struct Draft<'a> {
    scenario: &'a Scenario,
    key: &'a str,
    deed: &'a Deed,
    at: Duration,
    until: Option<Duration>,
}

impl Draft<'_> {
    /// Returns the deed and the one that undoes it.
    fn deeds(&self) -> Result<Vec<(Duration, WorldDeed)>, Refusal> {
        let deed = self.deed;
        let one = match deed.act {
            Act::Join => return self.joins(),
            Act::Leave => WorldDeed::Leave(self.host()?),
            Act::Kill => self.kill()?,
            Act::Stop if deed.who == Some(Who::Busiest) => WorldDeed::PauseBusiest(self.span()?),
            Act::Stop => WorldDeed::Pause(self.host()?, self.span()?),
            Act::PauseSource => WorldDeed::PauseSource(PUBLISHER, self.span()?),
            Act::Cut => {
                let host = self.host()?;
                return Ok(self.undone(|cut| WorldDeed::Cut(host, cut)));
            }
            Act::Unplug => {
                let host = self.host()?;
                return Ok(self.undone(|unplugged| WorldDeed::Unplug(host, unplugged)));
            }
            Act::BlockMulticast => {
                let whom = self.whom()?;
                let longest = deed.longer_than_bytes.map(|bytes| bytes as usize);
                let blockade = longest.map_or(Blockade::Everything, Blockade::LongerThan);
                return Ok(self.undone(|blocked| {
                    WorldDeed::BlockMulticast(whom, if blocked { blockade } else { Blockade::Lifted })
                }));
            }
            Act::StopQueries => {
                let whom = self.whom()?;
                let lifetime = deed.lifetime_s.ok_or_else(|| self.lacks("lifetime_s = SECONDS"))?;
                let lifetime = seconds(&format!("{}.lifetime_s", self.key), lifetime, 0.1..=3_600.0)?;
                return Ok(self.undone(|stopped| WorldDeed::StopQueries(whom, stopped.then_some(lifetime))));
            }
            Act::BlockUdp => {
                return Ok(self.undone(|blocked| {
                    let firewall = if blocked { Firewall::Udp } else { Firewall::Open };
                    WorldDeed::SetFirewall(Between::All, firewall)
                }));
            }
        };
        Ok(vec![(self.at, one)])
    }

    fn undone(&self, deed: impl Fn(bool) -> WorldDeed) -> Vec<(Duration, WorldDeed)> {
        let mut deeds = vec![(self.at, deed(true))];
        deeds.extend(self.until.map(|until| (until, deed(false))));
        deeds
    }

    fn joins(&self) -> Result<Vec<(Duration, WorldDeed)>, Refusal> {
        let count = self.deed.count.ok_or_else(|| self.lacks("count = NUMBER"))?;
        within(&format!("{}.count", self.key), f64::from(count), 1.0..=f64::from(VIEWERS_MAX))?;
        let span = self.until.map_or(Duration::ZERO, |until| until - self.at);
        let at = |index: u32| self.at + span.mul_f64(f64::from(index) / f64::from(count));
        let first = self.scenario.viewers as usize;
        let joins = (0..count).map(|index| (at(index), self.scenario.join_of(first + index as usize)));
        Ok(joins.collect())
    }

    fn kill(&self) -> Result<WorldDeed, Refusal> {
        match (self.deed.share, self.deed.who) {
            (Some(_), Some(_)) => Err(Refusal::new(self.key, "give either `who` or `share`")),
            (Some(doomed), None) => Ok(WorldDeed::KillShare(share(&format!("{}.share", self.key), doomed)?)),
            (None, Some(Who::Busiest)) => Ok(WorldDeed::KillBusiest),
            _ => Ok(WorldDeed::Kill(self.host()?)),
        }
    }

    fn host(&self) -> Result<HostId, Refusal> {
        match self.deed.who {
            None => Err(self.lacks("who = \"publisher\" or \"viewer N\"")),
            Some(Who::Publisher) => Ok(PUBLISHER),
            Some(Who::Viewer(number)) => self.viewer(number),
            Some(Who::Busiest) => {
                Err(Refusal::new(format!("{}.who", self.key), "the busiest can be killed or stopped only"))
            }
        }
    }

    fn viewer(&self, number: u32) -> Result<HostId, Refusal> {
        let viewers = self.scenario.viewers;
        if number > viewers {
            let message = format!("there is no viewer {number}: give 1 to {viewers}");
            return Err(Refusal::new(format!("{}.who", self.key), message));
        }
        let before = u32::try_from(self.scenario.hostile.len()).unwrap_or(u32::MAX);
        Ok(HostId(before.saturating_add(number)))
    }

    fn whom(&self) -> Result<Whom, Refusal> {
        if self.deed.who.is_none() { Ok(Whom::All) } else { self.host().map(Whom::Host) }
    }

    fn span(&self) -> Result<Duration, Refusal> {
        self.until.map(|until| until - self.at).ok_or_else(|| self.lacks("for_s = SECONDS"))
    }

    fn lacks(&self, what: &str) -> Refusal {
        Refusal::new(self.key, format!("`{}` needs {what}", name(self.deed.act)))
    }
}

/// Refuses keys that the act has no use for.
fn refuse_superfluous(key: &str, deed: &Deed) -> Result<(), Refusal> {
    let known: &[&str] = match deed.act {
        Act::Join => &["count", "for_s"],
        Act::Leave => &["who"],
        Act::Kill => &["who", "share"],
        Act::Stop | Act::Cut | Act::Unplug => &["who", "for_s"],
        Act::PauseSource | Act::BlockUdp => &["for_s"],
        Act::BlockMulticast => &["who", "for_s", "longer_than_bytes"],
        Act::StopQueries => &["who", "for_s", "lifetime_s"],
    };
    let given = [
        ("who", deed.who.is_some()),
        ("share", deed.share.is_some()),
        ("count", deed.count.is_some()),
        ("for_s", deed.for_s.is_some()),
        ("longer_than_bytes", deed.longer_than_bytes.is_some()),
        ("lifetime_s", deed.lifetime_s.is_some()),
    ];
    match given.into_iter().find(|(name, given)| *given && !known.contains(name)) {
        None => Ok(()),
        Some((superfluous, _)) => {
            let message = format!("`{}` takes {}: leave it out", name(deed.act), known.join(", "));
            Err(Refusal::new(format!("{key}.{superfluous}"), message))
        }
    }
}

const fn name(act: Act) -> &'static str {
    match act {
        Act::Join => "join",
        Act::Leave => "leave",
        Act::Kill => "kill",
        Act::Stop => "stop",
        Act::Cut => "cut",
        Act::Unplug => "unplug",
        Act::PauseSource => "pause-source",
        Act::BlockMulticast => "block-multicast",
        Act::StopQueries => "stop-queries",
        Act::BlockUdp => "block-udp",
    }
}

/// Says what a deed does: `kill 50 % of the viewers`, `cut viewer 3 for 2 s`.
fn words(deed: &Deed) -> String {
    let mut words = name(deed.act).to_owned();
    match deed.who {
        None => {}
        Some(Who::Publisher) => words.push_str(" publisher"),
        Some(Who::Busiest) => words.push_str(" busiest viewer"),
        Some(Who::Viewer(number)) => words.push_str(&format!(" viewer {number}")),
    }
    if let Some(share) = deed.share {
        words.push_str(&format!(" {} % of the viewers", share * 100.0));
    }
    if let Some(count) = deed.count {
        words.push_str(&format!(" {count} viewers"));
    }
    if let Some(span) = deed.for_s {
        words.push_str(&format!(" for {span} s"));
    }
    words
}
