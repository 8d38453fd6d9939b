//! No address is bound twice. TCP and UDP may have the same one each.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::listener::Decided;
use crate::config::error::{Place, Problem, Problems};
use crate::config::file;
use crate::config::types::BindAddr;

/// An address, and who binds it.
struct Binding {
    addr: BindAddr,
    place: Place,
    owner: Owner,
    /// The owner, as messages call it.
    title: String,
}

/// Decides with whom an address may be shared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// One listener may have a wildcard and another an address that it covers.
    Listener,
    /// The admin side has its port for itself.
    Admin,
}

/// Reports every address that is bound a second time. A wildcard and one of the addresses it covers are two, except to
/// the admin side.
pub(super) fn refuse_shared(listeners: &[Decided<'_>], file: &file::File, problems: &mut Problems) {
    let mut bindings = of_listeners(listeners);
    bindings.extend(file.admin.given().into_iter().flat_map(|admin| of_admin(&admin.value)));
    bindings.sort_by_key(|binding| binding.place);
    let mut first: HashMap<&BindAddr, &Binding> = HashMap::with_capacity(bindings.len());
    for binding in &bindings {
        let Some(earlier) = first.get(&binding.addr) else {
            first.insert(&binding.addr, binding);
            continue;
        };
        let message = if earlier.title == binding.title {
            format!("{} binds {} twice", binding.title, binding.addr)
        } else {
            format!("{} and {} both bind {}", earlier.title, binding.title, binding.addr)
        };
        problems.report(Problem::new(binding.place, message).related(earlier.place, "bound here already"));
    }
    for binding in bindings.iter().filter(|binding| binding.owner == Owner::Admin) {
        let whole = wildcard_over(&binding.addr).and_then(|wildcard| first.get(&wildcard).copied());
        if let Some(whole) = whole {
            problems.report(shared_port(binding, whole));
        }
    }
}

fn shared_port(admin: &Binding, whole: &Binding) -> Problem {
    let message =
        format!("{} and {} cannot share a port: {} covers {}", admin.title, whole.title, whole.addr, admin.addr);
    let (earlier, later) = if admin.place < whole.place { (admin, whole) } else { (whole, admin) };
    Problem::new(later.place, message).related(earlier.place, "bound here already")
}

/// The address that stands for all of the family at this port; its sockets take what is sent to `addr` as well.
fn wildcard_over(addr: &BindAddr) -> Option<BindAddr> {
    let BindAddr::Tcp(addr) = addr else { return None };
    let all = match addr.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    Some(BindAddr::Tcp(SocketAddr::new(all, addr.port())))
}

fn of_listeners(listeners: &[Decided<'_>]) -> Vec<Binding> {
    let of_listener = |listener: &Decided<'_>| {
        let title = listener.title();
        let bindings = listener.bind.iter().map(|bind| Binding {
            addr: bind.value.clone(),
            place: bind.place,
            owner: Owner::Listener,
            title: title.clone(),
        });
        bindings.collect::<Vec<_>>()
    };
    listeners.iter().flat_map(of_listener).collect()
}

fn of_admin(admin: &file::Admin) -> impl Iterator<Item = Binding> {
    let socket = admin.socket.given().map(|path| (path.place, BindAddr::Unix(path.value.0.clone())));
    let http = admin.http.given().map(|addr| (addr.place, BindAddr::Tcp(addr.value.0)));
    socket.into_iter().chain(http).map(|(place, addr)| Binding {
        addr,
        place,
        owner: Owner::Admin,
        title: "[admin]".to_owned(),
    })
}
