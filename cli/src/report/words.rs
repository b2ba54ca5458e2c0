//! States and reasons in words: kebab case for programs, plain sentences for people.

use std::time::Duration;

use serde::Serialize;
use swarmcast::{
    CloseCause, ControlPlane, Health, PathCause, PathKind, PathVerdict, QualityCause, Reason, Unreached,
    Verdict,
};

/// Returns the word for a verdict.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Joining => "joining",
        Verdict::Live => "live",
        Verdict::Degraded => "degraded",
        Verdict::Starved => "starved",
        Verdict::Dead => "dead",
        Verdict::Paused => "paused",
        Verdict::Ended => "ended",
    }
}

/// Returns the word for a path.
pub(crate) fn path(path: PathKind) -> &'static str {
    match path {
        PathKind::Multicast => "multicast",
        PathKind::Mesh => "mesh",
        PathKind::Unicast => "unicast",
        PathKind::Foreign => "foreign",
    }
}

/// Returns the word for the state of a path.
pub(crate) fn path_verdict(verdict: PathVerdict) -> &'static str {
    match verdict {
        PathVerdict::Off => "off",
        PathVerdict::Joining => "joining",
        PathVerdict::Standby => "standby",
        PathVerdict::Delivering => "delivering",
        PathVerdict::Silent => "silent",
        PathVerdict::Lossy => "lossy",
        PathVerdict::Refused => "refused",
    }
}

/// Returns the word for the state of the control plane.
pub(crate) fn control_plane(control_plane: ControlPlane) -> &'static str {
    match control_plane {
        ControlPlane::Searching => "searching",
        ControlPlane::Up => "up",
        ControlPlane::Lost => "lost",
    }
}

/// Returns the word for why delivery goes over to another path.
pub(crate) fn path_cause(cause: &PathCause) -> &'static str {
    match cause {
        PathCause::Started => "started",
        PathCause::Healed => "healed",
        PathCause::MulticastSilent { .. } => "multicast-silent",
        PathCause::MulticastLossy { .. } => "multicast-lossy",
        PathCause::BufferLow => "buffer-low",
        PathCause::Busy { .. } => "busy",
        PathCause::Unreachable => "unreachable",
        PathCause::Asked => "asked",
        PathCause::ForeignFailed => "foreign-failed",
        _ => "other",
    }
}

/// Returns the word for why another rendition takes over.
pub(crate) fn quality_cause(cause: QualityCause) -> &'static str {
    match cause {
        QualityCause::Overrun => "overrun",
        QualityCause::Capacity => "capacity",
        QualityCause::Clean => "clean",
        QualityCause::Asked => "asked",
        _ => "unknown",
    }
}

/// Returns the word for why a subscription ended.
pub(crate) fn close_cause(cause: &CloseCause) -> &'static str {
    match cause {
        CloseCause::Ended => "ended",
        CloseCause::Dead(_) => "dead",
        CloseCause::Local => "local",
        CloseCause::Ambiguous { .. } => "refused",
        _ => "stopped",
    }
}

/// Returns the word for a reason.
pub(crate) fn reason(reason: &Reason) -> &'static str {
    match reason {
        Reason::PublisherGone => "publisher-gone",
        Reason::NoSuchStream => "no-such-stream",
        Reason::NoReachablePeers { .. } => "no-reachable-peers",
        Reason::PartitionedLocal => "partitioned-local",
        Reason::Overrun => "overrun",
        Reason::NetworkDown => "network-down",
        Reason::MulticastBlocked { .. } => "multicast-blocked",
        Reason::QuerierTimeoutSuspected { .. } => "querier-timeout-suspected",
        Reason::UdpBlocked => "udp-blocked",
        Reason::AuthFailures => "auth-failures",
        Reason::ExcessLoss => "excess-loss",
        _ => "undetermined",
    }
}

/// A reason with the evidence that comes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ReasonLine {
    reason: Option<&'static str>,
    /// The network interface that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    /// Peers that were tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempted: Option<u32>,
    /// What the last of them met.
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<&'static str>,
    /// Reasons that the evidence fits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<&'static str>,
}

