//! What both planes share: the state of a backend, and the snapshot in which workers find listeners, pools and pickers.
//!
//! The control plane writes, workers read. Whatever must survive a reload is in [`backend`] and [`listener`] behind an
//! `Arc`; a [`snapshot`] only points to it.

pub mod admission;
pub mod backend;
pub mod health;
pub mod key;
pub mod listener;
pub mod registry;
pub mod selection;
pub mod snapshot;
pub mod view;
