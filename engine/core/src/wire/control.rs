//! The messages of a session's reliable stream.

use std::net::SocketAddr;
use std::time::Duration;

use super::{DecodeError, Offer, Reader, put_address, put_varint};
use crate::ids::{BlockId, GroupId, PeerId, STRIPES, StreamTag, Stripe};

/// Most peers in one introduction.
pub const INTRODUCED_MAX: usize = 16;

/// Most streams that one neighbour may offer.
pub const CARRIED_MAX: usize = 32;

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const OFFER: u8 = 2;
    pub(super) const CHALLENGE: u8 = 3;
    pub(super) const SUBSCRIBE: u8 = 4;
    pub(super) const UNSUBSCRIBE: u8 = 5;
    pub(super) const CHOKE: u8 = 6;
    pub(super) const FINISHED: u8 = 7;
    pub(super) const PEERS: u8 = 8;
    pub(super) const PARK: u8 = 9;
    pub(super) const RESUME: u8 = 10;
    pub(super) const UNICAST: u8 = 11;
    pub(super) const BUSY: u8 = 12;
    pub(super) const FULL: u8 = 13;
    pub(super) const ASK_TIME: u8 = 14;
    pub(super) const TIME: u8 = 15;
}

/// A set of stripes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StripeMask(pub u8);

impl StripeMask {
    /// All stripes.
    pub const ALL: Self = Self(u8::MAX);

    /// Returns whether the stripe is in the set.
    pub fn has(self, stripe: Stripe) -> bool {
        self.0 >> stripe.0 & 1 == 1
    }

    /// Returns the set with the stripe.
    pub fn with(self, stripe: Stripe) -> Self {
        Self(self.0 | 1 << stripe.0)
    }

    /// Returns the set without the others.
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Returns whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns how many stripes are in the set.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Returns the stripes in the set.
    pub fn iter(self) -> impl Iterator<Item = Stripe> {
        (0..STRIPES).map(Stripe).filter(move |stripe| self.has(*stripe))
    }
}

/// Where a push begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeFrom {
    /// At the newest random-access point that the pusher holds.
    RandomAccess,
    /// At this block.
    Block(BlockId),
}

/// First message of each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The group.
    pub group: GroupId,
    /// Keyed hash over both transport keys: its sender holds the group's secret.
    pub proof: [u8; 32],
}

/// A message of the reliable stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Who is there.
    Hello(Hello),
    /// A stream that the sender carries.
    Offer(Box<Offer>),
    /// Asks for a beacon that names this nonce; relayed towards the publisher.
    Challenge {
        /// The stream.
        tag: StreamTag,
        /// Chosen at random by who wants proof.
        nonce: u64,
    },
    /// Asks for stripes to be pushed.
    Subscribe {
        /// The stream.
        tag: StreamTag,
        /// Which stripes.
        stripes: StripeMask,
        /// From where on.
        from: SubscribeFrom,
        /// Age in ms past which the subscriber has no use for a fragment.
        patience_ms: u32,
    },
    /// Asks for stripes to be pushed no longer.
    Unsubscribe {
        /// The stream.
        tag: StreamTag,
        /// Which stripes.
        stripes: StripeMask,
        /// From this block on; 0 is at once.
        from: BlockId,
    },
    /// Says that stripes are not, or no longer, pushed.
    Choke {
        /// The stream.
        tag: StreamTag,
        /// Which stripes.
        stripes: StripeMask,
        /// From this block on; 0 is at once.
        from: BlockId,
    },
    /// Asks for pushes to be suspended, since the stream arrives by multicast; stripes stay as they are.
    Park {
        /// The stream.
        tag: StreamTag,
    },
    /// Asks for suspended pushes to go on.
    Resume {
        /// The stream.
        tag: StreamTag,
        /// From this block on.
        from: BlockId,
    },
    /// Asks the publisher to push all stripes, beyond its share in the mesh.
    Unicast {
        /// The stream.
        tag: StreamTag,
        /// From this block on; 0 also when nothing is known of the stream.
        from: BlockId,
        /// Age in ms past which the subscriber has no use for a fragment.
        patience_ms: u32,
    },
    /// Refuses [`Control::Unicast`], or ends it: all places are taken.
    Busy {
        /// The stream.
        tag: StreamTag,
        /// Time after which asking again makes sense, in ms.
        retry_after_ms: u32,
    },
    /// Introduces peers of the group.
    Peers(Vec<(PeerId, SocketAddr)>),
    /// Says that the sender has no place for a session, and introduces peers that may have one.
    Full(Vec<(PeerId, SocketAddr)>),
    /// Says that the sender has all it wants of a stream that ended.
    Finished {
        /// The stream.
        tag: StreamTag,
    },
    /// Asks what time it is for the publisher.
    AskTime {
        /// The stream.
        tag: StreamTag,
        /// Names the question.
        nonce: u64,
    },
    /// Answers [`Control::AskTime`], at once.
    Time {
        /// The stream.
        tag: StreamTag,
        /// The question.
        nonce: u64,
        /// Time since the epoch began on the publisher's clock, in microseconds.
        at: Duration,
        /// How far off that may be, in microseconds; 0 at the publisher.
        error: Duration,
    },
}

