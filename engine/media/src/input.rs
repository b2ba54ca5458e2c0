//! What the text that names an input means: a file, a URL, stdin or capture devices.

use std::path::Path;

/// Kinds of devices that `KIND:NAME` may name; ffmpeg has those that its platform has.
const DEVICES: [&str; 17] = [
    "alsa",
    "avfoundation",
    "bktr",
    "decklink",
    "dshow",
    "fbdev",
    "gdigrab",
    "iec61883",
    "jack",
    "kmsgrab",
    "lavfi",
    "openal",
    "oss",
    "pulse",
    "sndio",
    "v4l2",
    "x11grab",
];

/// Protocols that deliver as fast as the media is made, so that nothing is left to pace.
const LIVE: [&str; 14] = [
    "rist", "rtmp", "rtmpe", "rtmps", "rtmpt", "rtp", "rtsp", "rtsps", "sap", "srt", "srtp", "tcp", "udp",
    "unix",
];

/// An input, in the form that ffmpeg opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Bytes from stdin.
    Stdin,
    /// A file or URL.
    Url {
        /// As ffmpeg wants it.
        url: String,
        /// Protocol options that ffmpeg does not take out of the URL by itself.
        options: Vec<(String, String)>,
        /// Whether the far side sets the pace.
        live: bool,
    },
    /// A capture device.
    Device(Device),
}

/// A capture device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// ffmpeg's name of the kind.
    pub(crate) format: String,
    /// Name within the kind.
    pub(crate) name: String,
    /// Options of the kind, such as `video_size`.
    pub(crate) options: Vec<(String, String)>,
}

impl Device {
    /// Returns whether this is ffmpeg's filter graph, which runs as fast as it is read.
    pub(crate) fn is_virtual(&self) -> bool {
        self.format == "lavfi"
    }
}

/// Takes the text apart: `-`, `KIND:NAME[?OPTION=VALUE&..]` (several joined by `+`), a path or a URL.
pub(crate) fn parse(text: &str) -> Vec<Input> {
    if text == "-" {
        return vec![Input::Stdin];
    }
    match devices(text) {
        Some(devices) => devices.into_iter().map(Input::Device).collect(),
        None => vec![url(text)],
    }
}

/// Splits at every `+` that a kind of device follows; none when the text does not begin with one.
fn devices(text: &str) -> Option<Vec<Device>> {
    let mut devices = vec![device(text)?];
    for (at, _) in text.match_indices('+') {
        if let Some(next) = device(&text[at + 1..]) {
            let last = devices.last_mut()?;
            last.name.truncate(last.name.len() - (text.len() - at));
            devices.push(next);
        }
    }
    Some(devices.into_iter().map(split_options).collect())
}

fn device(text: &str) -> Option<Device> {
    let (format, name) = text.split_once(':')?;
    let known = DEVICES.contains(&format);
    known.then(|| Device { format: format.to_owned(), name: name.to_owned(), options: Vec::new() })
}

/// Takes the options behind a `?` off the name; a filter graph has its own.
fn split_options(device: Device) -> Device {
    match device.name.split_once('?') {
        Some((name, options)) if !device.is_virtual() => {
            let options = options.split('&').filter_map(|option| option.split_once('='));
            let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            Device { name: name.to_owned(), options, ..device }
        }
        _ => device,
    }
}

fn url(text: &str) -> Input {
    // A colon in a file's name would else be taken for the end of a protocol's.
    if Path::new(text).exists() {
        return Input::Url { url: format!("file:{text}"), options: Vec::new(), live: false };
    }
    let protocol = text.split_once("://").map_or("", |(protocol, _)| protocol);
    let live = LIVE.contains(&protocol);
    // ffmpeg's RTMP and HTTP take `listen` as an option only.
    if protocol.starts_with("rtmp") || protocol.starts_with("http") {
        for mark in ["?listen=1", "&listen=1"] {
            if let Some(url) = text.strip_suffix(mark) {
                let options = vec![("listen".to_owned(), "1".to_owned())];
                return Input::Url { url: url.to_owned(), options, live: true };
            }
        }
    }
    Input::Url { url: text.to_owned(), options: Vec::new(), live }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(format: &str, name: &str) -> Input {
        Input::Device(Device { format: format.to_owned(), name: name.to_owned(), options: Vec::new() })
    }

    #[test]
    fn devices_are_told_apart_from_their_graphs() {
        assert_eq!(
            parse("v4l2:/dev/video0+alsa:hw:0"),
            [named("v4l2", "/dev/video0"), named("alsa", "hw:0")]
        );
        let graph = "lavfi:testsrc2,geq=lum=X+Y+alsa";
        assert_eq!(parse(graph), [named("lavfi", "testsrc2,geq=lum=X+Y+alsa")]);
        assert_eq!(
            parse("lavfi:a+lavfi:b+lavfi:c"),
            [named("lavfi", "a"), named("lavfi", "b"), named("lavfi", "c")]
        );
    }

    #[test]
    fn device_options_follow_a_question_mark() {
        let [Input::Device(device)] = &parse("v4l2:/dev/video0?video_size=1280x720&framerate=30")[..] else {
            panic!("one device")
        };
        assert_eq!(device.name, "/dev/video0");
        let options = [("video_size", "1280x720"), ("framerate", "30")];
        assert_eq!(device.options, options.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn listeners_are_live_and_get_their_option() {
        let listen = vec![("listen".to_owned(), "1".to_owned())];
        let url = "rtmp://127.0.0.1:1935/live/x".to_owned();
        assert_eq!(
            parse("rtmp://127.0.0.1:1935/live/x?listen=1"),
            [Input::Url { url, options: listen, live: true }]
        );
        let srt = "srt://127.0.0.1:9000?mode=listener".to_owned();
        assert_eq!(parse(&srt), [Input::Url { url: srt, options: Vec::new(), live: true }]);
        let missing = "missing:file.mkv".to_owned();
        assert_eq!(parse(&missing), [Input::Url { url: missing, options: Vec::new(), live: false }]);
        assert_eq!(parse("-"), [Input::Stdin]);
    }
}
