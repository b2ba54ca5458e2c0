//! What is published: the flags that name it, and what they come to.

use std::env;

use clap::Args;
use swarmcast::{
    Connection, Connections, Interrupt, PictureConfig, RenditionConfig, SourceConfig, SourceError,
};

use crate::args::{rate, rendition, size};
use crate::failure::Failure;
use crate::report::{Line, Reporter};

/// The input, and how it is encoded where it is raw.
#[derive(Args, Debug)]
#[command(next_help_heading = "Source")]
pub(crate) struct SourceArgs {
    /// What is published: a file, a URL that ffmpeg can read, - for standard input, or a capture device as
    /// KIND:NAME (v4l2:/dev/video0, alsa:default), several joined by +
    #[arg(help_heading = "Arguments")]
    input: Option<String>,
    /// Publish a camera [default: /dev/video0]; `swarmcast devices` lists them
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "/dev/video0", conflicts_with_all = ["input", "screen", "listen"])]
    camera: Option<String>,
    /// Publish a microphone, alone or with --camera or --screen [default: default]
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "default", conflicts_with_all = ["input", "listen"])]
    mic: Option<String>,
    /// Publish what an X display shows [default: $DISPLAY]
    #[arg(long, value_name = "DISPLAY", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "", conflicts_with_all = ["input", "listen"])]
    screen: Option<String>,
    /// Wait at this address for an encoder such as OBS, and for the next one when it goes: rtmp://, srt://, tcp:// or
    /// udp://
    #[arg(long, value_name = "URL", value_parser = listener, conflicts_with = "input")]
    listen: Option<String>,
    /// Begin the input again when it ends
    #[arg(long = "loop", conflicts_with_all = ["camera", "mic", "screen", "listen", "reconnect"])]
    pub(super) looped: bool,
    /// Wait for an input that ends or vanishes, and go on with it; without it the stream ends. --listen always does
    #[arg(long)]
    reconnect: bool,
    /// Size of the pictures that --camera or --screen takes [default: the device's]
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size)]
    size: Option<(u16, u16)>,
    /// Pictures a second that --camera or --screen takes, 1 to 240 [default: the device's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=240))]
    fps: Option<u16>,
    /// Bits per second of pictures that are encoded here [default: by their size, 2.3M for 1280x720 at 25]
    #[arg(long, value_name = "RATE", value_parser = bitrate)]
    bitrate: Option<u32>,
    /// Encode the pictures in this quality, whatever they come as, and offer it beside others: a size, and its rate as
    /// in 1280x720@2M; repeated for each, the first for who does not choose. Viewers have --quality
    #[arg(long = "rendition", value_name = "WIDTHxHEIGHT[@RATE]", value_parser = rendition)]
    #[arg(conflicts_with = "bitrate")]
    renditions: Vec<RenditionConfig>,
    /// Codec of pictures that are encoded here: h264, hevc, or an encoder of ffmpeg such as h264_nvenc
    #[arg(long, value_name = "CODEC", default_value = "h264")]
    codec: String,
    /// Encode h264 and hevc on the processor, also where a graphics card could
    #[arg(long)]
    software: bool,
    /// How much work the encoder spends, in its own words [default: ultrafast, for h264 and hevc]
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,
}

impl SourceArgs {
    /// Returns whether standard input is what is published.
    pub(super) fn reads_stdin(&self) -> bool {
        self.input.as_deref() == Some("-")
    }

    /// Tells what encodes the pictures; nothing where they pass through.
    pub(super) fn tell_encoder(&self, encoder: Option<&str>, reporter: &Reporter) {
        let Some(encoder) = encoder else { return };
        let sought = !self.software && matches!(encoder, "libx264" | "libx265");
        let why = if sought { "no graphics card offers an encoder: " } else { "" };
        reporter.say(&format!("{why}pictures are encoded by {encoder}"));
    }

    /// Forms what is opened.
    pub(super) fn config(&self, data: bool, interrupt: &Interrupt) -> Result<SourceConfig, Failure> {
        let pictures = PictureConfig {
            bitrate: self.bitrate,
            encoder: Some(encoder(&self.codec).to_owned()),
            preset: self.preset.clone(),
            hardware: !self.software,
        };
        Ok(SourceConfig {
            looped: self.looped,
            data,
            pictures,
            renditions: self.renditions.clone(),
            reconnect: self.reconnect || self.listen.is_some(),
            interrupt: interrupt.clone(),
            ..SourceConfig::new(self.input(env::var("DISPLAY").ok())?)
        })
    }

    /// Forms the input's text, as it could be given by hand.
    fn input(&self, display: Option<String>) -> Result<String, Failure> {
        if let Some(input) = self.listen.as_ref().or(self.input.as_ref()) {
            if self.size.is_some() || self.fps.is_some() {
                let message = "--size and --fps are for --camera and --screen: name the options of a device behind \
                               it, as in v4l2:/dev/video0?video_size=1280x720&framerate=25";
                return Err(Failure::usage(message));
            }
            return Ok(input.clone());
        }
        let mut devices = Vec::new();
        if let Some(camera) = &self.camera {
            devices.push(self.with_options(format!("v4l2:{camera}")));
        }
        if let Some(screen) = &self.screen {
            let named = Some(screen.clone()).filter(|screen| !screen.is_empty());
            let Some(display) = named.or(display) else {
                return Err(Failure::usage("--screen: no display is set: name one, as in --screen=:0"));
            };
            devices.push(self.with_options(format!("x11grab:{display}")));
        }
        devices.extend(self.mic.iter().map(|mic| format!("alsa:{mic}")));
        if devices.is_empty() {
            let message = "nothing to publish: give an input, or --camera, --mic, --screen or --listen";
            return Err(Failure::usage(message));
        }
        Ok(devices.join("+"))
    }

