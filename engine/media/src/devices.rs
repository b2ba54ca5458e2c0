//! The capture devices of this machine, as the system lists them.

use std::fs;
use std::path::Path;

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
}

/// Lists cameras (Video4Linux), microphones (ALSA) and X displays of this machine; none of them is opened. Empty where
/// the system has no such lists, as elsewhere than on Linux.
pub fn devices() -> Vec<CaptureDevice> {
    devices_at(Path::new("/"))
}

fn devices_at(root: &Path) -> Vec<CaptureDevice> {
    let mut found = cameras(root);
    found.extend(microphones(&fs::read_to_string(root.join("proc/asound/pcm")).unwrap_or_default()));
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
        })
        .collect()
}

/// Reads lines such as `01-00: USB Audio : USB Audio : playback 1 : capture 1`.
fn microphones(pcm: &str) -> Vec<CaptureDevice> {
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
        })
    };
    pcm.lines().filter_map(microphone).collect()
}

fn screens(root: &Path) -> Vec<CaptureDevice> {
    let displays = numbered(&root.join("tmp/.X11-unix"), "X").into_iter();
    displays
        .map(|display| CaptureDevice {
            kind: DeviceKind::Screen,
            input: format!("x11grab::{display}"),
            name: format!("X display :{display}"),
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
        write("tmp/.X11-unix/X7", "");
        let device = |kind, input: &str, name: &str| CaptureDevice {
            kind,
            input: input.to_owned(),
            name: name.to_owned(),
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
