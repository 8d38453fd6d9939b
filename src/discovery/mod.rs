//! Where backends come from, beside the file. So far: the addresses that names stand for.
//!
//! An answer may take long, so each question has a task of its own. What it hears
//! goes out on a channel; what that means for a pool is decided by who listens there.

pub mod name;
pub mod resolver;
