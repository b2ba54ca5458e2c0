//! Plain UDP and TCP traffic between hosts: to measure the lab itself, and as a rival for the stream.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::host::Host;

/// Longest that a probe waits for a datagram.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Sends `count` datagrams of `bytes` (at least 8) from one host to another, `gap` apart, and tells how many arrive.
///
/// # Errors
/// A socket fails.
pub fn datagrams_delivered(from: &Host, to: &Host, count: u32, bytes: usize, gap: Duration) -> Result<u32> {
    let receiver = to.namespace().enter(|| UdpSocket::bind((to.address(), 0)))??;
    receiver.set_read_timeout(Some(PROBE_TIMEOUT))?;
    let target = receiver.local_addr()?;
    let sender = from.namespace().enter(|| UdpSocket::bind((from.address(), 0)))??;
    let counting = thread::spawn(move || {
        let mut buffer = vec![0; bytes.max(8)];
        let mut received = 0;
        while received < count && receiver.recv(&mut buffer).is_ok() {
            received += 1;
        }
        received
    });
    let start = Instant::now();
    for number in 0..count {
        let due = start + gap * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // A full or cut link refuses: the datagram counts as lost.
        let _ = sender.send_to(&vec![0; bytes], target);
    }
    counting.join().map_err(|_| anyhow!("the counting thread panicked"))
}

/// Round-trip times of `count` UDP datagrams, one after the other; those that got lost have none.
///
/// # Errors
/// A socket fails.
pub fn round_trips(from: &Host, to: &Host, count: u32) -> Result<Vec<Duration>> {
    let echo = to.namespace().enter(|| UdpSocket::bind((to.address(), 0)))??;
    echo.set_read_timeout(Some(PROBE_TIMEOUT))?;
    let target = echo.local_addr()?;
    let sender = from.namespace().enter(|| UdpSocket::bind((from.address(), 0)))??;
    sender.set_read_timeout(Some(PROBE_TIMEOUT))?;
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let answering = thread::spawn(move || {
        let mut buffer = [0; 64];
        while !stop.load(Ordering::Relaxed) {
            if let Ok((length, source)) = echo.recv_from(&mut buffer) {
                let _ = echo.send_to(&buffer[..length], source);
            }
        }
    });
    let mut times = Vec::new();
    for number in 0..count {
        let start = Instant::now();
        let _ = sender.send_to(&number.to_be_bytes(), target);
        let mut buffer = [0; 64];
        while let Ok(length) = sender.recv(&mut buffer) {
            if buffer[..length] == number.to_be_bytes() {
                times.push(start.elapsed());
                break;
            }
        }
    }
    done.store(true, Ordering::Relaxed);
    answering.join().map_err(|_| anyhow!("the answering thread panicked"))?;
    Ok(times)
}

/// A TCP connection that sends as fast as it can until stopped.
#[derive(Debug)]
pub struct TcpFlow {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    started: Instant,
    threads: Vec<JoinHandle<()>>,
}

impl TcpFlow {
    /// Connects from one host to another and starts to send.
    ///
    /// # Errors
    /// The connection cannot be made in 5 s.
    pub fn start(from: &Host, to: &Host) -> Result<Self> {
        let listener = to.namespace().enter(|| TcpListener::bind((to.address(), 0)))??;
        let target: SocketAddr = listener.local_addr()?;
        let connect = || TcpStream::connect_timeout(&target, Duration::from_secs(5));
        let sender = from.namespace().enter(connect)?.context("cannot connect the TCP flow")?;
        let (receiver, _) = listener.accept()?;
        sender.set_write_timeout(Some(Duration::from_millis(200)))?;
        receiver.set_read_timeout(Some(Duration::from_millis(200)))?;
        let (stop, received) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let sending = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || send_until(&stop, sender))
        };
        let receiving = {
            let (stop, received) = (Arc::clone(&stop), Arc::clone(&received));
            thread::spawn(move || count_until(&stop, receiver, &received))
        };
        Ok(Self { stop, received, started: Instant::now(), threads: vec![sending, receiving] })
    }

    /// Payload bits a second that arrived since the start.
    pub fn bits_per_second(&self) -> f64 {
        self.received.load(Ordering::Relaxed) as f64 * 8.0 / self.started.elapsed().as_secs_f64()
    }
}

impl Drop for TcpFlow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn send_until(stop: &AtomicBool, mut stream: TcpStream) {
    let block = vec![0x55; 64 * 1024];
    while !stop.load(Ordering::Relaxed) {
        match stream.write(&block) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn count_until(stop: &AtomicBool, mut stream: TcpStream, received: &AtomicU64) {
    let mut block = vec![0; 64 * 1024];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut block) {
            Ok(0) => return,
            Ok(length) => {
                received.fetch_add(length as u64, Ordering::Relaxed);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}
