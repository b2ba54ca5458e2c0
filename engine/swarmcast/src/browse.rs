//! What there is on the LAN, of all groups.

use std::collections::BTreeMap;
use std::time::Duration;

use swarmcast_core::ids::{GroupId, PeerId};
use swarmcast_net::{Browser, DiscoveryError, LanNode, PeerAddress};

/// A group that somebody on the LAN belongs to, as its members announce it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LanGroup {
    /// Its identity.
    pub id: GroupId,
    /// Its name; a keyed group does not tell it.
    pub name: Option<String>,
    /// Whether it has a real secret.
    pub keyed: bool,
    /// Members that announce themselves, as other nodes take them as peers.
    pub members: Vec<PeerAddress>,
    /// Names of the streams that are published in it.
    pub published: Vec<String>,
    /// Names of the streams that are watched in it.
    pub watched: Vec<String>,
}

/// Listens to the LAN for `wait` and returns the groups heard of, those with names first. `interfaces` names the
/// network interfaces; all when empty. Needs a Tokio runtime.
///
/// # Errors
/// [`DiscoveryError`] when the multicast DNS service cannot be started.
pub async fn browse(interfaces: &[String], wait: Duration) -> Result<Vec<LanGroup>, DiscoveryError> {
    let mut browser = Browser::start(interfaces)?;
    let listen = async {
        loop {
            browser.next().await;
        }
    };
    // Nothing ends listening but the time.
    let _: Result<(), _> = tokio::time::timeout(wait, listen).await;
    let groups = group(browser.nodes());
    browser.stop().await;
    Ok(groups)
}

/// Tells the nodes of each group together.
pub(crate) fn group<'a>(nodes: impl Iterator<Item = &'a LanNode>) -> Vec<LanGroup> {
    let mut groups: BTreeMap<GroupId, LanGroup> = BTreeMap::new();
    for node in nodes {
        let entry = groups.entry(node.group).or_insert_with(|| LanGroup {
            id: node.group,
            name: None,
            keyed: node.keyed,
            members: Vec::new(),
            published: Vec::new(),
            watched: Vec::new(),
        });
        entry.name = entry.name.take().or_else(|| node.group_name.clone());
        entry.members.push(PeerAddress { peer: Some(node.peer), addresses: node.addresses.clone() });
        entry.published.extend_from_slice(&node.publishes);
        entry.watched.extend_from_slice(&node.watches);
    }
    let mut groups: Vec<LanGroup> = groups.into_values().collect();
    for group in &mut groups {
        for names in [&mut group.published, &mut group.watched] {
            names.sort_unstable();
            names.dedup();
        }
        group.members.sort_unstable_by_key(|member| member.peer.map(|PeerId(key)| key));
    }
    groups.sort_by(|a, b| (a.name.is_none(), &a.name).cmp(&(b.name.is_none(), &b.name)));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(peer: u8, group: u8, name: Option<&str>, publishes: &[&str]) -> LanNode {
        LanNode {
            peer: PeerId([peer; 32]),
            addresses: vec!["10.0.0.1:7400".parse().unwrap()],
            group: GroupId([group; 16]),
            group_name: name.map(str::to_owned),
            keyed: name.is_none(),
            publishes: publishes.iter().map(ToString::to_string).collect(),
            watches: vec!["cam".to_owned()],
        }
    }

    #[test]
    fn nodes_of_one_group_are_told_together() {
        let nodes = [
            node(3, 9, None, &[]),
            node(2, 1, Some("lobby"), &["cam"]),
            node(1, 1, Some("lobby"), &["desk", "cam"]),
        ];
        let groups = group(nodes.iter());
        let [lobby, hidden] = &groups[..] else { panic!("two groups: {groups:?}") };
        assert_eq!((lobby.name.as_deref(), lobby.keyed), (Some("lobby"), false));
        assert_eq!(
            (&lobby.published[..], &lobby.watched[..]),
            (&["cam".into(), "desk".into()][..], &["cam".into()][..])
        );
        assert_eq!(
            lobby.members.iter().map(|m| m.peer).collect::<Vec<_>>(),
            [1, 2].map(|id| Some(PeerId([id; 32])))
        );
        assert_eq!((hidden.name.as_deref(), hidden.keyed, hidden.members.len()), (None, true, 1));
    }
}
