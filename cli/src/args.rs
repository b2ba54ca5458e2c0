//! Flags that several subcommands share, and the checks on their values.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use swarmcast::{
    Group, MulticastChoice, PeerAddress, Quality, RenditionConfig, StreamKey, SubscribeConfig, SwarmConfig,
};

use crate::failure::{Exit, Failure};

/// Longest time that a flag may name: a week.
const SECONDS_MAX: f64 = 604_800.0;

/// Which network cards are used, and who is known beforehand.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// A peer to connect to besides those found on the LAN: IP:PORT, or the ticket that `swarmcast publish`
    /// prints; may be repeated
    #[arg(long = "peer", value_name = "PEER")]
    pub(crate) peers: Vec<PeerAddress>,
    /// Use this network interface only; may be repeated [default: all]
    #[arg(long = "iface", value_name = "IFACE")]
    pub(crate) interfaces: Vec<String>,
    /// UDP port to listen on [default: one that is free]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Most bits per second to send to peers, such as 800k or 5M: what your line carries upwards, or less. Nobody is
    /// promised more than that, so that what is promised comes in time [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) upload_max: Option<u64>,
}

/// The file that holds a keyed group's secret.
#[derive(Args, Debug, Clone)]
pub(crate) struct GroupKeyArgs {
    /// File with the secret of a keyed group (16 to 4096 bytes, the same file on every host); without it the
    /// group is open: whoever knows its name can watch
    #[arg(long, value_name = "FILE")]
    pub(crate) group_key: Option<PathBuf>,
}

/// Whether and where a stream is multicast.
#[derive(Args, Debug, Clone)]
pub(crate) struct MulticastArgs {
    /// IP multicast: off, ADDRESS[:PORT][,source=ADDRESS], or auto: at an address made of the stream's name, and for a
    /// viewer wherever the publisher says. A viewer that reaches nobody but by multicast is told the same address
    #[arg(long, value_name = "auto|off|ADDRESS", default_value = "auto")]
    pub(crate) multicast: MulticastChoice,
}

impl GroupKeyArgs {
    /// Forms the group of that name.
    pub(crate) fn group(&self, name: &str) -> Result<Group, Failure> {
        match &self.group_key {
            None => Group::open(name).map_err(|error| Failure::usage(format_args!("--group: {error}"))),
            Some(path) => Group::from_key_file(name, path).map_err(|error| {
                let advice =
                    "give --group-key a readable file, as `openssl rand -hex 32 > group.key` makes one";
                Failure::new(Exit::Media, "bad-group-key", format_args!("{error}: {advice}"))
            }),
        }
    }
}

impl NetworkArgs {
    /// Returns how a node of that group is bound.
    pub(crate) fn config(&self, group: Group) -> SwarmConfig {
        SwarmConfig {
            peers: self.peers.clone(),
            interfaces: self.interfaces.clone(),
            port: self.port,
            upload_max: self.upload_max.map(|bits| bits / 8),
            ..SwarmConfig::new(group)
        }
    }
}

/// Parses a time in seconds, such as `10` or `0.5`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds, such as 10 or 0.5".to_owned())?;
    if !(0.0..=SECONDS_MAX).contains(&seconds) || seconds == 0.0 {
        return Err(format!("more than 0 and at most {SECONDS_MAX} seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Parses a hold-down in seconds.
pub(crate) fn hold_down(text: &str) -> Result<Duration, String> {
    let (least, most) = (SubscribeConfig::HOLD_DOWN_MIN, SubscribeConfig::HOLD_DOWN_MAX);
    match seconds(text)? {
        hold_down if (least..=most).contains(&hold_down) => Ok(hold_down),
        _ => Err(format!("{} to {} seconds", least.as_secs_f64(), most.as_secs())),
    }
}

/// Parses a rate in bits per second, such as `800k` or `20M`.
pub(crate) fn rate(text: &str) -> Result<u64, &'static str> {
    const ADVICE: &str = "a rate in bits per second, 1k to 100G, such as 800k or 20M";
    let (digits, scale) = match text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']) {
        None => (text, 1.0),
        Some(digits) => match text.as_bytes().last().map(u8::to_ascii_lowercase) {
            Some(b'k') => (digits, 1e3),
            Some(b'm') => (digits, 1e6),
            _ => (digits, 1e9),
        },
    };
    let bits = digits.parse::<f64>().map_err(|_| ADVICE)? * scale;
    if (1e3..=1e11).contains(&bits) { Ok(bits as u64) } else { Err(ADVICE) }
}

/// Parses the size of pictures, such as `1280x720`.
pub(crate) fn size(text: &str) -> Result<(u16, u16), &'static str> {
    let sides = text.split_once('x').map(|(width, height)| (width.parse(), height.parse()));
    match sides {
        Some((Ok(width @ 16..=16_384), Ok(height @ 16..=16_384))) => Ok((width, height)),
        _ => Err("a width and a height in pixels, 16 to 16384 each, such as 1280x720"),
    }
}

