//! UDP: one bound address on one worker.
//!
//! Each worker has a socket of its own for every address (SO_REUSEPORT), so what a client sends from one port always comes
//! to one worker, and nothing is shared on the path of a datagram. A [`Forwarder`] is the task behind such a socket:
//!
//! ```text
//! client ──► the listener's socket ──► `forward`: whose flow? ──► the flow's own socket ──► backend
//! client ◄── the listener's socket ◄── `reply`: whose flow?   ◄── the flow's own socket ◄── backend
//! ```
//!
//! [`flow`] decides and does no I/O; this is its shell. Datagrams are received many at a time into the memory of the worker's
//! [`Post`] and sent on from there: one system call for all that has come from clients, one for each flow towards its
//! backend, one for all replies. Sockets of flows are connected, so only the chosen backend is heard, and ICMP errors are.
//! They are watched through one registration with the runtime, and cost no task.
//!
//! What a flow holds is in `resources`, its socket in `upstream_socket`; dropping it closes the socket and gives its places back. A flow that
//! moves leaves its socket to `lingering` for a moment, so that answers under way still arrive.
//!
//! What was found (`scripts/bench.sh --case 'udp*'`, one worker on one CPU, AMD EPYC):
//!
//! - User space has less than a tenth of the CPU time; what counts is how many datagrams a system call moves. Trains that
//!   stay in one piece from the client's UDP_SEGMENT to the backend's UDP_GRO cost a fifth of what they cost one by one.
//! - A batch is only as long as what comes while the one before it is forwarded. An idle worker is woken by the first
//!   datagram of a train and would pay for each that follows; so it lets trains come, see `burst`.
//! - 10,000 flows cost a datagram a tenth more than 10: the kernel's sockets do not fit the caches any more.
//! - The table of descriptors must not grow while clients wait: see `sys::machine::widen_descriptor_table`.

mod assign;
mod buffers;
mod burst;
#[cfg(feature = "faults")]
mod fault;
pub mod flow;
mod forward;
mod lingering;
mod own_addrs;
mod reply;
mod resources;
mod upstream_socket;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

pub use self::buffers::Post;
use self::burst::{PAUSE, Pace};
use self::flow::{Bounds, Ended, Flows, Rules};
use self::lingering::Formers;
use self::own_addrs::OwnAddrs;
use self::resources::{AccessRecords, Held};
use crate::config::{self, AccessLog, Assignment, Quota};
use crate::local::Local;
use crate::metrics::reason::{DropReason, FlowCloseReason};
use crate::metrics::stats::FlowStats;
use crate::pool::listener::{ListenerState, UdpView};
use crate::pool::snapshot::{BindId, Snapshot};
use crate::sys::clock::Tick;
use crate::sys::epoll::Epoll;
use crate::sys::{readiness, udp};

/// Flows with something to receive that are learned of at once. Any number does; they are served one after the other.
const READY_FLOWS: usize = 64;

/// Flows that end by the clock are looked for no more often: the precision of `flow_idle_timeout`.
const SWEEP_SPACING: Duration = Duration::from_millis(50);

/// Flows that one turn ends by the clock: closing so many sockets takes about a millisecond.
const SWEEP: usize = 256;

/// How long answers may still come on an address that a reload has taken away. Within the time that the control plane
/// remembers such an address.
const RETIREMENT: Duration = Duration::from_secs(1);

/// How long a flow may be silent while the process stops: longer than any answer takes.
const LAST_SILENCE: Duration = Duration::from_secs(5);

/// What a forwarder is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Serve whoever comes.
    Serve,
    /// The process stops: serve the flows that there are to their end, begin none.
    Drain,
    /// The address is given up: serve what is queued, wait for answers for a moment, then end.
    Retire,
    /// End every flow now.
    End,
}

