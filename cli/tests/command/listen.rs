//! Encoders that call a listener, go, and call again.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{PATIENCE, Room, Told, ticket};

/// ffmpeg as an encoder that publishes the clip over and over; ended with the test.
struct Encoder(Child);

impl Encoder {
    /// Calls until somebody listens.
    fn call(room: &Room, url: &str) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut command = Command::new("ffmpeg");
            command.args(["-nostdin", "-v", "quiet", "-re", "-stream_loop", "-1", "-i", room.clip()]);
            command.args(["-c", "copy", "-f", "flv", url]).stdin(Stdio::null());
            let mut child = command.spawn().expect("ffmpeg is installed");
            // Refused, it is over at once; connected, it goes on.
            let refused = Instant::now() + Duration::from_millis(700);
            while Instant::now() < refused && child.try_wait().expect("a child").is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
            if child.try_wait().expect("a child").is_none() {
                return Self(child);
            }
            assert!(Instant::now() < deadline, "nobody listens at {url}");
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn viewers_carry_on_when_an_encoder_calls_again() {
    let room = Room::new();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let url = format!("rtmp://127.0.0.1:{port}/live/x");
    let line = ["publish", "--listen", &url, "--group", room.group(), "--name", "cam"];
    let mut publisher = Told::start(&room, &line);
    let mut encoder = Encoder::call(&room, &url);
    let ticket = ticket(&publisher.expect("started"));
    let mut viewer = Told::start(&room, &room.play(&["--peer", &ticket, "--output", "seen.mkv"]));
    viewer.expect_where("verdict", |verdict| verdict["to"] == "live");
    let mut away = 0.0;
    for _ in 0..2 {
        drop(encoder);
        let lost = publisher.expect("warning");
        assert_eq!(lost["code"], "source-lost", "{lost}");
        viewer.expect_where("verdict", |verdict| verdict["to"] == "paused");
        encoder = Encoder::call(&room, &url);
        let restored = publisher.expect("warning");
        assert_eq!(restored["code"], "source-restored");
        away += restored["t"].as_f64().zip(lost["t"].as_f64()).map_or(0.0, |(back, gone)| back - gone);
        viewer.expect_where("verdict", |verdict| verdict["to"] == "live");
    }
    viewer.signal("INT");
    let ended = viewer.expect("ended");
    assert_eq!((viewer.finish(), &ended["lost"]), (Some(0), &0.into()));
    assert!(viewer.events.iter().all(|event| event["event"] != "reset" && event["event"] != "part"));
    publisher.signal("INT");
    assert_eq!(publisher.expect("ended")["cause"], "local");
    drop(encoder);
    room.ffmpeg("ffmpeg", &["-xerror", "-i", "seen.mkv", "-c", "copy", "-f", "null", "-"]);
    let times = ["-select_streams", "v:0", "-show_entries", "packet=dts_time", "-of", "csv=p=0", "seen.mkv"];
    let times = room.ffmpeg("ffprobe", &times);
    let times: Vec<f64> = times.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
    let jumped: f64 = steps.filter(|step| *step > 0.1).sum();
    // The listener looks at a second of media before it says that the encoder is back.
    let gone = away - 2.0;
    assert!((jumped - gone).abs() < 0.8, "it was away for {gone} s, time went on by {jumped} s");
    assert!(times.is_sorted(), "{times:?}");
}
