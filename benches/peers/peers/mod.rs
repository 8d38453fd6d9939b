//! Who is measured: one entry a peer, each configured at its best. One configuration serves every case, as it would in
//! production.

mod envoy;
mod evenkeel;
mod haproxy;
mod limit;
mod nginx;
mod peer;
mod site;

pub(crate) use evenkeel::{BEFORE, before};
pub(crate) use peer::{Contest, Peer, Ready, Transport};
pub(crate) use site::Site;

/// The peer that the others are compared with.
pub(crate) const SUBJECT: &str = "evenkeel";

/// Every peer, in the order of the table. The first is the one that the others are compared with.
pub(crate) fn all() -> Vec<Peer> {
    let mut all = vec![evenkeel::this(), evenkeel::busy_polling()];
    all.extend(evenkeel::policies());
    all.extend(haproxy::peers());
    all.push(nginx::peer());
    all.push(envoy::peer());
    all.push(limit::direct());
    all.push(limit::dnat());
    all
}