/// One bound address on one worker.
#[derive(Debug)]
pub struct Forwarder {
    local: Rc<Local>,
    bind: BindId,
    socket: AsyncFd<OwnedFd>,
    /// Whether clients may have sent something that was not received yet.
    has_mail: bool,
    /// Whether the clock may have ended flows.
    is_due: bool,
    flows: Flows<Held>,
    formers: Formers,
    /// The sockets of flows, each known by the token of its flow.
    epoll: Epoll,
    /// Tokens of those that may have something to receive.
    ready: VecDeque<u64>,
    /// How datagrams come from clients, and how from backends.
    upstream_pace: Pace,
    downstream_pace: Pace,
    /// What the worker had done when this task last had a turn, and whether that left something to do.
    seen_activity: u32,
    is_behind: bool,
    post: Rc<RefCell<Post>>,
    /// What the configuration says; absent until it is first looked at.
    terms: Option<Terms>,
    order: Order,
    /// When a retired address ends.
    ends_at: Option<Tick>,
    /// How many datagrams the kernel has dropped for want of room so far, as it counts them.
    overrun: u32,
    /// When a socket last could not be had.
    exhausted_at: Option<Tick>,
    /// Backends that are no choice for the datagram at hand; kept for its memory.
    tried: Vec<u16>,
    own_addrs: OwnAddrs,
    records: AccessRecords,
}

/// A listener as of one generation of the configuration.
#[derive(Debug)]
struct Terms {
    generation: u64,
    config: config::Udp,
    access_log: AccessLog,
    /// Addresses that the listener is bound to.
    binds: usize,
    state: Arc<ListenerState<FlowStats>>,
}

/// What holds while what clients have sent is forwarded once.
#[derive(Debug)]
struct Turn<'a> {
    snapshot: &'a Snapshot,
    view: &'a UdpView,
    now: Tick,
}

impl Forwarder {
    /// Takes a bound socket on the current worker.
    ///
    /// # Errors
    /// No descriptors left, or the kernel has no room for another watch.
    pub fn new(local: Rc<Local>, bind: BindId, socket: OwnedFd, post: Rc<RefCell<Post>>) -> io::Result<Self> {
        Ok(Self {
            local,
            bind,
            socket: readiness::watch(socket, Interest::READABLE)?,
            has_mail: true,
            is_due: false,
            flows: Flows::new(Rules::NONE, fastrand::u64(..)),
            formers: Formers::default(),
            epoll: Epoll::new(READY_FLOWS)?,
            ready: VecDeque::with_capacity(2 * READY_FLOWS),
            upstream_pace: Pace::default(),
            downstream_pace: Pace::default(),
            seen_activity: 0,
            is_behind: false,
            post,
            terms: None,
            order: Order::Serve,
            ends_at: None,
            overrun: 0,
            exhausted_at: None,
            tried: Vec::new(),
            own_addrs: OwnAddrs::default(),
            records: AccessRecords::default(),
        })
    }

    /// Serves until an order to stop, or the loss of its sender, has been carried out.
    ///
    /// Every order, also one that is given again, has the configuration looked at.
    pub async fn run(mut self, mut orders: watch::Receiver<Order>) {
        let mut timer = pin!(sleep(Duration::ZERO));
        let mut armed = None;
        while !self.is_over() {
            self.arm(&mut armed, timer.as_mut());
            tokio::select! {
                biased;
                order = next_order(&mut orders, self.order) => self.obey(order),
                () = &mut timer, if armed.is_some() => {
                    armed = None;
                    self.is_due = true;
                }
                () = poll_fn(|cx| self.poll_mail(cx)) => {
                    self.serve();
                    if self.has_more() {
                        self.next_turn().await;
                    }
                }
            }
        }
        self.end_all(FlowCloseReason::ListenerGone);
    }

    fn is_over(&self) -> bool {
        match self.order {
            // While others drain, too, the socket stays: without it the kernel would give their clients to the wrong ones.
            Order::Serve | Order::Drain => false,
            Order::End => true,
            Order::Retire => {
                let is_late = self.ends_at.is_some_and(|at| Tick::now() >= at);
                is_late || (self.flows.is_empty() && !self.has_mail)
            }
        }
    }

    /// Whether something can be done without waiting for an event.
    fn has_more(&self) -> bool {
        self.has_mail || self.is_due || !self.ready.is_empty() || self.epoll.has_more()
    }

