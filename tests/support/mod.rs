//! The harness of the integration tests: the real binary, real sockets, real servers, and peers that misbehave on
//! demand.
//!
//! [`balancer`] runs the binary and reloads it; [`metrics`], [`log`] and [`process`] look at it from outside, as an
//! operator would. [`backend`] and [`blackhole`] stand behind it, [`socket`] and [`payload`] in front of it, and
//! [`postgres`], [`redis`] and [`knot`] are what it is made for. Everything waits through [`wait`].

#![allow(dead_code, unreachable_pub, reason = "every test binary compiles the whole harness and uses a part of it")]

pub mod backend;
pub mod balancer;
pub mod blackhole;
pub mod config;
pub mod datagram;
pub mod flows;
pub mod knot;
pub mod log;
pub mod metrics;
pub mod namespace;
pub mod payload;
pub mod port;
pub mod postgres;
pub mod process;
pub mod program;
pub mod promtool;
pub mod redis;
pub mod resolver;
pub mod socket;
pub mod wait;
