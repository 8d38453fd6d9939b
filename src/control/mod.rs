//! The control plane: the one writer of everything that workers read.

pub mod phase;
