//! One data-plane thread: a runtime of its own, the loops that accept, and the sessions it serves.
//!
//! Workers share nothing on the path of a byte. They read the snapshot that the control plane publishes, take commands
//! from it, and hand accepted connections to each other before those are registered anywhere.
//!
//! What was found (`cargo bench --bench workers`, 2 workers, AMD EPYC): with 2, 4 and 8 bulk connections the CPU shares of
//! the workers differ by 0 to 15 %. Passing as much as a connection through a queue like theirs costs 0.2 us on both sides
//! together when the receiver is busy; one that sleeps has to be woken, which makes it 7 us on a virtual machine, most of
//! it what any event would cost a sleeping worker. How often a worker looks for events decides how long small exchanges
//! wait beside bulk transfers: see `local`.

mod busy_poll;
mod essential;
#[cfg(feature = "faults")]
mod fault;
mod loops;
mod mailbox;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;

use self::loops::{Acceptors, Forwarders, serve};
use self::mailbox::Mailbox;
use crate::config::Transport;
use crate::local::Local;
use crate::local::admitted::Admitted;
use crate::local::placement::Placement;
use crate::metrics::WorkerId;
use crate::metrics::reason::CloseReason;
use crate::pool::registry::Registry;
use crate::pool::snapshot::{BindId, Snapshot};
use crate::sys::machine::wake_on_time;
use crate::sys::udp::Capabilities;
use crate::udp::Lifecycle;

/// Sessions handed to a worker and not yet taken up; a worker this far behind gets no more.
const HAND_OVER_QUEUE: usize = 1_024;

/// What the control plane tells a worker.
#[derive(Debug)]
pub enum Command {
    /// Serve what comes to this bound socket.
    Serve(BindId, Transport, OwnedFd),
    /// Serve what is queued on this socket, then close it.
    Retire(BindId),
    /// Retire every socket.
    RetireAll,
    /// A reload has changed what holds for flows.
    Refresh,
    /// End the sessions of backends that were cut.
    EndCut,
    /// End every session and flow.
    EndAll(CloseReason),
    /// Drop everything and return.
    Stop,
}

/// The control plane's end of a worker, which stops when this is dropped.
#[derive(Debug)]
pub struct Worker {
    mailbox: Mailbox,
    thread: Option<JoinHandle<()>>,
}

/// Starts `count` workers.
///
/// # Errors
/// A thread or a runtime could not be made; those already started stop.
pub fn spawn(
    count: usize,
    registry: &Arc<Registry>,
    snapshot: &Arc<ArcSwap<Snapshot>>,
    capabilities: Capabilities,
) -> io::Result<Vec<Worker>> {
    let placement = Arc::new(Placement::new(count));
    let (inboxes, queues): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(HAND_OVER_QUEUE)).unzip();
    queues
        .into_iter()
        .enumerate()
        .map(|(index, queue)| {
            let (registry, placement, snapshot) = (Arc::clone(registry), Arc::clone(&placement), Arc::clone(snapshot));
            let inboxes = inboxes.clone().into_boxed_slice();
            start(queue, move || Local::new(WorkerId(index), registry, placement, inboxes, snapshot, capabilities))
        })
        .collect()
}

/// Starts one worker, whose things are made on its own thread.
fn start(inbox: mpsc::Receiver<Admitted>, local: impl FnOnce() -> Local + Send + 'static) -> io::Result<Worker> {
    let mailbox = Mailbox::default();
    let commands = mailbox.clone();
    let (started, is_started) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("worker".into()).spawn(move || {
        wake_on_time();
        match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => {
                let _ = started.send(Ok(()));
                essential::run(|| runtime.block_on(run(Rc::new(local()), inbox, commands)));
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    })?;
    is_started.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
    Ok(Worker { mailbox, thread: Some(thread) })
}

/// A worker's life.
async fn run(local: Rc<Local>, mut inbox: mpsc::Receiver<Admitted>, commands: Mailbox) {
    let mut acceptors = Acceptors::new(Rc::clone(&local));
    let mut forwarders = Forwarders::new(Rc::clone(&local));
    let sweeper = Rc::clone(&local);
    essential::spawn(async move { sweeper.sessions.sweep().await });
    if let Some(limit) = local.with_snapshot(|snapshot| snapshot.config.busy_poll) {
        essential::spawn(busy_poll::busy_poll(Rc::clone(&local), limit));
    }
    #[cfg(feature = "faults")]
    fault::panic_if_asked();
    loop {
        tokio::select! {
            Some(admitted) = inbox.recv() => serve(&local, admitted),
            command = commands.next() => match command {
                Command::Serve(bind, Transport::Tcp, socket) => acceptors.listen(bind, socket),
                Command::Serve(bind, Transport::Udp, socket) => forwarders.receive(bind, socket),
                Command::Retire(bind) => {
                    acceptors.retire(bind);
                    forwarders.retire(bind);
                }
                Command::RetireAll => {
                    acceptors.retire_all();
                    forwarders.tell_all(Lifecycle::Draining);
                }
                Command::Refresh => forwarders.refresh(),
                Command::EndCut => local.sessions.end_cut(),
                Command::EndAll(reason) => {
                    local.sessions.end_all(reason);
                    forwarders.tell_all(Lifecycle::Ended);
                }
                Command::Stop => return,
            },
        }
    }
}

impl Worker {
    /// Tells the worker something, which it does when it gets there.
    pub fn tell(&self, command: Command) {
        self.mailbox.tell(command);
    }

    /// Whether its thread has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for a worker that was told to stop.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a worker thread panicked");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tell(Command::Stop);
    }
}