    fn with_options(&self, device: String) -> String {
        let size = self.size.map(|(width, height)| format!("video_size={width}x{height}"));
        let rate = self.fps.map(|fps| format!("framerate={fps}"));
        let options: Vec<_> = size.into_iter().chain(rate).collect();
        if options.is_empty() { device } else { format!("{device}?{}", options.join("&")) }
    }
}

/// Tells of inputs that went away and came back, until the source is over.
pub(super) fn tell_connections(connections: Connections, reporter: &Reporter) {
    for connection in connections {
        let (code, message) = match connection {
            Connection::Lost { input, cause: Some(SourceError::Read { cause, .. }) } => {
                ("source-lost", format!("{input:?} went away ({cause}); waiting for it"))
            }
            Connection::Lost { input, .. } => {
                ("source-lost", format!("{input:?} has ended; waiting for the next"))
            }
            Connection::Restored { input } => ("source-restored", format!("{input:?} is back")),
        };
        reporter.tell(Line::Warning { code, message }, None);
    }
}

/// Returns the encoder of a codec; what is no codec's name is an encoder's.
fn encoder(codec: &str) -> &str {
    match codec {
        "h264" => "libx264",
        "hevc" | "h265" => "libx265",
        other => other,
    }
}

fn bitrate(text: &str) -> Result<u32, &'static str> {
    u32::try_from(rate(text)?).map_err(|_| "at most 4G")
}

/// Makes an address one at which ffmpeg listens.
fn listener(text: &str) -> Result<String, &'static str> {
    const ADVICE: &str =
        "an address to listen at: rtmp://, srt://, tcp:// or udp://, such as rtmp://0.0.0.0:1935/live/x";
    let (protocol, rest) = text.split_once("://").ok_or(ADVICE)?;
    let option = match protocol {
        "rtmp" | "tcp" => "listen=1",
        "srt" => "mode=listener",
        "udp" => return Ok(text.to_owned()),
        _ => return Err(ADVICE),
    };
    if rest.is_empty() {
        return Err(ADVICE);
    }
    let has = rest.split(['?', '&']).skip(1).any(|given| given == option);
    let mark = if rest.contains('?') { '&' } else { '?' };
    Ok(if has { text.to_owned() } else { format!("{text}{mark}{option}") })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(flatten)]
        source: SourceArgs,
    }

    fn input(flags: &[&str]) -> Result<String, String> {
        let line =
            Line::try_parse_from(["publish"].iter().chain(flags)).map_err(|error| error.to_string())?;
        line.source.input(Some(":7".to_owned())).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn devices_are_named_by_flags() {
        let named = |flags: &[&str]| input(flags).expect("flags that go together");
        assert_eq!(named(&["--camera"]), "v4l2:/dev/video0");
        assert_eq!(named(&["--camera=/dev/video2", "--mic=hw:1"]), "v4l2:/dev/video2+alsa:hw:1");
        assert_eq!(
            named(&["--camera", "--size", "640x360", "--fps", "25", "--mic"]),
            "v4l2:/dev/video0?video_size=640x360&framerate=25+alsa:default"
        );
        assert_eq!(named(&["--screen"]), "x11grab::7");
        assert_eq!(named(&["--screen=:1.0", "--fps", "10"]), "x11grab::1.0?framerate=10");
        assert_eq!(named(&["clip.mkv"]), "clip.mkv");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for refused in [
            &[][..],
            &["clip.mkv", "--camera"],
            &["--camera", "--screen"],
            &["--camera", "--loop"],
            &["--listen", "rtmp://a/b", "clip.mkv"],
            &["--listen", "http://a/b"],
            &["--listen", "rtmp://"],
            &["clip.mkv", "--size", "640x360"],
            &["--camera", "--size", "640"],
            &["--camera", "--size", "8x8"],
            &["--camera", "--fps", "0"],
            &["--camera", "--bitrate", "5G"],
            &["clip.mkv", "--rendition", "640"],
            &["clip.mkv", "--bitrate", "2M", "--rendition", "640x360"],
        ] {
            assert!(input(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_listener_gets_its_option_once() {
        let rtmp = "rtmp://127.0.0.1:1935/live/x";
        assert_eq!(listener(rtmp), Ok(format!("{rtmp}?listen=1")));
        assert_eq!(listener(&format!("{rtmp}?listen=1")), Ok(format!("{rtmp}?listen=1")));
        assert_eq!(listener("srt://:9000?latency=20"), Ok("srt://:9000?latency=20&mode=listener".to_owned()));
        assert_eq!(listener("udp://239.1.1.1:5000"), Ok("udp://239.1.1.1:5000".to_owned()));
    }
}
