//! A list through the flows of a slab, the least recently used first: everything it does takes the same time, however
//! long it is.

use slab::Slab;

use super::state::{FlowState, Links};

/// A list of flows, by their index in the slab.
#[derive(Debug, Default)]
pub(super) struct LruList {
    first: Option<u32>,
    last: Option<u32>,
    len: usize,
}

impl LruList {
    /// How many flows are in the list.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The flow that has been in the list the longest.
    pub(super) fn first(&self) -> Option<u32> {
        self.first
    }

    /// Adds a flow that is in no list, at the end.
    pub(super) fn push<R>(&mut self, flows: &mut Slab<FlowState<R>>, index: u32) {
        flows[index as usize].links = Links { before: self.last, after: None };
        match self.last.replace(index) {
            Some(last) => flows[last as usize].links.after = Some(index),
            None => self.first = Some(index),
        }
        self.len += 1;
    }

    /// Takes out a flow that is in this list.
    pub(super) fn remove<R>(&mut self, flows: &mut Slab<FlowState<R>>, index: u32) {
        let Links { before, after } = std::mem::take(&mut flows[index as usize].links);
        match before {
            Some(before) => flows[before as usize].links.after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => flows[after as usize].links.before = before,
            None => self.last = before,
        }
        self.len -= 1;
    }
}