impl Control {
    /// Encodes the message, without length prefix.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Hello(hello) => {
                out.push(kind::HELLO);
                out.extend_from_slice(&hello.group.0);
                out.extend_from_slice(&hello.proof);
            }
            Self::Offer(offer) => {
                out.push(kind::OFFER);
                offer.encode(&mut out);
            }
            Self::Challenge { tag, nonce } => {
                put_tagged(&mut out, kind::CHALLENGE, *tag);
                out.extend_from_slice(&nonce.to_be_bytes());
            }
            Self::AskTime { tag, nonce } => {
                put_tagged(&mut out, kind::ASK_TIME, *tag);
                out.extend_from_slice(&nonce.to_be_bytes());
            }
            Self::Time { tag, nonce, at, error } => {
                put_tagged(&mut out, kind::TIME, *tag);
                out.extend_from_slice(&nonce.to_be_bytes());
                put_varint(&mut out, at.as_micros() as u64);
                put_varint(&mut out, error.as_micros() as u64);
            }
            Self::Subscribe { tag, stripes, from, patience_ms } => {
                put_tagged(&mut out, kind::SUBSCRIBE, *tag);
                out.push(stripes.0);
                let from = match from {
                    SubscribeFrom::RandomAccess => 0,
                    SubscribeFrom::Block(block) => block.0.saturating_add(1),
                };
                put_varint(&mut out, from);
                put_varint(&mut out, u64::from(*patience_ms));
            }
            Self::Unsubscribe { tag, stripes, from } => {
                put_stripes(&mut out, kind::UNSUBSCRIBE, *tag, (*stripes, *from));
            }
            Self::Choke { tag, stripes, from } => put_stripes(&mut out, kind::CHOKE, *tag, (*stripes, *from)),
            Self::Finished { tag } => put_tagged(&mut out, kind::FINISHED, *tag),
            Self::Park { tag } => put_tagged(&mut out, kind::PARK, *tag),
            Self::Resume { tag, from } => {
                put_tagged(&mut out, kind::RESUME, *tag);
                put_varint(&mut out, from.0);
            }
            Self::Unicast { tag, from, patience_ms } => {
                put_tagged(&mut out, kind::UNICAST, *tag);
                put_varint(&mut out, from.0);
                put_varint(&mut out, u64::from(*patience_ms));
            }
            Self::Busy { tag, retry_after_ms } => {
                put_tagged(&mut out, kind::BUSY, *tag);
                put_varint(&mut out, u64::from(*retry_after_ms));
            }
            Self::Peers(peers) => put_peers(&mut out, kind::PEERS, peers),
            Self::Full(peers) => put_peers(&mut out, kind::FULL, peers),
        }
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`DecodeError`] for everything that is not exactly one well-formed message.
    pub fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(message);
        let kind = reader.u8()?;
        let control = match kind {
            kind::HELLO => Self::Hello(Hello { group: GroupId(reader.array()?), proof: reader.array()? }),
            kind::OFFER => Self::Offer(Box::new(Offer::decode(&mut reader)?)),
            kind::PEERS => Self::Peers(decode_peers(&mut reader)?),
            kind::FULL => Self::Full(decode_peers(&mut reader)?),
            _ => decode_tagged(kind, StreamTag(reader.array()?), &mut reader)?,
        };
        reader.end()?;
        Ok(control)
    }
}

