use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::{Room, Told, ticket};
use super::schema::check_schema;

/// Returns size and hash of each packet of a track, in order.
fn packets(room: &Room, file: &str, track: &str) -> Vec<String> {
    let probe = ["-show_entries", "packet=size,data_hash", "-show_data_hash", "md5", "-of", "csv=p=0"];
    let listed = room.ffmpeg("ffprobe", &[&probe[..], &["-select_streams", track, file]].concat());
    listed.lines().map(str::to_owned).collect()
}

/// Returns the size in bytes of each packet of a track.
fn sizes(room: &Room, file: &str, track: &str) -> Vec<u64> {
    let packets = packets(room, file, track);
    let size = |packet: &String| packet.split(',').next().and_then(|size| size.parse().ok());
    packets.iter().map(|packet| size(packet).expect("a size")).collect()
}

/// A counter grows from each report to the next, up to the end.
fn check_growth(events: &[Value], counter: &str) {
    let told = events.iter().filter(|event| event["event"] == "stats" || event["event"] == "ended");
    let values: Vec<u64> = told.map(|event| event[counter].as_u64().expect("a number")).collect();
    assert!(values.is_sorted() && values.first() < values.last(), "{counter}: {values:?}");
}

#[test]
fn two_viewers_record_what_one_publishes() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let started = publisher.expect("started");
    assert_eq!(
        (&started["role"], &started["status"]),
        (&"publisher".into(), &"NetStream.Publish.Start".into())
    );
    assert!(started["epoch_t"].as_f64() <= started["t"].as_f64());
    let ticket = ticket(&started);
    let play = |output| room.play(&["--peer", &ticket, "--duration", "3", "--output", output]);
    let mut viewers = ["one.mkv", "two.mp4"].map(|output| Told::start(&room, &play(output)));
    for viewer in &mut viewers {
        let opened = viewer.expect("opened");
        assert_eq!((&opened["key"], &opened["epoch"]), (&started["key"], &started["epoch"]));
        assert_eq!(opened["tracks"], started["tracks"]);
        let first = viewer.expect("first_access_unit");
        assert!(first["since_start"].as_f64().is_some_and(|seconds| seconds > 0.0));
        viewer.expect_where("stats", |stats| stats["latest"]["closed"].as_f64() > Some(0.0));
        let ended = viewer.expect("ended");
        assert_eq!((&ended["cause"], &ended["status"]), (&"duration".into(), &"NetStream.Play.Stop".into()));
        assert!(ended["access_units"].as_u64() > Some(100), "{ended}");
        assert_eq!(viewer.finish(), Some(0));
        check_schema(&viewer.events);
    }
    publisher.signal("INT");
    assert_eq!(publisher.expect("ended")["cause"], "local");
    assert_eq!(publisher.finish(), Some(0));
    check_schema(&publisher.events);
    check_growth(&publisher.events, "udp_bytes_sent");
    for (viewer, output) in viewers.iter().zip(["one.mkv", "two.mp4"]) {
        check_growth(&viewer.events, "udp_bytes_received");
        let ended = viewer.events.last().expect("it ended");
        assert!(ended["udp_bytes_received"].as_u64() > ended["bytes"].as_u64(), "{ended}");
        let sizes: Vec<u64> = ["v:0", "a:0"].iter().flat_map(|track| sizes(&room, output, track)).collect();
        let told = (ended["access_units"].as_u64(), ended["bytes"].as_u64());
        assert_eq!(told, (Some(sizes.len() as u64), Some(sizes.iter().sum())), "{output}");
        let codecs = ["-show_entries", "stream=codec_name", "-of", "csv=p=0", output];
        assert_eq!(room.ffmpeg("ffprobe", &codecs), "h264\naac\n");
        room.ffmpeg("ffmpeg", &["-xerror", "-i", output, "-f", "null", "-"]);
    }
}

#[test]
fn a_stream_that_ends_is_delivered_to_its_last_access_unit() {
    let room = Room::new();
    room.ffmpeg("ffmpeg", &["-i", room.clip(), "-t", "4", "-c", "copy", "short.mkv"]);
    let mut viewer = Told::start(&room, &room.play(&["--wait", "--output", "seen.mkv"]));
    let ticket = ticket(&viewer.expect("started"));
    let mut publisher = Told::start(&room, &room.publish_input("short.mkv", &["--peer", &ticket]));
    let (sent, seen) = (publisher.expect("ended"), viewer.expect("ended"));
    assert_eq!((&sent["cause"], &seen["cause"]), (&"ended".into(), &"ended".into()));
    assert_eq!(sent["status"], "NetStream.Unpublish.Success");
    assert_eq!(seen["status"], "NetStream.Play.UnpublishNotify");
    assert_eq!((publisher.finish(), viewer.finish()), (Some(0), Some(0)));
    for track in ["v:0", "a:0"] {
        let (source, seen) = (packets(&room, "short.mkv", track), packets(&room, "seen.mkv", track));
        assert!(seen.len() > source.len() / 4, "{} of {}", seen.len(), source.len());
        assert!(source.ends_with(&seen), "{track}: {} of {}", seen.len(), source.len());
    }
}

#[test]
fn data_comes_out_in_order_on_its_lines() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&["--data", "-"]));
    let ticket = ticket(&publisher.expect("started"));
    let play = room.play(&["--peer", &ticket, "--data", "data.jsonl", "--playout-delay", "200"]);
    let mut viewer = Told::start(&room, &play);
    viewer.expect("first_access_unit");
    publisher.write("{\"goal\": 1}\nnot json\n[1, 2]\n\"last\"\n");
    let warning = publisher.expect("warning");
    assert_eq!(warning["code"], "bad-data-line");
    assert!(warning["message"].as_str().is_some_and(|message| message.contains("line 2 is not JSON")));
    let read = || fs::read_to_string(room.path("data.jsonl")).unwrap();
    viewer.expect_where("stats", |_| read().ends_with("\"last\"\n"));
    assert_eq!(read(), "{\"goal\": 1}\n[1, 2]\n\"last\"\n");
    check_schema(&publisher.events);
}

