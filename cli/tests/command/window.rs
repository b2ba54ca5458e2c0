//! The player as people see and hear it: on a display of its own, whose pixels lie in a file, with sound into a file.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::process::{Room, Told, ticket};
use super::schema::check_schema;

/// Size of the display, that of the window.
const SIZE: (u64, u64) = (960, 540);
/// Pixels of the window for one of the clip.
const SCALE: u64 = 3;
/// Pictures of the clip a second, and in all.
const RATE: f64 = 25.0;
const PICTURES: u32 = 250;
/// How long is watched.
const WATCHED: Duration = Duration::from_secs(20);
/// Bytes a second of the sound: 48,000 times left and right, four each.
const SOUND_RATE: f64 = 384_000.0;
/// How long after it was written a buffer of 1,024 samples counts as heard.
const LATENCY: f64 = 1_024.0 / 48_000.0;

/// A display without a screen.
struct Display {
    server: Child,
    number: String,
    pixels: File,
    /// Where the first pixel is, and bytes of a row.
    layout: (u64, u64),
}

impl Display {
    fn start(room: &Room) -> Self {
        let (width, height) = SIZE;
        let screen = format!("{width}x{height}x24");
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", &screen, "-nolisten", "tcp", "-fbdir"]);
        command.arg(room.path("")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = command.spawn().expect("xvfb is installed");
        let mut number = String::new();
        let stdout = server.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut number).expect("a number");
        let pixels = File::open(room.path("Xvfb_screen0")).expect("the file of its pixels");
        // The header of XWD: 25 numbers, its own length first; rows' length and number of colours among them.
        let field = |at: u64| {
            let mut bytes = [0; 4];
            pixels.read_exact_at(&mut bytes, 4 * at).expect("a header");
            u64::from(u32::from_be_bytes(bytes))
        };
        let layout = (field(0) + 12 * field(19), field(12));
        Self { server, number: format!(":{}", number.trim()), pixels, layout }
    }

    /// Returns how bright a place of the clip's picture is, which fills the window.
    fn light(&self, x: u64, y: u64) -> u8 {
        let (start, row) = self.layout;
        let mut pixel = [0; 4];
        self.pixels.read_exact_at(&mut pixel, start + SCALE * y * row + 4 * SCALE * x).expect("a pixel");
        pixel[1]
    }

