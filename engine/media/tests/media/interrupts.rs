//! Blocked calls return promptly when stopped, and listeners receive.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use swarmcast_media::{Interrupt, Sink, SinkConfig, SinkError, Source, SourceConfig, SourceError};

use crate::clips::{clip, read};

/// Longest that a stopped call may take: ffmpeg looks every 100 ms.
const PROMPT: Duration = Duration::from_secs(1);

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Runs a call that blocks, stops it, and returns its result and how long it went on.
fn stopped<T: Send + 'static>(
    interrupt: Interrupt,
    call: impl FnOnce() -> T + Send + 'static,
) -> (T, Duration) {
    let running = thread::spawn(move || {
        let result = call();
        (result, Instant::now())
    });
    // Long enough to be inside the call; the test holds as well when it is not.
    thread::sleep(Duration::from_millis(200));
    assert!(!running.is_finished(), "it blocks");
    let told = Instant::now();
    interrupt.interrupt();
    let (result, ended) = running.join().expect("no panic");
    (result, ended.saturating_duration_since(told))
}

#[test]
fn a_listener_that_nobody_calls_is_stopped() {
    for url in [
        "tcp://127.0.0.1:{}?listen=1",
        "rtmp://127.0.0.1:{}/live/x?listen=1",
        "srt://127.0.0.1:{}?mode=listener",
    ] {
        let config = SourceConfig::new(url.replace("{}", &free_port().to_string()));
        let (result, after) = stopped(config.interrupt.clone(), move || Source::open(config).err());
        assert_eq!(result, Some(SourceError::Interrupted), "{url}");
        assert!(after < PROMPT, "{url}: {after:?}");
    }
}

#[test]
fn a_paced_source_is_stopped() {
    let config = SourceConfig::new(clip());
    let (result, after) = stopped(config.interrupt.clone(), move || {
        let mut source = Source::open(config).expect("an input");
        loop {
            match source.next() {
                Ok(unit) => assert!(unit.is_some(), "10 s have not passed"),
                Err(error) => return error,
            }
        }
    });
    assert_eq!(result, SourceError::Interrupted);
    assert!(after < Duration::from_millis(200), "{after:?}");
}

#[test]
fn devices_on_threads_are_stopped() {
    let config = SourceConfig::new("lavfi:testsrc2=rate=1/30+lavfi:testsrc2=rate=1/30");
    let (result, after) = stopped(config.interrupt.clone(), move || {
        let mut source = Source::open(config).expect("devices");
        loop {
            if let Err(error) = source.next() {
                return error;
            }
        }
    });
    assert_eq!(result, SourceError::Interrupted);
    assert!(after < PROMPT, "{after:?}");
}

#[test]
fn an_output_whose_reader_sleeps_is_stopped() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (source, units) = read(&clip());
    let config = SinkConfig::new(format!("tcp://127.0.0.1:{port}?send_buffer_size=4096"));
    let (result, after) = stopped(config.interrupt.clone(), move || {
        let mut sink = Sink::open(config, source.tracks()).expect("an output");
        loop {
            if let Err(error) = units.iter().try_for_each(|unit| sink.write(unit)) {
                return error;
            }
        }
    });
    let reader: TcpStream = listener.accept().expect("it called").0;
    drop(reader);
    assert_eq!(result, SinkError::Interrupted);
    assert!(after < PROMPT, "{after:?}");
}

#[test]
fn an_rtmp_listener_receives() {
    let port = free_port();
    let url = format!("rtmp://127.0.0.1:{port}/live/x");
    let config = SourceConfig::new(format!("{url}?listen=1"));
    let opening = thread::spawn(move || Source::open(config));
    let clip = clip();
    let arguments =
        ["-nostdin", "-loglevel", "quiet", "-re", "-i", &clip, "-t", "3", "-c", "copy", "-f", "flv", &url];
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut caller = loop {
        let mut caller = Command::new("ffmpeg").args(arguments).spawn().expect("ffmpeg is installed");
        thread::sleep(Duration::from_millis(300));
        match caller.try_wait().expect("a child") {
            Some(_) if Instant::now() < deadline => {}
            _ => break caller,
        }
    };
    let mut source = opening.join().expect("no panic").expect("a caller");
    let codecs: Vec<_> = source.tracks().iter().map(|track| track.codec.as_str()).collect();
    assert_eq!(codecs.len(), 2, "{codecs:?}");
    let mut received = 0;
    while let Ok(Some(_)) = source.next() {
        received += 1;
    }
    caller.wait().expect("a child");
    assert!(received > 150, "{received} of 75 pictures and 141 units of sound");
}
