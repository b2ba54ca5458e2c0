use serde_json::Value;

use super::process::{Room, Told, ticket};
use super::schema::check_schema;

const LADDER: [&str; 4] = ["--rendition", "640x360@600k", "--rendition", "320x180@150k"];

/// Returns the presentation times, in milliseconds, of a recording's pictures, or of the key pictures alone.
fn times(room: &Room, file: &str, keys: bool) -> Vec<i64> {
    let probe = ["-select_streams", "v:0", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0", file];
    let listed = room.ffmpeg("ffprobe", &probe);
    let fields = listed.lines().map(|line| line.split_once(',').expect("two fields"));
    let wanted = fields.filter(|(_, flags)| !keys || flags.starts_with('K'));
    wanted.map(|(time, _)| (time.parse::<f64>().expect("a time") * 1e3).round() as i64).collect()
}

fn size(room: &Room, file: &str) -> String {
    let probe = ["-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0", file];
    room.ffmpeg("ffprobe", &probe).trim().to_owned()
}

/// Payload of fragments received by any path, over payload of access units written.
fn fetched(ended: &Value) -> f64 {
    let names = ["bytes_pushed_from_peers", "bytes_requested_from_peers", "bytes_received_from_ip_multicast"];
    let fetched: f64 = names.iter().map(|name| ended[*name].as_f64().expect("a number")).sum();
    fetched / ended["bytes"].as_f64().expect("a number")
}

#[test]
fn each_viewer_fetches_the_one_quality_that_it_plays() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&LADDER));
    let started = publisher.expect("started");
    assert_eq!(started["renditions"][1]["size"], "320x180");
    let ticket = ticket(&started);
    let play = |quality, output| {
        room.play(&["--peer", &ticket, "--duration", "5", "--quality", quality, "--output", output])
    };
    let wanted = [("highest", "640,360"), ("lowest", "320,180"), ("400x300", "320,180"), ("0", "640,360")];
    let files: Vec<_> = (0..wanted.len()).map(|place| format!("{place}.mkv")).collect();
    let viewers = wanted.iter().zip(&files);
    let mut viewers: Vec<_> =
        viewers.map(|((quality, _), file)| Told::start(&room, &play(quality, file))).collect();
    let mut bytes = Vec::new();
    for ((viewer, file), (quality, of)) in viewers.iter_mut().zip(&files).zip(wanted) {
        let ended = viewer.expect("ended");
        assert_eq!(viewer.finish(), Some(0));
        check_schema(&viewer.events);
        assert_eq!(size(&room, file), of, "{quality}");
        let fetched = fetched(&ended);
        assert!((1.0..1.25).contains(&fetched), "{quality}: {fetched} times what it wrote");
        let opened = viewer.events.iter().filter(|event| event["event"] == "opened").count();
        assert_eq!(opened, 1, "{quality}: it looked for no other");
        bytes.push(ended["bytes"].as_f64().expect("a number"));
    }
    assert!(bytes[0] > bytes[1] * 2.0, "{bytes:?}");

    let keys: Vec<_> = files.iter().map(|file| times(&room, file, true)).collect();
    let all: Vec<_> = files.iter().map(|file| times(&room, file, false)).collect();
    for other in 1..files.len() {
        let (first, last) = (keys[0][0].max(keys[other][0]), *all[0].last().min(all[other].last()).unwrap());
        let both = |times: &Vec<i64>| -> Vec<i64> {
            times.iter().copied().filter(|time| (first..last).contains(time)).collect()
        };
        assert!(both(&keys[0]).len() >= 3, "{keys:?}");
        assert_eq!(both(&keys[0]), both(&keys[other]), "key pictures are aligned");
        assert_eq!(both(&all[0]), both(&all[other]));
    }
}

#[test]
fn a_programme_is_listed_as_one() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&LADDER));
    let started = publisher.expect("started");
    let ticket = ticket(&started);
    let mut viewer =
        Told::start(&room, &room.play(&["--peer", &ticket, "--quality", "lowest", "--headless"]));
    viewer.expect("first_access_unit");
    // What it plays is another stream, whose key the programme's own catalogue vouches for.
    let key = started["key"].as_str().expect("a key");
    let mut pinned = Told::start(
        &room,
        &room.play(&["--peer", &ticket, "--quality", "lowest", "--publisher", key, "--headless"]),
    );
    let opened = pinned.expect("opened");
    assert_ne!(opened["key"], started["key"]);
    assert_eq!(opened["renditions"], started["renditions"]);
    let mut list = Told::start(&room, &["list", "--group", room.group(), "--peer", &ticket, "--wait", "3"]);
    let stream = list.expect("stream");
    assert_eq!((&stream["name"], &stream["key"]), (&"cam".into(), &started["key"]));
    assert_eq!(stream["renditions"], started["renditions"]);
    assert_eq!(stream["tracks"].as_array().map(Vec::len), Some(2));
    assert_eq!(list.finish(), Some(0));
    let named = |name: &str| list.events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((named("group"), named("stream")), (1, 1), "{:#?}", list.events);
    let group = list.events.iter().find(|event| event["event"] == "group").expect("told");
    assert_eq!(group["published"], serde_json::json!(["cam"]));
}
