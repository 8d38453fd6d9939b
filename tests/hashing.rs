//! Two instances with the same configuration send the same key to the same backend.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;

use evenkeel::balance::{Member, Picker, Request};
use evenkeel::config::{HashKey, Hashing, Policy};
use evenkeel::hash::hash;
use evenkeel::pool::backend::{BackendKey, BackendState};
use evenkeel::pool::health::Health;
use evenkeel::pool::key;
use evenkeel::sys::socket::ClientAddr;

/// Set in the second process, which then prints its picks.
const PRINT: &str = "EVENKEEL_TEST_PRINT_PICKS";
const MARK: &str = "picks: ";

/// Order in which a process learns of the backends.
enum Order {
    Written,
    Reversed,
}

/// The names of the backends that 1,000 clients are sent to, from the address of the client on.
fn picks(order: &Order) -> String {
    let mut names: Vec<String> = (1..=12).map(|index| format!("10.0.0.{index}:5432")).collect();
    if matches!(order, Order::Reversed) {
        names.reverse();
    }
    let members = names.iter().map(|name| {
        let key = BackendKey { pool: "pool".into(), backend: name.as_str().into() };
        let state = BackendState::new(key, 1, Health::Up);
        let weight = if name.ends_with("2:5432") { 3 } else { 1 };
        Member { key: state.hash_key(), weight, available: true, load: Arc::clone(&state.load) }
    });
    let policy = Policy::Maglev(Hashing { key: HashKey::SourceIp, bounded_load: None });
    let picker = Picker::build(policy, members.collect(), None);
    let pick = |client: u32| {
        let client = SocketAddr::from((Ipv4Addr::from_bits(0xc0a8_0000 | client), 40_000));
        let key = key::of_client(ClientAddr::Inet(client), HashKey::SourceIp);
        let position = picker.pick(Request { key, tried: &[], now_ms: 0, random: 0 }).expect("everyone is available");
        names[usize::from(position)].as_str()
    };
    (0..1_000).map(pick).collect::<Vec<_>>().join(" ")
}

/// Runs this test again in a process of its own, where the backends come in another order.
#[test]
fn two_processes_pick_the_same() {
    if env::var_os(PRINT).is_some() {
        println!("\n{MARK}{}", picks(&Order::Reversed));
        return;
    }
    let other = Command::new(env::current_exe().unwrap())
        .args(["--exact", "two_processes_pick_the_same", "--nocapture"])
        .env(PRINT, "1")
        .output()
        .unwrap();
    let output = String::from_utf8(other.stdout).unwrap();
    let theirs = output.lines().find_map(|line| line.strip_prefix(MARK)).expect("the other process prints its picks");
    let ours = picks(&Order::Written);
    assert_eq!(ours.split(' ').count(), 1_000);
    assert_eq!(theirs, ours);
}

/// From the address of a client and the names of the backends to the pick: a change of any step moves clients at the next upgrade.
#[test]
fn releases_pick_the_same() {
    assert_eq!(hash(picks(&Order::Written).as_bytes(), 0), 0x76ec_7c58_26d1_1e95);
}
