//! Runs the sample against a publisher in this process, on the loopback interface.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;
use swarmcast::{Group, Identity, PublishConfig, Source, SourceConfig, Swarm, SwarmConfig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_watches_to_the_end() -> Result<()> {
    let group = format!("health sample {}", std::process::id());
    let interfaces = vec!["lo".to_owned()];
    let config = SwarmConfig { interfaces, ..SwarmConfig::new(Group::open(&group)?) };
    let (swarm, driver) = Swarm::bind(config).await?;
    tokio::spawn(driver.run());
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("clip.mkv");
    let mut source = Source::open(SourceConfig::new(clip.to_string_lossy()))?;
    let stream = PublishConfig::new("cam", source.tracks().to_vec(), Identity::ephemeral()?);
    let publisher = swarm.publish(stream).await?;

    let health = Command::new(env!("CARGO_BIN_EXE_health"))
        .args([&group, "cam", &swarm.ticket().to_string(), "lo"])
        .stdout(Stdio::piped())
        .spawn()?;
    let sender = publisher.sender();
    let fed = tokio::task::spawn_blocking(move || sender.feed(&mut source)).await?;
    publisher.end().await;
    swarm.close().await;
    fed?;

    let output = tokio::task::spawn_blocking(|| health.wait_with_output()).await??;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{text}");
    for told in ["opened: [\"h264\", \"aac\"]", "NetStream.Play.Start", "lost 0, ", "closed: Ended"] {
        assert!(text.contains(told), "{told} is missing: {text}");
    }
    Ok(())
}
