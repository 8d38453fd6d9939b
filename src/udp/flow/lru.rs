//! A list through the slots of a slab, oldest first: everything it does takes the same time, however long it is.

use slab::Slab;

use super::Flow;

/// The place of a flow in the list it is in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Links {
    before: Option<u32>,
    after: Option<u32>,
}

/// A list of slots.
#[derive(Debug, Default)]
pub(super) struct Order {
    first: Option<u32>,
    last: Option<u32>,
}

impl Order {
    /// The slot that has been in the list the longest.
    pub(super) fn first(&self) -> Option<u32> {
        self.first
    }

    /// Adds a slot that is in no list.
    pub(super) fn push<U>(&mut self, flows: &mut Slab<Flow<U>>, slot: u32) {
        flows[slot as usize].links = Links { before: self.last, after: None };
        match self.last.replace(slot) {
            Some(last) => flows[last as usize].links.after = Some(slot),
            None => self.first = Some(slot),
        }
    }

    /// Takes out a slot that is in this list.
    pub(super) fn remove<U>(&mut self, flows: &mut Slab<Flow<U>>, slot: u32) {
        let Links { before, after } = std::mem::take(&mut flows[slot as usize].links);
        match before {
            Some(before) => flows[before as usize].links.after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => flows[after as usize].links.before = before,
            None => self.last = before,
        }
    }
}
