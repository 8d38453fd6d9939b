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
//! What a flow holds is in `held`; dropping it closes the socket and gives its places back.
//!
//! What was found (`scripts/bench.sh --case 'udp*'`, one worker on one CPU, AMD EPYC):
//!
//! - User space has about 3 % of the CPU time; what counts is how many datagrams a system call moves. Trains that stay in one
//!   piece from the client's UDP_SEGMENT to the backend's UDP_GRO cost a tenth of what they cost one by one.
//! - A batch is only as long as what comes while the one before it is forwarded. Against trains of 32 small datagrams
//!   a worker is faster than they come, and pays for more wake-ups than a proxy that lags behind them.
//! - 10,000 flows cost a datagram a fifth more than 10: the kernel's sockets do not fit the caches any more.
//! - The table of descriptors must not grow while clients wait: see `sys::machine::widen_descriptor_table`.

mod assign;
pub mod flow;
mod forward;
mod held;
mod own;
mod post;
mod reply;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use self::flow::{Ended, Flows, Rules};
use self::held::{AccessRecords, Held};
use self::own::OwnAddrs;
pub use self::post::Post;
use crate::config::{self, AccessLog};
use crate::metrics::reason::{DropReason, FlowCloseReason};
use crate::metrics::stats::FlowStats;
use crate::pool::listener::ListenerState;
use crate::pool::snapshot::{BindId, Snapshot, UdpListenerView};
use crate::sys::clock::Tick;
use crate::sys::interest::Watch;
use crate::sys::{readiness, udp};
use crate::worker::local::Local;

/// Flows with something to receive that are learned of at once. Any number does; they are served one after the other.
const READY_FLOWS: usize = 64;

/// Flows that end by the clock are looked for no more often: the precision of `flow_idle_timeout`.
const SWEEP_SPACING: Duration = Duration::from_millis(50);

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
    flows: Flows<Held>,
    /// The sockets of flows, each known by the token of its flow.
    watch: Watch,
    /// Flows whose backends had more to say than one turn takes.
    unfinished: Vec<u64>,
    post: Rc<RefCell<Post>>,
    /// What the configuration says; absent until the first datagram.
    terms: Option<Terms>,
    order: Order,
    /// When a retired address ends.
    ends_at: Option<Tick>,
    /// How many datagrams the kernel has dropped for want of room so far, as it counts them.
    overrun: u32,
    own_addrs: OwnAddrs,
    records: AccessRecords,
}

/// A listener as of one generation of the configuration.
#[derive(Debug)]
struct Terms {
    generation: u64,
    config: config::Udp,
    access_log: AccessLog,
    state: Arc<ListenerState<FlowStats>>,
}

/// What holds while what clients have sent is forwarded once.
#[derive(Debug)]
struct Turn<'a> {
    snapshot: &'a Snapshot,
    view: &'a UdpListenerView,
    now: Tick,
}

impl Forwarder {
    /// Takes a bound socket on the current worker.
    ///
    /// # Errors
    /// No descriptors left, or the kernel has no room for another watch.
    pub fn new(local: Rc<Local>, bind: BindId, socket: OwnedFd, post: Rc<RefCell<Post>>) -> io::Result<Self> {
        let socket = readiness::watch(socket, Interest::READABLE)?;
        let rules = Rules {
            idle_ms: 0,
            requests: config::Quota::Unlimited,
            responses: config::Quota::Unlimited,
            on_backend_down: config::OnBackendDown::Move,
        };
        Ok(Self {
            local,
            bind,
            socket,
            has_mail: true,
            flows: Flows::new(rules, fastrand::u64(..)),
            watch: Watch::new(READY_FLOWS)?,
            unfinished: Vec::new(),
            post,
            terms: None,
            order: Order::Serve,
            ends_at: None,
            overrun: 0,
            own_addrs: OwnAddrs::default(),
            records: AccessRecords::default(),
        })
    }

    /// Serves until an order to stop, or the loss of its sender, has been carried out.
    pub async fn run(mut self, mut orders: watch::Receiver<Order>) {
        let mut timer = pin!(sleep(Duration::ZERO));
        let mut armed = None;
        while !self.is_over() {
            self.arm(&mut armed, timer.as_mut());
            tokio::select! {
                biased;
                order = next_order(&mut orders, self.order) => self.obey(order),
                () = poll_fn(|cx| self.poll_mail(cx)) => {
                    self.serve();
                    if self.has_more() {
                        self.next_turn().await;
                    }
                }
                () = &mut timer, if armed.is_some() => {
                    armed = None;
                    self.sweep();
                }
            }
        }
        self.end_all(FlowCloseReason::ListenerGone);
    }

