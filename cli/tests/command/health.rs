use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use serde_json::Value;

use super::process::{Room, Told, ticket};
use super::schema::check_schema;

/// Longest time from the death of a publisher to `dead`: 5 s, and one for a busy machine.
const DEAD_MAX: f64 = 6.0;
/// Longest time from the death of a publisher to the fallback URL's first picture.
const FOREIGN_MAX: f64 = 3.0;

fn t(event: &Value) -> f64 {
    event["t"].as_f64().expect("a time")
}

/// Kills it and returns when, on the clock of the events.
fn kill(told: &mut Told) -> f64 {
    let uptime = fs::read_to_string("/proc/uptime").expect("Linux");
    told.signal("KILL");
    told.finish();
    uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).expect("a number")
}

/// Serves a file to whoever connects, as the plainest of HTTP servers does, for as long as the process lives.
fn serve(file: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/live.ts", listener.local_addr().expect("an address"));
    let body = Arc::new(fs::read(file).expect("a file"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let body = Arc::clone(&body);
            // A player that has seen enough hangs up, which ends the thread.
            thread::spawn(move || answer(stream, &body));
        }
    });
    url
}

fn answer(mut stream: TcpStream, body: &[u8]) -> std::io::Result<()> {
    let request = BufReader::new(stream.try_clone()?);
    for line in request.lines() {
        if line?.is_empty() {
            break;
        }
    }
    stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)
}

#[test]
fn a_publisher_that_is_killed_is_told_from_one_that_ends() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&publisher.expect("started"));
    let mut viewer = Told::start(&room, &room.play(&["--peer", &ticket]));
    viewer.expect("first_access_unit");
    viewer.expect_where("stats", |stats| stats["health"]["verdict"] == "live");
    let killed = kill(&mut publisher);

    let starved = viewer.expect_where("verdict", |verdict| verdict["to"] == "starved");
    assert_eq!(starved["code"], "NetStream.Multicast.Starved");
    assert!(starved["last_media_time"].as_f64() > Some(0.0), "{starved}");
    let closed = viewer.expect("closed");
    assert_eq!((&closed["cause"], &closed["reason"]), (&"dead".into(), &"publisher-gone".into()));
    assert!(t(&starved) < t(&closed) && t(&closed) - killed < DEAD_MAX, "{killed} {starved} {closed}");
    let error = viewer.expect("error");
    assert_eq!(
        (&error["code"], &error["status"]),
        (&"source-gone".into(), &"NetStream.Multicast.Dead".into())
    );
    assert_eq!(viewer.finish(), Some(8));
    check_schema(&viewer.events);
    let dead = viewer.events.iter().filter(|event| event["event"] == "verdict" && event["to"] == "dead");
    assert_eq!(dead.count(), 1);
}

#[test]
fn a_dead_stream_is_waited_for_when_asked() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&publisher.expect("started"));
    let mut viewer = Told::start(&room, &room.play(&["--peer", &ticket, "--wait"]));
    viewer.expect("first_access_unit");
    kill(&mut publisher);
    viewer.expect_where("verdict", |verdict| verdict["to"] == "dead");
    let mut publisher = Told::start(&room, &room.publish(&[]));
    publisher.expect("started");
    viewer.expect("reset");
    viewer.expect_where("verdict", |verdict| verdict["to"] == "live");
    publisher.signal("INT");
    let closed = viewer.expect("closed");
    assert_eq!((&closed["cause"], &closed["reason"]), (&"ended".into(), &Value::Null));
    assert_eq!(viewer.finish(), Some(0));
    check_schema(&viewer.events);
}

#[test]
fn a_fallback_url_plays_while_the_swarm_cannot_deliver() {
    let room = Room::new();
    // Four times the clip, so that it does not come to its end before the publisher is back.
    let copy = ["-stream_loop", "3", "-i", room.clip(), "-c", "copy", "-f", "mpegts", "live.ts"];
    room.ffmpeg("ffmpeg", &copy);
    let url = serve(room.path("live.ts"));
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&publisher.expect("started"));
    let rest = ["--peer", &ticket, "--fallback-url", &url, "--hold-down", "0.5", "--output", "x.mkv"];
    let mut viewer = Told::start(&room, &room.play(&rest));
    viewer.expect("first_access_unit");
    let killed = kill(&mut publisher);
    viewer.expect_where("path", |path| path["to"] == "foreign");
    let foreign = viewer.expect("foreign");
    assert!(t(&foreign) - killed < FOREIGN_MAX, "{killed} {foreign}");
    viewer.expect_where("verdict", |verdict| verdict["to"] == "dead");

    let mut publisher = Told::start(&room, &room.publish(&[]));
    publisher.expect("started");
    let healed = viewer.expect_where("path", |path| path["from"] == "foreign");
    assert_eq!(healed["cause"], "healed");
    viewer.expect("opened");
    viewer.expect_where("part", |part| part["output"] == "x.2.mkv");
    publisher.signal("INT");
    assert_eq!(viewer.expect("ended")["cause"], "ended");
    assert_eq!(viewer.finish(), Some(0));
    check_schema(&viewer.events);
    for part in ["x.mkv", "x.1.mkv", "x.2.mkv"] {
        room.ffmpeg("ffmpeg", &["-xerror", "-i", part, "-f", "null", "-"]);
    }
}

#[test]
fn a_fallback_url_that_fails_leaves_the_reason_why_the_stream_died() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&publisher.expect("started"));
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|closed| closed.local_addr()).expect("a port");
    let url = format!("http://{nobody}/live.ts");
    let mut viewer = Told::start(&room, &room.play(&["--peer", &ticket, "--fallback-url", &url]));
    viewer.expect("first_access_unit");
    kill(&mut publisher);
    let warning = viewer.expect("warning");
    assert_eq!(warning["code"], "foreign-lost");
    assert!(warning["message"].as_str().is_some_and(|message| message.contains(&url)), "{warning}");
    assert_eq!(viewer.expect("closed")["reason"], "publisher-gone");
    assert_eq!(viewer.finish(), Some(8));
    check_schema(&viewer.events);
}
