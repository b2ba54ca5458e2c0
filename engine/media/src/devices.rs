//! The capture devices of this machine, as the system lists them.

use std::fs;
use std::path::Path;

use ffmpeg_next::Dictionary;

use crate::ffi;
use crate::interrupt::Interrupt;

/// What a device captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Pictures.
    Camera,
    /// Sound.
    Microphone,
    /// What a display shows.
    Screen,
}

/// A device that may be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureDevice {
    /// What it captures.
    pub kind: DeviceKind,
    /// Its name as an input, such as `v4l2:/dev/video0`.
    pub input: String,
    /// What its driver calls it.
    pub name: String,
    /// What it can hand over, as far as it tells without being used; empty where it does not, as while another program
    /// has it.
    pub formats: Vec<CaptureFormat>,
}

/// One form in which a device hands over what it captures.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptureFormat {
    /// Pictures.
    Pictures {
        /// ffmpeg's name of the pixel format or codec, such as `yuyv422` or `mjpeg`.
        format: String,
        /// Width and height in pixels; those between are left out where it scales freely.
        sizes: Vec<(u32, u32)>,
    },
    /// Sound.
    Sound {
        /// The system's name of the sample format, such as `S16_LE`.
        format: String,
        /// Channels.
        channels: u32,
        /// Samples a second: each rate, or the lowest and the highest.
        rates: Vec<u32>,
    },
}

/// Lists cameras (Video4Linux), microphones (ALSA) and X displays of this machine, and what they can hand over; cameras
/// are asked, nothing is captured. Empty where the system has no such lists, as elsewhere than on Linux.
pub fn devices() -> Vec<CaptureDevice> {
    let mut found = devices_at(Path::new("/"));
    for camera in found.iter_mut().filter(|device| device.kind == DeviceKind::Camera) {
        let node = camera.input.trim_start_matches("v4l2:");
        camera.formats = picture_formats(&listing(node));
    }
    found
}

/// Has ffmpeg list what a camera can do: into its log alone, and without capturing.
fn listing(node: &str) -> String {
    ffi::init();
    if ffi::load_devices().is_err() {
        return String::new();
    }
    let mut options = Dictionary::new();
    options.set("list_formats", "all");
    ffi::listen(|| drop(ffi::open_input(node, Some("v4l2"), options, &Interrupt::new())))
}

/// Reads what ffmpeg tells of a camera, such as `Raw       :     yuyv422 :           YUYV 4:2:2 : 640x480 320x240`, or
/// `{32-2592, 2}x{32-1944, 2}` for all sizes from the least to the most.
fn picture_formats(listing: &str) -> Vec<CaptureFormat> {
    let format = |line: &str| {
        let (kind, rest) = line.split_once(':')?;
        let (format, rest) = rest.split_once(':')?;
        let (_, sizes) = rest.rsplit_once(" : ")?;
        let known = matches!(kind.trim(), "Raw" | "Compressed") && !format.trim().is_empty();
        known.then(|| CaptureFormat::Pictures { format: format.trim().to_owned(), sizes: sizes_of(sizes) })
    };
    listing.lines().filter_map(format).collect()
}

fn sizes_of(text: &str) -> Vec<(u32, u32)> {
    if let Some((width, height)) = text.trim().split_once("}x{") {
        let range = |side: &str| {
            let (least, rest) = side.trim_matches(['{', '}']).split_once('-')?;
            Some((least.parse().ok()?, rest.split(',').next()?.trim().parse().ok()?))
        };
        let sides: Option<((u32, u32), (u32, u32))> = range(width).zip(range(height));
        return sides.map_or_else(Vec::new, |(width, height)| vec![(width.0, height.0), (width.1, height.1)]);
    }
    let size = |word: &str| {
        let (width, height) = word.split_once('x')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    };
    text.split_whitespace().filter_map(size).collect()
}

/// Reads what the driver of a USB sound device tells: below `Capture:`, each `Format:` with its `Channels:` and
/// `Rates:`.
fn sound_formats(stream: &str) -> Vec<CaptureFormat> {
    let mut formats = Vec::new();
    let (mut captures, mut open) = (false, None);
    for line in stream.lines().map(str::trim) {
        match line.split_once(':').map_or((line, ""), |(name, value)| (name, value.trim())) {
            ("Playback", _) => captures = false,
            ("Capture", _) => captures = true,
            ("Format", format) if captures => open = Some((format.to_owned(), 0)),
            ("Channels", channels) => {
                open = open.take().map(|(format, _)| (format, channels.parse().unwrap_or(0)));
            }
            ("Rates", rates) => {
                if let Some((format, channels)) = open.take() {
                    let words = rates.split([',', '-', ' ', '(']);
                    let rates = words.filter_map(|word| word.trim().parse().ok()).collect();
                    formats.push(CaptureFormat::Sound { format, channels, rates });
                }
            }
            _ => {}
        }
    }
    formats.dedup();
    formats
}

fn devices_at(root: &Path) -> Vec<CaptureDevice> {
    let mut found = cameras(root);
    found.extend(microphones(root));
    found.extend(screens(root));
    found
}

fn cameras(root: &Path) -> Vec<CaptureDevice> {
    let class = root.join("sys/class/video4linux");
    let read = |node: &str, file: &str| {
        let text = fs::read_to_string(class.join(node).join(file)).ok()?;
        Some(text.trim().to_owned())
    };
    // A camera's further nodes carry what it tells about its pictures, not pictures.
    let is_first = |node: &String| read(node, "index").is_none_or(|index| index == "0");
    let nodes = numbered(&class, "video").into_iter().map(|number| format!("video{number}")).filter(is_first);
    nodes
        .map(|node| CaptureDevice {
            kind: DeviceKind::Camera,
            input: format!("v4l2:/dev/{node}"),
            name: read(&node, "name").unwrap_or_default(),
            formats: Vec::new(),
        })
        .collect()
}

