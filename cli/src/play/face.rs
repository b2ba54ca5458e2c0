//! Where a stream is shown: a window, the terminal, loudspeakers alone, or nowhere.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use swarmcast::{PlayConfig, Player, Screen, Speaker};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::board::Board;
use crate::failure::{Exit, Failure};
use crate::report::{Line, Reporter};
use crate::run::spawn;

mod audio;
mod headless;
mod overlay;
mod terminal;
mod window;

/// How long after its own end what is on hand may still be played, beyond the playout delay.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// How long closing a window or a sound device may take.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// Longest wait before a viewer that drains looks again whether the user left.
const LOOK: Duration = Duration::from_millis(50);

/// How it is shown.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Window")]
pub(super) struct FaceArgs {
    /// Open no window: only measure and tell the stream's health, as where there is no display
    #[arg(long, conflicts_with_all = ["fullscreen", "audio_only", "terminal"])]
    headless: bool,
    /// Fill the screen; f goes back
    #[arg(long, conflicts_with_all = ["audio_only", "terminal", "output"])]
    fullscreen: bool,
    /// Play the sound alone, without a window
    #[arg(long, conflicts_with_all = ["no_audio", "terminal", "output"])]
    audio_only: bool,
    /// Play the pictures alone
    #[arg(long, conflicts_with = "output")]
    no_audio: bool,
    /// Write the sound to a file at its time instead of playing it, and open no window: left and right by turns, 48,000
    /// times a second, as 32-bit floats
    #[arg(long, value_name = "FILE", conflicts_with_all = ["no_audio", "terminal", "fullscreen", "output"])]
    sound: Option<PathBuf>,
    /// Show the pictures in this terminal, by its own graphics where it says that it has any
    #[arg(long, conflicts_with = "output", value_name = "HOW", value_enum, num_args = 0..=1,
        require_equals = true, default_missing_value = "auto")]
    terminal: Option<terminal::Drawing>,
}

/// Where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Headless,
    Window,
    Terminal,
    Loudspeaker,
}

impl FaceArgs {
    /// Returns whether the pictures take standard output.
    pub(super) fn takes_output(&self) -> bool {
        self.terminal.is_some()
    }

    fn kind(&self, has_display: bool) -> Kind {
        match self {
            Self { headless: true, .. } | Self { sound: Some(_), .. } => Kind::Headless,
            Self { terminal: Some(_), .. } => Kind::Terminal,
            Self { audio_only: true, .. } => Kind::Loudspeaker,
            Self { fullscreen: true, .. } => Kind::Window,
            _ if has_display => Kind::Window,
            _ => Kind::Headless,
        }
    }
}

/// Whether the user left by the window.
#[derive(Debug, Default)]
pub(super) struct Exited {
    left: AtomicBool,
    told: Notify,
}

impl Exited {
    fn leave(&self) {
        self.left.store(true, Ordering::Release);
        self.told.notify_one();
    }

    fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Waits until the user leaves.
    pub(super) async fn wait(&self) {
        self.told.notified().await;
    }
}

/// What a thread that shows needs.
struct Stage {
    title: String,
    screen: Screen,
    /// None with `--no-audio`.
    speaker: Option<Speaker>,
    board: Arc<Board>,
    exited: Arc<Exited>,
    fullscreen: bool,
    /// Where the sound goes that is not played.
    sound: Option<File>,
}

impl Stage {
    /// Returns whether there is still somebody to show it to.
    fn goes_on(&self) -> bool {
        !self.screen.is_closed() && !self.exited.has_left()
    }
}

/// What came of opening it: a warning, when it goes on without sound.
type Opened = oneshot::Sender<Result<Option<String>, Failure>>;

/// A stream that is shown. Dropping it gives the terminal back.
pub(super) struct Face {
    exited: Arc<Exited>,
    screen: Screen,
    terminal: Option<terminal::Restorer>,
    /// Told when the thread that shows has left.
    over: oneshot::Receiver<()>,
}

/// The viewer's hold on what it feeds.
pub(super) struct Feed {
    player: Player,
    exited: Arc<Exited>,
    /// How long the end of the stream is played on.
    drains: Option<Duration>,
}

