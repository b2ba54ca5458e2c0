//! What a viewer tells of its subscription's events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use swarmcast::{CloseCause, Event, GapCause, MediaTime, PathCause, PathKind, Reason, Verdict};

use crate::report::words::{self, capitalized};
use crate::report::{
    ClosedLine, Line, PathLine, PathVerdictLine, QualityLine, RenditionLine, Reporter, TrackLine, VerdictLine,
};

/// Tells the end of a subscription, whoever learns of it first, and once.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    reporter: Arc<Reporter>,
    told: Arc<AtomicBool>,
}

impl Closing {
    pub(super) fn new(reporter: &Arc<Reporter>) -> Self {
        Self { reporter: Arc::clone(reporter), told: Arc::default() }
    }

    /// Says why the subscription ended, unless that was said before.
    pub(super) fn tell(&self, cause: &CloseCause) {
        if self.told.swap(true, Ordering::AcqRel) {
            return;
        }
        let reason = match cause {
            CloseCause::Dead(reason) => Some(reason),
            _ => None,
        };
        let closed =
            ClosedLine { cause: words::close_cause(cause), reason: reason.into(), code: cause.code() };
        self.reporter.tell(Line::Closed(closed), None);
    }
}

/// Returns the line of an event, for a node with so many neighbours; `None` when it has none.
pub(super) fn line(event: &Event, neighbours: usize) -> Option<Line> {
    let code = event.code();
    Some(match event {
        Event::Opened { key, epoch, catalogue } => {
            let tracks = catalogue.tracks.iter().map(TrackLine::from).collect();
            let renditions = catalogue.renditions.iter().map(RenditionLine::from).collect();
            Line::Opened { key: key.to_string(), epoch: epoch.0, tracks, renditions }
        }
        Event::Gap { track, from, to, cause } => {
            let cause = match cause {
                GapCause::Shed => "shed",
                _ => "late",
            };
            Line::Gap { track: track.map(|id| id.0), from: seconds(*from), to: seconds(*to), cause }
        }
        Event::Overrun { access_units } => {
            let message =
                format!("{access_units} access units were dropped: the output takes them too slowly");
            Line::Warning { code: "overrun", message }
        }
        Event::Quality { from, to, cause } => Line::Quality(Box::new(QualityLine {
            from: from.into(),
            to: to.into(),
            cause: words::quality_cause(*cause),
        })),
        Event::Reset { old, new } => Line::Reset { old: old.0, new: new.0 },
        Event::Verdict { from, to, reason, path, last_media, since_last_fragment } => {
            Line::Verdict(Box::new(VerdictLine {
                from: words::verdict(*from),
                to: words::verdict(*to),
                reason: reason.as_ref().into(),
                code,
                path: words::path(*path),
                last_media_time: last_media.map(seconds),
                since_last_fragment: since_last_fragment.map(|since| since.as_secs_f64()),
                text: verdict_text(*from, *to, reason.as_ref(), *since_last_fragment),
            }))
        }
        Event::Path { from, to, cause, last_media } => {
            let goes_on = words::playing_from(*to, neighbours);
            let text = match words::path_sentence(cause, *from, *to) {
                Some(why) => format!("{why}; {goes_on}"),
                None => capitalized(&goes_on),
            };
            Line::Path(Box::new(path_line((*from, *to), cause, *last_media, code, text)))
        }
        Event::PathDue { from, to, cause, last_media } => {
            let why = words::path_sentence(cause, *from, *to).unwrap_or_default();
            let text = format!("{why}; not going over to {} by itself", words::name(*to));
            Line::PathDue(Box::new(path_line((*from, *to), cause, *last_media, code, text)))
        }
        Event::PathVerdict { path, from, to, reason } => Line::PathVerdict(Box::new(PathVerdictLine {
            path: words::path(*path),
            from: words::path_verdict(*from),
            to: words::path_verdict(*to),
            reason: reason.as_ref().into(),
            text: suspicion(reason.as_ref()),
        })),
        Event::ControlPlane { to, .. } => Line::ControlPlane { to: words::control_plane(*to), code },
        Event::Foreign { tracks } => Line::Foreign { tracks: tracks.iter().map(TrackLine::from).collect() },
        Event::ForeignLost { error } => {
            let message = match error {
                Some(error) => format!("--fallback-url: {error}"),
                None => "--fallback-url: it came to its end".to_owned(),
            };
            Line::Warning { code: "foreign-lost", message }
        }
        _ => return None,
    })
}

fn path_line(
    (from, to): (PathKind, PathKind),
    cause: &PathCause,
    last_media: Option<MediaTime>,
    code: Option<&'static str>,
    text: String,
) -> PathLine {
    let interface = match cause {
        PathCause::MulticastSilent { interface } | PathCause::MulticastLossy { interface } => {
            Some(interface.to_string())
        }
        _ => None,
    };
    let retry_after = match cause {
        PathCause::Busy { retry_after } => Some(retry_after.as_secs_f64()),
        _ => None,
    };
    PathLine {
        from: words::path(from),
        to: words::path(to),
        cause: words::path_cause(cause),
        interface,
        last_media_time: last_media.map(seconds),
        retry_after,
        code,
        text: Some(text),
    }
}

