use std::num::NonZeroUsize;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::config::Machine;

/// A pool `p` with these backends in TOML, and one that nothing happens to.
fn file(backends: &str) -> Config {
    let text = format!(
        "[listeners.l]\nbind = ['127.0.0.1:1']\npool = 'p'\n[pools.p]\nbackends = [{backends}]\n\
         [pools.other]\nbackends = ['10.9.0.1:1', 'db.test:1']\n"
    );
    let machine = Machine { descriptor_limit: 10_000, ephemeral_ports: 28_232, cpus: NonZeroUsize::MIN };
    Config::parse("test", &text, &machine).unwrap_or_else(|errors| panic!("{errors}"))
}

fn sources(backends: &str) -> Sources {
    let mut sources = Sources::empty(&file(backends));
    sources.replace_file(file(backends));
    sources
}

fn key(backend: &str) -> BackendKey {
    BackendKey { pool: "p".into(), backend: backend.into() }
}

fn name(host: &str) -> HostName {
    HostName { host: host.into(), port: 1.try_into().expect("not 0") }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn found(identity: &str, address: &str) -> Backend {
    Backend {
        identity: identity.into(),
        address: BackendAddr::Inet(addr(address)),
        weight: 1,
        priority: Priority::Regular,
    }
}

fn added(address: &str) -> Membership {
    Membership::Added { address: BackendAddr::Inet(addr(address)), weight: 1, priority: Priority::Regular }
}

/// The backends of `p` with their weights.
fn weights(sources: &Sources) -> Vec<(String, u16)> {
    let desired = sources.desired();
    desired.pools["p"].backends.iter().map(|backend| (backend.name.to_string(), backend.weight)).collect()
}

fn endpoint(sources: &Sources, backend: &str) -> Resolution {
    let desired = sources.desired();
    let found = desired.pools["p"].backends.iter().find(|it| it.name.as_str() == backend);
    found.expect("it is there").endpoint.clone()
}

#[test]
fn a_file_alone_is_what_is_wanted() {
    let sources = sources("'10.0.0.1:1', { address = '10.0.0.2:1', weight = 3, backup = true }");
    assert_eq!(weights(&sources), [("10.0.0.1:1".into(), 1), ("10.0.0.2:1".into(), 3)]);
    assert_eq!(endpoint(&sources, "10.0.0.1:1"), Resolution::Known(Endpoint::Inet(addr("10.0.0.1:1"))));
    let desired = sources.desired();
    assert_eq!((desired.generation, desired.file.listeners.len(), desired.pools.len()), (1, 1, 2));
    assert_eq!(desired.pools["p"].backends[1].priority, Priority::Backup);
}

#[test]
fn an_operator_drains_weighs_and_pauses() {
    let mut sources = sources("'10.0.0.1:1', '10.0.0.2:1'");
    let states =
        |sources: &Sources| sources.desired().pools["p"].backends.iter().map(|it| it.admin).collect::<Vec<_>>();
    for admin in [AdminState::Drain, AdminState::Maint] {
        let said = Override { admin, weight: Some(7), ..Override::default() };
        sources.overrides.backends.insert(key("10.0.0.1:1"), said);
        assert_eq!(weights(&sources), [("10.0.0.1:1".into(), 0), ("10.0.0.2:1".into(), 1)]);
        assert_eq!(states(&sources), [admin, AdminState::Ready]);
    }
    sources.overrides.backends.insert(key("10.0.0.1:1"), Override { weight: Some(7), ..Override::default() });
    assert_eq!(weights(&sources), [("10.0.0.1:1".into(), 7), ("10.0.0.2:1".into(), 1)]);
    sources.overrides.paused.insert("p".into());
    assert_eq!(weights(&sources), [("10.0.0.1:1".into(), 0), ("10.0.0.2:1".into(), 0)]);
    sources.overrides = Overrides::default();
    assert_eq!(weights(&sources), [("10.0.0.1:1".into(), 1), ("10.0.0.2:1".into(), 1)]);
}

#[test]
fn backends_are_found_added_and_removed() {
    let mut sources = sources("'10.0.0.1:1', '10.0.0.2:1'");
    let said = |membership| Override { membership, ..Override::default() };
    sources.overrides.backends.insert(key("10.0.0.1:1"), said(Membership::Removed));
    sources.overrides.backends.insert(key("a"), said(added("10.0.0.3:1")));
    let all = vec![found("c", "10.0.0.5:1"), found("b", "10.0.0.4:1"), found("10.0.0.2:1", "10.0.0.9:9")];
    sources.discovered.backends.insert("p".into(), all);
    let names = ["10.0.0.2:1", "a", "b", "c"].map(|name| (name.to_owned(), 1));
    assert_eq!(weights(&sources), names, "the file's first, each once, the others by name");
    let of_the_file = Resolution::Known(Endpoint::Inet(addr("10.0.0.2:1")));
    assert_eq!(endpoint(&sources, "10.0.0.2:1"), of_the_file, "the file knows better than discovery");
    sources.overrides.backends.insert(key("c"), said(Membership::Removed));
    assert_eq!(weights(&sources), names[..3]);
    // An added one is drained like any other.
    let drained = Override { membership: added("10.0.0.3:1"), admin: AdminState::Drain, weight: None };
    sources.overrides.backends.insert(key("a"), drained);
    assert_eq!(weights(&sources)[1], ("a".into(), 0));
}

#[test]
fn a_name_is_awaited_then_known_or_not_and_keeps_its_last_good_address() {
    let mut sources = sources("'a.test:1', '10.0.0.1:1'");
    assert_eq!(sources.desired().names(), BTreeSet::from([name("a.test"), name("db.test")]));
    assert!(sources.desired().pools["p"].awaits_names());
    assert!(sources.discovered.learn(&name("a.test"), &[]));
    assert_eq!(endpoint(&sources, "a.test:1"), Resolution::Unknown);
    assert!(!sources.desired().pools["p"].awaits_names());
    assert!(!sources.discovered.learn(&name("a.test"), &[]), "no news");

    let (one, two) = (addr("192.0.2.1:1"), addr("192.0.2.2:1"));
    assert!(sources.discovered.learn(&name("a.test"), &[two, one]));
    assert_eq!(endpoint(&sources, "a.test:1"), Resolution::Known(Endpoint::Inet(one)));
    assert!(!sources.discovered.learn(&name("a.test"), &[]) && !sources.discovered.learn(&name("a.test"), &[two, one]));
    assert!(sources.discovered.learn(&name("a.test"), &[two]));
    assert_eq!(endpoint(&sources, "a.test:1"), Resolution::Known(Endpoint::Inet(two)));

    sources.replace_file(file("'10.0.0.1:1', 'b.test:1'"));
    sources.discovered.keep(&sources.desired().names());
    sources.replace_file(file("'a.test:1'"));
    assert_eq!(endpoint(&sources, "a.test:1"), Resolution::Awaited, "it is asked for anew");
}

/// One thing that some source says.
#[derive(Debug, Clone)]
enum Saying {
    File(Vec<(u8, u16)>),
    Resolves(HostName, Vec<SocketAddr>),
    Found(Vec<u8>),
    Override(BackendKey, Override),
    Paused(bool),
}

impl Saying {
    fn apply(&self, sources: &mut Sources) {
        match self.clone() {
            Self::File(backends) => sources.replace_file(file(&toml(&backends))),
            Self::Resolves(name, addrs) => drop(sources.discovered.learn(&name, &addrs)),
            Self::Found(indices) => {
                let all = indices.into_iter().map(|index| found(IDENTITIES[usize::from(index)], "10.3.0.1:1"));
                drop(sources.discovered.backends.insert("p".into(), all.collect()));
            }
            Self::Override(key, said) => drop(sources.overrides.backends.insert(key, said)),
            Self::Paused(true) => drop(sources.overrides.paused.insert("p".into())),
            Self::Paused(false) => drop(sources.overrides.paused.remove("p")),
        }
    }
}

/// What backends of `p` may be called; some of them are names that have to be resolved.
const IDENTITIES: [&str; 5] = ["10.0.0.1:1", "10.0.0.2:1", "a.test:1", "b.test:1", "x"];

fn toml(backends: &[(u8, u16)]) -> String {
    let backend = |(index, weight): &(u8, u16)| {
        format!("{{ address = '{}', weight = {weight} }}", IDENTITIES[usize::from(*index)])
    };
    backends.iter().map(backend).collect::<Vec<_>>().join(", ")
}

fn membership() -> impl Strategy<Value = Membership> {
    prop_oneof![Just(Membership::AsFound), Just(Membership::Removed), Just(added("10.2.0.1:1")),]
}

fn said() -> impl Strategy<Value = Override> {
    let admin = prop_oneof![Just(AdminState::Ready), Just(AdminState::Drain), Just(AdminState::Maint)];
    (membership(), admin, proptest::option::of(0_u16..5)).prop_map(|(membership, admin, weight)| Override {
        membership,
        admin,
        weight,
    })
}

/// One saying on each of some subjects, so that none takes another back.
fn sayings() -> impl Strategy<Value = Vec<Saying>> {
    let file = btree_map(0_u8..4, 0_u16..5, 1..4).prop_map(|backends| Saying::File(backends.into_iter().collect()));
    let addrs = vec((1_u8..5).prop_map(|last| SocketAddr::from(([192, 0, 2, last], 1))), 0..3);
    let names = btree_map(prop_oneof![Just(name("a.test")), Just(name("b.test"))], addrs, 0..3)
        .prop_map(|names| names.into_iter().map(|(name, addrs)| Saying::Resolves(name, addrs)).collect::<Vec<_>>());
    let found = vec(0_u8..5, 0..4).prop_map(Saying::Found);
    let overrides = btree_map(0_usize..5, said(), 0..4).prop_map(|said| {
        let one = |(index, said)| Saying::Override(key(IDENTITIES[index]), said);
        said.into_iter().map(one).collect::<Vec<_>>()
    });
    let paused = any::<bool>().prop_map(Saying::Paused);
    (file, names, found, overrides, paused)
        .prop_map(|(file, names, found, overrides, paused)| [vec![file, found, paused], names, overrides].concat())
}

fn after<'a>(sayings: impl IntoIterator<Item = &'a Saying>) -> Sources {
    let mut sources = sources("'10.0.0.1:1'");
    sayings.into_iter().for_each(|saying| saying.apply(&mut sources));
    sources
}

