//! Messages on a session's reliable stream: a little-endian `u32` length, then that many bytes.
//!
//! The dialler opens the stream with a message of length zero, since QUIC shows a stream to the other side only once
//! something was sent on it. Empty messages mean nothing else, so every later one is a violation.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use iroh::endpoint::{RecvStream, SendStream};
use swarmcast_core::node::CONTROL_BYTES_MAX;
use tokio::time::timeout;

/// Bytes of the length prefix.
const PREFIX_BYTES: usize = 4;

/// Most bytes that wait for a neighbour to read its stream: 16 of the largest messages.
const PENDING_BYTES_MAX: usize = 16 * (CONTROL_BYTES_MAX + PREFIX_BYTES);

/// Longest time that a neighbour may leave its stream unread once its flow-control window is full.
const WRITE_MAX: Duration = Duration::from_secs(3);

/// Largest first allocation for a message; the rest is allocated as it arrives.
const READ_STEP_BYTES: usize = 8 << 10;

/// Why a session's reliable stream is given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ControlError {
    /// The neighbour announced a message above [`CONTROL_BYTES_MAX`], or an empty one.
    #[error("message of {0} bytes")]
    Length(u32),
    /// The neighbour does not read its stream.
    #[error("neighbour does not read")]
    Blocked,
    /// The stream or its connection ended.
    #[error("stream ended")]
    Ended,
}

/// Messages that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: VecDeque<Bytes>,
    bytes: usize,
}

impl Outbox {
    /// Adds a message.
    ///
    /// # Errors
    /// [`ControlError::Length`] for a message that no neighbour takes, [`ControlError::Blocked`] when too much waits.
    pub(crate) fn push(&mut self, message: Bytes) -> Result<(), ControlError> {
        if message.is_empty() || message.len() > CONTROL_BYTES_MAX {
            return Err(ControlError::Length(u32::try_from(message.len()).unwrap_or(u32::MAX)));
        }
        if self.bytes + message.len() + PREFIX_BYTES > PENDING_BYTES_MAX {
            return Err(ControlError::Blocked);
        }
        self.bytes += message.len() + PREFIX_BYTES;
        self.messages.push_back(message);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Takes everything, as it goes onto the stream.
    pub(crate) fn take(&mut self) -> Bytes {
        let mut wire = BytesMut::with_capacity(self.bytes);
        for message in self.messages.drain(..) {
            wire.put_u32_le(message.len() as u32);
            wire.put(message);
        }
        self.bytes = 0;
        wire.freeze()
    }
}

/// Writes the empty message that shows the stream to the other side.
pub(crate) async fn write_opening(stream: &mut SendStream) -> Result<(), ControlError> {
    write(stream, &0u32.to_le_bytes()).await
}

/// Waits for the empty message that opens a stream.
pub(crate) async fn read_opening(stream: &mut RecvStream) -> Result<(), ControlError> {
    match read_length(stream).await? {
        0 => Ok(()),
        length => Err(ControlError::Length(length)),
    }
}

/// Writes bytes that [`Outbox::take`] gave.
pub(crate) async fn write(stream: &mut SendStream, wire: &[u8]) -> Result<(), ControlError> {
    let written = timeout(WRITE_MAX, stream.write_all(wire)).await;
    written.map_err(|_| ControlError::Blocked)?.map_err(|_| ControlError::Ended)
}

/// Reads one message.
pub(crate) async fn read(stream: &mut RecvStream) -> Result<Bytes, ControlError> {
    let length = read_length(stream).await?;
    let mut missing = length as usize;
    if missing == 0 || missing > CONTROL_BYTES_MAX {
        return Err(ControlError::Length(length));
    }
    let mut message = BytesMut::with_capacity(missing.min(READ_STEP_BYTES));
    while missing > 0 {
        let start = message.len();
        message.resize(start + missing.min(READ_STEP_BYTES), 0);
        stream.read_exact(&mut message[start..]).await.map_err(|_| ControlError::Ended)?;
        missing -= message.len() - start;
    }
    Ok(message.freeze())
}

async fn read_length(stream: &mut RecvStream) -> Result<u32, ControlError> {
    let mut prefix = [0; PREFIX_BYTES];
    stream.read_exact(&mut prefix).await.map_err(|_| ControlError::Ended)?;
    Ok(u32::from_le_bytes(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_takes_what_fits_and_says_when_it_does_not() {
        let mut outbox = Outbox::default();
        let large = Bytes::from(vec![1; CONTROL_BYTES_MAX]);
        assert_eq!(outbox.push(Bytes::new()), Err(ControlError::Length(0)));
        assert_eq!(outbox.push(vec![0; CONTROL_BYTES_MAX + 1].into()), Err(ControlError::Length(65_537)));
        for _ in 0..16 {
            outbox.push(large.clone()).expect("sixteen fit");
        }
        assert_eq!(outbox.push(Bytes::from_static(b"x")), Err(ControlError::Blocked));
        assert_eq!(outbox.take().len(), PENDING_BYTES_MAX);
        assert!(outbox.is_empty() && outbox.push(large).is_ok());
    }
}
