//! The threads that decode: each takes one track's units in order, and waits while enough is decoded ahead.

use std::sync::{MutexGuard, PoisonError};

use bytes::Bytes;

use super::decode::{PictureDecoder, SoundDecoder};
use super::fifo::{Fifo, Weighed};
use super::pictures::Picture;
use super::sound::Block;
use super::{PICTURES_AHEAD, SOUND_AHEAD, Shared, State};

/// A unit that is later than this is passed over with its group when a newer random-access point is on hand: to decode
/// it would make all that follow late as well.
const SKIP_AFTER: i64 = 300_000;

/// What a thread is to do next.
pub(crate) enum Order {
    /// Go on with this decoder.
    Pictures(PictureDecoder),
    /// Go on with this decoder.
    Sound(SoundDecoder),
    /// Nothing is decoded.
    None,
    /// Decode.
    Unit(Unit),
}

/// An access unit by play time.
pub(crate) struct Unit {
    pub(crate) payload: Bytes,
    pub(crate) decoded: i64,
    pub(crate) shown: i64,
    pub(crate) key: bool,
}

impl Weighed for Order {
    fn bytes(&self) -> usize {
        if let Self::Unit(unit) = self { unit.payload.len() } else { 0 }
    }

    fn is_entry(&self) -> bool {
        !matches!(self, Self::Unit(unit) if !unit.key)
    }
}

/// What a thread decodes with.
enum Decoder {
    None,
    Pictures(PictureDecoder),
    Sound(SoundDecoder),
}

impl Shared {
    /// Decodes what comes until nothing more does.
    pub(crate) fn decode(&self, orders: &Fifo<Order>) {
        let mut decoder = Decoder::None;
        let mut skips = false;
        while let Some(order) = orders.take() {
            match order {
                Order::Unit(unit) => {
                    let late = self.is_late(unit.decoded);
                    let video = matches!(decoder, Decoder::Pictures(_));
                    skips = (skips && !unit.key) || (late && orders.has_entry());
                    if skips {
                        self.lock().skipped += u64::from(video);
                    } else if !self.decode_unit(&mut decoder, &unit) {
                        self.lock().undecodable += 1;
                    }
                }
                Order::Pictures(next) => {
                    self.flush(&mut decoder);
                    decoder = Decoder::Pictures(next);
                }
                Order::Sound(next) => decoder = Decoder::Sound(next),
                Order::None => {}
            }
            if self.lock().closed {
                break;
            }
        }
        self.flush(&mut decoder);
        self.lock().lanes -= 1;
        self.room.notify_all();
    }

    fn decode_unit(&self, decoder: &mut Decoder, unit: &Unit) -> bool {
        match decoder {
            Decoder::None => true,
            Decoder::Pictures(decoder) => decoder
                .decode(Some((&unit.payload, unit.shown)), &mut |picture| self.put_picture(picture))
                .is_ok(),
            Decoder::Sound(decoder) => {
                let before = decoder.concealed;
                let decoded = decoder.decode(&unit.payload, unit.shown, &mut |block| self.put_sound(block));
                self.lock().concealed += decoder.concealed - before;
                decoded
            }
        }
    }

    /// Takes out the pictures that a decoder holds back.
    fn flush(&self, decoder: &mut Decoder) {
        if let Decoder::Pictures(decoder) = decoder {
            // What it cannot give is not missed: nothing more comes from it.
            let _ = decoder.decode(None, &mut |picture| self.put_picture(picture));
        }
    }

    fn is_late(&self, decoded: i64) -> bool {
        let mut state = self.lock();
        let Some(now) = state.clock else { return false };
        now.0 as i64 - decoded - state.schedule.lag(now) > SKIP_AFTER
    }

    fn put_picture(&self, picture: Picture) {
        let mut state = self.wait_while(|state| state.pictures.len() >= PICTURES_AHEAD);
        if let Some(now) = state.clock {
            state.schedule.handle_decoded(now, picture.at);
        }
        state.pictures.put(picture);
    }

    fn put_sound(&self, block: Block) {
        let mut state = self.wait_while(|state| state.sound.held() >= SOUND_AHEAD && !state.silent);
        if !state.silent {
            state.sound.put(block);
        }
    }

    /// Waits while there is enough, as long as anybody wants it.
    fn wait_while(&self, enough: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.room.wait_while(self.lock(), |state| !state.closed && enough(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}