    fn is_over(&self) -> bool {
        match self.order {
            Order::Serve => false,
            Order::End => true,
            Order::Drain => self.flows.is_empty(),
            Order::Retire => {
                let is_late = self.ends_at.is_some_and(|at| Tick::now() >= at);
                is_late || (self.flows.is_empty() && !self.has_mail)
            }
        }
    }

    /// Whether something can be done without waiting for an event.
    fn has_more(&self) -> bool {
        self.has_mail || !self.unfinished.is_empty()
    }

    /// Ready when something has come, from either side.
    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Forgotten before anything is received: what comes meanwhile is told of again.
        if let Poll::Ready(Ok(mut guard)) = self.socket.poll_read_ready(cx) {
            guard.clear_ready();
            self.has_mail = true;
        }
        let from_backends = self.watch.poll_ready(cx).is_ready();
        if from_backends || self.has_more() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// One turn for each side.
    fn serve(&mut self) {
        self.local.activity.note();
        let post = Rc::clone(&self.post);
        let mut post = post.borrow_mut();
        if self.has_mail {
            self.forward(&mut post);
        }
        self.reply(&mut post);
    }

    /// Lets the other tasks of the worker have a turn, and now and then the runtime look for events.
    async fn next_turn(&self) {
        let mut has_waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                return Poll::Ready(());
            }
            self.local.come_back(cx);
            Poll::Pending
        })
        .await;
    }

    /// Sets the timer to when something is due next, unless it goes off before that anyway.
    fn arm(&self, armed: &mut Option<Tick>, timer: std::pin::Pin<&mut Sleep>) {
        let flows = self.flows.deadline().map(Tick::from_millis);
        let Some(due) = [flows, self.ends_at].into_iter().flatten().min() else { return };
        let now = Tick::now();
        let due = due.max(now.after(SWEEP_SPACING));
        if armed.is_none_or(|armed| due < armed) {
            timer.reset(Instant::now() + due.since(now));
            *armed = Some(due);
        }
    }

    /// Ends the flows that have been silent for too long.
    fn sweep(&mut self) {
        let now = Tick::now();
        while let Some(ended) = self.flows.expire(now.millis()) {
            self.close(ended, FlowCloseReason::IdleTimeout);
        }
    }

    fn obey(&mut self, order: Order) {
        self.order = order;
        match order {
            Order::Serve => {}
            Order::Drain => {
                if let Some(terms) = &self.terms {
                    self.flows.set_rules(rules(&terms.config, order));
                }
            }
            Order::Retire => {
                self.ends_at = Some(Tick::now().after(RETIREMENT));
                if let Err(error) = udp::retire(std::os::fd::AsFd::as_fd(&self.socket)) {
                    tracing::debug!(%error, "a retired address still takes datagrams until it is closed");
                }
                // What is queued was sent before; it is received to the last one.
                self.has_mail = true;
            }
            Order::End => self.end_all(FlowCloseReason::Shutdown),
        }
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
        self.records.close(&ended, reason, self.local.id, access_log);
    }

    /// What the snapshot says about this address; `None` when it is no longer known.
    fn view<'a>(&mut self, snapshot: &'a Snapshot) -> Option<&'a UdpListenerView> {
        let view = snapshot.udp_binds.get(&self.bind)?;
        if self.terms.as_ref().is_none_or(|terms| terms.generation != snapshot.generation) {
            self.flows.set_rules(rules(&view.config, self.order));
            self.terms = Some(Terms {
                generation: snapshot.generation,
                config: view.config.clone(),
                access_log: view.access_log,
                state: Arc::clone(&view.state),
            });
        }
        Some(view)
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

/// Waits for an order other than the present one. Without anybody to give one the address is given up.
async fn next_order(orders: &mut watch::Receiver<Order>, present: Order) -> Order {
    match orders.wait_for(|order| *order != present).await {
        Ok(order) => *order,
        Err(_) if present == Order::Retire => std::future::pending().await,
        Err(_) => Order::Retire,
    }
}

fn rules(config: &config::Udp, order: Order) -> Rules {
    let silence = match order {
        Order::Drain => config.flow_idle_timeout.min(LAST_SILENCE),
        Order::Serve | Order::Retire | Order::End => config.flow_idle_timeout,
    };
    Rules {
        idle_ms: u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
        requests: config.requests,
        responses: config.responses,
        on_backend_down: config.on_backend_down,
    }
}
