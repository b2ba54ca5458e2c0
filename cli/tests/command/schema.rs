use std::fs;
use std::path::Path;

use serde_json::Value;

/// What health tells in numbers; the 19 of Flash's `NetStreamMulticastInfo` come first.
const STATS: [&str; 66] = [
    "bytes_pushed_to_peers",
    "fragments_pushed_to_peers",
    "bytes_pushed_from_peers",
    "fragments_pushed_from_peers",
    "bytes_requested_by_peers",
    "fragments_requested_by_peers",
    "bytes_requested_from_peers",
    "fragments_requested_from_peers",
    "bytes_received_from_server",
    "fragments_received_from_server",
    "bytes_received_from_ip_multicast",
    "fragments_received_from_ip_multicast",
    "receive_control_bytes_per_second",
    "receive_data_bytes_per_second",
    "receive_data_bytes_per_second_from_ip_multicast",
    "receive_data_bytes_per_second_from_server",
    "send_control_bytes_per_second",
    "send_control_bytes_per_second_to_server",
    "send_data_bytes_per_second",
    "bytes_sent_to_ip_multicast",
    "fragments_sent_to_ip_multicast",
    "control_bytes_to_peers",
    "control_bytes_to_server",
    "control_bytes_from_peers",
    "access_units",
    "access_unit_bytes",
    "lost",
    "repaired",
    "repaired_by_parity",
    "repaired_by_peer",
    "repaired_by_publisher",
    "late",
    "duplicate",
    "orphan",
    "replay",
    "forged",
    "malformed",
    "unkept",
    "shed",
    "skipped",
    "overflowed",
    "multicast_loss",
    "parity_percent",
    "reporters",
    "reported_loss_p50",
    "reported_loss_p95",
    "reported_loss_max",
    "newest",
    "clock_error",
    "since_last_fragment",
    "distance_to_live_edge",
    "window_bytes",
    "suppliers",
    "consumers",
    "neighbours",
    "viewers",
    "udp_bytes_sent",
    "udp_datagrams_sent",
    "udp_bytes_received",
    "udp_datagrams_received",
    "bitrate",
    "uplink_ratio",
    "playout_delay",
    "latest",
    "health",
    "player",
];

/// What `player` tells of a viewer without an output.
const PLAYER: [&str; 13] = [
    "pictures_shown",
    "pictures_dropped",
    "pictures_late",
    "pictures_repeated",
    "stood",
    "undecodable",
    "underruns",
    "concealed",
    "av_offset",
    "av_offset_worst",
    "buffer",
    "grown",
    "delay",
];

const PATH: [&str; 7] = ["from", "to", "cause", "interface", "last_media_time", "retry_after", "code"];

/// What each other event tells beside its name and its time.
const EVENTS: [(&str, &[&str]); 17] = [
    ("started", &["role", "group", "name", "pid", "endpoint", "ticket", "addresses"]),
    ("opened", &["key", "epoch", "tracks"]),
    ("first_access_unit", &["track", "dts", "pts", "key", "since_start"]),
    ("gap", &["track", "from", "to", "cause"]),
    ("quality", &["from", "to", "cause"]),
    ("reset", &["old", "new"]),
    ("verdict", &["from", "to", "reason", "code", "path", "last_media_time", "since_last_fragment"]),
    ("path", &PATH),
    ("path_due", &PATH),
    ("path_verdict", &["path", "from", "to", "reason"]),
    ("control_plane", &["to", "code"]),
    ("foreign", &["tracks"]),
    ("closed", &["cause", "reason", "code"]),
    ("neighbour", &["peer", "up"]),
    ("part", &["output"]),
    ("warning", &["code", "message"]),
    ("error", &["code", "message"]),
];
/// What a publisher tells besides when it starts.
const PUBLISHER: [&str; 4] = ["key", "epoch", "epoch_t", "tracks"];

fn fields(event: &Value) -> Vec<&'static str> {
    match event["event"].as_str().expect("a name") {
        "stats" => STATS.to_vec(),
        "ended" => [&STATS[..], &["cause", "bytes"]].concat(),
        name => {
            let told = EVENTS.iter().find(|(told, _)| *told == name);
            let fields = told.unwrap_or_else(|| panic!("unknown event {event}")).1;
            let publisher: &[&str] = if event["role"] == "publisher" { &PUBLISHER } else { &[] };
            [fields, publisher].concat()
        }
    }
}

/// Every event that a publisher or a viewer tells has its name, its time, and what its readers count on.
pub(super) fn check_schema(events: &[Value]) {
    let mut before = 0.0;
    for event in events {
        let t = event["t"].as_f64().expect("a time");
        assert!(t >= before, "{event}");
        before = t;
        let told = event.as_object().expect("an object");
        let missing: Vec<_> = fields(event).into_iter().filter(|name| !told.contains_key(*name)).collect();
        assert!(missing.is_empty(), "{missing:?} missing in {event}");
        if let Some(player) = told.get("player").and_then(Value::as_object) {
            let missing: Vec<_> = PLAYER.iter().filter(|name| !player.contains_key(**name)).collect();
            assert!(missing.is_empty(), "{missing:?} missing in {event}");
        }
    }
    check_end(events);
}

/// A viewer that has ended told once that its subscription is over, and nothing of it behind.
fn check_end(events: &[Value]) {
    let is = |event: &Value, names: &[&str]| names.iter().any(|name| event["event"] == *name);
    let viewer = events.iter().any(|event| event["role"] == "viewer");
    let Some(end) = events.iter().position(|event| is(event, &["ended", "error"])).filter(|_| viewer) else {
        return;
    };
    let closed: Vec<_> = (0..events.len()).filter(|at| is(&events[*at], &["closed"])).collect();
    assert!(matches!(closed[..], [at] if at < end), "{closed:?} {end}: {events:#?}");
    let behind = &events[closed[0] + 1..];
    assert!(!behind.iter().any(|event| is(event, &["verdict", "path", "gap", "opened"])), "{behind:#?}");
}

#[test]
fn all_that_is_told_is_written_down() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md");
    let page = fs::read_to_string(page).expect("docs/events.md");
    let fields = EVENTS.iter().flat_map(|(name, fields)| [&[*name], *fields].concat());
    let all = fields.chain(STATS).chain(PUBLISHER).chain(PLAYER).chain(["ended", "stats", "bytes"]);
    let missing: Vec<_> = all.filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/events.md lacks {missing:?}");
}
