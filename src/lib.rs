//! evenkeel: an L4 connection balancer for Linux.

pub mod balance;
pub mod config;
pub mod control;
pub mod hash;
pub mod metrics;
pub mod pool;
