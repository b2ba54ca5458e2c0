//! Media that comes as bytes in real time: into a pipe, or from an HTTP server.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clip::Clip;
use crate::command;
use crate::host::Host;
use crate::lab::Lab;

/// Time between two writes.
const STEP: Duration = Duration::from_millis(20);

/// Seconds that multiplexing a clip may take.
const LIMIT_SECONDS: u32 = 60;

/// By how much the multiplex is wider than what it carries: its rate is constant, so that bytes tell time.
const MULTIPLEX_SHARE: f64 = 1.15;

/// Media that is sent ahead of its time to who connects, as servers do so that a player can start.
const AHEAD: Duration = Duration::from_secs(1);

/// Longest wait of the server for its next connection or its end.
const ACCEPT_WAIT_MS: u16 = 100;

/// An MPEG transport stream of constant rate.
#[derive(Clone, Debug)]
pub struct TransportStream {
    bytes: Arc<Vec<u8>>,
    bytes_a_second: f64,
}

impl TransportStream {
    /// Multiplexes `seconds` of a clip that repeats.
    ///
    /// # Errors
    /// `ffmpeg` is missing or fails.
    pub fn of(lab: &Lab, clip: &Clip, seconds: u32) -> Result<Self> {
        let source = clip.file(lab)?;
        let file: PathBuf = source.with_extension(format!("{seconds}s.ts"));
        if !file.exists() {
            let unfinished = file.with_extension("unfinished.ts");
            multiplex(&source, &unfinished, clip, seconds)?;
            fs::rename(&unfinished, &file)?;
        }
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self { bytes_a_second: bytes.len() as f64 / f64::from(seconds), bytes: Arc::new(bytes) })
    }
}

fn multiplex(source: &Path, target: &Path, clip: &Clip, seconds: u32) -> Result<()> {
    let (source, target) = (source.to_string_lossy(), target.to_string_lossy());
    let rate = (f64::from(clip.bitrate) * MULTIPLEX_SHARE).round().to_string();
    let seconds = seconds.to_string();
    let input = ["-v", "error", "-nostdin", "-y", "-stream_loop", "-1", "-i", &source, "-t", &seconds];
    let output = ["-c", "copy", "-muxrate", &rate, "-f", "mpegts", &target];
    command::run_within(LIMIT_SECONDS, "ffmpeg", &[&input[..], &output[..]].concat(), "").map(drop)
}

/// A source that writes a transport stream into a pipe at its own pace, once; it closes the pipe at its end.
#[derive(Debug)]
pub struct Feed {
    paused: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Starts to write.
    pub fn start(stream: TransportStream, mut pipe: impl Write + Send + 'static) -> Self {
        let (paused, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (pausing, stopping) = (Arc::clone(&paused), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            // The reader may go away; then there is nobody to tell.
            let _ = stream.write_to(&mut pipe, Duration::ZERO, &pausing, &stopping, &AtomicU64::new(0));
        });
        Self { paused, stop, thread: Some(thread) }
    }

    /// Falls silent, or goes on where it fell silent.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl TransportStream {
    /// Writes all of it in real time, the first `ahead` at once; counts the bytes in `written`.
    fn write_to(
        &self,
        sink: &mut impl Write,
        ahead: Duration,
        paused: &AtomicBool,
        stop: &AtomicBool,
        written: &AtomicU64,
    ) -> io::Result<()> {
        let mut begin = 0;
        let mut due = self.bytes_a_second * ahead.as_secs_f64();
        while begin < self.bytes.len() && !stop.load(Ordering::Relaxed) {
            let end = (due as usize).min(self.bytes.len());
            sink.write_all(&self.bytes[begin..end])?;
            written.fetch_add((end - begin) as u64, Ordering::Relaxed);
            begin = end;
            thread::sleep(STEP);
            if !paused.load(Ordering::Relaxed) {
                due += self.bytes_a_second * STEP.as_secs_f64();
            }
        }
        Ok(())
    }
}

/// An HTTP server on a host that answers every request with the same transport stream in real time.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    served: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Starts to listen.
    ///
    /// # Errors
    /// The host has no such address.
    pub fn start(host: &Host, stream: TransportStream) -> Result<Self> {
        let listener = host.namespace().enter(|| TcpListener::bind((host.address(), 0)))??;
        let address = listener.local_addr()?;
        let (served, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (served, stop) = (Arc::clone(&served), Arc::clone(&stop));
            thread::spawn(move || accept(&listener, &stream, &served, &stop))
        };
        Ok(Self { address, served, stop, thread: Some(thread) })
    }

    /// What a player opens.
    pub fn url(&self) -> String {
        format!("http://{}/live.ts", self.address)
    }

    /// Bytes of media sent so far, to all.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves until stopped, each connection on a thread of its own.
fn accept(listener: &TcpListener, stream: &TransportStream, served: &AtomicU64, stop: &AtomicBool) {
    thread::scope(|scope| {
        while !stop.load(Ordering::Relaxed) {
            let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            if poll(&mut waiting, PollTimeout::from(ACCEPT_WAIT_MS)) != Ok(1) {
                continue;
            }
            if let Ok((connection, _)) = listener.accept() {
                // Who asked may go away at any time.
                scope.spawn(|| serve(connection, stream, served, stop));
            }
        }
    });
}

fn serve(
    mut connection: TcpStream,
    stream: &TransportStream,
    served: &AtomicU64,
    stop: &AtomicBool,
) -> io::Result<()> {
    let patience = Some(Duration::from_secs(5));
    connection.set_read_timeout(patience)?;
    connection.set_write_timeout(patience)?;
    // Every request gets the same answer: what it says does not matter, only that it has come.
    let _ = connection.read(&mut [0; 4096])?;
    connection.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")?;
    stream.write_to(&mut connection, AHEAD, &AtomicBool::new(false), stop, served)
}