/// Parses which rendition is played: `auto`, `highest`, `lowest`, a size, or a place from 0.
pub(crate) fn quality(text: &str) -> Result<Quality, &'static str> {
    Ok(match text {
        "auto" => Quality::Auto,
        "highest" => Quality::Highest,
        "lowest" => Quality::Lowest,
        _ => match (size(text), text.parse()) {
            (Ok((width, height)), _) => Quality::Size { width, height },
            (_, Ok(place)) => Quality::Index(place),
            _ => return Err("auto, highest, lowest, a size such as 640x360, or a place in the list, from 0"),
        },
    })
}

/// Parses one quality to encode: a size, and perhaps its rate, as `1280x720@2M`.
pub(crate) fn rendition(text: &str) -> Result<RenditionConfig, &'static str> {
    let (sides, bits) = text.split_once('@').map_or((text, None), |(sides, bits)| (sides, Some(bits)));
    let bitrate = bits.map(rate).transpose()?.map(u32::try_from).transpose().map_err(|_| "at most 4G")?;
    Ok(RenditionConfig { size: Some(size(sides)?), bitrate })
}

/// Parses the name of a stream: 1 to 128 bytes, no control characters.
pub(crate) fn stream_name(text: &str) -> Result<String, String> {
    match swarmcast::check_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Parses the key of a stream.
pub(crate) fn stream_key(text: &str) -> Result<StreamKey, &'static str> {
    swarmcast::parse_stream_key(text).ok_or("a key is 64 hexadecimal digits, as `swarmcast list` prints it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_positive_and_finite() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for refused in ["0", "-1", "nan", "inf", "1e9", "ten", ""] {
            assert!(seconds(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_hold_down_has_its_range() {
        assert_eq!(hold_down("0.1"), Ok(Duration::from_millis(100)));
        assert_eq!(hold_down("0.09"), Err("0.1 to 3600 seconds".to_owned()));
        assert_eq!(hold_down("3601"), Err("0.1 to 3600 seconds".to_owned()));
    }

    #[test]
    fn a_rendition_has_a_size_and_perhaps_a_rate() {
        let of = |size, bitrate| Ok(RenditionConfig { size: Some(size), bitrate });
        assert_eq!(rendition("1280x720@2M"), of((1_280, 720), Some(2_000_000)));
        assert_eq!(rendition("640x360"), of((640, 360), None));
        for refused in ["", "@2M", "640@2M", "640x360@", "640x360@5G", "8x8@1M"] {
            assert!(rendition(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_quality_is_a_word_a_size_or_a_place() {
        let read = ["auto", "highest", "lowest", "640x360", "2"].map(quality);
        let size = Quality::Size { width: 640, height: 360 };
        let wanted = [Quality::Auto, Quality::Highest, Quality::Lowest, size, Quality::Index(2)];
        assert_eq!(read, wanted.map(Ok));
        for refused in ["", "best", "640x", "-1", "256"] {
            assert!(quality(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn rates_have_a_unit() {
        let read = ["1000", "800k", "2.5M", "20M", "1G"].map(rate);
        assert_eq!(read, [1_000, 800_000, 2_500_000, 20_000_000, 1_000_000_000].map(Ok));
        for refused in ["", "M", "20Mbit", "-1M", "nan", "inf", "999", "101G", "20 M"] {
            assert!(rate(refused).is_err(), "{refused}");
        }
    }
}
