//! A real PostgreSQL behind the balancer: no transaction fails while the configuration changes under it.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use support::balancer::Balancer;
use support::config::Config;
use support::port::free_addr;
use support::postgres::{Postgres, run};
use support::wait::{SOON, at_a_pace, wait_for, wait_until};

const SECONDS: u32 = 10;
const RELOADS: u32 = 20;

/// Between two reloads. All of them take 6 of the 10 seconds: the rest is for a machine that has other things to do.
const PACE: Duration = Duration::from_millis(300);

#[test]
fn pgbench_fails_no_transaction_under_twenty_reloads() {
    let (cluster, front) = (Postgres::start(), free_addr());
    run(cluster.client("pgbench", cluster.addr()).args(["-i", "-q", "-s", "5", "postgres"]));
    let balancer = Balancer::start(&Backends::Both { second_weight: 1 }.config(front, &cluster));

    let mut pgbench = cluster
        .client("pgbench", front)
        .args(["-n", "-c", "8", "-j", "2", "-T", &SECONDS.to_string(), "postgres"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pgbench starts");
    wait_until("eight sessions are open", SOON, || balancer.active_sessions() == 8.0);

    at_a_pace(PACE, RELOADS, |index| {
        let (backends, expected) = Backends::at(index);
        assert!(pgbench.try_wait().expect("our own child").is_none(), "pgbench ended before reload {index}");
        let changes = balancer.reload_done(&backends.config(front, &cluster));
        assert!(changes.contains(expected), "reload {index} should say {expected}, said {changes}");
        let metrics = balancer.metrics();
        assert_eq!(metrics.value("evenkeel_config_generation", &[]), f64::from(index) + 2.0);
        let second = cluster.second_addr().to_string();
        let sessions = metrics.sum("evenkeel_backend_sessions_active", &[("backend", &second)]);
        assert!(sessions >= 1.0, "the sessions of a removed backend live on, {sessions} of them");
    });

    let output = pgbench.wait_with_output().expect("our own child");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("number of failed transactions: 0 (0.000%)"), "{said}{errors}");
    let done = said.lines().find_map(|line| line.strip_prefix("number of transactions actually processed: "));
    let done: u64 = done.and_then(|count| count.trim().parse().ok()).expect("pgbench counts its transactions");
    assert!(done > 0, "{said}");
    balancer.wait_idle(SOON);
    let balance = "select (select sum(delta) from pgbench_history) = (select sum(abalance) from pgbench_accounts)";
    assert_eq!(cluster.query(balance), "t", "what the bank holds is what was moved");
    let moved: u64 = cluster.query("select count(*) from pgbench_history").parse().expect("a count");
    assert_eq!(moved, done, "every transaction that pgbench saw is in the history, and no other");
}

#[test]
fn connections_follow_least_connections_by_weight() {
    const HELD: usize = 12;
    let (cluster, front) = (Postgres::start(), free_addr());
    cluster.query("create table seen (pid int primary key, address text)");
    let script = cluster.directory().join("hold.sql");
    let hold = "insert into seen values (pg_backend_pid(), host(inet_server_addr())) on conflict do nothing;\n\
                select pg_sleep(0.2);\n";
    fs::write(&script, hold).expect("the cluster's own directory");
    let balancer = Balancer::start(&Backends::Both { second_weight: 2 }.config(front, &cluster));

    let mut pgbench = cluster
        .client("pgbench", front)
        .args(["-n", "-c", &HELD.to_string(), "-T", "60", "-f"])
        .arg(&script)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("pgbench starts");
    let counts = wait_for("the server holds twelve connections", SOON, || {
        let sql = "select address, count(*) from seen join pg_stat_activity using (pid) group by address order by 1";
        let rows: Vec<(String, usize)> = cluster
            .query(sql)
            .lines()
            .filter_map(|row| row.split_once('|').map(|(address, count)| (address.to_owned(), count)))
            .map(|(address, count)| (address, count.parse().expect("a count")))
            .collect();
        (rows.iter().map(|(_, count)| count).sum::<usize>() == HELD).then_some(rows)
    });
    let on = |address: SocketAddr| {
        counts.iter().find(|(found, _)| *found == address.ip().to_string()).map_or(0, |(_, count)| *count)
    };
    let (first, second) = (on(cluster.addr()), on(cluster.second_addr()));
    assert!(first.abs_diff(4) <= 1 && second.abs_diff(8) <= 1, "weights 1:2 gave {first}:{second}");

    let metrics = balancer.metrics();
    for (address, count) in [(cluster.addr(), first), (cluster.second_addr(), second)] {
        let active = metrics.sum("evenkeel_backend_sessions_active", &[("backend", &address.to_string())]);
        assert_eq!(active, count as f64, "{address}: what we count is what the server counts");
    }
    // Held sessions end with their client.
    pgbench.kill().expect("our own child");
    pgbench.wait().expect("our own child");
    balancer.wait_idle(SOON);
    wait_until("the server has noticed too", SOON, || {
        cluster.query("select count(*) from seen join pg_stat_activity using (pid)") == "0"
    });
}

/// The pool at one moment: two addresses of the same cluster are two backends.
#[derive(Debug, Clone, Copy)]
enum Backends {
    Both { second_weight: u32 },
    FirstOnly,
}

impl Backends {
    /// What reload `index` configures, and what the log is to say of it: a weight changes, the second backend goes,
    /// it comes back, and so on.
    fn at(index: u32) -> (Self, &'static str) {
        match index % 4 {
            0 => (Self::Both { second_weight: 3 }, "backends +0 -0 ~1"),
            1 => (Self::FirstOnly, "backends +0 -1 ~0"),
            2 => (Self::Both { second_weight: 3 }, "backends +1 -0 ~0"),
            _ => (Self::Both { second_weight: 1 }, "backends +0 -0 ~1"),
        }
    }

    fn config(self, front: SocketAddr, cluster: &Postgres) -> Config {
        let first = format!("\"{}\"", cluster.addr());
        let backends = match self {
            Self::FirstOnly => first,
            Self::Both { second_weight } => {
                let second = cluster.second_addr();
                format!("{first}, {{ address = \"{second}\", weight = {second_weight} }}")
            }
        };
        Config::new()
            .listener("postgres", front, "postgres", "")
            .pool_of("postgres", &backends, "policy = \"least-connections\"")
            .health_check("postgres", 500, 500)
    }
}