    /// Ready when something has come, from either side.
    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Forgotten before anything is received: what comes meanwhile is told of again.
        if let Poll::Ready(Ok(mut guard)) = self.socket.poll_read_ready(cx) {
            guard.clear_ready();
            self.has_mail = true;
        }
        let from_backends = self.epoll.poll_ready(cx).is_ready();
        if from_backends || self.has_more() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// One turn for each side. A panic in it costs the flows of this address on this worker, and nobody else anything.
    fn serve(&mut self) {
        self.let_trains_come();
        self.local.activity.note();
        self.seen_activity = self.local.activity.turns();
        if catch_unwind(AssertUnwindSafe(|| self.take_turn())).is_err() {
            self.start_over();
        }
        self.is_behind = self.has_more();
    }

    fn take_turn(&mut self) {
        let post = Rc::clone(&self.post);
        let mut post = post.borrow_mut();
        // What a backend has said is heard before a flow may leave it.
        self.reply(&mut post);
        if self.has_mail {
            self.forward(&mut post);
        }
        if self.is_due {
            self.sweep();
        }
    }

    /// Waits for the rest of what has begun to come, if nobody else on this worker has anything to do. See [`burst`].
    fn let_trains_come(&self) {
        let upstream = self.has_mail && self.upstream_pace.is_of_trains();
        let downstream = self.epoll.has_more() && self.downstream_pace.is_of_trains();
        let is_idle = !self.is_behind && self.seen_activity == self.local.activity.turns();
        if is_idle && (upstream || downstream) && !self.local.is_busy_polling() {
            std::thread::sleep(PAUSE);
        }
    }

    /// Goes on without what a panic may have left half done.
    fn start_over(&mut self) {
        self.local.registry.workers.at(self.local.id).panics.add(1);
        self.post.borrow_mut().clear();
        self.ready.clear();
        self.formers.clear();
        let none = Flows::new(self.rules(), fastrand::u64(..));
        let flows = std::mem::replace(&mut self.flows, none);
        if let Some(terms) = &self.terms {
            let closed = &terms.state.stats.at(self.local.id).closed;
            closed.at(FlowCloseReason::Panicked.index()).add(flows.len() as u64);
        }
    }

