//! LAN lab: the shipped binary on hosts made of network namespaces.