#[test]
fn a_publisher_that_comes_back_is_recorded_on() {
    let room = Room::new();
    let mut viewer = Told::start(&room, &room.play(&["--wait", "--output", "x.mkv"]));
    let ticket = ticket(&viewer.expect("started"));
    let line = room.publish(&["--peer", &ticket]);
    let mut publisher = Told::start(&room, &line);
    let first = publisher.expect("started")["epoch"].as_u64();
    viewer.expect("first_access_unit");
    publisher.signal("KILL");
    publisher.finish();

    let mut publisher = Told::start(&room, &line);
    let second = publisher.expect("started")["epoch"].as_u64();
    let reset = viewer.expect("reset");
    assert_eq!((reset["old"].as_u64(), reset["new"].as_u64()), (first, second));
    assert_eq!(viewer.expect("opened")["epoch"].as_u64(), second);
    let opened = viewer.events.last().and_then(|event| event["t"].as_f64()).expect("a time");
    viewer.expect_where("stats", |stats| stats["latest"]["t"].as_f64() > Some(opened + 0.5));
    viewer.signal("TERM");
    assert_eq!(viewer.expect("ended")["cause"], "local");
    assert_eq!(viewer.finish(), Some(0));
    assert!(viewer.events.iter().all(|event| event["event"] != "part"));
    check_schema(&viewer.events);
    room.ffmpeg("ffmpeg", &["-xerror", "-i", "x.mkv", "-c", "copy", "-f", "null", "-"]);
}

#[test]
fn a_second_signal_does_not_wait_for_a_viewer_that_hangs() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&publisher.expect("started"));
    let mut viewer = Told::start(&room, &room.play(&["--peer", &ticket]));
    viewer.expect("first_access_unit");
    viewer.signal("STOP");
    let asked = Instant::now();
    publisher.signal("INT");
    // Health is told on while the stream lingers; once by chance, twice only if it does.
    publisher.expect("stats");
    publisher.expect("stats");
    publisher.signal("INT");
    assert_eq!(publisher.finish(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    viewer.signal("CONT");
}

#[test]
fn people_are_told_on_standard_error() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&publisher.expect("started"));
    let viewer = room.run(&room.play(&["--iface", "lo", "--peer", &ticket, "--duration", "1.5"]));
    assert_eq!((viewer.code, viewer.stdout.as_str()), (0, ""));
    for told in [
        "looking for cam",
        "found: video h264, audio aac",
        " s behind, lost 0, 1 neighbour; buffer ",
        "ended (duration): ",
    ] {
        assert!(viewer.stderr.contains(told), "{told:?} is missing: {}", viewer.stderr);
    }
    assert!(!viewer.stderr.contains('\x1b'), "no terminal, no control characters: {}", viewer.stderr);
}

#[test]
fn a_player_reads_from_standard_output_and_may_go_away() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&publisher.expect("started"));
    let mut viewer = room.command(&room.play(&["--iface", "lo", "--peer", &ticket, "--output", "-"]));
    let mut viewer = viewer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut head = [0; 188 * 4];
    let mut stdout = viewer.stdout.take().expect("piped");
    stdout.read_exact(&mut head).expect("MPEG-TS");
    assert!(head.iter().step_by(188).all(|sync| *sync == 0x47));
    drop(stdout);
    let finished = viewer.wait_with_output().expect("it ends");
    assert_eq!(finished.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&finished.stderr).contains("ended (output-closed): "));
}

#[test]
fn a_group_lists_its_streams() {
    let room = Room::new();
    fs::write(room.path("group.key"), "0123456789abcdef\n").unwrap();
    let key = ["--group-key", "group.key"];
    let mut publisher = Told::start(&room, &room.publish(&key));
    let started = publisher.expect("started");
    let ticket = ticket(&started);
    let list = ["list", "--group", room.group(), "--wait", "2", "--peer", &ticket];
    let mut lister = Told::start(&room, &[&list[..], &key].concat());
    let group = lister.expect("group");
    assert_eq!((&group["group"], &group["keyed"]), (&room.group().into(), &true.into()));
    let stream = lister.expect("stream");
    assert_eq!((&stream["name"], &stream["key"]), (&"cam".into(), &started["key"]));
    assert_eq!(stream["tracks"], started["tracks"]);
    assert_eq!(lister.finish(), Some(0));

    let for_people = room.run(&[&list[..], &key, &["--iface", "lo"]].concat());
    let group = format!("group {} (keyed): 1 peer, publishing cam\n", room.group());
    assert!(for_people.stdout.starts_with(&group), "{for_people:?}");
    assert!(for_people.stdout.contains("\n  cam: video h264, audio aac, "), "{for_people:?}");

    let without_key = room.run(&[&list[..], &["--iface", "lo"]].concat());
    assert_eq!(without_key.code, 4, "{without_key:?}");
}

#[test]
fn an_open_group_is_found_without_its_name() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let key = publisher.expect("started")["key"].clone();
    let mut lister = Told::start(&room, &["list", "--wait", "3"]);
    let group = lister.expect_where("group", |group| group["group"] == room.group());
    assert_eq!((&group["keyed"], &group["published"]), (&false.into(), &serde_json::json!(["cam"])));
    lister.expect_where("stream", |stream| stream["key"] == key);
}
