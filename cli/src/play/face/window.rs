//! The window: pictures in a streaming texture that the graphics card converts, sound, keys, and words over it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use sdl2::event::{Event, WindowEvent};
use sdl2::keyboard::Keycode;
use sdl2::pixels::{Color, PixelFormatEnum};
use sdl2::rect::Rect;
use sdl2::render::{BlendMode, Texture, TextureCreator, WindowCanvas};
use sdl2::video::{FullscreenType, WindowContext};
use sdl2::{EventPump, Sdl};
use swarmcast::Picture;

use super::{Opened, Stage, audio, has, overlay};
use crate::failure::{Exit, Failure};

/// Size of the window until the first picture.
const SIZE: (u32, u32) = (960, 540);
/// Longest time between two looks at keys and words.
const STEP: Duration = Duration::from_millis(20);
/// Change of the volume by one key.
const VOLUME_STEP: f32 = 0.05;
/// How long the volume is shown after a key.
const VOLUME_SHOWN: Duration = Duration::from_secs(2);
/// Pixels of height for each dot of a letter: lines of 16 pixels in 540.
const HEIGHT_PER_DOT: u32 = 270;

const KEYS: [&str; 6] = [
    "f      fill the screen",
    "m      mute",
    "arrows louder, quieter",
    "i      how the stream fares",
    "?      this list",
    "q      quit",
];

/// Shows the stream until the player is gone or the user leaves.
pub(super) fn run(stage: &Stage, opened: Opened) {
    // Ctrl-C and SIGTERM are the command's.
    sdl2::hint::set("SDL_NO_SIGNAL_HANDLERS", "1");
    sdl2::hint::set("SDL_RENDER_SCALE_QUALITY", "1");
    // Where no display answers, SDL would draw into memory that nobody sees. A user's own choice goes before this.
    sdl2::hint::set("SDL_VIDEODRIVER", if has("WAYLAND_DISPLAY") { "x11,wayland" } else { "x11" });
    let (sdl, canvas, mut events) = match open(stage) {
        Ok(opened) => opened,
        Err(cause) => {
            let message = format!(
                "no window can be opened: {cause}; play with --headless, or with --terminal in this terminal"
            );
            // Nobody waits any more when the user stopped meanwhile.
            let _ = opened.send(Err(Failure::new(Exit::Media, "no-window", message)));
            return;
        }
    };
    let device = stage.speaker.as_ref().map(|speaker| audio::open(&sdl, speaker));
    let warning = device.as_ref().and_then(|device| device.as_ref().err()).cloned();
    let _ = opened.send(Ok(warning));
    let creator = canvas.texture_creator();
    let mut window = Window {
        stage,
        canvas,
        creator: &creator,
        picture: None,
        aspect: 0.0,
        words: None,
        said: Vec::new(),
        controls: Controls::default(),
    };
    if stage.fullscreen {
        window.fill_screen(true);
    }
    window.draw();
    while stage.goes_on() {
        window.step(&mut events);
    }
}

fn open(stage: &Stage) -> Result<(Sdl, WindowCanvas, EventPump), String> {
    let sdl = sdl2::init()?;
    let video = sdl.video()?;
    // Without a window manager nobody else would keep it on the screen.
    let room = video.display_usable_bounds(0).map_or(SIZE, |bounds| bounds.size());
    let (width, height) = (SIZE.0.min(room.0), SIZE.1.min(room.1));
    let mut builder = video.window(&format!("{} - swarmcast", stage.title), width, height);
    let window = builder.position_centered().resizable().allow_highdpi().build();
    let window = window.map_err(|error| error.to_string())?;
    let canvas = window.into_canvas().present_vsync().build().map_err(|error| error.to_string())?;
    let events = sdl.event_pump()?;
    Ok((sdl, canvas, events))
}

