//! What this machine gives to a measurement, and what it says about a process: CPUs, descriptors, `/proc`.

mod cpus;
mod descriptors;
mod meters;
pub(crate) mod namespace;
mod processes;

pub(crate) use cpus::Cpus;
pub(crate) use descriptors::{check_descriptors, raise_descriptor_limit};
pub(crate) use meters::{Meters, Spent};
pub(crate) use processes::{check_pinned, has_ended, process_tree, resident_bytes};