    /// Lets the other tasks of the worker have a turn, and now and then the runtime look for events.
    async fn next_turn(&self) {
        let mut has_waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                return Poll::Ready(());
            }
            self.local.yield_turn(cx);
            Poll::Pending
        })
        .await;
    }

    /// Sets the timer to when something is due next, unless it goes off before that anyway.
    fn arm(&self, armed: &mut Option<Tick>, timer: Pin<&mut Sleep>) {
        let flows = self.flows.deadline().map(Tick::from_millis);
        let deadlines = [flows, self.formers.deadline(), self.ends_at];
        let Some(due) = deadlines.into_iter().flatten().min() else { return };
        let now = Tick::now();
        let due = due.max(now.after(SWEEP_SPACING));
        if armed.is_none_or(|armed| due < armed) {
            timer.reset(Instant::now() + due.since(now));
            *armed = Some(due);
        }
    }

    /// Ends flows that have been silent for too long.
    fn sweep(&mut self) {
        let now = Tick::now();
        self.formers.expire(now);
        for _ in 0..SWEEP {
            let Some(ended) = self.flows.expire(now.millis()) else {
                self.is_due = false;
                return;
            };
            self.close(ended, FlowCloseReason::IdleTimeout);
        }
    }

    fn obey(&mut self, order: Order) {
        self.order = order;
        match order {
            Order::Serve | Order::Drain => {}
            Order::Retire => {
                self.ends_at = Some(Tick::now().after(RETIREMENT));
                if let Err(error) = udp::retire(self.socket.as_fd()) {
                    tracing::debug!(%error, "a retired address still takes datagrams until it is closed");
                }
                // What is queued was sent before; it is received to the last one.
                self.has_mail = true;
            }
            Order::End => self.end_all(FlowCloseReason::Shutdown),
        }
        let local = Rc::clone(&self.local);
        local.with_snapshot(|snapshot| {
            self.view(snapshot);
        });
        self.flows.set_rules(self.rules());
    }

    fn end_all(&mut self, reason: FlowCloseReason) {
        while let Some(ended) = self.flows.end_any() {
            self.close(ended, reason);
        }
    }

    /// Closes the books of a flow, and with them its socket.
    #[expect(clippy::needless_pass_by_value, reason = "the flow is dropped here")]
    fn close(&mut self, ended: Ended<Held>, reason: FlowCloseReason) {
        let access_log = self.terms.as_ref().map_or(AccessLog::Off, |terms| terms.access_log);
        self.records.close(&ended, reason, access_log);
    }

    /// What the snapshot says about this address; `None` when it is no longer known.
    fn view<'a>(&mut self, snapshot: &'a Snapshot) -> Option<&'a UdpView> {
        let view = snapshot.udp(self.bind)?;
        if self.terms.as_ref().is_none_or(|terms| terms.generation != snapshot.generation) {
            self.prepare_socket(&view.config);
            self.terms = Some(Terms {
                generation: snapshot.generation,
                config: view.config.clone(),
                access_log: view.access_log,
                binds: view.binds,
                state: Arc::clone(&view.state),
            });
            self.flows.set_rules(self.rules());
        }
        Some(view)
    }

    /// Gives the socket what the configuration asks for, as far as it differs from what it has.
    fn prepare_socket(&self, config: &config::Udp) {
        let before = self.terms.as_ref().map(|terms| &terms.config);
        let wanted = config.receive_buffer;
        // The socket was bound with the first one, and the log says what the kernel granted.
        if before.is_some_and(|before| before.receive_buffer != wanted) {
            match udp::set_buffers(&self.socket, wanted.get() as usize) {
                Ok(granted) => tracing::debug!(granted, asked = wanted, "the buffers of a socket have changed"),
                Err(error) => tracing::warn!(%error, "a socket keeps its buffers"),
            }
        }
        if before.map(has_trains) != Some(has_trains(config)) && self.local.capabilities.coalesces() {
            // The kernel was asked at the start whether it can.
            let _ = if has_trains(config) { udp::coalesce(&self.socket) } else { udp::separate(&self.socket) };
        }
    }

    fn rules(&self) -> Rules {
        let Some(terms) = &self.terms else { return Rules::NONE };
        let tables = terms.binds.saturating_mul(self.local.inboxes.len());
        rules(&terms.config, u32::try_from(tables).unwrap_or(u32::MAX), self.order)
    }

    /// Counts datagrams that went nowhere.
    fn dropped(&self, reason: DropReason, datagrams: u64) {
        if let Some(terms) = &self.terms
            && datagrams > 0
        {
            terms.state.stats.at(self.local.id).dropped.at(reason.index()).add(datagrams);
        }
    }
}

/// Waits for an order. Without anybody to give one the address is given up.
async fn next_order(orders: &mut watch::Receiver<Order>, present: Order) -> Order {
    match orders.changed().await {
        Ok(()) => *orders.borrow_and_update(),
        Err(_) if present == Order::Retire => std::future::pending().await,
        Err(_) => Order::Retire,
    }
}

/// Whether datagrams that come in one piece belong together. Where each is a flow, one sender could have thousands of flows
/// begin in a single turn.
fn has_trains(config: &config::Udp) -> bool {
    config.assignment == Assignment::PerFlow && config.requests == Quota::Unlimited
}

/// What holds for the flows of a listener with so many tables.
fn rules(config: &config::Udp, tables: u32, order: Order) -> Rules {
    let silence = match order {
        Order::Drain => config.flow_idle_timeout.min(LAST_SILENCE),
        Order::Serve | Order::Retire | Order::End => config.flow_idle_timeout,
    };
    Rules {
        idle_ms: u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
        requests: config.requests,
        responses: config.responses,
        on_backend_down: config.on_backend_down,
        bounds: Bounds {
            flows: config.max_flows.get(),
            flows_per_source: config.max_flows_per_source.map(NonZeroU32::get),
            tables,
        },
        is_draining: order == Order::Drain,
    }
}
