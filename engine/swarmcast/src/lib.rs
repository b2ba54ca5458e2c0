//! Publish and watch live streams in a LAN swarm.
