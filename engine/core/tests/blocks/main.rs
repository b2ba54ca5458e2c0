//! From access units to datagrams and back: what `docs/wire.md` promises, held by property tests.

mod batches;
#[path = "../../../../fuzz/src/forge.rs"]
mod forge;
mod journeys;
mod limits;
mod material;
mod messages;
mod overhead;
mod parity;
mod seals;
mod windows;
