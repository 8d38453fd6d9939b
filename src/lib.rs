//! evenkeel: an L4 connection balancer for Linux.

pub mod balance;
pub mod config;
pub mod control;
pub mod hash;
pub mod listener;
pub mod metrics;
pub mod pool;
pub mod sys;
pub mod tcp;
pub mod worker;
