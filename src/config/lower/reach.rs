//! What a listener's transport and its pool cannot do for each other.

use std::collections::HashSet;

use super::listener::Decided;
use crate::config::error::{Problem, Problems, quote};
use crate::config::file::File;
use crate::config::types::Transport;

/// Reports every unix backend of a pool that a UDP listener sends to.
pub(super) fn refuse_unix_over_udp(listeners: &[Decided<'_>], file: &File, problems: &mut Problems) {
    for (name, pool) in file.pools() {
        let sends_here = |listener: &&Decided<'_>| {
            listener.transport == Some(Transport::Udp)
                && listener.pool().is_some_and(|pool| pool.as_str() == name.value)
        };
        let senders = listeners.iter().filter(sends_here);
        let Some(sender) = senders.min_by_key(|sender| sender.name.place) else { continue };
        let related = sender.keys.pool.given().map_or(sender.name.place, |pool| pool.place);
        for backend in pool.unix_backends() {
            let address = quote(backend.value.name.as_str());
            let message = format!("UDP does not reach {address}, and {} is UDP", sender.title());
            let help = "give the listener a pool of IP addresses";
            problems.report(Problem::new(backend.place, message).related(related, "it sends here").help(help));
        }
    }
}

/// Reports every passive check of a pool that only TCP listeners send to. A pool that no listener sends to is left
/// alone.
pub(super) fn refuse_checks_without_datagrams(listeners: &[Decided<'_>], file: &File, problems: &mut Problems) {
    let pools: HashSet<&str> = file.pools().iter().map(|(name, _)| &*name.value).collect();
    for (name, pool) in file.pools() {
        let Some(check) = pool.passive_check.given() else { continue };
        // A listener without a pool that there is may have been meant to send here.
        let may_send = |listener: &Decided<'_>| {
            listener.pool().is_none_or(|pool| pool.as_str() == name.value || !pools.contains(pool.as_str()))
        };
        if listeners.iter().any(|listener| listener.transport != Some(Transport::Tcp) && may_send(listener)) {
            continue;
        }
        let sends_here = |listener: &&Decided<'_>| listener.pool().is_some_and(|pool| pool.as_str() == name.value);
        let senders = listeners.iter().filter(sends_here);
        let Some(sender) = senders.min_by_key(|sender| sender.name.place) else { continue };
        let message =
            format!("no UDP listener sends to pool {}, and `passive_check` judges by datagrams", quote(&name.value));
        let help = format!("a [pools.{}.health_check] judges by connections", name.value);
        let problem = Problem::new(check.place, message).related(sender.name.place, "it sends here over TCP");
        problems.report(problem.help(help));
    }
}