proptest! {
    #[test]
    fn the_order_in_which_sources_speak_means_nothing(
        (sayings, shuffled) in sayings().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    ) {
        prop_assert_eq!(after(&sayings).desired(), after(&shuffled).desired());
    }

    #[test]
    fn nothing_that_was_not_touched_changes(all in sayings(), one in sayings().prop_flat_map(proptest::sample::select)) {
        let mut sources = after(&all);
        let before = sources.desired();
        prop_assert_eq!(&before, &sources.desired());
        one.apply(&mut sources);
        let now = sources.desired().reusing(&before);
        let is_shared = |pool: &str| Arc::ptr_eq(&before.pools[pool], &now.pools[pool]);
        prop_assert!(is_shared("other"));
        prop_assert_eq!(is_shared("p"), before.pools["p"] == now.pools["p"]);
        // What is said of one backend is said of no other.
        if let Saying::Override(key, _) = &one {
            let others = |desired: &Desired| {
                desired.pools["p"].backends.iter().filter(|it| it.name != key.backend).cloned().collect::<Vec<_>>()
            };
            prop_assert_eq!(others(&before), others(&now));
        }
    }

    #[test]
    fn backends_are_unique_and_unused_ones_have_no_weight(all in sayings()) {
        let sources = after(&all);
        let desired = sources.desired();
        let mut names = BTreeSet::new();
        for backend in &desired.pools["p"].backends {
            prop_assert!(names.insert(backend.name.clone()), "{} twice", backend.name);
            let is_unused = backend.admin != AdminState::Ready || sources.overrides.paused.contains("p");
            prop_assert!(!is_unused || backend.weight == 0);
        }
    }
}
