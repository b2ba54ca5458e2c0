//! Deterministic world in which many cores run under virtual time.
