//! Sockets, clock and driver of a Swarmcast node: iroh, mDNS.
