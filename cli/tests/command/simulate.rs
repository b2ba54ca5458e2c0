use std::fs;
use std::path::Path;

use serde_json::Value;

use super::process::{Finished, Room};

/// The least that a scenario has.
const LEAST: &str = "description = \"small\"\nduration_s = 3\n[viewers]\ncount = 3\n";

/// Runs a scenario to its end, in which nothing may go wrong; returns its object.
fn simulated(room: &Room, line: &[&str]) -> (Value, Finished) {
    let finished = room.run(&[&["simulate"], line, &["--json"]].concat());
    assert_eq!(finished.code, 0, "{line:?}: {finished:?}");
    assert_eq!(finished.stdout.lines().count(), 1, "{line:?}: {finished:?}");
    (serde_json::from_str(&finished.stdout).expect("JSON"), finished)
}

fn written(room: &Room, text: &str) {
    fs::write(room.path("own.toml"), text).unwrap();
}

#[test]
fn every_shipped_scenario_runs_by_its_name() {
    let room = Room::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/scenarios");
    let files = fs::read_dir(folder).expect("the scenarios are there");
    let names: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert!(names.len() >= 4);
    for path in names {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let (told, _) = simulated(&room, &[name, "--peers", "5", "--duration", "11"]);
        assert_eq!((&told["event"], &told["scenario"]), (&"simulated".into(), &name.into()));
        assert_eq!((&told["duration"], &told["viewers"]), (&11.0.into(), &5.into()), "{told}");
        assert!(told["description"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(told["violations"], Value::Array(Vec::new()));
        let help = room.run(&["simulate", "--help"]).stdout;
        assert!(help.contains(name), "the help names {name}");
    }
}

#[test]
fn a_run_is_told_in_numbers_that_agree_with_each_other() {
    let room = Room::new();
    written(&room, &LEAST.replace("duration_s = 3", "duration_s = 8"));
    let (told, finished) = simulated(&room, &["own.toml", "--seed", "5"]);
    assert_eq!(finished.stderr, "");
    let number = |pointer: &str| told.pointer(pointer).and_then(Value::as_f64).expect(pointer);
    assert_eq!([number("/viewers"), number("/served"), number("/alive")], [3.0, 3.0, 3.0], "{told}");
    assert_eq!([number("/continuity"), number("/continuity_worst"), number("/missing")], [1.0, 1.0, 0.0]);
    assert!(number("/due") > 1_000.0 && number("/due") == number("/on_time"), "{told}");
    assert!(number("/delay/p50") <= number("/delay/p99") && number("/delay/p99") <= number("/delay/max"));
    assert!((0.001..0.2).contains(&number("/delay/p50")), "{told}");
    assert!((0.001..0.5).contains(&number("/first_access_unit/max")), "{told}");
    assert!((1.0..4.0).contains(&number("/upload/publisher")), "{told}");
    assert!((1.0 / 3.0..=1.0).contains(&number("/upload/jain")), "{told}");
    assert!((0.0..0.2).contains(&number("/redundancy")) && (0.0..0.1).contains(&number("/control")));
    assert!(number("/wall") > 0.0 && number("/steps_per_second") > 100.0);
    assert_eq!(told["paths"], serde_json::json!({ "mesh": 3 }));
    let hosts = told["hosts"].as_array().expect("hosts");
    let roles: Vec<_> = hosts.iter().map(|host| host["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["publisher", "viewer", "viewer", "viewer"]);
    let seconds = told["continuity_by_second"].as_array().expect("seconds");
    assert!(seconds.len() > 3 && seconds.contains(&serde_json::json!([3, 1.0])), "{told}");
}

#[test]
fn the_seed_decides_everything() {
    let room = Room::new();
    written(&room, LEAST);
    let digest = |line: &[&str]| simulated(&room, line).0["digest"].clone();
    let first = digest(&["own.toml"]);
    assert_eq!(first, digest(&["own.toml", "--seed", "1"]));
    assert_ne!(first, digest(&["own.toml", "--seed", "2"]));
}

#[test]
fn everything_that_a_scenario_may_say_is_done() {
    let room = Room::new();
    written(&room, include_str!("everything.toml"));
    let (told, finished) = simulated(&room, &["own.toml"]);
    let expected = [
        "   1.0 s: join 2 viewers for 0.5 s",
        "   2.0 s: block-multicast viewer 1 for 0.5 s",
        "   2.5 s: stop-queries for 0.5 s",
        "   3.0 s: cut viewer 2 for 0.2 s",
        "   3.0 s: unplug viewer 3 for 0.2 s",
        "   3.5 s: stop busiest viewer for 0.3 s",
        "   4.0 s: pause-source for 0.3 s",
        "   4.5 s: block-udp for 0.1 s",
        "   5.0 s: leave viewer 4",
        "   5.5 s: kill 50 % of the viewers",
        "   6.0 s: kill publisher",
    ];
    assert_eq!(finished.stderr.lines().collect::<Vec<_>>(), expected, "{told}");
    // Six, and two that joined later; one left, and half of the other seven were killed.
    assert_eq!((&told["viewers"], &told["alive"]), (&8.into(), &3.into()), "{told}");
    let hosts = told["hosts"].as_array().expect("hosts");
    assert_eq!(hosts.iter().filter(|host| host["role"] == "hostile").count(), 1, "{told}");
}

#[test]
fn people_get_a_table_and_a_page() {
    let room = Room::new();
    let text = LEAST.replace("small", "<script>alert('x')</script>");
    written(&room, &text);
    let finished = room.run(&["simulate", "own.toml", "--report", "page.html"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    for row in ["viewers served      3 of 3", "delay               p50 ", "rules broken        0"] {
        assert!(finished.stdout.contains(row), "{row}: {}", finished.stdout);
    }
    let page = fs::read_to_string(room.path("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("<svg").count(), 6);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    assert!(!page.contains("http") && !page.contains("NaN"), "it needs nothing from outside");
}

#[test]
fn swarms_of_several_sizes_are_compared() {
    let room = Room::new();
    written(&room, LEAST);
    let finished = room.run(&["simulate", "own.toml", "--peers", "2,5", "--report", "page.html"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let cells = |heading: &str| {
        let line = finished.stdout.lines().find_map(|line| line.strip_prefix(heading)).expect("a row");
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(cells("viewers"), ["2", "5"]);
    let neighbours = cells("neighbours");
    assert!(neighbours[0] == "2.0, most 2" && neighbours[1].ends_with("most 5"), "{neighbours:?}");
    assert!(cells("delay p99").iter().all(|cell| cell.ends_with(" ms")), "{}", finished.stdout);
    assert!(finished.stderr.contains("2 viewers:\n") && finished.stderr.contains("5 viewers:\n"));
    let page = fs::read_to_string(room.path("page.html")).unwrap();
    assert!(page.ends_with("</html>\n") && !page.contains("http") && !page.contains("NaN"));
    assert_eq!(page.matches("<svg").count(), 8);

    let finished = room.run(&["simulate", "own.toml", "--peers", "2,5", "--json"]);
    let runs: Vec<Value> =
        finished.stdout.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(runs.iter().map(|run| &run["viewers"]).collect::<Vec<_>>(), [2, 5]);
}

#[test]
fn a_scenario_that_makes_no_sense_is_refused_with_its_place() {
    let deed = |rest: &str| format!("{LEAST}[[deed]]\nat_s = 1\n{rest}\n");
    let cases = [
        ("description = ".to_owned(), "own.toml, line 1: `description =`"),
        (LEAST.replace("count = 3", ""), "missing field `count`"),
        (format!("{LEAST}colour = 1\n"), "own.toml, line 5: `colour = 1`: unknown field `colour`, expected"),
        (LEAST.replace("count = 3", "count = \"many\""), "line 4: `count = \"many\"`: invalid type"),
        (LEAST.replace("count = 3", "count = 0"), "viewers.count: 0 is out of range: give 1 to 20000"),
        (LEAST.replace("duration_s = 3", "duration_s = nan"), "duration_s: NaN is out of range"),
        (format!("{LEAST}churn = 1.5\n"), "viewers.churn: 1.5 is out of range: give 0 to 1"),
        (format!("{LEAST}playout_delay_ms = 10\n"), "viewers.playout_delay_ms: 10 is out of range: give 50"),
        (format!("{LEAST}[stream]\nrate = \"fast\"\n"), "such as 800k or 20M"),
        (format!("{LEAST}[stream]\nrate = \"100k\"\n"), "stream.rate: 100000 is out of range"),
        (format!("{LEAST}[stream]\npictures_per_second = 7\n"), "give 25, 30, 50 or 60"),
        (format!("{LEAST}[stream]\nmulticast = \"10.0.0.1\"\n"), "10.0.0.1 is no multicast address"),
        (format!("{LEAST}[stream]\naudio = \"mp3\"\n"), "expected one of `aac`, `opus`, `off`"),
        (format!("{LEAST}[network]\nloss = 2\n"), "network.loss: 2 is out of range: give 0 to 0.5"),
        (format!("{LEAST}[line]\nlatency_ms = \"far\"\n"), "a number, or a range such as [5, 75]"),
        (format!("{LEAST}[line]\nlatency_ms = [9, 5]\n"), "line.latency_ms: 5 is out of range: give 9"),
        (deed("do = \"dance\""), "unknown variant `dance`, expected one of `join`"),
        (deed("do = \"kill\""), "deed[1]: `kill` needs who = \"publisher\" or \"viewer N\""),
        (deed("do = \"kill\"\nwho = \"viewer 4\""), "deed[1].who: there is no viewer 4: give 1 to 3"),
        (deed("do = \"kill\"\nwho = \"me\""), "`me` is nobody"),
        (deed("do = \"kill\"\nwho = \"publisher\"\nshare = 0.5"), "either `who` or `share`"),
        (deed("do = \"leave\"\nwho = \"viewer 1\"\nfor_s = 1"), "deed[1].for_s: `leave` takes who: leave it"),
        (deed("do = \"cut\"\nwho = \"busiest\""), "the busiest can be killed or stopped only"),
        (deed("do = \"join\"").replace("at_s = 1", "at_s = 4"), "deed[1].at_s: 4 is out of range"),
        (format!("{LEAST}[[hostile]]\nalter = -1\n"), "hostile[1].alter: -1 is out of range"),
    ];
    let room = Room::new();
    for (text, advice) in cases {
        written(&room, &text);
        refused(&room, &["own.toml"], "bad-scenario", advice);
    }
}

#[test]
fn shares_of_more_than_all_are_refused() {
    let room = Room::new();
    let others = "[[others]]\nshare = 0.6\nline = { up = \"1M\" }\n";
    written(&room, &format!("{LEAST}{}", others.repeat(2)));
    refused(&room, &["own.toml"], "bad-scenario", "others: the shares make 1.2: at most 1 in all");
}

#[test]
fn files_that_cannot_be_had_are_named() {
    let room = Room::new();
    refused(&room, &["none.toml"], "bad-scenario", "office, wifi, campus, internet, flash-crowd, storm");
    let report = ["office", "--report", "none/page.html"];
    refused(&room, &report, "bad-output", "none/page.html: No such file");
    for (line, advice) in [
        (&["simulate"][..], "<SCENARIO>"),
        (&["simulate", "office", "--peers", "0"], "1..=20000"),
        (&["simulate", "office", "--seed", "x"], "--seed"),
        (&["simulate", "office", "--duration", "0"], "more than 0"),
    ] {
        let finished = room.run(line);
        assert_eq!(finished.code, 2, "{line:?}: {finished:?}");
        assert!(finished.stderr.contains(advice), "{line:?}: {}", finished.stderr);
    }
}

/// Runs into a refusal: exit code 3, one line for people, one `error` event for programs.
fn refused(room: &Room, line: &[&str], code: &str, advice: &str) {
    let finished = room.run(&[&["simulate"], line, &["--json"]].concat());
    let event: Value = serde_json::from_str(&finished.stdout).unwrap_or_default();
    assert_eq!((finished.code, &event["code"]), (3, &code.into()), "{advice}: {finished:?}");
    let message = event["message"].as_str().expect("a message");
    assert!(message.contains(advice), "{advice}: {message}");
    assert_eq!(finished.stderr, format!("error: {message}\n"));
}
