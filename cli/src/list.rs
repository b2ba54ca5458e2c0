//! `swarmcast list`: which groups and streams there are on the LAN.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use swarmcast::{Group, KnownStream, LanGroup, Swarm, SwarmConfig};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::args::{GroupKeyArgs, NetworkArgs, seconds};
use crate::failure::{EXIT_CODES, Exit, Failure};
use crate::report::{GroupLine, Line, RenditionLine, Reporter, StreamLine, TrackLine};
use crate::run::block_on;

/// Most groups that are joined to look inside; the others are told by what they announce.
const JOINED_MAX: usize = 16;
/// Part of the time that goes into finding groups; the rest goes into asking their members.
const BROWSE_PARTS: (u32, u32) = (1, 2);

const EXAMPLES: &str = "\
Examples:
  What is there on this LAN?
    swarmcast list
  What is there in a keyed group, or in one that discovery does not reach?
    swarmcast list --group lobby --group-key group.key --peer 192.168.1.10:7400";

/// Lists the groups and streams on the LAN
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct ListArgs {
    /// List this group only
    #[arg(short, long)]
    group: Option<String>,
    #[command(flatten)]
    group_key: GroupKeyArgs,
    /// Look so long
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    wait: Duration,
    #[command(flatten)]
    network: NetworkArgs,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Runs `swarmcast list`.
pub(crate) fn run(args: &ListArgs) -> ExitCode {
    block_on(args.json, |reporter| async move {
        match &args.group {
            Some(name) => list_group(args, args.group_key.group(name)?, &reporter).await,
            None if args.group_key.group_key.is_some() || !args.network.peers.is_empty() => {
                Err(Failure::usage("--group-key and --peer need --group: name the group that is meant"))
            }
            None => list_all(args, &reporter).await,
        }
    })
}

/// Lists what discovery finds, and what the members of open groups tell when they are asked.
async fn list_all(args: &ListArgs, reporter: &Reporter) -> Result<(), Failure> {
    let until = Instant::now() + args.wait;
    let (part, of) = BROWSE_PARTS;
    let advice = "use --group GROUP with --peer IP:PORT instead";
    let failure = |error| Failure::new(Exit::Network, "discovery", format_args!("{error}: {advice}"));
    let groups = swarmcast::browse(&args.network.interfaces, args.wait * part / of).await.map_err(failure)?;
    let mut looks = JoinSet::new();
    for (place, found) in groups.iter().enumerate().take(JOINED_MAX) {
        if let Some(group) = found.name.as_deref().and_then(|name| Group::open(name).ok()) {
            let interfaces = args.network.interfaces.clone();
            let config = SwarmConfig {
                interfaces,
                peers: found.members.clone(),
                discovery: false,
                ..SwarmConfig::new(group)
            };
            let published = found.published.len();
            looks.spawn(async move { (place, look(config, until, published).await) });
        }
    }
    let mut streams = vec![Vec::new(); groups.len()];
    while let Some(Ok((place, looked))) = looks.join_next().await {
        streams[place] = looked?.streams;
    }
    for (group, streams) in groups.iter().zip(&streams) {
        tell_group(reporter, group, streams);
    }
    if groups.is_empty() {
        reporter.say("no group found on the LAN: try a longer --wait, or --group GROUP --peer IP:PORT");
    }
    Ok(())
}

/// Lists one group, joined by its name.
async fn list_group(args: &ListArgs, group: Group, reporter: &Reporter) -> Result<(), Failure> {
    let until = Instant::now() + args.wait;
    let (id, name, keyed) = (group.id(), group.name().to_owned(), group.is_keyed());
    let looked = look(args.network.config(group), until, usize::MAX).await?;
    let heard = looked.lan.into_iter().find(|group| group.id == id);
    if heard.is_none() && looked.neighbours == 0 {
        let message = format!(
            "no member of group {name} within {} s: check its name and --group-key, add --peer IP:PORT of a member, \
             or look longer with --wait",
            args.wait.as_secs_f64()
        );
        return Err(Failure::new(Exit::NotFound, "group-not-found", message));
    }
    let mut line = match heard {
        Some(heard) => line_of(&heard),
        None => {
            let first = programmes(&looked.streams).into_iter();
            let published = first.map(|(stream, _)| stream.catalogue.programme().to_owned()).collect();
            let (id, peers) = (id.to_string(), looked.neighbours);
            GroupLine { group: None, id, keyed, peers, published, watched: Vec::new() }
        }
    };
    line.group = Some(name.clone());
    reporter.tell(Line::Group(line), None);
    tell_streams(reporter, &name, keyed, &looked.streams);
    Ok(())
}

/// What a group's members tell.
struct Looked {
    streams: Vec<KnownStream>,
    lan: Vec<LanGroup>,
    neighbours: usize,
}

/// Joins a group until the time is over, or until as many streams as were announced are known.
async fn look(config: SwarmConfig, until: Instant, announced: usize) -> Result<Looked, Failure> {
    let (swarm, driver) = Swarm::bind(config).await?;
    let driver = tokio::spawn(driver.run());
    let mut streams = Vec::new();
    let mut changes = swarm.neighbour_changes();
    let watch = async {
        loop {
            streams = swarm.streams().await?;
            if programmes(&streams).len() >= announced || changes.next().await.is_none() {
                return Ok::<(), Failure>(());
            }
        }
    };
    tokio::select! {
        watched = watch => watched?,
        () = sleep_until(until) => {}
    }
    let looked =
        Looked { streams: swarm.streams().await?, lan: swarm.lan(), neighbours: swarm.neighbours().len() };
    swarm.close().await;
    driver.abort();
    Ok(looked)
}

fn tell_group(reporter: &Reporter, group: &LanGroup, streams: &[KnownStream]) {
    reporter.tell(Line::Group(line_of(group)), None);
    if let Some(name) = &group.name {
        tell_streams(reporter, name, group.keyed, streams);
    }
}

fn tell_streams(reporter: &Reporter, group: &str, keyed: bool, streams: &[KnownStream]) {
    for (first, viewers) in programmes(streams) {
        let catalogue = &first.catalogue;
        let tracks: Vec<_> = catalogue.tracks.iter().map(TrackLine::from).collect();
        let line = StreamLine {
            group: group.to_owned(),
            keyed,
            name: catalogue.programme().to_owned(),
            key: catalogue.renditions.first().map_or(first.key, |rendition| rendition.key).to_string(),
            epoch: first.epoch.0,
            publisher: first.publisher.map(|peer| peer.to_string()),
            viewers,
            bitrate: tracks.iter().map(|track| u64::from(track.bitrate)).sum(),
            tracks,
            renditions: catalogue.renditions.iter().map(RenditionLine::from).collect(),
        };
        reporter.tell(Line::Stream(line), None);
    }
}

/// Takes the renditions of each programme together: the first of them that is known, and the viewers of all.
fn programmes(streams: &[KnownStream]) -> Vec<(&KnownStream, u32)> {
    let place = |stream: &KnownStream| {
        stream.catalogue.renditions.iter().position(|rendition| rendition.key == stream.key)
    };
    let programme = |stream: &KnownStream| {
        stream.catalogue.renditions.first().map_or(stream.key, |rendition| rendition.key)
    };
    let mut told: Vec<(&KnownStream, u32)> = Vec::new();
    for stream in streams {
        match told.iter_mut().find(|(known, _)| programme(known) == programme(stream)) {
            Some((known, viewers)) => {
                *viewers += stream.viewers;
                *known = if place(stream) < place(known) { stream } else { *known };
            }
            None => told.push((stream, stream.viewers)),
        }
    }
    told
}

fn line_of(group: &LanGroup) -> GroupLine {
    GroupLine {
        group: group.name.clone(),
        id: group.id.to_string(),
        keyed: group.keyed,
        peers: group.members.len(),
        published: group.published.clone(),
        watched: group.watched.clone(),
    }
}