impl From<Option<&Reason>> for ReasonLine {
    fn from(given: Option<&Reason>) -> Self {
        let mut line = Self { reason: given.map(reason), ..Self::default() };
        match given {
            Some(Reason::NoReachablePeers { attempted, why }) => {
                line.attempted = Some(*attempted);
                line.met = Some(match why {
                    Unreached::NobodyFound => "nobody-found",
                    Unreached::NoAnswer => "no-answer",
                    Unreached::Refused => "refused",
                    Unreached::NoRoute => "no-route",
                });
            }
            Some(Reason::MulticastBlocked { interface } | Reason::QuerierTimeoutSuspected { interface }) => {
                line.interface = Some(interface.to_string());
            }
            Some(Reason::Undetermined { candidates }) => {
                line.candidates = candidates.iter().map(reason).collect();
            }
            _ => {}
        }
        line
    }
}

/// Says a reason to people, as a sentence without its full stop.
pub(crate) fn sentence(given: &Reason) -> String {
    let fixed = match given {
        Reason::PublisherGone => "the publisher has stopped answering",
        Reason::NoSuchStream => "nobody in the group has a stream of that name",
        Reason::NoReachablePeers { attempted: 0, .. } => "nobody of the group was found",
        Reason::NoReachablePeers { attempted, why } => {
            let met = match why {
                Unreached::Refused => "refused",
                Unreached::NoRoute => "cannot be reached from here",
                _ => "did not answer",
            };
            return format!("none of {attempted} peers could be reached: the last one {met}");
        }
        Reason::PartitionedLocal => {
            "this computer is cut off from the LAN, where all neighbours fell silent at once"
        }
        Reason::Overrun => "this computer was too busy to keep up",
        Reason::NetworkDown => "no network interface of this computer is up",
        Reason::MulticastBlocked { interface } => {
            return format!("multicast is blocked by the network on {interface}");
        }
        Reason::QuerierTimeoutSuspected { interface } => {
            return format!("a switch on {interface} forgot this viewer: it lacks an IGMP querier");
        }
        Reason::UdpBlocked => "UDP is blocked between here and the other peers",
        Reason::AuthFailures => {
            "what arrives is not signed by the publisher, or the group's key is another one"
        }
        Reason::ExcessLoss => "the network loses more than can be repaired",
        Reason::Undetermined { candidates } if !candidates.is_empty() => {
            let each: Vec<_> = candidates.iter().map(sentence).collect();
            return format!("either {}", each.join(", or "));
        }
        _ => "the cause cannot be told",
    };
    fixed.to_owned()
}

/// Says to people how a stream fares, as a sentence without its full stop.
pub(crate) fn fares(health: &Health, neighbours: usize, since_last_fragment: Option<Duration>) -> String {
    let reason = health.reason.as_ref();
    let playing = || capitalized(&playing_from(health.path, neighbours));
    match health.verdict {
        Verdict::Joining => "Looking for the stream".to_owned(),
        Verdict::Live => playing(),
        Verdict::Degraded => match reason {
            Some(reason) => format!("{}; {}", playing(), sentence(reason)),
            None => format!("{}; some of the media is missing", playing()),
        },
        Verdict::Starved | Verdict::Dead => {
            silence(reason, since_last_fragment).unwrap_or_else(|| "No media comes".to_owned())
        }
        Verdict::Paused => "The publisher has nothing to send for now".to_owned(),
        Verdict::Ended => "The stream has ended".to_owned(),
    }
}

/// Says to people why nothing comes, and since when.
pub(crate) fn silence(reason: Option<&Reason>, since_last_fragment: Option<Duration>) -> Option<String> {
    Some(match (since_last_fragment.map(|since| since.as_secs_f64()), reason) {
        (Some(ago), Some(Reason::PublisherGone)) => {
            format!("The publisher stopped answering {ago:.1} s ago")
        }
        (Some(ago), Some(reason)) => format!("No media for {ago:.1} s: {}", sentence(reason)),
        (Some(ago), None) => format!("No media for {ago:.1} s; the cause is being looked for"),
        (None, Some(reason)) => capitalized(&sentence(reason)),
        (None, None) => return None,
    })
}

