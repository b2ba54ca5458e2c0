//! Runs the sample against a publisher in this process that dies and comes back, on the loopback interface.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use swarmcast::{Group, Interrupt, PublishConfig, Source, SourceConfig, StateDir, Swarm, SwarmConfig};
use tokio::task::JoinHandle;

/// Longest wait for a line; ten times what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A publisher that can die without a word.
struct Publishing {
    swarm: Swarm,
    driver: JoinHandle<()>,
    interrupt: Interrupt,
    publisher: swarmcast::Publisher,
}

impl Publishing {
    async fn start(group: &Group, clip: &str) -> Result<Self> {
        let interfaces = vec!["lo".to_owned()];
        let config = SwarmConfig { interfaces, ..SwarmConfig::new(group.clone()) };
        let (swarm, driver) = Swarm::bind(config).await?;
        let driver = tokio::spawn(driver.run());
        let interrupt = Interrupt::new();
        let source = SourceConfig { looped: true, interrupt: interrupt.clone(), ..SourceConfig::new(clip) };
        let mut source = Source::open(source)?;
        let identity = StateDir::at(env!("CARGO_TARGET_TMPDIR")).identity(group, "cam")?;
        let stream = PublishConfig::new("cam", source.tracks().to_vec(), identity);
        let publisher = swarm.publish(stream).await?;
        let sender = publisher.sender();
        tokio::task::spawn_blocking(move || sender.feed(&mut source));
        Ok(Self { swarm, driver, interrupt, publisher })
    }

    fn die(self) {
        self.driver.abort();
        self.interrupt.interrupt();
    }

    async fn end(self) {
        self.interrupt.interrupt();
        self.publisher.end().await;
        self.swarm.close().await;
    }
}

/// The sample, which is killed when the test is over.
struct Sample {
    child: Child,
    lines: Receiver<String>,
}

impl Sample {
    fn start(arguments: [&str; 5]) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fallback"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn()?;
        let stdout = BufReader::new(child.stdout.take().context("piped")?);
        let (sender, lines) = sync_channel(1024);
        thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            lines.all(|line| sender.send(line).is_ok())
        });
        Ok(Self { child, lines })
    }

    fn expect(&self, wanted: &str) -> Result<String> {
        let mut all = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).with_context(|| format!("no {wanted}:\n{all}"))?;
            if line.contains(wanted) {
                return Ok(line);
            }
            all += &(line + "\n");
        }
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // Fails for a process that has ended, which is as good.
        let _ = self.child.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fallback_goes_to_its_url_and_comes_back() -> Result<()> {
    let group = format!("fallback sample {}", std::process::id());
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("clip.mkv");
    let clip = clip.to_string_lossy();
    let lobby = Group::open(&group)?;
    let first = Publishing::start(&lobby, &clip).await?;
    let mut sample = Sample::start([&group, "cam", &clip, &first.swarm.ticket().to_string(), "lo"])?;
    sample.expect("NetStream.Play.Start")?;
    first.die();
    sample.expect("): playing ")?;
    let second = Publishing::start(&lobby, &clip).await?;
    sample.expect("NetStream.MulticastStream.Reset")?;
    let back = sample.expect("back after ")?;
    assert!(!back.starts_with("back after 0 "), "{back}");
    second.end().await;
    sample.expect("access units: Ended")?;
    assert!(sample.child.wait()?.success());
    Ok(())
}
