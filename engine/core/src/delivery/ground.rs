//! What delivery looks at, and what it decides.

use crate::health::{PathCause, PathKind, Paths, Verdict, Wish};
use crate::ids::Now;

/// What delivery decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The node is to do this.
    Wish(Wish),
    /// Another path is in use.
    Path { from: PathKind, to: PathKind, cause: PathCause },
    /// Another path should be in use, and the policy leaves that to the caller.
    Due { to: PathKind, cause: PathCause },
}

/// What delivery looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) paths: &'a Paths,
    pub(crate) verdict: Verdict,
    /// When the stream was found.
    pub(crate) found: Option<Now>,
    /// Whether the publisher is known to be gone.
    pub(crate) gone: bool,
    /// When playout runs dry, as far as blocks are complete in order.
    pub(crate) dry_at: Option<Now>,
    /// Whether it runs dry at a block that is missing while later ones came.
    pub(crate) hole: bool,
    /// Whether media is to be expected.
    pub(crate) expected: bool,
}
