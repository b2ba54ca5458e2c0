//! What verified before, kept by content: for programs that run many nodes at once, such as a simulator.

/// Remembers contents that verified, so that nodes which share it compute each verification once between them.
///
/// A node has none unless its driver gives it one, and a driver that sends over a network has no use for one: each
/// content reaches its node once. Whoever implements it answers for the nodes' safety: it may say of no content that it
/// was kept for a claim for which another one was.
pub trait Memo: std::fmt::Debug + Send + Sync {
    /// Returns whether these parts, end to end, were kept for this claim.
    fn knows(&self, claim: &[u8], parts: &[&[u8]]) -> bool;

    /// Keeps that these parts, end to end, verified for this claim.
    fn keep(&self, claim: &[u8], parts: &[&[u8]]);
}