fn decode_tagged(kind: u8, tag: StreamTag, reader: &mut Reader<'_>) -> Result<Control, DecodeError> {
    Ok(match kind {
        kind::CHALLENGE => Control::Challenge { tag, nonce: reader.u64()? },
        kind::SUBSCRIBE => Control::Subscribe {
            tag,
            stripes: StripeMask(reader.u8()?),
            from: match reader.varint()? {
                0 => SubscribeFrom::RandomAccess,
                next => SubscribeFrom::Block(BlockId(next - 1)),
            },
            patience_ms: u32::try_from(reader.varint()?).map_err(|_| DecodeError::Range("patience"))?,
        },
        kind::UNSUBSCRIBE => {
            Control::Unsubscribe { tag, stripes: StripeMask(reader.u8()?), from: BlockId(reader.varint()?) }
        }
        kind::CHOKE => {
            Control::Choke { tag, stripes: StripeMask(reader.u8()?), from: BlockId(reader.varint()?) }
        }
        kind::FINISHED => Control::Finished { tag },
        kind::PARK => Control::Park { tag },
        kind::RESUME => Control::Resume { tag, from: BlockId(reader.varint()?) },
        kind::UNICAST => Control::Unicast {
            tag,
            from: BlockId(reader.varint()?),
            patience_ms: u32::try_from(reader.varint()?).map_err(|_| DecodeError::Range("patience"))?,
        },
        kind::BUSY => Control::Busy {
            tag,
            retry_after_ms: u32::try_from(reader.varint()?).map_err(|_| DecodeError::Range("retry time"))?,
        },
        kind::ASK_TIME => Control::AskTime { tag, nonce: reader.u64()? },
        kind::TIME => Control::Time {
            tag,
            nonce: reader.u64()?,
            at: Duration::from_micros(reader.varint()?),
            error: Duration::from_micros(reader.varint()?),
        },
        other => return Err(DecodeError::UnknownKind(other)),
    })
}

fn put_tagged(out: &mut Vec<u8>, kind: u8, tag: StreamTag) {
    out.push(kind);
    out.extend_from_slice(&tag.0);
}

fn put_stripes(out: &mut Vec<u8>, kind: u8, tag: StreamTag, (stripes, from): (StripeMask, BlockId)) {
    put_tagged(out, kind, tag);
    out.push(stripes.0);
    put_varint(out, from.0);
}

fn put_peers(out: &mut Vec<u8>, kind: u8, peers: &[(PeerId, SocketAddr)]) {
    out.push(kind);
    for (peer, address) in peers.iter().take(INTRODUCED_MAX) {
        out.extend_from_slice(&peer.0);
        put_address(out, address.ip());
        out.extend_from_slice(&address.port().to_be_bytes());
    }
}

fn decode_peers(reader: &mut Reader<'_>) -> Result<Vec<(PeerId, SocketAddr)>, DecodeError> {
    let mut peers = Vec::new();
    while reader.remaining() > 0 {
        if peers.len() == INTRODUCED_MAX {
            return Err(DecodeError::Range("introduced peers"));
        }
        let peer = PeerId(reader.array()?);
        let ip = reader.address()?;
        peers.push((peer, SocketAddr::new(ip, u16::from_be_bytes(reader.array()?))));
    }
    Ok(peers)
}
