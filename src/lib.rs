//! evenkeel: an L4 balancer, of connections and datagrams, for Linux.
//!
//! # Bird's-eye view
//!
//! Two planes share one process and meet in one place. **Workers** ([`worker`]) are threads with a runtime each: they
//! accept ([`listener`]), pick ([`balance`]), connect and relay ([`tcp`]), or forward datagrams ([`udp`]); what the tasks of
//! one worker share is in [`local`]. The **control plane** ([`control`]) is one more thread: it reads the configuration
//! ([`config`]), has names resolved ([`discovery`]) and backends probed ([`health`]), answers the operator ([`admin`]), and
//! is the only one that changes anything. It does so by building a new [`pool::snapshot::Snapshot`] and publishing it;
//! workers read the snapshot once per decision and never wait for the control plane.
//!
//! # The path of one connection
//!
//! 1. [`listener::Acceptor`] takes it off the kernel's queue, asks the limits ([`pool::admission`]) and places it on a
//!    worker ([`local::placement`]).
//! 2. [`tcp::serve`] runs as one task there. It picks a backend from the pool of the snapshot ([`pool::selection`]) and
//!    connects, trying a different backend on failure.
//! 3. The relay moves bytes both ways: through the worker's one scratch buffer, or through a pipe when there is much to
//!    move. FIN becomes FIN, a reset becomes a reset.
//! 4. [`tcp::Outcome`] counts it and writes the access record when it is dropped, whatever the end was.
//!
//! # The path of one datagram
//!
//! 1. [`udp::Forwarder`], one task a worker and bound address, receives it with whatever else has come.
//! 2. The flow table ([`udp::flow`], no I/O) says which flow it belongs to. A new flow gets a backend from the pool and a
//!    socket connected to it.
//! 3. All datagrams of a flow leave together; replies of all flows leave together. When a flow is over, what it held is
//!    dropped: the socket, its places in the limits, its load on the backend.
//!
//! # The path of one probe's result
//!
//! 1. A file of `health::probe` asks a backend and says passed, failed or inconclusive.
//! 2. The monitor, the one task that holds all that is known of health, hands that to the verdicts of its pool, which are
//!    pure. If the backend's health changes it is published in [`pool::backend::BackendState`] and sent to [`control`].
//! 3. The control task builds a snapshot in which the pool's picker knows of it, publishes it, and tells workers to end
//!    sessions if the pool says so.
//!
//! # The path of one reload
//!
//! 1. SIGHUP ([`control::signals`]) has a task of its own read and validate the file.
//! 2. The control task binds what is new. Until that has succeeded nothing has changed.
//! 3. File, what was found out and what the operator says become one value ([`control::desired`]); a snapshot is built from
//!    it and from what health says, and published; workers get new sockets and give up those that are not wanted any more.
//!
//! # Where something new goes
//!
//! | what | where |
//! |---|---|
//! | a key of the configuration | a line in `config::file`, one in `config::lower`, a field in `config::types` |
//! | a policy | a file in [`balance`], a variant of [`balance::Picker`] |
//! | a kind of probe | a file in `health::probe`, and a line in its table |
//! | a source of backends | a task in [`discovery`] that reports to [`control`], which merges it in [`control::desired`] |
//! | what the operator says at run time | an override in [`control::desired`], an event of [`control`] |
//! | a limit for clients | [`pool::admission`] |
//! | a metric | `admin::metrics`, counted in [`metrics`] |
//!
//! # Floors
//!
//! A file imports only from its own floor or a lower one; `tests/tidy.rs` checks it.
//!
//! | floor | modules |
//! |---|---|
//! | 0 | [`sys`], [`hash`] |
//! | 1 | [`config`], [`metrics`], [`balance`]: pure, without clock, sockets or chance |
//! | 2 | [`pool`], [`local`] |
//! | 3 | [`listener`], [`tcp`], [`udp`], [`worker`]: the data plane |
//! | 4 | [`health`], [`discovery`], [`control`]: the control plane |
//! | 5 | [`admin`], [`app`], [`logging`] |
//! | 6 | [`cli`], [`demo`], `main` |
//!
//! # Invariants
//!
//! 1. A reload never closes a session and never refuses a connection on a listener that stays.
//! 2. A byte accepted from one side is delivered to the other in order exactly once, or the session ends with a reset.
//! 3. Everything has a bound; at the bound we refuse, count, and log with a rate limit.
//! 4. The accept loop never awaits a client, never spins and never gives up.
//! 5. Counters return to zero when the last session has ended.
//! 6. A panic in one session harms no other, and is counted.
//! 7. Two instances with one configuration send the same key to the same backend.
//! 8. `check` accepts exactly what `run` accepts, short of what only the machine can refuse.
//! 9. What we lack ourselves is nobody's fault: out of ports, descriptors or memory no backend goes down for it.
//! 10. Trouble stays where it is: what hangs holds up no reload, no stop and no other pool.
//!
//! Deliberately absent: TLS, anything above TCP and UDP, work stealing between workers, timers per connection, and locks on the
//! path of a byte.

pub mod admin;
pub mod app;
pub mod balance;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod discovery;
pub mod hash;
pub mod health;
pub mod listener;
pub mod local;
pub mod logging;
pub mod metrics;
pub mod pool;
pub mod sys;
pub mod tcp;
pub mod udp;
pub mod worker;

/// The version and the commit it was built from, as `--version` and `build_info` show them.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("EVENKEEL_COMMIT"), ")");
