//! What a block's plaintext means, written a second time and as plainly as can be: the joiner is held against it.

use swarmcast_core::catalogue::{AccessUnit, TrackId};

/// A block as the model sees it.
pub(crate) struct Plain {
    pub(crate) block: u64,
    pub(crate) continues: bool,
    pub(crate) bytes: Vec<u8>,
}

/// The model of a joiner: all bytes of a begun unit, and the number of the block that must follow.
#[derive(Default)]
pub(crate) struct Model {
    begun: Option<(Vec<u8>, u64)>,
}

impl Model {
    /// Takes a block; returns the units that it completes, and whether all of it made sense.
    pub(crate) fn push(&mut self, plain: &Plain) -> (Vec<AccessUnit>, bool) {
        let begun = self.begun.take();
        let follows = begun.as_ref().is_some_and(|(_, next)| *next == plain.block);
        if follows != plain.continues {
            return (Vec::new(), false);
        }
        let mut bytes = if follows { begun.unwrap_or_default().0 } else { Vec::new() };
        bytes.extend_from_slice(&plain.bytes);
        let mut units = Vec::new();
        let mut last = [None; 32];
        let mut at = 0;
        while at < bytes.len() {
            let Some((unit, payload_at, end)) = record(&bytes, at, &mut last) else { return (units, false) };
            if end > bytes.len() {
                let alone = at == 0;
                self.begun = alone.then_some((bytes, plain.block + 1));
                return (units, alone);
            }
            units.push(AccessUnit { payload: bytes[payload_at..end].to_vec().into(), ..unit });
            at = end;
            if follows && at < bytes.len() {
                return (Vec::new(), false);
            }
        }
        (units, true)
    }
}

/// Reads a record's head at `at`; returns it with the place of its payload and its end.
fn record(bytes: &[u8], at: usize, last: &mut [Option<i64>; 32]) -> Option<(AccessUnit, usize, usize)> {
    let mut at = at;
    let first = *bytes.get(at)?;
    at += 1;
    let mut number = || {
        let lead = *bytes.get(at)?;
        let width = [1, 2, 4, 8][usize::from(lead >> 6)];
        let field = bytes.get(at..at + width)?;
        at += width;
        Some(
            field.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
                & (u64::MAX >> (66 - 8 * width)),
        )
    };
    let signed = |raw: u64| if raw & 1 == 0 { (raw >> 1) as i64 } else { -((raw >> 1) as i64) - 1 };
    if first >= 0x80 {
        return None;
    }
    let track = usize::from(first % 32);
    let dts = signed(number()?).saturating_add(last[track].unwrap_or(0));
    let pts = dts.saturating_add(signed(number()?));
    let duration = u32::try_from(number()?).ok()?;
    let length = number().filter(|length| *length <= 16 << 20)?;
    last[track] = Some(dts);
    let unit = AccessUnit {
        track: TrackId(track as u8),
        dts,
        pts,
        duration,
        key: first & 0x20 != 0,
        disposable: first & 0x40 != 0,
        payload: Default::default(),
    };
    Some((unit, at, at + length as usize))
}
