//! Who is measured: one entry a peer, each configured at its best. One configuration serves every case, as it would in
//! production.

mod envoy;
mod evenkeel;
mod haproxy;
mod limit;
mod nginx;
mod peer;
mod site;
mod sozu;

pub(crate) use evenkeel::{BEFORE, SUBJECT, SUBJECT_LOGGED, before};
pub(crate) use peer::{Contest, Need, Peer, Ready, Transport};
pub(crate) use site::{AccessLog, Site};

/// Every peer, in the order of the table. The first is the one that the others are compared with.
pub(crate) fn all() -> Vec<Peer> {
    let mut all = vec![evenkeel::this(), evenkeel::logged(), evenkeel::busy_polling()];
    all.extend(evenkeel::policies());
    all.extend(haproxy::peers());
    all.extend([nginx::peer(), nginx::peer().with_access_log("nginx-log", "nginx stream with its access log")]);
    all.extend([envoy::peer(), envoy::peer().with_access_log("envoy-log", "Envoy's TCP proxy with its access log")]);
    all.extend(sozu::peers());
    all.push(limit::direct());
    all.push(limit::dnat());
    all
}
