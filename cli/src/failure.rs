//! What went wrong, said in one line that tells what to do, and as an exit code.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use swarmcast::{
    BindError, FeedError, IdentityError, PublishError, Reason, RecordError, SendError, SourceError, Stopped,
    StreamKey, SubscribeError, Swarm,
};

use crate::report::words;

/// What the process ends with; also a part of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Something that should not happen.
    Unexpected = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// An input, output, codec, key file or state file that cannot be used.
    Media = 3,
    /// No such stream or group within the time.
    NotFound = 4,
    /// No peer could be reached.
    NoPeer = 5,
    /// The name is taken, or means several publishers.
    Refused = 6,
    /// A port in use, or an interface that does not exist.
    Network = 7,
    /// The publisher of a stream that played has gone.
    SourceGone = 8,
    /// A stream cannot be had any longer, for a reason other than its publisher.
    Unreachable = 9,
}

/// The table of exit codes as `--help` prints it.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  ended as asked: end of stream, Ctrl-C, or --duration is over
  1  unexpected failure
  2  the command line makes no sense
  3  an input, output, codec, key file or state file cannot be used
  4  no such stream or group within --wait
  5  no peer could be reached
  6  the name was refused: taken by a newer run, or published by several keys
  7  the port is in use, or the interface does not exist
  8  the publisher has gone without an end of the stream
  9  the stream is unreachable: the network, this computer, or what arrives";

/// An error on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Names the failure for programs, in kebab case.
    pub(crate) code: &'static str,
    /// What the process ends with.
    pub(crate) exit: Exit,
    /// One line: what happened, then what to do.
    pub(crate) message: String,
    /// The status code that people know it by.
    pub(crate) status: Option<&'static str>,
}

impl Failure {
    /// Makes a failure from its message, which is squeezed into one line.
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { code, exit, message, status: None }
    }

    /// Adds the status code.
    pub(crate) fn with_status(self, status: &'static str) -> Self {
        Self { status: Some(status), ..self }
    }

    /// Makes the failure of a command line that parses but makes no sense.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// Makes the failure of a stream that was looked for in vain: nobody is there, or nobody publishes it.
    pub(crate) async fn not_found(swarm: &Swarm, name: &str, patience: Duration) -> Self {
        let group = swarm.group().name();
        let seconds = patience.as_secs_f64();
        if swarm.neighbours().is_empty() {
            let message = format!(
                "no peer of group {group} within {seconds} s, on the LAN or by --peer: check the group's name and \
                 --group-key, add --peer IP:PORT of a host that has the stream, or wait longer with --wait"
            );
            return Self::new(Exit::NoPeer, "no-peer", message).with_status("NetStream.Connect.Failed");
        }
        let streams = swarm.streams().await.unwrap_or_default();
        let mut names: Vec<_> = streams.into_iter().map(|stream| stream.catalogue.name).collect();
        names.sort_unstable();
        names.dedup();
        let there = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let message = format!(
            "no stream {name} in group {group} within {seconds} s: the group has {there}; take one of these, or wait \
             longer with --wait"
        );
        Self::new(Exit::NotFound, "stream-not-found", message).with_status("NetStream.Play.StreamNotFound")
    }

    /// Makes the failure of a stream that is dead.
    pub(crate) async fn dead(swarm: &Swarm, name: &str, reason: &Reason, patience: Duration) -> Self {
        let what = words::sentence(reason);
        let (exit, code, advice) = match reason {
            Reason::NoSuchStream | Reason::NoReachablePeers { .. } => {
                return Self::not_found(swarm, name, patience).await;
            }
            Reason::PublisherGone => {
                (Exit::SourceGone, "source-gone", "start it again; with --wait, viewers wait for it")
            }
            Reason::NetworkDown | Reason::PartitionedLocal => {
                (Exit::Unreachable, "unreachable", "check the cable, Wi-Fi and --iface of this computer")
            }
            Reason::UdpBlocked => (
                Exit::Unreachable,
                "unreachable",
                "let UDP through the firewalls, on the port that --port fixes",
            ),
            Reason::AuthFailures => (
                Exit::Unreachable,
                "unreachable",
                "give the publisher's --group-key, and look who else sends",
            ),
            Reason::Overrun => {
                (Exit::Unreachable, "unreachable", "stop other work on it, or take a larger --playout-delay")
            }
            Reason::ExcessLoss => {
                (Exit::Unreachable, "unreachable", "take a better link, or a larger --playout-delay")
            }
            _ => (
                Exit::Unreachable,
                "unreachable",
                "see whether it plays on another host, and on this one again",
            ),
        };
        Self::new(exit, code, format_args!("{name} is dead: {what}: {advice}"))
            .with_status("NetStream.Multicast.Dead")
    }

    /// Makes the failure of a name that means several streams.
    pub(crate) fn ambiguous(name: &str, keys: &[StreamKey]) -> Self {
        let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
        let keys = keys.join(", ");
        let message = format!("several publishers use the name {name}: choose one by --publisher: {keys}");
        Self::new(Exit::Refused, "ambiguous-name", message).with_status("NetStream.Connect.Rejected")
    }

    /// Writes the line to standard error and returns the exit code.
    pub(crate) fn tell(&self) -> ExitCode {
        // Without a standard error, the exit code alone tells.
        let _ = writeln!(std::io::stderr(), "error: {}", self.message);
        self.exit.into()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        let code = match &error {
            BindError::PortInUse(_) => "port-in-use",
            BindError::UnknownInterface(_) => "unknown-interface",
            _ => "bind",
        };
        Self::new(Exit::Network, code, error).with_status("NetConnection.Connect.Failed")
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        let advice = match &error {
            IdentityError::TooOpen { path, .. } => {
                format!("if nobody copied the key, `chmod 600 {0}`; else remove {0}", path.display())
            }
            IdentityError::Damaged { .. } => {
                "restore it from a copy, or remove it to publish under a new key".to_owned()
            }
            IdentityError::Locked { .. } => "see who holds it with `fuser`, then try again".to_owned(),
            _ => "give --state-dir a directory that can be written".to_owned(),
        };
        Self::new(Exit::Media, "bad-state", format_args!("{error}: {advice}"))
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::new(Exit::Media, "bad-input", error)
    }
}

impl From<FeedError> for Failure {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Source(error) => error.into(),
            FeedError::Send(error) => error.into(),
            error => Self::new(Exit::Unexpected, "publish", error),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::BadName => Self::new(
                Exit::Refused,
                "bad-name",
                format_args!("{error}: only one can; stop the other one, or choose another --name"),
            )
            .with_status("NetStream.Publish.BadName"),
            error => Self::new(Exit::Unexpected, "publish", error),
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Name => Self::usage(format_args!("--name: {error}")),
            PublishError::Refused => Self::new(
                Exit::Media,
                "bad-input",
                format_args!("{error}: publish an input with fewer tracks, or convert it"),
            ),
            error => Self::new(Exit::Unexpected, "publish", error),
        }
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Stopped => Self::new(Exit::Unexpected, "subscribe", error),
            error => Self::usage(error),
        }
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::new(Exit::Media, "bad-output", error)
    }
}

impl From<Stopped> for Failure {
    fn from(error: Stopped) -> Self {
        Self::new(Exit::Unexpected, "stopped", error)
    }
}
