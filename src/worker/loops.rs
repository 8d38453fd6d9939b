//! The loops of one worker, by the bound address that they serve.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use tokio::sync::{oneshot, watch};
use tokio::task::spawn_local;

use super::essential;
use crate::listener::Acceptor;
use crate::local::Local;
use crate::local::admitted::Admitted;
use crate::pool::snapshot::BindId;
use crate::tcp;
use crate::udp::{Buffers, Forwarder, Lifecycle};

/// Gives a session a task of its own. A panic while it is set up costs that session, as one in the task does.
pub(super) fn serve(local: &Rc<Local>, admitted: Admitted) {
    let session = catch_unwind(AssertUnwindSafe(|| tcp::serve(Rc::clone(local), admitted)));
    if let Ok(session) = session {
        spawn_local(session);
    }
}

/// The loops that accept on one worker.
pub(super) struct Acceptors {
    local: Rc<Local>,
    /// Dropping a sender retires its loop.
    retire: HashMap<BindId, oneshot::Sender<()>>,
}

impl Acceptors {
    /// None yet.
    pub(super) fn new(local: Rc<Local>) -> Self {
        Self { local, retire: HashMap::new() }
    }

    pub(super) fn listen(&mut self, bind: BindId, socket: OwnedFd) {
        let acceptor = match Acceptor::new(Rc::clone(&self.local), bind, socket) {
            Ok(acceptor) => acceptor,
            Err(error) => return tracing::error!(%error, "a worker cannot watch a listening socket"),
        };
        let (retire, retired) = oneshot::channel();
        self.retire.insert(bind, retire);
        let local = Rc::clone(&self.local);
        essential::spawn(acceptor.run(move |admitted| serve(&local, admitted), retired));
    }

    pub(super) fn retire(&mut self, bind: BindId) {
        self.retire.remove(&bind);
    }

    pub(super) fn retire_all(&mut self) {
        self.retire.clear();
    }
}

/// The tasks that forward datagrams on one worker.
pub(super) struct Forwarders {
    local: Rc<Local>,
    /// The memory that they share: a turn leaves nothing in it. Made when it is first needed.
    buffers: Option<Rc<RefCell<Buffers>>>,
    lifecycles: HashMap<BindId, watch::Sender<Lifecycle>>,
}

impl Forwarders {
    pub(super) fn new(local: Rc<Local>) -> Self {
        Self { local, buffers: None, lifecycles: HashMap::new() }
    }

    pub(super) fn receive(&mut self, bind: BindId, socket: OwnedFd) {
        let capabilities = self.local.capabilities;
        let buffers = self.buffers.get_or_insert_with(|| Rc::new(RefCell::new(Buffers::new(capabilities))));
        let forwarder = match Forwarder::new(Rc::clone(&self.local), bind, socket, Rc::clone(buffers)) {
            Ok(forwarder) => forwarder,
            Err(error) => return tracing::error!(%error, "a worker cannot watch a socket for datagrams"),
        };
        let (lifecycle, told) = watch::channel(Lifecycle::Serving);
        self.lifecycles.insert(bind, lifecycle);
        essential::spawn(forwarder.run(told));
    }

    pub(super) fn retire(&mut self, bind: BindId) {
        if let Some(lifecycle) = self.lifecycles.remove(&bind) {
            lifecycle.send_replace(Lifecycle::retiring());
        }
    }

    /// Makes all of them read the configuration anew, also those to which no client sends anything.
    pub(super) fn refresh(&self) {
        for lifecycle in self.lifecycles.values() {
            lifecycle.send_modify(|_same| {});
        }
    }

    pub(super) fn tell_all(&self, next: Lifecycle) {
        for lifecycle in self.lifecycles.values() {
            lifecycle.send_replace(next);
        }
    }
}
