//! Test clips, generated once a machine: too large to ship.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command;
use crate::lab::Lab;

/// Seconds that generating a clip may take: the largest needs about 10 on two cores.
const LIMIT_SECONDS: u32 = 180;

/// A clip of H.264 with B-frames at 25 frames a second and stereo AAC. Its pictures and sound are noise,
/// so that the encoder keeps to the bitrate and no two access units are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clip {
    /// Bits a second of video and audio together.
    pub bitrate: u32,
    /// Seconds between two random-access points.
    pub gop_seconds: u32,
    /// Length, seconds; a multiple of the GOP.
    pub seconds: u32,
    /// Bits a second of the audio in it.
    pub audio_bitrate: u32,
    /// Width and height of the pictures; `None` for sound alone.
    pub picture: Option<(u32, u32)>,
}

impl Clip {
    /// 8 Mbit/s, a random-access point each second.
    pub const STANDARD: Self = Self {
        bitrate: 8_000_000,
        gop_seconds: 1,
        seconds: 10,
        audio_bitrate: 128_000,
        picture: Some((1280, 720)),
    };
    /// 8 Mbit/s, a random-access point every 10 s.
    pub const LONG_GOP: Self = Self { gop_seconds: 10, seconds: 20, ..Self::STANDARD };
    /// 20 Mbit/s, a random-access point each second.
    pub const FAST: Self = Self { bitrate: 20_000_000, picture: Some((1920, 1080)), ..Self::STANDARD };
    /// 300 kbit/s, a random-access point each second.
    pub const SLOW: Self =
        Self { bitrate: 300_000, audio_bitrate: 64_000, picture: Some((320, 180)), ..Self::STANDARD };
    /// 1 Mbit/s, a random-access point each second.
    pub const MEDIUM: Self =
        Self { bitrate: 1_000_000, audio_bitrate: 64_000, picture: Some((640, 360)), ..Self::STANDARD };
    /// 64 kbit/s of sound alone.
    pub const SOUND: Self = Self { bitrate: 64_000, audio_bitrate: 64_000, picture: None, ..Self::STANDARD };

    /// Returns the file, generating it if no run before did.
    ///
    /// # Errors
    /// `ffmpeg` is missing or cannot encode H.264 and AAC.
    pub fn file(&self, lab: &Lab) -> Result<PathBuf> {
        let directory = lab.directory().join("clips");
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let file = directory.join(format!(
            "{}k-gop{}-{}s.mp4",
            self.bitrate / 1_000,
            self.gop_seconds,
            self.seconds
        ));
        if !file.exists() {
            // A run that is killed half-way leaves no clip under the final name.
            let unfinished = file.with_extension("unfinished.mp4");
            let target = unfinished.to_string_lossy().into_owned();
            let mut arguments = self.arguments();
            arguments.push(target);
            command::run_within(LIMIT_SECONDS, "ffmpeg", &arguments, "")
                .context("cannot generate a test clip")?;
            fs::rename(&unfinished, &file)?;
        }
        Ok(file)
    }

    /// What `ffmpeg` is told, but for the name of the file.
    fn arguments(&self) -> Vec<String> {
        let mut words: Vec<String> = words("-hide_banner -loglevel error -nostdin -y");
        if let Some((width, height)) = self.picture {
            let pictures =
                format!("testsrc2=size={width}x{height}:rate=25,noise=alls=30:allf=t,format=yuv420p");
            words.extend(["-f".into(), "lavfi".into(), "-i".into(), pictures]);
        }
        let sound = "anoisesrc=color=pink:amplitude=0.3:sample_rate=48000,aformat=channel_layouts=stereo";
        words.extend(["-f".into(), "lavfi".into(), "-i".into(), sound.into()]);
        words.extend(["-t".into(), self.seconds.to_string()]);
        if self.picture.is_some() {
            words.extend(self.video_arguments());
        }
        words.extend(["-c:a".into(), "aac".into(), "-b:a".into(), self.audio_bitrate.to_string()]);
        words
    }

    /// x264 at a constant rate, filled up where the pictures need less.
    fn video_arguments(&self) -> Vec<String> {
        let rate = self.bitrate - self.audio_bitrate;
        let gop = self.gop_seconds * 25;
        words(&format!(
            "-c:v libx264 -preset ultrafast -bf 2 -b:v {rate} -minrate {rate} -maxrate {rate} -bufsize {} \
             -x264-params nal-hrd=cbr:force-cfr=1 -g {gop} -keyint_min {gop} -sc_threshold 0",
            rate / 2
        ))
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