struct Window<'a> {
    stage: &'a Stage,
    canvas: WindowCanvas,
    creator: &'a TextureCreator<WindowContext>,
    /// The picture with its size.
    picture: Option<(Texture<'a>, (u32, u32))>,
    /// Width over height as it is to be seen.
    aspect: f64,
    /// The painted words with their size.
    words: Option<(Texture<'a>, (u32, u32))>,
    said: Vec<String>,
    controls: Controls,
}

/// What keys have set.
struct Controls {
    muted: bool,
    volume: f32,
    /// Until when the volume is shown.
    volume_until: Option<Instant>,
    keys: bool,
    status: bool,
}

impl Default for Controls {
    fn default() -> Self {
        Self { muted: false, volume: 1.0, volume_until: None, keys: false, status: false }
    }
}

impl Window<'_> {
    /// Handles what has happened, shows the next picture when its time has come, and waits for more.
    fn step(&mut self, events: &mut EventPump) {
        let mut changed = false;
        for event in events.poll_iter() {
            changed |= self.handle(&event);
        }
        if let Some(picture) = self.stage.screen.next(swarmcast::now()) {
            self.take(&picture);
            changed = true;
        }
        if self.say() || changed {
            self.draw();
        }
        let rest = self.stage.screen.due_in(swarmcast::now()).unwrap_or(STEP).min(STEP);
        match u32::try_from(rest.as_millis()).unwrap_or(0) {
            0 => sleep(rest),
            millis => {
                if let Some(event) = events.wait_event_timeout(millis)
                    && self.handle(&event)
                {
                    self.draw();
                }
            }
        }
    }

    /// Handles an event; returns whether the window must be drawn anew.
    fn handle(&mut self, event: &Event) -> bool {
        match event {
            Event::Quit { .. } => self.stage.exited.leave(),
            Event::Window { win_event: WindowEvent::Resized(..) | WindowEvent::SizeChanged(..), .. } => {
                self.said.clear();
                return true;
            }
            Event::Window { win_event: WindowEvent::Exposed, .. } => return true,
            // By the sign, wherever the keyboard has it.
            Event::TextInput { text, .. } if text == "?" => self.controls.keys = !self.controls.keys,
            Event::KeyDown { keycode: Some(key), repeat, .. } => self.press(*key, *repeat),
            _ => {}
        }
        false
    }

    fn press(&mut self, key: Keycode, repeat: bool) {
        match key {
            Keycode::Up | Keycode::Right => self.turn(VOLUME_STEP),
            Keycode::Down | Keycode::Left => self.turn(-VOLUME_STEP),
            _ if repeat => {}
            Keycode::Q => self.stage.exited.leave(),
            Keycode::F | Keycode::F11 => self.fill_screen(!self.fills_screen()),
            Keycode::Escape => self.fill_screen(false),
            Keycode::I => self.controls.status = !self.controls.status,
            Keycode::F1 => self.controls.keys = !self.controls.keys,
            Keycode::M => {
                self.controls.muted = !self.controls.muted;
                self.turn(0.0);
            }
            _ => {}
        }
    }

    fn turn(&mut self, change: f32) {
        let controls = &mut self.controls;
        controls.volume = (controls.volume + change).clamp(0.0, 1.0);
        controls.muted &= change == 0.0;
        controls.volume_until = Some(Instant::now() + VOLUME_SHOWN);
        if let Some(speaker) = &self.stage.speaker {
            speaker.set_volume(loudness(controls.volume));
            speaker.set_muted(controls.muted);
        }
    }

    fn fills_screen(&self) -> bool {
        self.canvas.window().fullscreen_state() != FullscreenType::Off
    }

    fn fill_screen(&mut self, fills: bool) {
        let window = self.canvas.window_mut();
        // A desktop that does not want it leaves the window as it is.
        let _ = window.set_fullscreen(if fills { FullscreenType::Desktop } else { FullscreenType::Off });
        window.subsystem().sdl().mouse().show_cursor(!fills);
    }

    /// Copies a picture to the graphics card, which converts it to colours.
    fn take(&mut self, picture: &Picture) {
        let (Some(size), Some([luma, blue, red])) = (picture.size(), picture.planes()) else { return };
        self.aspect = picture.aspect();
        if self.picture.as_ref().is_none_or(|(_, known)| *known != size) {
            let made = self.creator.create_texture_streaming(PixelFormatEnum::IYUV, size.0, size.1);
            self.picture = made.ok().map(|texture| (texture, size));
        }
        if let Some((texture, _)) = &mut self.picture {
            // A picture that the card cannot take leaves the one before.
            let _ = texture.update_yuv(
                None,
                luma.bytes,
                luma.stride,
                blue.bytes,
                blue.stride,
                red.bytes,
                red.stride,
            );
        }
    }

    /// Paints the words anew when they have changed; returns whether they have.
    fn say(&mut self) -> bool {
        let mut lines: Vec<String> = Vec::new();
        if self.controls.keys {
            lines.extend(KEYS.map(str::to_owned));
        }
        if self.controls.volume_until.is_some_and(|until| Instant::now() < until) {
            lines.push(match (self.controls.muted, &self.stage.speaker) {
                (_, None) => "Without sound".to_owned(),
                (true, _) => "Muted".to_owned(),
                (false, _) => format!("Volume {:.0} %", self.controls.volume * 100.0),
            });
        }
        lines.extend(self.stage.board.lines(self.controls.status || self.picture.is_none()));
        if lines == self.said {
            return false;
        }
        let (width, height) = self.canvas.output_size().unwrap_or(SIZE);
        let scale = (height / HEIGHT_PER_DOT).max(1) as usize;
        self.words = overlay::paint(&lines, width as usize, scale).and_then(|painted| {
            let size = (painted.width as u32, painted.height as u32);
            let made = self.creator.create_texture_static(PixelFormatEnum::RGBA32, size.0, size.1);
            let mut texture = made.ok()?;
            texture.update(None, &painted.pixels, 4 * painted.width).ok()?;
            texture.set_blend_mode(BlendMode::Blend);
            Some((texture, size))
        });
        self.said = lines;
        true
    }

    fn draw(&mut self) {
        let (width, height) = self.canvas.output_size().unwrap_or(SIZE);
        self.canvas.set_draw_color(Color::BLACK);
        self.canvas.clear();
        if let Some((texture, _)) = &self.picture {
            // What cannot be drawn once is drawn again with the next picture.
            let _ = self.canvas.copy(texture, None, fit(self.aspect, (width, height)));
        }
        if let Some((texture, (words_width, words_height))) = &self.words {
            let (left, top) = (8, height.saturating_sub(words_height + 8));
            let place = Rect::new(left, top as i32, *words_width, *words_height);
            let _ = self.canvas.copy(texture, None, place);
        }
        self.canvas.present();
    }
}

