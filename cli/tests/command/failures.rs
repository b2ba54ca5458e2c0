use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::process::{Finished, Room, Told, ticket};

/// Runs the binary to its failure: one line on standard error that says what to do, and one `error` event.
fn fails(room: &Room, line: &[&str], code: i32, name: &str, advice: &str) {
    check(line, room.run(&[line, &["--json", "--iface", "lo"]].concat()), code, name, advice);
}

fn check(line: &[&str], finished: Finished, code: i32, name: &str, advice: &str) {
    let last = finished.stdout.lines().last().unwrap_or_default();
    let event: Value = serde_json::from_str(last).unwrap_or_default();
    assert_eq!((finished.code, &event["code"]), (code, &name.into()), "{line:?}: {finished:?}");
    assert_eq!(event["event"], "error");
    let message = event["message"].as_str().expect("a message");
    assert!(message.contains(advice), "{line:?}: {message}");
    assert_eq!(finished.stderr, format!("error: {message}\n"));
}

#[test]
fn what_cannot_be_read_is_named() {
    let room = Room::new();
    fs::write(room.path("text.txt"), "no media").unwrap();
    fs::write(room.path("short.key"), "too short\n").unwrap();
    fails(&room, &room.publish_input("none.mkv", &[]), 3, "bad-input", "none.mkv");
    fails(&room, &room.publish_input("text.txt", &[]), 3, "bad-input", "give a media file");
    fails(&room, &room.publish(&["--group-key", "none.key"]), 3, "bad-group-key", "openssl rand");
    fails(&room, &room.publish(&["--group-key", "short.key"]), 3, "bad-group-key", "16 to 4096 bytes");
    fails(&room, &room.publish(&["--data", "none.json"]), 3, "bad-data-input", "can be read");
    fails(&room, &room.publish(&["--state-dir", "text.txt"]), 3, "bad-state", "--state-dir");
    fails(&room, &room.play(&["--data", "none/data.json"]), 3, "bad-data-output", "can be written");
}

#[test]
fn devices_without_their_library_are_told_and_files_need_none() {
    let room = Room::new();
    // Whatever version is installed, the loader finds these first, and refuses them.
    for major in 58..80 {
        fs::write(room.path(&format!("libavdevice.so.{major}")), "").unwrap();
    }
    let line = room.publish_input("lavfi:testsrc2", &["--json", "--iface", "lo"]);
    let mut command = room.command(&line);
    let finished = Finished::from(command.env("LD_LIBRARY_PATH", room.path(".")).output().unwrap());
    check(&line, finished, 3, "bad-input", "install ffmpeg's libavdevice");
    let version = room.command(&["--version"]).env("LD_LIBRARY_PATH", room.path(".")).output().unwrap();
    assert!(version.status.success(), "nothing else loads it: {version:?}");
}

#[test]
fn a_port_or_an_interface_that_cannot_be_had_is_named() {
    let room = Room::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fails(&room, &room.play(&["--port", &port]), 7, "port-in-use", &port);
    fails(&room, &room.play(&["--iface", "none0"]), 7, "unknown-interface", "none0");
}

#[test]
fn a_stream_that_is_not_there_is_told_with_what_is() {
    let room = Room::new();
    fails(&room, &room.play(&["--wait", "0.2", "--peer", "127.0.0.1:9"]), 5, "no-peer", "--group-key");
    let list = ["list", "--group", room.group(), "--wait", "0.2"];
    fails(&room, &list, 4, "group-not-found", "--peer IP:PORT");

    let mut publisher = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&publisher.expect("started"));
    let other = ["play", "cat", "--group", room.group(), "--wait", "2", "--peer", &ticket];
    fails(&room, &other, 4, "stream-not-found", "has cam;");
}

#[test]
fn an_output_that_cannot_be_written_is_told_once_the_stream_is_there() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&publisher.expect("started"));
    let play = |rest: &[&'static str]| room.play(&[&["--peer", ticket.as_str(), "--output"], rest].concat());
    fails(&room, &play(&["none/x.mkv"]), 3, "bad-output", "none/x.mkv");
    fails(&room, &play(&["x.what"]), 3, "bad-output", ".mkv");
    fails(&room, &play(&["x.mkv", "--format", "what"]), 3, "bad-output", "format");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let room = Room::new();
    let line = room.publish(&[]);
    let mut publisher = Told::start(&room, &line);
    let first = publisher.expect("started");
    publisher.signal("KILL");
    publisher.finish();

    let files = fs::read_dir(room.path("state/swarmcast/streams")).unwrap();
    let mut files = files.map(|entry| entry.unwrap().path());
    let key = files.find(|path| path.extension() == Some("key".as_ref())).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fails(&room, &line, 3, "bad-state", "chmod 600");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let mut publisher = Told::start(&room, &line);
    let second = publisher.expect("started");
    assert_eq!(second["key"], first["key"]);
    assert!(second["epoch"].as_u64() > first["epoch"].as_u64());
    publisher.signal("KILL");
    publisher.finish();
    fs::write(&key, "damaged").unwrap();
    fails(&room, &line, 3, "bad-state", "publish under a new key");
}

#[test]
fn two_keys_under_one_name_are_listed() {
    let room = Room::new();
    let other = room.beside();
    let (mut one, mut two) =
        (Told::start(&room, &room.publish(&[])), Told::start(&other, &other.publish(&[])));
    let (one, two) = (one.expect("started"), two.expect("started"));
    let (first, second) = (ticket(&one), ticket(&two));
    let both = ["--peer", first.as_str(), "--peer", second.as_str()];
    // Who hears of one long before the other stays with it, so it may take several attempts to hear of both.
    let line = room.play(&[&both[..], &["--duration", "0.5", "--json", "--iface", "lo"]].concat());
    let mut attempts = (0..20).map(|_| room.run(&line));
    let refused = attempts.find(|finished| finished.code != 0).expect("both are heard of in time");
    check(&line, refused, 6, "ambiguous-name", "--publisher");

    let pinned = [&both[..], &["--publisher", two["key"].as_str().unwrap()]].concat();
    let mut viewer = Told::start(&room, &room.play(&pinned));
    assert_eq!(viewer.expect("opened")["key"], two["key"]);
}

#[test]
fn a_newer_run_takes_the_name() {
    let room = Room::new();
    let mut older = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&older.expect("started"));
    let mut newer = Told::start(&room, &room.publish(&["--peer", &ticket]));
    newer.expect("started");
    let error = older.expect("error");
    assert_eq!((&error["code"], &error["status"]), (&"bad-name".into(), &"NetStream.Publish.BadName".into()));
    assert_eq!(older.finish(), Some(6));
    newer.expect("stats");
    newer.signal("INT");
    assert_eq!(newer.finish(), Some(0));
}
