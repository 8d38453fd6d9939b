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

mod spin;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_local;

use crate::config::Transport;
use crate::listener::Acceptor;
use crate::local::Local;
use crate::local::admitted::Admitted;
use crate::local::placement::Board;
use crate::metrics::WorkerId;
use crate::metrics::reason::CloseReason;
use crate::pool::registry::Registry;
use crate::pool::snapshot::{BindId, Snapshot};
use crate::sys::machine::wake_on_time;
use crate::sys::udp::Capabilities;
use crate::tcp;
use crate::udp::{Forwarder, Order, Post};

/// Sessions handed to a worker and not yet taken up; a worker this far behind gets no more.
const HAND_OVER_QUEUE: usize = 1_024;

/// Commands not yet carried out; the control plane waits when there are more.
const COMMAND_QUEUE: usize = 64;

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

/// The control plane's end of a worker.
#[derive(Debug)]
pub struct Worker {
    commands: mpsc::Sender<Command>,
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
    let board = Arc::new(Board::new(count));
    let (inboxes, queues): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(HAND_OVER_QUEUE)).unzip();
    queues
        .into_iter()
        .enumerate()
        .map(|(index, queue)| {
            let (registry, board, snapshot) = (Arc::clone(registry), Arc::clone(&board), Arc::clone(snapshot));
            let inboxes = inboxes.clone().into_boxed_slice();
            start(queue, move || Local::new(WorkerId(index), registry, board, inboxes, snapshot, capabilities))
        })
        .collect()
}

/// Starts one worker, whose things are made on its own thread.
fn start(inbox: mpsc::Receiver<Admitted>, local: impl FnOnce() -> Local + Send + 'static) -> io::Result<Worker> {
    let (commands, orders) = mpsc::channel(COMMAND_QUEUE);
    let (started, is_started) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("worker".into()).spawn(move || {
        wake_on_time();
        match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => {
                let _ = started.send(Ok(()));
                runtime.block_on(run(Rc::new(local()), inbox, orders));
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    })?;
    is_started.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
    Ok(Worker { commands, thread: Some(thread) })
}

/// A worker's life.
async fn run(local: Rc<Local>, mut inbox: mpsc::Receiver<Admitted>, mut orders: mpsc::Receiver<Command>) {
    let mut acceptors = Acceptors { local: Rc::clone(&local), retire: HashMap::new() };
    let mut forwarders = Forwarders::new(Rc::clone(&local));
    let sweeper = Rc::clone(&local);
    spawn_essential(async move { sweeper.sessions.sweep().await });
    if let Some(limit) = local.with_snapshot(|snapshot| snapshot.config.busy_poll) {
        spawn_essential(spin::busy_poll(Rc::clone(&local), limit));
    }
    loop {
        tokio::select! {
            Some(admitted) = inbox.recv() => serve(&local, admitted),
            order = orders.recv() => match order {
                Some(Command::Serve(bind, Transport::Tcp, socket)) => acceptors.listen(bind, socket),
                Some(Command::Serve(bind, Transport::Udp, socket)) => forwarders.receive(bind, socket),
                Some(Command::Retire(bind)) => {
                    acceptors.retire(bind);
                    forwarders.retire(bind);
                }
                Some(Command::RetireAll) => {
                    acceptors.retire.clear();
                    forwarders.tell_all(Order::Drain);
                }
                Some(Command::Refresh) => forwarders.refresh(),
                Some(Command::EndCut) => local.sessions.end_cut(),
                Some(Command::EndAll(reason)) => {
                    local.sessions.end_all(reason);
                    forwarders.tell_all(Order::End);
                }
                Some(Command::Stop) | None => return,
            },
        }
    }
}

/// Gives a session a task of its own.
fn serve(local: &Rc<Local>, admitted: Admitted) {
    spawn_local(tcp::serve(Rc::clone(local), admitted));
}

/// Runs a task without which the worker would only seem to work. If it panics the process ends, for its supervisor to see.
fn spawn_essential(task: impl Future<Output = ()> + 'static) {
    let task = spawn_local(task);
    spawn_local(async move {
        if task.await.is_err_and(|error| error.is_panic()) {
            std::process::abort();
        }
    });
}

/// The loops that accept on one worker.
struct Acceptors {
    local: Rc<Local>,
    /// Dropping a sender retires its loop.
    retire: HashMap<BindId, oneshot::Sender<()>>,
}

impl Acceptors {
    fn listen(&mut self, bind: BindId, socket: OwnedFd) {
        let acceptor = match Acceptor::new(Rc::clone(&self.local), bind, socket) {
            Ok(acceptor) => acceptor,
            Err(error) => return tracing::error!(%error, "a worker cannot watch a listening socket"),
        };
        let (retire, retired) = oneshot::channel();
        self.retire.insert(bind, retire);
        let local = Rc::clone(&self.local);
        spawn_essential(acceptor.run(move |admitted| serve(&local, admitted), retired));
    }

    fn retire(&mut self, bind: BindId) {
        self.retire.remove(&bind);
    }
}

/// The tasks that forward datagrams on one worker.
struct Forwarders {
    local: Rc<Local>,
    /// The memory that they share: a turn leaves nothing in it. Made when it is first needed.
    post: Option<Rc<RefCell<Post>>>,
    orders: HashMap<BindId, watch::Sender<Order>>,
}

impl Forwarders {
    fn new(local: Rc<Local>) -> Self {
        Self { local, post: None, orders: HashMap::new() }
    }

    fn receive(&mut self, bind: BindId, socket: OwnedFd) {
        let capabilities = self.local.capabilities;
        let post = self.post.get_or_insert_with(|| Rc::new(RefCell::new(Post::new(capabilities))));
        let forwarder = match Forwarder::new(Rc::clone(&self.local), bind, socket, Rc::clone(post)) {
            Ok(forwarder) => forwarder,
            Err(error) => return tracing::error!(%error, "a worker cannot watch a socket for datagrams"),
        };
        let (tell, orders) = watch::channel(Order::Serve);
        self.orders.insert(bind, tell);
        spawn_essential(forwarder.run(orders));
    }

    fn retire(&mut self, bind: BindId) {
        if let Some(orders) = self.orders.remove(&bind) {
            orders.send_replace(Order::Retire);
        }
    }

    /// Has everybody look at the configuration, whether somebody sends or not.
    fn refresh(&self) {
        for orders in self.orders.values() {
            orders.send_modify(|_order| {});
        }
    }

    fn tell_all(&self, order: Order) {
        for orders in self.orders.values() {
            orders.send_replace(order);
        }
    }
}

impl Worker {
    /// Tells the worker something; waits while it is behind.
    pub async fn tell(&self, command: Command) {
        // A worker only goes away when it was told to stop.
        let _ = self.commands.send(command).await;
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