    /// Returns the number of the picture that is shown, by its squares, and whether it is a flash; `None` while the
    /// display is black.
    fn picture(&self) -> Option<(u32, bool)> {
        let ground = self.light(160, 110);
        let gray =
            (0..8).rev().fold(0, |code, bit| code << 1 | u32::from(self.light(40 * bit + 20, 20) > 127));
        let number = [1, 2, 4].iter().fold(gray, |value, shift| value ^ value >> shift);
        (ground > 60).then_some((number, ground > 200))
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // Both fail for a server that has ended, which is as good.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// What was on the display, and how much sound was written, at times since the start of the watching.
#[derive(Default)]
struct Watched {
    /// Each picture with the time at which it was first seen.
    pictures: Vec<(u32, f64)>,
    flashes: Vec<f64>,
    /// Bytes of sound, each time that there are more.
    sound: Vec<(u64, f64)>,
}

fn watch(display: &Display, sound: &PathBuf) -> Watched {
    let (start, mut watched, mut flashed) = (Instant::now(), Watched::default(), true);
    while start.elapsed() < WATCHED {
        let at = start.elapsed().as_secs_f64();
        let written = fs::metadata(sound).map_or(0, |file| file.len());
        if watched.sound.last().is_none_or(|(before, _)| *before < written) {
            watched.sound.push((written, at));
        }
        // A picture that is drawn while it is read is neither the one nor the other.
        if let Some((number, flash)) = display.picture().filter(|seen| Some(*seen) == display.picture()) {
            if watched.pictures.last().is_none_or(|(before, _)| *before != number) {
                watched.pictures.push((number, at));
            }
            if flash && !flashed {
                watched.flashes.push(at);
            }
            flashed = flash;
        }
        sleep(Duration::from_millis(3));
    }
    watched
}

/// Returns when each beep was heard, on the clock of the watching.
fn beeps(sound: &PathBuf, watched: &Watched) -> Vec<f64> {
    let bytes = fs::read(sound).expect("the sound");
    let (samples, _) = bytes.as_chunks::<4>();
    let loud = |at: usize| f32::from_le_bytes(samples[at]).abs() > 0.1;
    let (mut heard, mut last) = (Vec::new(), 0);
    for at in (0..samples.len()).step_by(2).filter(|at| loud(*at)) {
        let place = 4 * at as u64;
        if last == 0 || at - last > 48_000 {
            let written = watched.sound.windows(2).find(|pair| (pair[0].0..pair[1].0).contains(&place));
            heard.extend(written.map(|pair| pair[1].1 + LATENCY + (place - pair[0].0) as f64 / SOUND_RATE));
        }
        last = at;
    }
    heard
}

/// Pictures follow each other in order and in real time, but for what the jitter buffer grew by meanwhile.
fn check_pictures(pictures: &[(u32, f64)], grown: f64) {
    let steps = pictures.windows(2).map(|pair| (pair[1].0 + PICTURES - pair[0].0) % PICTURES);
    let steps: Vec<u32> = steps.collect();
    assert!(steps.iter().all(|step| (1..PICTURES / 2).contains(step)), "out of order: {pictures:?}");
    let (first, last) = (pictures[0].1, pictures[pictures.len() - 1].1);
    let media = f64::from(steps.iter().sum::<u32>()) / RATE;
    // The file takes sound at the pace of a busy machine, which pictures follow up to 250 ms.
    let off = media - (last - first);
    assert!(
        (-0.3 - grown..0.3).contains(&off),
        "{media} s of media in {} s, grown by {grown} s",
        last - first
    );
    let shown = pictures.len() as f64 / (WATCHED.as_secs_f64() * RATE);
    assert!(shown > 0.5, "{} pictures were seen", pictures.len());
}

/// Flash and beep come together: within 20 ms on average and 40 ms at worst on a quiet machine, three times that here.
fn check_sync(flashes: &[f64], beeps: &[f64]) {
    let nearest = |flash: &f64| {
        let offsets = beeps.iter().map(|beep| flash - beep);
        offsets.min_by(|a, b| a.abs().total_cmp(&b.abs())).filter(|offset| offset.abs() < 0.5)
    };
    let offsets: Vec<f64> = flashes.iter().filter_map(nearest).collect();
    assert!(offsets.len() >= 6, "{flashes:?} {beeps:?}");
    let mean = offsets.iter().sum::<f64>() / offsets.len() as f64;
    println!("flash behind beep: mean {:.1} ms of {offsets:.4?}", mean * 1e3);
    assert!(mean.abs() <= 0.06, "{offsets:?}");
    assert!(offsets.iter().all(|offset| offset.abs() <= 0.12), "{offsets:?}");
}

#[test]
fn the_window_shows_each_picture_at_its_time_and_with_its_sound() {
    let room = Room::new();
    let display = Display::start(&room);
    let sound = room.path("sound.raw");
    let clip = room.clip().replace("clip.mkv", "flash.mkv");
    let mut publisher = Told::start(&room, &room.publish_input(&clip, &["--loop"]));
    let ticket = ticket(&publisher.expect("started"));
    let line = room.play(&["--peer", &ticket]);
    let mut player = Told::start_with(&room, &line, |command| {
        command.env("DISPLAY", &display.number).env("SDL_RENDER_DRIVER", "software");
        command.env("SDL_AUDIODRIVER", "disk").env("SDL_DISKAUDIOFILE", &sound);
    });
    player.expect("first_access_unit");
    player.expect_where("stats", |stats| stats["player"]["av_offset"].is_f64());
    let watched = watch(&display, &sound);
    player.signal("INT");
    assert_eq!(player.finish(), Some(0));
    check_schema(&player.events);
    let grown = player.events.iter().filter_map(|event| event["player"]["grown"].as_f64());
    check_pictures(&watched.pictures, grown.fold(0.0, f64::max));
    check_sync(&watched.flashes, &beeps(&sound, &watched));
    let told = &player.events.last().expect("ended")["player"];
    assert!(told["pictures_shown"].as_u64() > Some(120), "{told}");
    let within = |name: &str, most: f64| told[name].as_f64().is_some_and(|seconds| seconds.abs() <= most);
    assert!(within("av_offset", 0.06) && within("av_offset_worst", 0.12) && within("delay", 3.0), "{told}");
}

#[test]
fn what_a_headless_viewer_would_show_is_measured() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&publisher.expect("started"));
    let line = room.play(&["--peer", &ticket, "--headless", "--duration", "4", "--playout-delay", "300"]);
    let mut viewer = Told::start(&room, &line);
    assert_eq!(viewer.finish(), Some(0));
    check_schema(&viewer.events);
    let told = &viewer.events.last().expect("ended")["player"];
    let counted = ["pictures_shown", "pictures_dropped"].map(|name| told[name].as_u64().expect("a number"));
    assert!((60..=125).contains(&counted.iter().sum::<u64>()), "{told}");
    assert_eq!(told["undecodable"], 0);
    assert!(told["av_offset"].as_f64().is_some_and(|offset| offset.abs() <= 0.06), "{told}");
    // From the close of a block, which small units of sound hold open for up to 40 ms.
    assert!(told["delay"].as_f64().is_some_and(|delay| (0.2..2.0).contains(&delay)), "{told}");
}