impl Face {
    /// Opens it, so that what cannot be had is told before anything is watched.
    pub(super) async fn open(
        args: &FaceArgs,
        name: &str,
        (playout_delay, in_step): (Duration, bool),
        reporter: &Arc<Reporter>,
    ) -> Result<(Self, Feed), Failure> {
        let kind = args.kind(has("DISPLAY") || has("WAYLAND_DISPLAY"));
        let sound = args.sound.as_deref().map(create).transpose()?;
        let decodes = kind != Kind::Headless || sound.is_some();
        let player = Player::new(PlayConfig {
            playout_delay,
            pictures: !args.audio_only,
            sound: !args.no_audio,
            in_step,
            decodes,
        });
        let exited = Arc::new(Exited::default());
        let stage = Stage {
            title: name.to_owned(),
            screen: player.screen(),
            speaker: (!args.no_audio).then(|| player.speaker()),
            board: Arc::clone(reporter.board()),
            exited: Arc::clone(&exited),
            fullscreen: args.fullscreen,
            sound,
        };
        let drawing = args.terminal.filter(|_| kind == Kind::Terminal);
        let terminal = drawing.map(|drawing| take_terminal(reporter.board(), drawing)).transpose()?;
        let place = terminal.as_ref().map(terminal::Restorer::place);
        let (opened, answer) = oneshot::channel();
        let (left, over) = oneshot::channel();
        spawn("show", move || {
            match (kind, place) {
                (Kind::Window, _) => window::run(&stage, opened),
                (Kind::Loudspeaker, _) => audio::run(&stage, opened),
                (Kind::Terminal, Some(place)) => terminal::run(&stage, &place, opened),
                _ => headless::run(&stage, opened),
            }
            // Nobody waits when the command is over.
            let _ = left.send(());
        })?;
        let died =
            |_| Failure::new(Exit::Unexpected, "window", "the window's thread died: please report this");
        if let Some(message) = answer.await.map_err(died)?? {
            reporter.tell(Line::Warning { code: "no-sound", message }, None);
        }
        let drains = decodes.then_some(playout_delay + DRAIN_MAX);
        let face = Self { exited: Arc::clone(&exited), screen: player.screen(), terminal, over };
        Ok((face, Feed { player, exited, drains }))
    }

    /// Returns what tells that the user left.
    pub(super) fn exited(&self) -> &Exited {
        &self.exited
    }

    /// Closes it: gives the terminal back, and waits a moment for libraries that are not to be left at work.
    pub(super) async fn close(mut self) {
        self.terminal = None;
        self.exited.leave();
        // The end of the process goes over a display that does not answer.
        let _ = timeout(CLOSE_MAX, self.over).await;
    }

    /// Returns where pictures come out, and with them how playing goes.
    pub(super) fn screen(&self) -> Screen {
        self.screen.clone()
    }
}

impl Feed {
    /// Takes the next event; tells what cannot be played.
    pub(super) fn handle(&mut self, event: &swarmcast::Event) -> Vec<String> {
        self.player.handle(event).iter().map(ToString::to_string).collect()
    }

    /// Returns how much later than it is due everything is played.
    pub(super) fn grown(&self) -> Duration {
        self.player.grown()
    }

    /// Plays what is on hand at the end of the stream, unless nobody sees it or the user leaves.
    pub(super) fn drain(&self) {
        let mut rest = self.drains.unwrap_or_default();
        while !rest.is_zero() && !self.exited.has_left() && !self.player.drain(LOOK.min(rest)) {
            rest = rest.saturating_sub(LOOK);
        }
    }
}

fn create(sound: &Path) -> Result<File, Failure> {
    let failed = |error| Failure::new(Exit::Media, "sound", format!("--sound {}: {error}", sound.display()));
    File::create(sound).map_err(failed)
}

/// Returns whether the environment has something under that name.
fn has(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn take_terminal(board: &Arc<Board>, drawing: terminal::Drawing) -> Result<terminal::Restorer, Failure> {
    if !io::stdout().is_terminal() {
        return Err(Failure::usage(
            "--terminal: standard output is no terminal; leave it out, or use --headless",
        ));
    }
    Ok(terminal::Restorer::new(Arc::clone(board), drawing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_opens_where_there_is_a_display() {
        let none = FaceArgs {
            headless: false,
            fullscreen: false,
            audio_only: false,
            no_audio: false,
            sound: None,
            terminal: None,
        };
        let kinds = |args: FaceArgs| [true, false].map(|display| args.kind(display));
        assert_eq!(kinds(none.clone()), [Kind::Window, Kind::Headless]);
        assert_eq!(kinds(FaceArgs { headless: true, ..none.clone() }), [Kind::Headless; 2]);
        assert_eq!(kinds(FaceArgs { sound: Some("x.f32".into()), ..none.clone() }), [Kind::Headless; 2]);
        assert_eq!(kinds(FaceArgs { fullscreen: true, ..none.clone() }), [Kind::Window; 2]);
        assert_eq!(kinds(FaceArgs { audio_only: true, ..none.clone() }), [Kind::Loudspeaker; 2]);
        assert_eq!(kinds(FaceArgs { terminal: Some(terminal::Drawing::Auto), ..none }), [Kind::Terminal; 2]);
    }
}