/// What happened to the stream, for people; `None` where other lines say it.
fn verdict_text(
    from: Verdict,
    to: Verdict,
    reason: Option<&Reason>,
    since_last_fragment: Option<Duration>,
) -> Option<String> {
    Some(match to {
        Verdict::Starved | Verdict::Dead => {
            let what = words::silence(reason, since_last_fragment)?;
            if to == Verdict::Dead { format!("{what}; the stream counts as dead") } else { what }
        }
        Verdict::Degraded => match reason {
            Some(reason) => format!("Some of the media is missing: {}", words::sentence(reason)),
            None => "Some of the media is missing".to_owned(),
        },
        Verdict::Paused => "The publisher has nothing to send for now".to_owned(),
        Verdict::Live => match from {
            Verdict::Degraded => "Nothing is missing any longer".to_owned(),
            Verdict::Starved | Verdict::Dead => "The stream is back".to_owned(),
            Verdict::Paused => "The publisher goes on".to_owned(),
            _ => return None,
        },
        Verdict::Joining | Verdict::Ended => return None,
    })
}

/// What a path's state says that no change of the path in use does.
fn suspicion(reason: Option<&Reason>) -> Option<String> {
    match reason {
        Some(reason @ Reason::QuerierTimeoutSuspected { .. }) => Some(capitalized(&words::sentence(reason))),
        _ => None,
    }
}

fn seconds(time: MediaTime) -> f64 {
    time.0 as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use swarmcast::{ControlPlane, PathVerdict};

    use super::*;

    fn told(event: &Event) -> (serde_json::Value, Option<String>) {
        let line = line(event, 4).expect("a line");
        (serde_json::to_value(&line).expect("JSON"), line.for_people())
    }

    #[test]
    fn a_verdict_says_what_was_seen_and_when() {
        let verdict = |to, reason, since| Event::Verdict {
            from: Verdict::Live,
            to,
            reason,
            path: PathKind::Multicast,
            last_media: Some(MediaTime(1_500_000)),
            since_last_fragment: since,
        };
        let since = Some(Duration::from_millis(800));
        let (json, text) = told(&verdict(Verdict::Starved, Some(Reason::PublisherGone), since));
        let expected = serde_json::json!({
            "event": "verdict", "from": "live", "to": "starved", "reason": "publisher-gone", "path": "multicast",
            "code": "NetStream.Multicast.Starved", "last_media_time": 1.5, "since_last_fragment": 0.8,
        });
        assert_eq!((json, text.as_deref()), (expected, Some("The publisher stopped answering 0.8 s ago")));
        let (json, text) = told(&verdict(Verdict::Starved, None, None));
        assert_eq!((&json["reason"], &json["since_last_fragment"], text), (&().into(), &().into(), None));
        let (_, text) = told(&verdict(Verdict::Dead, Some(Reason::NetworkDown), since));
        let dead =
            "No media for 0.8 s: no network interface of this computer is up; the stream counts as dead";
        assert_eq!(text.as_deref(), Some(dead));
    }

    #[test]
    fn a_path_says_why_and_from_whom_it_goes_on() {
        let path = |to, cause| Event::Path { from: PathKind::Multicast, to, cause, last_media: None };
        let (json, text) =
            told(&path(PathKind::Mesh, PathCause::MulticastSilent { interface: "eth0".into() }));
        let expected = serde_json::json!({
            "event": "path", "from": "multicast", "to": "mesh", "cause": "multicast-silent", "interface": "eth0",
            "last_media_time": null, "retry_after": null, "code": "NetStream.Multicast.PathChange",
        });
        let blocked = "Multicast is blocked by the network on eth0; playing from 4 neighbours";
        assert_eq!((json, text.as_deref()), (expected, Some(blocked)));
        let busy = PathCause::Busy { retry_after: Duration::from_millis(1_500) };
        assert_eq!(told(&path(PathKind::Mesh, busy)).0["retry_after"], 1.5);
        let started = told(&path(PathKind::Multicast, PathCause::Started));
        assert_eq!(started.1.as_deref(), Some("Playing from multicast"));
    }

    #[test]
    fn path_verdicts_and_the_control_plane_are_for_programs() {
        let blocked = Reason::MulticastBlocked { interface: "eth0".into() };
        let event = |reason| Event::PathVerdict {
            path: PathKind::Multicast,
            from: PathVerdict::Delivering,
            to: PathVerdict::Silent,
            reason,
        };
        let expected = serde_json::json!({
            "event": "path_verdict", "path": "multicast", "from": "delivering", "to": "silent",
            "reason": "multicast-blocked", "interface": "eth0",
        });
        assert_eq!(told(&event(Some(blocked))), (expected, None));
        let querier = Reason::QuerierTimeoutSuspected { interface: "eth0".into() };
        assert!(told(&event(Some(querier))).1.is_some_and(|text| text.contains("IGMP querier")));
        let lost = Event::ControlPlane { from: ControlPlane::Up, to: ControlPlane::Lost };
        let expected = serde_json::json!({
            "event": "control_plane", "to": "lost", "code": "NetConnection.ControlPlane.Lost",
        });
        assert_eq!(told(&lost), (expected, None));
    }
}
