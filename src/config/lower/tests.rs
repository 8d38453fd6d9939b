//! What is refused and how it is told; what is assumed when the file does not say.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::*;
use crate::config::types::{
    AccessLog, Assignment, BackendAddr, BackendName, BindAddr, HashKey, Hashing, ListenerName, OnBackendDown, OnDown,
    Policy, PoolName, Priority, Probe, Protocol, Tcp, UdpProbe,
};

const MACHINE: Machine =
    Machine { descriptor_limit: 20_000, ephemeral_ports: 28_232, cpus: NonZeroUsize::new(4).expect("4 is not 0") };

fn errors(text: &str) -> ConfigErrors {
    parse("evenkeel.toml", text, &MACHINE).expect_err("is refused")
}

fn config(text: &str) -> Config {
    parse("evenkeel.toml", text, &MACHINE).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Each error on a line: place, message, and help after an arrow.
fn brief(errors: &ConfigErrors) -> String {
    let lines = errors.iter().map(|error| {
        let help = error.help.as_ref().map_or(String::new(), |help| format!(" -> {help}"));
        format!("{}:{} {}{help}", error.line, error.column, error.message)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A sound file in which `old` is replaced by `new`.
fn sound_but(old: &str, new: &str) -> String {
    assert_eq!(SOUND.matches(old).count(), 1, "{old}");
    SOUND.replace(old, new)
}

const SOUND: &str = r#"workers = 2
log = "info"
[admin]
http = "127.0.0.1:9600"
socket = "/run/evenkeel.sock"
[listeners.pg]
bind = ["127.0.0.1:5432"]
protocol = "tcp"
pool = "pg"
max_connections = 100
idle_timeout = "1h"
[pools.pg]
policy = "maglev"
hash_key = "source-ip"
bounded_load = 1.25
connect_attempts = 3
backends = ["10.0.0.1:5432", { address = "10.0.0.2:5432", weight = 2 }]
on_down = "close"
[pools.pg.health_check]
type = "tcp"
interval = "2s"
timeout = "1s"
rise = 2
"#;

/// What is replaced in [`SOUND`], by what, and what is said of it.
const REFUSED: &[(&str, &str, &str)] = &[
    ("workers = 2", "workers = 0", "1:11 `workers` is out of range -> `workers` is a number from 1 to 1024"),
    ("workers = 2", "workers = 1025", "1:11 `workers` is out of range -> `workers` is a number from 1 to 1024"),
    (
        "workers = 2",
        r#"workers = "2""#,
        "1:11 `workers` must be an integer, not a string -> integers stand without quotes",
    ),
    (
        "workers = 2",
        "workers = 99999999999999999999",
        "1:11 `workers` is out of range -> `workers` is a number from 1 to 1024",
    ),
    ("workers = 2", "wokers = 2", "1:1 unknown key `wokers` -> did you mean `workers`?"),
    ("workers = 2", r#"idle_timeout = "1h""#, "1:1 unknown key `idle_timeout` -> it belongs in [listeners.NAME]"),
    (
        "workers = 2",
        "xyzzy = 1",
        "1:1 unknown key `xyzzy` -> the keys here are workers, max_connections, shutdown_timeout, busy_poll, log, admin, listeners, pools",
    ),
    (
        "workers = 2",
        r#"shutdown_timeout = "0s""#,
        "1:20 `shutdown_timeout` is out of range -> `shutdown_timeout` is a duration from 1ms to 1d",
    ),
    (
        "workers = 2",
        r#"shutdown_timeout = "2d""#,
        "1:20 `shutdown_timeout` is out of range -> `shutdown_timeout` is a duration from 1ms to 1d",
    ),
    (
        "workers = 2",
        "max_connections = 0",
        "1:19 `max_connections` is out of range -> `max_connections` is a number from 1 to 4294967295",
    ),
    (
        "workers = 2",
        "max_connections = 9968",
        "1:19 9968 sessions need 20006 descriptors, and the limit is 20000 -> raise the limit: `ulimit -n 20006`, or LimitNOFILE=20006 in the systemd unit, or at most 9965 here",
    ),
    (r#""info""#, r#""inof""#, "2:7 `inof` is not a log level -> did you mean `info`?"),
    (
        r#""info""#,
        r#""evenkeel""#,
        "2:7 `evenkeel` is not a log level -> levels are off, error, warn, info, debug, trace; for one part of the program `TARGET=LEVEL`",
    ),
    (
        "127.0.0.1:9600",
        "0.0.0.0:9600",
        "4:8 `0.0.0.0:9600` is not a loopback address, and HTTP asks nobody who they are -> `127.0.0.1:9600` or `[::1]:9600`",
    ),
    ("127.0.0.1:9600", "127.0.0.1:0", "4:8 port 0 is no port -> ports are 1 to 65535"),
    ("127.0.0.1:9600", "127.0.0.1:5432", "7:9 [admin] and listener `pg` both bind 127.0.0.1:5432"),
    (
        r#"["127.0.0.1:5432"]"#,
        r#"["0.0.0.0:9600"]"#,
        "7:9 [admin] and listener `pg` cannot share a port: 0.0.0.0:9600 covers 127.0.0.1:9600",
    ),
    (
        "/run/evenkeel.sock",
        "run/evenkeel.sock",
        "5:10 the path of a unix socket must be absolute, and `run/evenkeel.sock` is not",
    ),
    (
        "[listeners.pg]",
        r#"[listeners."a b"]"#,
        "6:12 `a b` is not a name -> a name is up to 64 letters, digits, `-`, `_`, `.` and `:`, a letter or digit first",
    ),
    (
        "[listeners.pg]",
        "[listeners]",
        "7:1 `bind` is not a table -> keys stand below a header with a name: [listeners.NAME]",
    ),
    ("[listeners.pg]", "[listners.pg]", "6:2 unknown key `listners` -> did you mean `listeners`?"),
    ("[listeners.pg]", "[listener.pg]", "6:2 unknown key `listener` -> did you mean `listeners`?"),
    ("bind =", "bnd =", "7:1 unknown key `bnd` -> did you mean `bind`?"),
    (r#"["127.0.0.1:5432"]"#, "[]", "7:8 `bind` is empty: it needs at least one"),
    (r#"["127.0.0.1:5432"]"#, "5432", "7:8 `bind` must be a string or a list, not an integer"),
    (
        r#"bind = ["127.0.0.1:5432"]
"#,
        "",
        r#"6:12 listener `pg` has no `bind` -> add bind = ["0.0.0.0:PORT", "[::]:PORT"]"#,
    ),
    (r#"["127.0.0.1:5432"]"#, "[5432]", "7:9 each of `bind` must be a string, not an integer"),
    (r#"["127.0.0.1:5432"]"#, r#"["127.0.0.1"]"#, "7:9 `127.0.0.1` has no port -> `127.0.0.1:PORT`"),
    (r#"["127.0.0.1:5432"]"#, r#"["127.0.0.1:0"]"#, "7:9 port 0 is no port -> ports are 1 to 65535"),
    (r#"["127.0.0.1:5432"]"#, r#"["127.0.0.1:65536"]"#, "7:9 `65536` is not a port -> ports are 1 to 65535"),
    (
        r#"["127.0.0.1:5432"]"#,
        r#"[":5432"]"#,
        "7:9 `:5432` has no address before the port -> `0.0.0.0:5432` is every IPv4 address, `[::]:5432` every IPv6 address",
    ),
    (r#"["127.0.0.1:5432"]"#, r#"["::1:5432"]"#, "7:9 the IPv6 address in `::1:5432` needs brackets -> `[::1]:5432`"),
    (r#"["127.0.0.1:5432"]"#, r#"["fe80::g:5432"]"#, "7:9 the IPv6 address in `fe80::g:5432` needs brackets"),
    (r#"["127.0.0.1:5432"]"#, r#"["[::1]"]"#, "7:9 `[::1]` has no port -> `[::1]:PORT`"),
    (
        r#"["127.0.0.1:5432"]"#,
        r#"["localhost:5432"]"#,
        "7:9 a listener binds an IP address, and `localhost` is a name -> `127.0.0.1:5432` for this machine alone, `0.0.0.0:5432` and `[::]:5432` for all",
    ),
    (
        r#"["127.0.0.1:5432"]"#,
        r#"["[::ffff:127.0.0.1]:5432"]"#,
        "7:9 `[::ffff:127.0.0.1]:5432` is an IPv4 address in disguise -> `127.0.0.1:5432`",
    ),
    (
        r#"["127.0.0.1:5432"]"#,
        r#"["127.0.0.1:5432", "127.0.0.1:5432"]"#,
        "7:27 listener `pg` binds 127.0.0.1:5432 twice",
    ),
    (
        r#"["127.0.0.1:5432"]"#,
        r#"["unix:/run/evenkeel.sock"]"#,
        "7:9 [admin] and listener `pg` both bind unix:/run/evenkeel.sock",
    ),
    (
        r#"["127.0.0.1:5432"]"#,
        r#"["unix:run/x"]"#,
        "7:9 the path of a unix socket must be absolute, and `run/x` is not",
    ),
    (
        r#"["127.0.0.1:5432"]"#,
        r#"["unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]"#,
        "7:9 the path of a unix socket holds 107 bytes, and this is 108",
    ),
    (
        r#"["127.0.0.1:5432"]"#,
        r#"["/run/pg.sock"]"#,
        "7:9 `/run/pg.sock` has no port -> a unix socket is written `unix:/run/pg.sock`",
    ),
    (r#"protocol = "tcp""#, r#"protocol = "tpc""#, "8:12 `protocol` cannot be `tpc` -> did you mean `tcp`?"),
    (r#"pool = "pg""#, r#"pool = "gp""#, "9:8 no pool is called `gp` -> did you mean `pg`?"),
    (r#"pool = "pg""#, r#"pool = "redis""#, "9:8 no pool is called `redis` -> the pools are `pg`"),
    (
        r#"pool = "pg"
"#,
        "",
        r#"6:12 listener `pg` has no `pool` -> add pool = "NAME", the NAME of a [pools.NAME]"#,
    ),
    (
        "max_connections = 100",
        "max_connections = 0",
        "10:19 `max_connections` is out of range -> `max_connections` is a number from 1 to 4294967295",
    ),
    (
        "max_connections = 100",
        "max_connections = -1",
        "10:19 `max_connections` is out of range -> `max_connections` is a number from 1 to 4294967295",
    ),
    (
        "max_connections = 100",
        "max_connections = 10_000",
        "10:19 10000 sessions need 20068 descriptors, and the limit is 20000 -> raise the limit: `ulimit -n 20068`, or LimitNOFILE=20068 in the systemd unit, or at most 9966 here",
    ),
    (
        "max_connections = 100",
        "max_connections = 4294967296",
        "10:19 `max_connections` is out of range -> `max_connections` is a number from 1 to 4294967295",
    ),
    (r#""1h""#, r#""0s""#, "11:16 `idle_timeout` is out of range -> `idle_timeout` is a duration from 1ms to 365d"),
    (r#""1h""#, r#""366d""#, "11:16 `idle_timeout` is out of range -> `idle_timeout` is a duration from 1ms to 365d"),
    (
        r#""1h""#,
        r#""1""#,
        r#"11:16 `idle_timeout` is not a duration: `1` -> a duration is a string with a unit: "500ms", "2s", "5m", "1h", "7d""#,
    ),
    (
        r#""1h""#,
        r#""soon""#,
        r#"11:16 `idle_timeout` is not a duration: `soon` -> a duration is a string with a unit: "500ms", "2s", "5m", "1h", "7d""#,
    ),
    (
        r#""1h""#,
        "3600",
        r#"11:16 `idle_timeout` must be a duration, not an integer -> a duration is a string with a unit: "500ms", "2s", "5m", "1h", "7d""#,
    ),
    (r#""1h""#, r#""500us""#, "11:16 `idle_timeout` is out of range -> `idle_timeout` is a duration from 1ms to 365d"),
    (r#""maglev""#, r#""round-robbin""#, "13:10 `policy` cannot be `round-robbin` -> did you mean `round-robin`?"),
    (
        r#""maglev""#,
        r#""least-connections""#,
        r#"14:12 `hash_key` is for a policy that hashes -> such as policy = "maglev"
15:16 `bounded_load` is for a policy that hashes -> such as policy = "maglev""#,
    ),
    (r#""maglev""#, r#""rendom""#, "13:10 `policy` cannot be `rendom` -> did you mean `random`?"),
    (r#""source-ip""#, r#""source-prt""#, "14:12 `hash_key` cannot be `source-prt` -> did you mean `source-ip`?"),
    (
        "1.25",
        "0.99",
        "15:16 `bounded_load` must be at least 1 -> it is a multiple of the fair share: 1.25 lets a backend have a quarter more",
    ),
    (
        "1.25",
        "nan",
        "15:16 `bounded_load` must be at least 1 -> it is a multiple of the fair share: 1.25 lets a backend have a quarter more",
    ),
    (
        "1.25",
        "inf",
        "15:16 `bounded_load` must be at least 1 -> it is a multiple of the fair share: 1.25 lets a backend have a quarter more",
    ),
    ("1.25", r#""1""#, "15:16 `bounded_load` must be a number, not a string"),
    (
        "connect_attempts = 3",
        "connect_attempts = 0",
        "16:20 `connect_attempts` is out of range -> `connect_attempts` is a number from 1 to 65535",
    ),
    (
        "connect_attempts = 3",
        r#"connect_timeout = "2h""#,
        "16:19 `connect_timeout` is out of range -> `connect_timeout` is a duration from 1ms to 1h",
    ),
    (r#"backends = ["10.0.0.1:5432", {"#, "backends = [] #", "17:12 `backends` is empty: it needs at least one"),
    (
        r#"["10.0.0.1:5432", {"#,
        r#"[["10.0.0.1:5432"], {"#,
        "17:13 each of `backends` must be an address or a table, not an array",
    ),
    (r#""10.0.0.1:5432""#, r#""10.0.0.1""#, "17:13 `10.0.0.1` has no port -> `10.0.0.1:PORT`"),
    (r#""10.0.0.1:5432""#, r#""10.0.0.300:5432""#, "17:13 `10.0.0.300` is not an IPv4 address"),
    (
        r#""10.0.0.1:5432""#,
        r#""db_1.example..com:5432""#,
        "17:13 `db_1.example..com` is neither an IP address nor a host name",
    ),
    (
        r#""10.0.0.1:5432""#,
        r#""10.0.0.2:5432""#,
        "17:42 pool `pg` has two backends called `10.0.0.2:5432` -> give one of them a `name` of its own, or make it one backend with more weight",
    ),
    (r#""10.0.0.1:5432""#, "{ weight = 1 }", r#"17:13 this backend has no `address` -> add address = "ADDRESS:PORT""#),
    (
        r#""10.0.0.1:5432""#,
        r#"{ address = "10.0.0.9:1", name = "" }"#,
        "17:46 `` is not a name -> a name is up to 64 letters, digits, `-`, `_`, `.` and `:`, a letter or digit first",
    ),
    (
        r#""10.0.0.1:5432""#,
        r#"{ address = "10.0.0.9:1", backup = "yes" }"#,
        "17:48 `backup` must be true or false, not a string",
    ),
    ("weight = 2", "weight = 65536", "17:68 `weight` is out of range -> `weight` is a number from 0 to 65535"),
    ("weight = 2", "weight = -1", "17:68 `weight` is out of range -> `weight` is a number from 0 to 65535"),
    ("weight = 2", "wieght = 2", "17:59 unknown key `wieght` -> did you mean `weight`?"),
    (r#""close""#, r#""drain""#, "18:11 `on_down` cannot be `drain` -> `on_down` is `keep` or `close`"),
    (r#"type = "tcp""#, r#"type = "http""#, "20:8 `type` cannot be `http` -> `type` is `tcp` or `udp` or `dns`"),
    (
        r#"timeout = "1s""#,
        r#"timeout = "3s""#,
        "22:11 `timeout` is longer than `interval`, which is 2s -> a probe must be over before the next one starts",
    ),
    (
        r#"timeout = "1s""#,
        r#"timeout = "0ms""#,
        "22:11 `timeout` is out of range -> `timeout` is a duration from 1ms to 1h",
    ),
    (
        r#"interval = "2s""#,
        r#"interval = "2h""#,
        "21:12 `interval` is out of range -> `interval` is a duration from 1ms to 1h",
    ),
    ("rise = 2", "rise = 0", "23:8 `rise` is out of range -> `rise` is a number from 1 to 65535"),
    ("rise = 2", "fall = 65536", "23:8 `fall` is out of range -> `fall` is a number from 1 to 65535"),
    ("rise = 2", "weight = 2", "23:1 unknown key `weight` -> it belongs in an element of `backends`"),
    (
        "workers = 2",
        "workers = two",
        r#"1:11 invalid boolean, expected `true` -> strings are written in quotes: "two""#,
    ),
    ("workers = 2", "workers = 2\nworkers = 3", "2:1 duplicate key `workers`"),
    ("type =", "rise = 3\ntype =", "24:1 duplicate key `rise`"),
    ("weight = 2", "weight = 2, weight = 3", "17:71 duplicate key `weight`"),
    (
        r#"["10.0.0.1:5432", {"#,
        "[10.0.0.1:5432, {",
        r#"17:17 invalid float -> strings are written in quotes: "10.0.0.1:5432""#,
    ),
    (
        r#"["10.0.0.1:5432", {"#,
        "[db.example.com:5432, {",
        r#"17:13 string values must be quoted, expected literal string -> strings are written in quotes: "db.example.com:5432""#,
    ),
    (
        r#"["127.0.0.1:5432"]"#,
        "[127.0.0.1:5432]",
        r#"7:14 invalid float -> strings are written in quotes: "127.0.0.1:5432""#,
    ),
    (
        r#"address = "10.0.0.2:5432""#,
        "address = 10.0.0.2:5432",
        r#"17:46 invalid float -> strings are written in quotes: "10.0.0.2:5432""#,
    ),
    (
        r#""10.0.0.1:5432""#,
        r#""http://10.0.0.1:5432/x""#,
        "17:13 `http://10.0.0.1:5432/x` is a URL, not an address -> an address has no scheme: `10.0.0.1:5432`",
    ),
    (
        r#"["127.0.0.1:5432"]"#,
        r#"["tcp://0.0.0.0:1"]"#,
        "7:9 `tcp://0.0.0.0:1` is a URL, not an address -> an address has no scheme: `0.0.0.0:1`",
    ),
    (
        "connect_attempts = 3",
        r#"connect_timeout = "0s""#,
        "16:19 `connect_timeout` is out of range -> `connect_timeout` is a duration from 1ms to 1h",
    ),
];

/// A sound file with a UDP listener, for [`REFUSED_OVER_UDP`].
const DNS: &str = r#"[listeners.dns]
bind = ["127.0.0.1:53"]
protocol = "udp"
pool = "dns"
requests = 1
max_flows = 1000
receive_buffer = "4MiB"
[listeners.dns-tcp]
bind = ["127.0.0.1:53"]
pool = "dns"
max_connections = 100
[pools.dns]
backends = ["10.0.0.1:53", "10.0.0.2:53"]
[pools.dns.health_check]
type = "dns"
query = "example.com"
record = "SOA"
rcode = "NOERROR"
port = 53
[pools.dns.passive_check]
unanswered = 5
eject_for = "10s"
max_ejected = 0.5
"#;

/// As [`REFUSED`], for [`DNS`].
const REFUSED_OVER_UDP: &[(&str, &str, &str)] = &[
    (
        "requests = 1",
        r#"idle_timeout = "1s""#,
        "5:16 `idle_timeout` is for TCP -> `flow_idle_timeout` is the key of a UDP listener",
    ),
    (
        "requests = 1",
        r#"half_close_timeout = "1s""#,
        "5:22 `half_close_timeout` is for TCP -> leave it out: a flow has no halves to close",
    ),
    ("requests = 1", "max_connections = 9", "5:19 `max_connections` is for TCP -> `max_flows` bounds a UDP listener"),
    (
        "requests = 1",
        "requests = 0",
        r#"5:12 `requests` is out of range -> `requests` is a number from 1 to 4294967295, or "unlimited""#,
    ),
    ("requests = 1", r#"requests = "all""#, r#"5:12 `requests` must be an integer or "unlimited", not a string"#),
    (
        "requests = 1",
        r#"on_backend_down = "close""#,
        "5:19 `on_backend_down` cannot be `close` -> `on_backend_down` is `move` or `stick` or `lame-duck`",
    ),
    (
        "requests = 1",
        "per_packet = true\non_backend_down = \"stick\"",
        "6:19 `on_backend_down` says nothing beside `per_packet` -> leave it out: every datagram goes to a backend that is up",
    ),
    (
        "requests = 1",
        "max_flows_per_source = 0",
        "5:24 `max_flows_per_source` is out of range -> `max_flows_per_source` is a number from 1 to 4294967295",
    ),
    (
        "max_flows = 1000",
        "max_flows = 20_000",
        "6:13 20000 flows beside 100 sessions need 20279 descriptors, and the limit is 20000 -> raise the limit: `ulimit -n 20279`, or LimitNOFILE=20279 in the systemd unit, or at most 19721 here",
    ),
    (
        "4MiB",
        "4MB",
        r#"7:18 `receive_buffer` is not a size: `4MB` -> a size is a string with a unit: "64KiB", "4MiB", "1GiB""#,
    ),
    ("4MiB", "1KiB", "7:18 `receive_buffer` is out of range -> `receive_buffer` is a size from 64KiB to 1GiB"),
    (
        "max_connections = 100",
        "max_flows = 100",
        "11:13 `max_flows` is for UDP -> `max_connections` bounds a TCP listener",
    ),
    (
        "max_connections = 100",
        r#"flow_idle_timeout = "1s""#,
        "11:21 `flow_idle_timeout` is for UDP -> `idle_timeout` is the key of a TCP listener",
    ),
    (
        "max_connections = 100",
        "per_packet = true",
        r#"11:14 `per_packet` is for UDP -> leave it out, or set protocol = "udp""#,
    ),
    (
        "max_connections = 100",
        r#"on_backend_down = "move""#,
        "11:19 `on_backend_down` is for UDP -> what becomes of TCP sessions is said by `on_down` of the pool",
    ),
    (
        "protocol = \"udp\"\npool = \"dns\"",
        "protocol = \"udp\"\npool = \"dsn\"",
        "4:8 no pool is called `dsn` -> did you mean `dns`?",
    ),
    (r#""SOA""#, r#""SAO""#, "17:10 `record` cannot be `SAO` -> did you mean `SOA`?"),
    (r#""NOERROR""#, r#""NOEROR""#, "18:9 `rcode` cannot be `NOEROR` -> did you mean `NOERROR`?"),
    (
        r#""example.com""#,
        r#""example..com""#,
        "16:9 `example..com` is not a domain name -> labels of up to 63 ASCII letters, digits, `-` and `_`, with dots between them",
    ),
    (
        "query = \"example.com\"\n",
        "",
        r#"14:12 a health check of type `dns` has no `query` -> add a name that every backend can answer: query = "example.com""#,
    ),
    ("port = 53", "port = 0", "19:8 `port` is out of range -> `port` is a number from 1 to 65535"),
    ("port = 53", r#"send = "x""#, r#"19:8 `send` is for a health check of type `udp` -> set type = "udp""#),
    (
        "max_ejected = 0.5",
        "max_ejected = 1.5",
        "23:15 `max_ejected` is out of range -> `max_ejected` is a share from 0 to 1: 0.5 is half of the pool",
    ),
    (
        "max_ejected = 0.5",
        r#"eject_for_at_most = "5s""#,
        "23:21 `eject_for_at_most` is shorter than `eject_for`, which is 10s",
    ),
];

#[test]
fn the_sound_files_are_sound() {
    config(SOUND);
    config(DNS);
}

#[test]
fn every_mistake_with_udp_is_told() {
    let mut wrong = Vec::new();
    for (old, new, expected) in REFUSED_OVER_UDP {
        assert_eq!(DNS.matches(old).count(), 1, "{old}");
        let told = brief(&errors(&DNS.replace(old, new)));
        if told != *expected {
            wrong.push(format!("    ({old:?}, {new:?}, {told:?}),"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn udp_and_paths_do_not_go_together() {
    let told = brief(&errors(&DNS.replace("protocol = \"udp\"", "protocol = \"udp\" #").replacen(
        "127.0.0.1:53",
        "unix:/run/x",
        1,
    )));
    assert_eq!(told, "2:9 a UDP listener binds an IP address, and `unix:/run/x` is a path");
    let told = brief(&errors(&DNS.replace("10.0.0.2:53", "unix:/run/y").replace("type = \"dns\"", "type = \"tcp\" #")));
    assert!(told.contains("UDP does not reach `unix:/run/y`, and listener `dns` is UDP"), "{told}");
    assert!(told.contains("`unix:/run/y` cannot be probed: it has no port"), "{told}");
}

#[test]
fn datagrams_that_never_come_judge_nobody() {
    let passive = format!("{SMALL}[pools.p.passive_check]\n");
    let expected = "6:10 no UDP listener sends to pool `p`, and `passive_check` judges by datagrams \
        -> a [pools.p.health_check] judges by connections";
    assert_eq!(brief(&errors(&passive)), expected);
    config(&passive.replace("pool =", "protocol = \"udp\"\npool =").replace("db:5432", "10.0.0.1:53"));
    let unused =
        passive.replace("[pools.p]", "[pools.p]\nbackends = [\"a:1\"]\n[pools.q]").replace("pools.p.p", "pools.q.p");
    config(&unused);
    // What it was meant to be is not known.
    let told = brief(&errors(&passive.replace("pool =", "protocol = \"dup\"\npool =")));
    assert!(!told.contains("passive_check"), "{told}");
}

#[test]
fn an_address_is_bound_once_over_each_protocol() {
    config(DNS);
    let told = brief(&errors(&DNS.replace("max_connections = 100", "protocol = \"udp\"")));
    assert_eq!(told, "9:9 listener `dns` and listener `dns-tcp` both bind 127.0.0.1:53");
}

#[test]
fn defaults_of_udp() {
    let text =
        "listeners.a = { bind = ['127.0.0.1:1'], pool = 'p', protocol = 'udp' }\npools.p.backends = ['127.0.0.1:2']\n";
    let config = config(text);
    let Protocol::Udp(udp) = &config.listeners["a"].protocol else { panic!("{config:?}") };
    assert_eq!(udp.flow_idle_timeout, Duration::from_secs(60));
    assert_eq!((udp.requests, udp.responses), (None, None));
    assert_eq!((udp.assignment, udp.on_backend_down), (Assignment::PerFlow, OnBackendDown::Move));
    assert_eq!((udp.max_flows_per_source, udp.receive_buffer.get()), (None, 1 << 20));
    assert_eq!(udp.max_flows, config.default_max_flows);
    assert!((10_000..20_000).contains(&udp.max_flows.get()), "{}", udp.max_flows);
}

#[test]
fn more_flows_than_ports_are_no_mistake() {
    let machine = Machine { ephemeral_ports: 500, ..MACHINE };
    let config = parse("evenkeel.toml", DNS, &machine).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.flows_at_most(), 1_000);
}

#[test]
fn probes_send_text_or_bytes() {
    let probe = |keys: &str| {
        let check = format!("{SMALL}[pools.p.health_check]\ntype = \"udp\"\n{keys}\n");
        config(&check).pools[&PoolName::from("p")].health_check.clone().expect("is there").probe
    };
    let expected = |send: &[u8], expect: &[u8]| Probe::Udp(UdpProbe { send: send.into(), expect: expect.into() });
    assert_eq!(probe("send = \"ping\"\nexpect = \"pong\""), expected(b"ping", b"pong"));
    assert_eq!(probe("send_hex = \"00 fF\"\nexpect_hex = \"7f\""), expected(b"\x00\xff", b"\x7f"));
    assert_eq!(probe("send = \"\""), expected(b"", b""));
    let refused = |keys: &str| brief(&errors(&format!("{SMALL}[pools.p.health_check]\ntype = \"udp\"\n{keys}\n")));
    assert!(refused("").contains("has no `send`"));
    assert!(refused("send = \"a\"\nsend_hex = \"00\"").contains("two ways to say the same"));
    assert!(refused("send_hex = \"0\"").contains("`0` is not hex"));
    assert!(refused("send_hex = \"zz\"").contains("`zz` is not hex"));
}

#[test]
fn every_mistake_is_told() {
    let mut wrong = Vec::new();
    for (old, new, expected) in REFUSED {
        let told = brief(&errors(&sound_but(old, new)));
        if told != *expected {
            wrong.push(format!("    ({old:?}, {new:?}, {told:?}),"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_admin_side_shares_its_port_with_no_wildcard() {
    let with = |http: &str, bind: &str| {
        let admin = format!("[admin]\nhttp = \"{http}\"\n");
        let listener = SMALL.replace("127.0.0.1:1", bind);
        [format!("{admin}{listener}"), format!("{listener}{admin}")]
    };
    for (http, bind) in [("127.0.0.1:9", "0.0.0.0:9"), ("[::1]:9", "[::]:9"), ("127.0.0.2:9", "0.0.0.0:9")] {
        for text in with(http, bind) {
            let told = brief(&errors(&text));
            assert!(told.contains(&format!("cannot share a port: {bind} covers {http}")), "{told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
    }
    for (http, bind) in [("127.0.0.1:9", "[::]:9"), ("[::1]:9", "0.0.0.0:9"), ("127.0.0.1:9", "0.0.0.0:8")] {
        with(http, bind).iter().for_each(|text| drop(config(text)));
    }
}

#[test]
fn errors_are_a_pleasure_to_read() {
    let text = r#"[listeners.postgres]
bind = ["0.0.0.0:5432", "[::]:5432"]
pool = "gp"

[listeners.replicas]
bind = ["0.0.0.0:5432"]
pool = "pg"
idle_timout = "1h"

[pools.pg]
polcy = "round-robin"
backends = [
  "10.0.0.11:5432",
  { address = "10.0.0.12", weight = 70_000 },
]
"#;
    let expected = r#"error: no pool is called `gp`
 --> evenkeel.toml:3:8
  |
3 | pool = "gp"
  |        ^^^^
  |
  = help: did you mean `pg`?

error: listener `postgres` and listener `replicas` both bind 0.0.0.0:5432
 --> evenkeel.toml:6:9
  |
6 | bind = ["0.0.0.0:5432"]
  |         ^^^^^^^^^^^^^^
  |
 ::: evenkeel.toml:2:9
  |
2 | bind = ["0.0.0.0:5432", "[::]:5432"]
  |         -------------- bound here already

error: unknown key `idle_timout`
 --> evenkeel.toml:8:1
  |
8 | idle_timout = "1h"
  | ^^^^^^^^^^^
  |
  = help: did you mean `idle_timeout`?

error: unknown key `polcy`
  --> evenkeel.toml:11:1
   |
11 | polcy = "round-robin"
   | ^^^^^
   |
   = help: did you mean `policy`?

error: `10.0.0.12` has no port
  --> evenkeel.toml:14:15
   |
14 |   { address = "10.0.0.12", weight = 70_000 },
   |               ^^^^^^^^^^^
   |
   = help: `10.0.0.12:PORT`

error: `weight` is out of range
  --> evenkeel.toml:14:37
   |
14 |   { address = "10.0.0.12", weight = 70_000 },
   |                                     ^^^^^^
   |
   = help: `weight` is a number from 0 to 65535"#;
    assert_eq!(errors(text).to_string(), expected);
}

#[test]
fn a_value_that_is_not_toml_hides_nothing_else() {
    let text = r#"wrokers = 1
[listeners.pg]
bind = ["127.0.0.1:1"]
pool = pg
idle_timeout = 30s
[pools.pg]
backends = ["a:1"]
plicy = 1
"#;
    let expected = "1:1 unknown key `wrokers` -> did you mean `workers`?\n\
        4:8 string values must be quoted, expected literal string -> strings are written in quotes: \"pg\"\n\
        5:16 string values must be quoted, expected literal string -> strings are written in quotes: \"30s\"\n\
        8:1 unknown key `plicy` -> did you mean `policy`?";
    assert_eq!(brief(&errors(text)), expected);
}

#[test]
fn an_unclosed_bracket_is_one_error() {
    let list =
        "wrokers = 1\n[listeners.pg]\nbind = [\"127.0.0.1:1\"\npool = \"pg\"\n[pools.pg]\nbackends = [\"a:1\"]\n";
    let expected = "1:1 unknown key `wrokers` -> did you mean `workers`?\n\
        4:1 missing comma between array elements, expected `,`";
    assert_eq!(brief(&errors(list)), expected);
    let header = "[listeners.pg\nbind = [\"127.0.0.1:1\"]\npool = \"pg\"\n[pools.pg]\nbackends = [\"a:1\"]\n";
    assert_eq!(brief(&errors(header)), "1:14 unclosed table, expected `]`");
}

#[test]
fn a_diagnostic_has_the_place_that_is_shown() {
    let text = sound_but("pool = \"pg\"", "\tpool = \"\u{65e5}\u{672c}\"")
        .replace("address =", "\"\u{65e5}\u{672c}\" = 1, \taddress =")
        .replace("weight = 2", "weight = 70_000");
    let errors = errors(&text);
    assert_eq!(errors.iter().len(), 3);
    for error in errors.iter() {
        let place = format!("--> evenkeel.toml:{}:{}\n", error.line, error.column);
        assert!(error.to_string().contains(&place), "{place}{error}");
    }
}

#[test]
fn a_diagnostic_names_its_key() {
    let text = sound_but("weight = 2", "weight = 70000").replace("\"pg\"", "\"pq\"").replace("log", "lg");
    let keys: Vec<_> = errors(&text).iter().map(|error| error.key.clone().unwrap_or_default()).collect();
    assert_eq!(keys, ["lg", "listeners.pg.pool", "pools.pg.backends[1].weight"]);
}

#[test]
fn only_so_many_errors_are_shown() {
    let unknown: String = (0..501).map(|n| format!("key_{n} = 1\n")).collect();
    let text = format!("{SOUND}{unknown}");
    let errors = errors(&text);
    assert_eq!((errors.iter().len(), errors.total()), (100, 501));
    assert!(errors.to_string().ends_with("\n\n... and 401 more"));
}

const SMALL: &str = "[listeners.a]\nbind = [\"127.0.0.1:1\"]\npool = \"p\"\n[pools.p]\nbackends = [\"db:5432\"]\n";

#[test]
fn defaults() {
    let config = config(SMALL);
    assert_eq!(config.workers, MACHINE.cpus);
    assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.log, "info");
    assert_eq!(config.admin, Admin::default());
    let listener = &config.listeners[&ListenerName::from("a")];
    let expected = Tcp {
        max_connections: config.max_connections,
        idle_timeout: Duration::from_secs(3600),
        half_close_timeout: Duration::from_secs(60),
    };
    assert_eq!(listener.protocol, Protocol::Tcp(expected));
    assert_eq!(listener.access_log, AccessLog::On);
    let pool = &config.pools[&PoolName::from("p")];
    assert_eq!(pool.policy, Policy::LeastConnections);
    assert_eq!(pool.connect_timeout, Duration::from_secs(2));
    assert_eq!(pool.connect_attempts.get(), 3);
    assert_eq!(pool.on_down, OnDown::Keep);
    assert_eq!(pool.health_check, None);
    let backend = &pool.backends[0];
    assert_eq!(backend.identity, BackendName::from("db:5432"));
    assert_eq!((backend.weight, backend.priority), (1, Priority::Regular));
}

#[test]
fn defaults_of_a_health_check() {
    let check = |text: &str| {
        let config = config(&format!("{SMALL}[pools.p.health_check]\n{text}\n"));
        config.pools[&PoolName::from("p")].health_check.clone().expect("is there")
    };
    let assumed = check("");
    assert_eq!((assumed.interval, assumed.timeout), (Duration::from_secs(2), Duration::from_secs(1)));
    assert_eq!((assumed.rise.get(), assumed.fall.get()), (2, 3));
    assert_eq!(check("interval = \"500ms\"").timeout, Duration::from_millis(500));
}

#[test]
fn what_is_written_is_what_is_meant() {
    let config = config(SOUND);
    assert_eq!(config.workers.get(), 2);
    assert_eq!(config.admin.http, Some("127.0.0.1:9600".parse().expect("is an address")));
    assert_eq!(config.admin.socket, Some("/run/evenkeel.sock".into()));
    assert!(matches!(&config.listeners["pg"].protocol, Protocol::Tcp(tcp) if tcp.max_connections.get() == 100));
    let pool = &config.pools[&PoolName::from("pg")];
    assert_eq!(pool.policy, Policy::Maglev(Hashing { key: HashKey::SourceIp, bounded_load: Some(1.25) }));
    assert_eq!(pool.on_down, OnDown::Close);
    assert_eq!(pool.backends[1].weight, 2);
}

#[test]
fn addresses_of_every_kind() {
    let bind = r#"["0.0.0.0:1", "127.0.0.1:1", "[::]:1", "[fe80::1%2]:1", "unix:/run/a.sock"]"#;
    let backends = r#"["10.0.0.1:1", "[::1]:1", "db_1.example.com.:65535", "unix:/run/b.sock",
        { address = "10.0.0.1:1", name = "again", weight = 0, backup = true }]"#;
    let text = SMALL.replace("[\"127.0.0.1:1\"]", bind).replace("[\"db:5432\"]", backends);
    let config = config(&text);
    let listener = &config.listeners[&ListenerName::from("a")];
    let shown: Vec<String> = listener.bind.iter().map(BindAddr::to_string).collect();
    assert_eq!(shown, ["0.0.0.0:1", "127.0.0.1:1", "[::]:1", "[fe80::1%2]:1", "unix:/run/a.sock"]);
    let backends = &config.pools[&PoolName::from("p")].backends;
    assert!(
        matches!(&backends[2].address, BackendAddr::Name { host, port } if host == "db_1.example.com." && port.get() == 65535)
    );
    assert!(matches!(&backends[3].address, BackendAddr::Unix(path) if path.as_os_str() == "/run/b.sock"));
    assert_eq!(
        (backends[4].identity.as_str(), backends[4].weight, backends[4].priority),
        ("again", 0, Priority::Backup)
    );
}

#[test]
fn a_key_that_takes_a_list_takes_one_value() {
    let listed = SMALL.replace("[\"db:5432\"]", "[{ address = \"db:5432\", weight = 2 }]");
    let expected = config(&listed);
    assert_eq!(config(&listed.replace("[\"127.0.0.1:1\"]", "\"127.0.0.1:1\"")), expected);
    assert_eq!(config(&listed.replace("[{", "{").replace("}]", "}")), expected);
    assert_eq!(config(&SMALL.replace("[\"db:5432\"]", "\"db:5432\"")), config(SMALL));
    let told = |bind: &str, backends: &str| {
        brief(&errors(&SMALL.replace("[\"127.0.0.1:1\"]", bind).replace("[\"db:5432\"]", backends)))
    };
    assert_eq!(
        told("\"127.0.0.1\"", "1"),
        "2:8 `127.0.0.1` has no port -> `127.0.0.1:PORT`\n\
        5:12 `backends` must be an address or a table or a list, not an integer"
    );
    assert_eq!(
        told("[\"127.0.0.1:1\"]", "{ adress = \"db:5432\" }"),
        "5:14 unknown key `adress` -> did you mean `address`?"
    );
}

#[test]
fn a_file_without_listeners_serves_nothing() {
    let expected = "1:1 there is no listener: nothing would be served -> add [listeners.NAME] with `bind` and `pool`";
    for text in ["", "[listeners]\n", "[pools.p]\nbackends = [\"a:1\"]\n"] {
        assert_eq!(brief(&errors(text)), expected);
    }
}

#[test]
fn a_misspelt_table_is_one_error() {
    let expected = "1:2 unknown key `listener` -> did you mean `listeners`?";
    assert_eq!(brief(&errors(&SMALL.replace("[listeners.", "[listener."))), expected);
    let expected = "4:2 unknown key `pool` -> did you mean `pools`?";
    assert_eq!(brief(&errors(&SMALL.replace("[pools.", "[pool."))), expected);
}

#[test]
fn a_table_written_twice_is_named() {
    let text = format!("{SMALL}[listeners.a]\npool = \"p\"\n");
    assert_eq!(brief(&errors(&text)), "6:12 duplicate key `a`");
}

#[test]
fn a_pool_may_be_drained_or_unused() {
    config(&format!("{SMALL}[pools.q]\nbackends = [{{ address = \"a:1\", weight = 0 }}]\n"));
}

#[test]
fn busy_polling_has_bounds_in_microseconds() {
    let with = |value: &str| format!("busy_poll = \"{value}\"\n{SMALL}");
    assert_eq!(config(SMALL).busy_poll, None);
    assert_eq!(config(&with("50us")).busy_poll, Some(Duration::from_micros(50)));
    assert_eq!(config(&with("1ms")).busy_poll, Some(Duration::from_millis(1)));
    for bad in ["0s", "999ns", "1001us", "1s"] {
        let expected = "1:13 `busy_poll` is out of range -> `busy_poll` is a duration from 1us to 1ms";
        assert_eq!(brief(&errors(&with(bad))), expected);
    }
}

#[test]
fn too_many_backends() {
    let list: Vec<String> = (0..=65_535).map(|n| format!("\"unix:/{n}\"")).collect();
    let text = SMALL.replace("\"db:5432\"", &list.join(","));
    assert_eq!(brief(&errors(&text)), "5:12 pool `p` has 65536 backends, and a pool holds 65535");
}

#[test]
fn a_listener_that_says_more_raises_the_process() {
    let with = |line: &str| config(&SMALL.replace("pool =", &format!("{line}\npool =")));
    let assumed = with("");
    let promised = with("max_connections = 9_900");
    assert!(assumed.max_connections.get() < 9_900 && assumed.max_pipes > 0);
    assert_eq!(promised.max_connections.get(), 9_900);
    assert!(promised.max_pipes < assumed.max_pipes);
}

#[test]
fn a_machine_too_small_for_one_session() {
    let machine = Machine { descriptor_limit: 64, ..MACHINE };
    let errors = parse("evenkeel.toml", SMALL, &machine).expect_err("is refused");
    let expected = "1:1 one session needs 71 descriptors, and the limit is 64 \
        -> raise the limit: `ulimit -n 71`, or LimitNOFILE=71 in the systemd unit";
    assert_eq!(brief(&errors), expected);
    let machine = Machine { descriptor_limit: 71, ..MACHINE };
    let config = parse("evenkeel.toml", SMALL, &machine).expect("one session fits");
    assert_eq!((config.max_connections.get(), config.max_pipes), (1, 0));
}