/// Says to people where media comes from.
pub(crate) fn playing_from(to: PathKind, neighbours: usize) -> String {
    match to {
        PathKind::Multicast => "playing from multicast".to_owned(),
        PathKind::Mesh if neighbours == 1 => "playing from 1 neighbour".to_owned(),
        PathKind::Mesh => format!("playing from {neighbours} neighbours"),
        PathKind::Unicast => "playing from the publisher".to_owned(),
        PathKind::Foreign => "going over to the fallback URL".to_owned(),
    }
}

/// Says to people why delivery goes over to another path.
pub(crate) fn path_sentence(cause: &PathCause, from: PathKind, to: PathKind) -> Option<String> {
    Some(match cause {
        PathCause::Started => return None,
        PathCause::Healed => format!("{} delivers again", capitalized(name(to))),
        PathCause::MulticastSilent { interface } => {
            format!("Multicast is blocked by the network on {interface}")
        }
        PathCause::MulticastLossy { interface } => format!("Multicast loses too much on {interface}"),
        PathCause::BufferLow => format!("{} does not keep up", capitalized(name(from))),
        PathCause::Busy { retry_after } => {
            format!(
                "The publisher serves no more viewers; to be asked again in {:.1} s",
                retry_after.as_secs_f64()
            )
        }
        PathCause::Unreachable => "The publisher cannot be reached".to_owned(),
        PathCause::Asked => "Asked for".to_owned(),
        PathCause::ForeignFailed => "The fallback URL brings nothing".to_owned(),
        _ => format!("{} has failed", capitalized(name(from))),
    })
}

/// Returns the name of a path in a sentence.
pub(crate) fn name(path: PathKind) -> &'static str {
    match path {
        PathKind::Multicast => "multicast",
        PathKind::Mesh => "the mesh",
        PathKind::Unicast => "the publisher's own path",
        PathKind::Foreign => "the fallback URL",
    }
}

/// Begins a sentence.
pub(crate) fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_carries_its_evidence() {
        let json = |given: &Reason| serde_json::to_value(ReasonLine::from(Some(given))).unwrap();
        assert_eq!(json(&Reason::PublisherGone), serde_json::json!({"reason": "publisher-gone"}));
        let blocked = Reason::MulticastBlocked { interface: "eth0".into() };
        let told = serde_json::json!({"reason": "multicast-blocked", "interface": "eth0"});
        assert_eq!(json(&blocked), told);
        let none = Reason::NoReachablePeers { attempted: 2, why: Unreached::NoRoute };
        let told = serde_json::json!({"reason": "no-reachable-peers", "attempted": 2, "met": "no-route"});
        assert_eq!(json(&none), told);
        let open = Reason::Undetermined { candidates: vec![Reason::PublisherGone, Reason::UdpBlocked] };
        let told =
            serde_json::json!({"reason": "undetermined", "candidates": ["publisher-gone", "udp-blocked"]});
        assert_eq!(json(&open), told);
        let nothing = serde_json::to_value(ReasonLine::from(None)).unwrap();
        assert_eq!(nothing, serde_json::json!({"reason": null}));
    }

    #[test]
    fn people_are_told_in_sentences() {
        let silent = PathCause::MulticastSilent { interface: "eth0".into() };
        let told = path_sentence(&silent, PathKind::Multicast, PathKind::Mesh).unwrap();
        assert_eq!(told, "Multicast is blocked by the network on eth0");
        assert_eq!(playing_from(PathKind::Mesh, 4), "playing from 4 neighbours");
        let healed = path_sentence(&PathCause::Healed, PathKind::Mesh, PathKind::Multicast).unwrap();
        assert_eq!(healed, "Multicast delivers again");
        let open = Reason::Undetermined { candidates: vec![Reason::Overrun, Reason::NetworkDown] };
        let told =
            "either this computer was too busy to keep up, or no network interface of this computer is up";
        assert_eq!(sentence(&open), told);
    }
}