/// Returns the largest place of that aspect, its middle in the middle.
fn fit(aspect: f64, (width, height): (u32, u32)) -> Rect {
    if aspect <= 0.0 || width == 0 || height == 0 {
        return Rect::new(0, 0, width.max(1), height.max(1));
    }
    let (fitted_width, fitted_height) = if f64::from(width) / f64::from(height) > aspect {
        ((f64::from(height) * aspect).round() as u32, height)
    } else {
        (width, (f64::from(width) / aspect).round() as u32)
    };
    let (left, top) = ((width - fitted_width.min(width)) / 2, (height - fitted_height.min(height)) / 2);
    Rect::new(left as i32, top as i32, fitted_width.max(1), fitted_height.max(1))
}

/// Returns the factor for a volume: ears take its cube for even steps.
fn loudness(volume: f32) -> f32 {
    volume.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_aspect_between_bars() {
        assert_eq!(fit(16.0 / 9.0, (960, 540)), Rect::new(0, 0, 960, 540));
        assert_eq!(fit(16.0 / 9.0, (1000, 540)), Rect::new(20, 0, 960, 540));
        assert_eq!(fit(4.0 / 3.0, (640, 1000)), Rect::new(0, 260, 640, 480));
        assert_eq!(fit(0.0, (640, 0)), Rect::new(0, 0, 640, 1));
    }

    #[test]
    fn the_volume_has_even_steps_for_ears() {
        assert_eq!((loudness(0.0), loudness(1.0)), (0.0, 1.0));
        assert!((loudness(0.5) - 0.125).abs() < 1e-6);
    }
}
