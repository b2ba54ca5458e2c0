//! A member of the group that lies, against which the LAN lab tries the binary.
//!
//! `hostile SCRIPT --group GROUP --name NAME --peer TICKET` watches and relays a stream as any viewer does, tells
//! `started` on stdout, and lies until it is killed, as SCRIPT says: see [`lies::Script`].

mod liar;
mod lies;
mod session;

use std::error::Error;

use swarmcast_core::group::GroupSpec;
use swarmcast_net::PeerAddress;

use crate::liar::Liar;
use crate::lies::Script;

/// What it is told.
#[derive(Debug)]
pub(crate) struct Task {
    script: Script,
    group: GroupSpec,
    name: String,
    publisher: PeerAddress,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let task = parse(std::env::args().skip(1))?;
    Liar::new(task).await?.run().await
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Task, Box<dyn Error>> {
    let script = arguments.next().ok_or("usage: hostile SCRIPT --group GROUP --name NAME --peer TICKET")?;
    let script = Script::named(&script).ok_or("the scripts are alter, replay, boast and flood")?;
    let (mut group, mut name, mut publisher) = (None, None, None);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--group" => group = Some(GroupSpec::open(&value)?),
            "--name" => name = Some(value),
            "--peer" => publisher = Some(value.parse()?),
            _ => return Err(format!("there is no {option}").into()),
        }
    }
    Ok(Task {
        script,
        group: group.ok_or("--group is missing")?,
        name: name.ok_or("--name is missing")?,
        publisher: publisher.ok_or("--peer is missing")?,
    })
}
