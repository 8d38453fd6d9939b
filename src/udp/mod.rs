//! UDP.
pub mod flow;
