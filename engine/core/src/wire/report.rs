//! The report: what a viewer tells the publisher of its reception.

use std::net::IpAddr;

use super::{DecodeError, Reader, datagram::kind, put_varint};
use crate::ids::StreamTag;

/// Bytes of a report's authentication code.
pub const REPORT_CODE_BYTES: usize = 16;

const FLAG_HEARS: u8 = 0x01;
const FLAG_V4: u8 = 0x02;
const FLAG_V6: u8 = 0x04;
const FLAG_HURRIED: u8 = 0x08;
const FLAG_PUSHED: u8 = 0x10;

/// What one viewer received of late, as it tells the publisher about once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Number that the viewer drew for itself.
    pub reporter: u64,
    /// Time at the publisher of the newest beacon that it has, in ms since the epoch began: orders its reports.
    pub beacon_ms: u64,
    /// Source address of the multicast that it speaks of; `None` when it hears none.
    pub source: Option<IpAddr>,
    /// Whether it heard a beacon by multicast since its last report.
    pub hears: bool,
    /// Whether its playout delay is too short for a pull, and what is lost is of no use to it unless parity is there.
    pub hurried: bool,
    /// Whether no media came by multicast since its last report, and the next two count what neighbours push.
    pub pushed: bool,
    /// Fragments that came by multicast since its last report; of pushes headers and data, without parity.
    pub received: u64,
    /// Fragments that should have come so since and did not.
    pub missed: u64,
    /// Fragments that were due since.
    pub due: u64,
    /// Those of them that were missing at their deadline.
    pub lost: u64,
}

impl Report {
    /// Appends everything that the code covers.
    pub fn encode(&self, tag: StreamTag, out: &mut Vec<u8>) {
        out.push(kind::REPORT);
        out.extend_from_slice(&tag.0);
        out.extend_from_slice(&self.reporter.to_be_bytes());
        put_varint(out, self.beacon_ms);
        let family = match self.source {
            None => 0,
            Some(IpAddr::V4(_)) => FLAG_V4,
            Some(IpAddr::V6(_)) => FLAG_V6,
        };
        let flags = [(self.hears, FLAG_HEARS), (self.hurried, FLAG_HURRIED), (self.pushed, FLAG_PUSHED)];
        out.push(flags.iter().filter(|(set, _)| *set).fold(family, |flags, (_, flag)| flags | flag));
        match self.source {
            None => {}
            Some(IpAddr::V4(ip)) => out.extend_from_slice(&ip.octets()),
            Some(IpAddr::V6(ip)) => out.extend_from_slice(&ip.octets()),
        }
        [self.received, self.missed, self.due, self.lost]
            .into_iter()
            .for_each(|count| put_varint(out, count));
    }

    /// Reads a report datagram; returns it and the offset of its code.
    ///
    /// # Errors
    /// [`DecodeError`] when it is cut short, too long, or a field is out of range.
    pub fn decode(datagram: &[u8]) -> Result<(Self, usize), DecodeError> {
        let covered = datagram.len().checked_sub(REPORT_CODE_BYTES).ok_or(DecodeError::Truncated)?;
        let mut reader = Reader::new(&datagram[..covered]);
        match reader.u8()? {
            kind::REPORT => {}
            other => return Err(DecodeError::UnknownKind(other)),
        }
        reader.take(4)?;
        let (reporter, beacon_ms, flags) = (reader.u64()?, reader.varint()?, reader.u8()?);
        let source = match flags & !(FLAG_HEARS | FLAG_HURRIED | FLAG_PUSHED) {
            0 => None,
            FLAG_V4 => Some(IpAddr::from(reader.array::<4>()?)),
            FLAG_V6 => Some(IpAddr::from(reader.array::<16>()?)),
            _ => return Err(DecodeError::Range("report flags")),
        };
        let report = Self {
            reporter,
            beacon_ms,
            source,
            hears: flags & FLAG_HEARS != 0,
            hurried: flags & FLAG_HURRIED != 0,
            pushed: flags & FLAG_PUSHED != 0,
            received: reader.varint()?,
            missed: reader.varint()?,
            due: reader.varint()?,
            lost: reader.varint()?,
        };
        reader.end()?;
        if report.lost > report.due {
            return Err(DecodeError::Range("lost fragments"));
        }
        Ok((report, covered))
    }
}
