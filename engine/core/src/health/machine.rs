//! The state machines of health and delivery as tables that can be read and drawn.

use std::fmt::Debug;

use super::closure::{self, Closure};
use super::{ControlPlane, PathKind, PathVerdict, Verdict, control_plane, path, stream};
use crate::delivery;

/// One state machine, spelt out: what every event makes of every state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// What it is the machine of.
    pub name: &'static str,
    /// Names of its states; the first is where it begins.
    pub states: Vec<String>,
    /// Names of its events.
    pub events: Vec<String>,
    /// The state that follows, by state and event: an index into `states`.
    pub next: Vec<Vec<usize>>,
    /// What is done beside, by state and event; empty where nothing is.
    pub acts: Vec<Vec<String>>,
}

impl Machine {
    fn of<S: Copy + Debug + PartialEq, E: Copy + Debug>(
        name: &'static str,
        states: &[S],
        events: &[E],
        step: impl Fn(S, E) -> (S, String),
    ) -> Self {
        let index = |state: S| states.iter().position(|other| *other == state).unwrap_or(states.len());
        let rows = states.iter().map(|state| events.iter().map(|event| step(*state, *event)).unzip());
        let (next, acts): (Vec<Vec<S>>, Vec<Vec<String>>) = rows.unzip();
        Self {
            name,
            states: states.iter().map(|state| format!("{state:?}")).collect(),
            events: events.iter().map(|event| format!("{event:?}")).collect(),
            next: next.into_iter().map(|row| row.into_iter().map(index).collect()).collect(),
            acts,
        }
    }
}

/// Returns all machines of health and delivery.
pub fn machines() -> [Machine; 5] {
    let still = String::new;
    [
        Machine::of("stream", &Verdict::ALL, &stream::Event::ALL, |state, event| {
            (state.after(event), still())
        }),
        Machine::of("closure", &Closure::ALL, &closure::Event::ALL, |state, event| {
            (state.after(event), still())
        }),
        Machine::of("path", &PathVerdict::ALL, &path::Event::ALL, |state, event| {
            (state.after(event), still())
        }),
        Machine::of("control plane", &ControlPlane::ALL, &control_plane::Event::ALL, |state, event| {
            (state.after(event), still())
        }),
        Machine::of("delivery", &PathKind::ALL, &delivery::Event::ALL, |state, event| {
            let (to, act) = delivery::next(state, event);
            (to, if act == delivery::Act::Keep { still() } else { format!("{act:?}") })
        }),
    ]
}