/// Reads lines such as `01-00: USB Audio : USB Audio : playback 1 : capture 1`.
fn microphones(root: &Path) -> Vec<CaptureDevice> {
    let cards = root.join("proc/asound");
    let read = |file: &str| fs::read_to_string(cards.join(file)).unwrap_or_default();
    let microphone = |line: &str| {
        let mut parts = line.split(':').map(str::trim);
        let (card, device) = parts.next()?.split_once('-')?;
        let (card, device) = (card.parse::<u32>().ok()?, device.parse::<u32>().ok()?);
        let name = parts.next()?.to_owned();
        let captures = parts.any(|part| part.starts_with("capture"));
        captures.then(|| CaptureDevice {
            kind: DeviceKind::Microphone,
            input: format!("alsa:plughw:{card},{device}"),
            name,
            formats: sound_formats(&read(&format!("card{card}/stream{device}"))),
        })
    };
    read("pcm").lines().filter_map(microphone).collect()
}

fn screens(root: &Path) -> Vec<CaptureDevice> {
    let displays = numbered(&root.join("tmp/.X11-unix"), "X").into_iter();
    displays
        .map(|display| CaptureDevice {
            kind: DeviceKind::Screen,
            input: format!("x11grab::{display}"),
            name: format!("X display :{display}"),
            formats: Vec::new(),
        })
        .collect()
}

/// Returns the numbers of a directory's entries that are called so, in order.
fn numbered(directory: &Path, prefix: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<_> =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux tells of a headset.
    const STREAM: &str = "\
Logitech USB Headset at usb-0000:00:14.0-2, full speed : USB Audio

Playback:
  Status: Stop
  Interface 1
    Altset 1
    Format: S16_LE
    Channels: 2
    Endpoint: 0x01 (1 OUT) (ADAPTIVE)
    Rates: 48000

Capture:
  Status: Stop
  Interface 2
    Altset 1
    Format: S16_LE
    Channels: 1
    Endpoint: 0x82 (2 IN) (ASYNC)
    Rates: 8000, 16000, 44100, 48000
    Bits: 16
  Interface 2
    Altset 2
    Format: S24_3LE
    Channels: 2
    Rates: 8000 - 96000 (continuous)
";

    #[test]
    fn a_microphone_tells_its_formats_and_a_loudspeaker_does_not_count() {
        let sound = |format: &str, channels, rates: &[u32]| CaptureFormat::Sound {
            format: format.to_owned(),
            channels,
            rates: rates.to_vec(),
        };
        let expected =
            [sound("S16_LE", 1, &[8_000, 16_000, 44_100, 48_000]), sound("S24_3LE", 2, &[8_000, 96_000])];
        assert_eq!(sound_formats(STREAM), expected);
        assert_eq!(sound_formats("Rates: 1\nCapture:\nRates: 2\nChannels: x"), []);
    }

    #[test]
    fn a_camera_tells_its_sizes() {
        let listing = "\
Raw       :     yuyv422 :           YUYV 4:2:2 : 640x480 1280x720
Compressed:       mjpeg :          Motion-JPEG : 1920x1080
Raw       :     yuv420p :     Planar YUV 4:2:0 : {32-2592, 2}x{32-1944, 2}
Compressed: Unsupported
";
        let pictures = |format: &str, sizes: &[(u32, u32)]| CaptureFormat::Pictures {
            format: format.to_owned(),
            sizes: sizes.to_vec(),
        };
        let expected = [
            pictures("yuyv422", &[(640, 480), (1_280, 720)]),
            pictures("mjpeg", &[(1_920, 1_080)]),
            pictures("yuv420p", &[(32, 32), (2_592, 1_944)]),
        ];
        assert_eq!(picture_formats(listing), expected);
    }

    #[test]
    fn a_camera_that_is_not_there_tells_nothing() {
        assert_eq!(picture_formats(&listing("/dev/video99")), []);
    }

    #[test]
    fn what_the_system_lists_is_found() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let write = |file: &str, text: &str| {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().expect("a directory")).expect("made");
            fs::write(file, text).expect("written");
        };
        assert_eq!(devices_at(root.path()), []);
        for (node, name, index) in [
            ("video10", "Capture\n", "0\n"),
            ("video2", "HD Webcam\n", "0\n"),
            ("video3", "HD Webcam\n", "1\n"),
        ] {
            write(&format!("sys/class/video4linux/{node}/name"), name);
            write(&format!("sys/class/video4linux/{node}/index"), index);
        }
        let pcm = "00-03: HDMI 0 : HDMI 0 : playback 1\n01-00: USB Audio : USB Audio : playback 1 : capture 1\nodd\n";
        write("proc/asound/pcm", pcm);
        write("proc/asound/card1/stream0", STREAM);
        write("tmp/.X11-unix/X7", "");
        let device = |kind, input: &str, name: &str| CaptureDevice {
            kind,
            input: input.to_owned(),
            name: name.to_owned(),
            formats: if kind == DeviceKind::Microphone { sound_formats(STREAM) } else { Vec::new() },
        };
        assert_eq!(
            devices_at(root.path()),
            [
                device(DeviceKind::Camera, "v4l2:/dev/video2", "HD Webcam"),
                device(DeviceKind::Camera, "v4l2:/dev/video10", "Capture"),
                device(DeviceKind::Microphone, "alsa:plughw:1,0", "USB Audio"),
                device(DeviceKind::Screen, "x11grab::7", "X display :7"),
            ]
        );
    }
}