#[test]
fn a_display_that_is_not_there_is_told_with_what_to_do() {
    let room = Room::new();
    let line = room.play(&["--iface", "lo", "--audio-only"]);
    let mut command = room.command(&line);
    command.env("SDL_AUDIODRIVER", "none-such");
    let failed = command.output().expect("it runs");
    let stderr = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("play with --headless"), "{stderr}");
    let mut command = room.command(&room.play(&["--iface", "lo"]));
    let failed = command.env("DISPLAY", ":9999").output().expect("it runs");
    let stderr = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(3), "{stderr}");
    let told: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(matches!(told[..], [line] if line.contains("--headless")), "{stderr}");
}

/// Plays in a terminal of `script`'s until the signal; returns what was written there and the exit code.
fn in_terminal(room: &Room, line: &[&str], signal: &str) -> (String, Option<i32>) {
    let binary = room.command(&[]);
    let words: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
    let program = binary.get_program().to_string_lossy().into_owned();
    let inner =
        format!("stty cols 80 rows 24; timeout --foreground -s {signal} 4 '{program}' {}", words.join(" "));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &inner, "/dev/null"]).stdin(Stdio::null());
    command.env("SDL_AUDIODRIVER", "dummy").env("XDG_STATE_HOME", room.path("state"));
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    let output = command.output().expect("script is a part of every Debian");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

#[test]
fn the_terminal_shows_the_picture_and_is_given_back() {
    let room = Room::new();
    let mut publisher = Told::start(&room, &room.publish(&[]));
    let ticket = ticket(&publisher.expect("started"));
    let line = room.play(&["--peer", &ticket, "--terminal", "--iface", "lo"]);
    for signal in ["INT", "TERM"] {
        let (written, _) = in_terminal(&room, &line, signal);
        let (before, after) = written.rsplit_once("\x1b[?1049l").unwrap_or_else(|| panic!("{written}"));
        let picture = before.split_once("\x1b[?1049h").expect("the second screen").1;
        assert!(picture.matches('▀').count() > 20 * 60 * 10, "a few pictures");
        assert!(picture.contains("Playing from"), "the status is below the picture");
        assert!(picture.ends_with("\x1b[?25h"), "the cursor is back");
        assert!(after.contains("ended (local)"), "{after}");
    }
    let room_for_graphics = [("kitty", "\x1b_Ga=T,"), ("sixel", "\x1bP0;1q")];
    for (how, begins) in room_for_graphics {
        let flag = format!("--terminal={how}");
        let line = room.play(&["--peer", &ticket, &flag, "--iface", "lo"]);
        let (written, _) = in_terminal(&room, &line, "INT");
        let (before, after) = written.rsplit_once("\x1b[?1049l").unwrap_or_else(|| panic!("{written}"));
        assert!(before.matches(begins).count() > 20, "a few pictures by {how}");
        assert!(!before.contains('▀') && before.contains("Playing from"), "{how}");
        assert!(after.contains("ended (local)"), "{after}");
    }
    let nobody = "ab".repeat(32);
    let line = room.play(&["--terminal", "--iface", "lo", "--wait", "0.5", "--publisher", &nobody]);
    let (written, code) = in_terminal(&room, &line, "INT");
    let after = written.rsplit_once("\x1b[?1049l").expect("given back").1;
    assert!(after.contains("error: "), "{after}");
    assert!(matches!(code, Some(4 | 5)), "{code:?}");
}
