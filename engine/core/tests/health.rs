//! The machines of health and delivery, spelt out: every state and every event stands in `snapshots/machines.txt`,
//! and the graphs in `docs/health.md` are drawn from the same tables. `REWRITE=1 cargo test --test health` renews both.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use swarmcast_core::health::{Machine, machines};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compares a file with what it should say, or has it say that.
fn compare(path: &Path, found: &str, expected: &str) {
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(path, expected).expect("the file can be written");
    } else if found != expected {
        let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        panic!("{} differs from the tables; first: {differs:#?}\nREWRITE=1 renews it", path.display());
    }
}

/// One line for every state and event.
fn spell(machine: &Machine) -> String {
    let mut text = format!("{}\n", machine.name);
    for (state, (next, acts)) in machine.states.iter().zip(machine.next.iter().zip(&machine.acts)) {
        for (event, (to, act)) in machine.events.iter().zip(next.iter().zip(acts)) {
            let to = &machine.states[*to];
            let note = if to == state { "  =" } else { "" };
            let act = if act.is_empty() { String::new() } else { format!(" / {act}") };
            let _ = writeln!(text, "  {state:<11} {event:<16} {to}{act}{note}");
        }
    }
    text
}

/// The machine as a Mermaid state diagram: arrows that lead elsewhere, events of the same arrow on one label.
fn draw(machine: &Machine) -> String {
    let mut text = format!("```mermaid\nstateDiagram-v2\n    [*] --> {}\n", machine.states[0]);
    for (at, state) in machine.states.iter().enumerate() {
        for (to, target) in machine.states.iter().enumerate() {
            let cells = machine.events.iter().zip(machine.next[at].iter().zip(&machine.acts[at]));
            let labels: Vec<_> = cells
                .filter(|(_, (next, act))| **next == to && (to != at || !act.is_empty()))
                .map(
                    |(event, (_, act))| {
                        if act.is_empty() { event.clone() } else { format!("{event} / {act}") }
                    },
                )
                .collect();
            if !labels.is_empty() {
                let _ = writeln!(text, "    {state} --> {target}: {}", labels.join(", "));
            }
        }
    }
    text + "```\n"
}

#[test]
fn every_state_and_event_is_as_written_down() {
    let path = file("tests/snapshots/machines.txt");
    let spelt: Vec<_> = machines().iter().map(spell).collect();
    compare(&path, &std::fs::read_to_string(&path).unwrap_or_default(), &spelt.join("\n"));
}

#[test]
fn the_graphs_are_drawn_from_the_tables() {
    let path = file("../../docs/health.md");
    let found = std::fs::read_to_string(&path).expect("docs/health.md is readable");
    let mut expected = found.clone();
    for machine in machines() {
        let (open, close) = (format!("<!-- graph: {} -->\n", machine.name), "<!-- end of graph -->");
        let start =
            expected.find(&open).unwrap_or_else(|| panic!("no graph of {}", machine.name)) + open.len();
        let end = start + expected[start..].find(close).expect("every graph ends");
        expected.replace_range(start..end, &draw(&machine));
    }
    compare(&path, &found, &expected);
}

/// Returns the text of all files below a folder, one after the other.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("its entries are readable").path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text += &std::fs::read_to_string(&path).expect("the source is readable");
        }
    }
    text
}

#[test]
fn every_reason_is_held_by_a_test_that_exists() {
    let doc = std::fs::read_to_string(file("../../docs/health.md")).expect("docs/health.md is readable");
    let tests = sources(&file("src/health/tests"));
    let scenarios = sources(&file("../../cli/lab/src/scenario"));
    let table =
        doc.split("## Reasons").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a chapter");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let mut reasons = 0;
    for row in rows {
        reasons += 1;
        let held = row.rsplit('|').nth(1).expect("a last column");
        let names: Vec<_> = held.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            let exists = if name.starts_with("fault-") {
                scenarios.contains(&format!("\"{name}\""))
            } else {
                tests.contains(&format!("fn {name}("))
            };
            assert!(exists, "{name} holds nothing: {row}");
        }
    }
    assert_eq!(reasons, 12, "a row for every reason");
}

#[test]
fn every_machine_is_total_and_ends_where_it_should() {
    for machine in machines() {
        assert_eq!(machine.next.len(), machine.states.len(), "{}", machine.name);
        for row in &machine.next {
            assert_eq!(row.len(), machine.events.len(), "{}", machine.name);
            assert!(row.iter().all(|to| *to < machine.states.len()), "{}", machine.name);
        }
    }
    let [stream, closure, ..] = machines();
    let forever = |machine: &Machine, name: &str| {
        let at = machine.states.iter().position(|state| state == name).expect(name);
        machine.next[at].iter().all(|to| *to == at)
    };
    assert!(forever(&stream, "Ended"));
    for state in &closure.states {
        assert_eq!(forever(&closure, state), state != "Open", "{state} closes once");
    }
    // Nothing but a fragment makes a stream live, apart from the end of losses in one that delivers.
    for (state, row) in stream.states.iter().zip(&stream.next) {
        for (event, to) in stream.events.iter().zip(row) {
            let proof = event == "Fragment" || (state == "Degraded" && event == "Clean") || state == "Live";
            assert!(stream.states[*to] != "Live" || proof, "{state} is live by {event}");
        }
    }
}
