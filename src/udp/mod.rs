//! UDP: one bound address on one worker.
//!
//! Each worker has a socket of its own for every address (SO_REUSEPORT), so what a client sends from one port always comes
//! to one worker, and nothing is shared on the path of a datagram. A [`Forwarder`] is the task behind such a socket:
//!
//! ```text
//!                client side                                          backend side
//! client ──► │ the listener's socket │ ──► `assign`: whose flow? ──► │ the flow's own socket │ ──► backend
//! client ◄── │ the listener's socket │ ◄──── `flow`: whose flow? ◄── │ the flow's own socket │ ◄── backend
//! ```
//!
//! [`flow`] decides and does no I/O; this is its shell. The two sides do not know each other: `client_side` has the
//! listener's socket, `backend_side` watches, opens and keeps sockets towards backends, and what they exchange goes through
//! the [`Buffers`] of the worker. Datagrams are received many at a time and sent on from there: one system call for all that
//! has come from clients, one for each flow towards its backend, one for all replies.
//!
//! What a flow holds is in `resources`; dropping it closes its socket and gives its places back. A flow that moves leaves its
//! socket to `lingering` for a moment, so that answers under way still arrive.
//!
//! What was found (`scripts/bench.sh --case 'udp*'`, one worker on one CPU, AMD EPYC):
//!
//! - User space has less than a tenth of the CPU time; what counts is how many datagrams a system call moves. Trains that
//!   stay in one piece from the client's UDP_SEGMENT to the backend's UDP_GRO cost a fifth of what they cost one by one.
//! - A batch is only as long as what comes while the one before it is forwarded. An idle worker is woken by the first
//!   datagram of a burst and would pay for each that follows; so it lets bursts come, see `burst`.
//! - 10,000 flows cost a datagram a tenth more than 10: the kernel's sockets do not fit the caches any more.
//! - The table of descriptors must not grow while clients wait: see `sys::machine::widen_descriptor_table`.

mod access_records;
mod assign;
mod backend_side;
mod batch_context;
mod buffers;
mod burst;
mod client_side;
mod errors;
#[cfg(feature = "faults")]
mod fault;
pub mod flow;
mod lifecycle;
mod lingering;
mod live_flows;
mod overruns;
mod own_addrs;
mod resources;
mod settings;
mod task;
mod unsent;
mod upstream_socket;

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use self::assign::Assigner;
use self::backend_side::BackendSide;
use self::batch_context::BatchContext;
pub use self::buffers::Buffers;
use self::buffers::{Replies, Requests, Run};
use self::client_side::ClientSide;
use self::flow::{FlowId, FlowKey};
pub use self::lifecycle::Lifecycle;
use self::live_flows::LiveFlows;
use self::settings::Settings;
use self::upstream_socket::OnRefusal;
use crate::local::Local;
use crate::metrics::reason::{DropReason, FlowCloseReason};
use crate::pool::listener::UdpView;
use crate::pool::snapshot::{BindId, Snapshot};
use crate::sys::clock::Tick;
use crate::sys::udp::{Route, Sender, Train};

/// One bound address on one worker.
#[derive(Debug)]
pub struct Forwarder {
    local: Rc<Local>,
    bind: BindId,
    lifecycle: Lifecycle,
    /// What the configuration says; absent until it is first looked at.
    settings: Option<Settings>,
    clients: ClientSide,
    backends: BackendSide,
    flows: LiveFlows,
    /// Whether the clock may have ended flows.
    is_due: bool,
    buffers: Rc<RefCell<Buffers>>,
}

impl Forwarder {
    /// Takes a bound socket on the current worker.
    ///
    /// # Errors
    /// No descriptors left, or the kernel has no room for another watch.
    pub fn new(local: Rc<Local>, bind: BindId, socket: OwnedFd, buffers: Rc<RefCell<Buffers>>) -> io::Result<Self> {
        Ok(Self {
            bind,
            lifecycle: Lifecycle::Serving,
            settings: None,
            clients: ClientSide::new(socket)?,
            backends: BackendSide::new(Rc::clone(&local))?,
            flows: LiveFlows::new(local.id),
            is_due: false,
            buffers,
            local,
        })
    }

    /// Forwards what has come, from each side once, and ends what the clock has ended.
    fn take_turn(&mut self) {
        let buffers = Rc::clone(&self.buffers);
        let mut buffers = buffers.borrow_mut();
        // What a backend has said is heard before a flow may leave it.
        self.forward_replies(&mut buffers);
        if self.clients.is_readable() {
            self.forward_requests(&mut buffers);
        }
        if self.is_due {
            let now = Tick::now();
            self.backends.expire(now);
            self.is_due = !self.flows.expire(now);
        }
    }

    /// Receives what clients have sent, assigns it to flows, and sends it to their backends.
    fn forward_requests(&mut self, buffers: &mut Buffers) {
        let Buffers { receiver, sender, runs, .. } = buffers;
        receiver.clear();
        let Some(slots) = self.clients.receive(receiver) else { return };
        let local = Rc::clone(&self.local);
        local.with_snapshot(|snapshot| {
            let Some(view) = self.load_settings(snapshot) else { return };
            let context = BatchContext { snapshot, view, now: Tick::now() };
            let mut datagrams = 0;
            for slot in slots {
                let train = receiver.at(slot);
                datagrams += train.count() as u64;
                self.assign(slot, &train, &context, runs);
            }
            view.state.stats.at(local.id).batches.observe(datagrams);
            // One send for each flow, and within a flow in the order of arrival.
            runs.sort_unstable();
            let mut flows = 0;
            for runs in runs.chunk_by(|one, other| one.flow == other.flow) {
                flows += 1;
                self.send_upstream(&Requests { runs, receiver }, &context, sender);
            }
            self.clients.observe_burst(runs.len(), flows);
            runs.clear();
        });
    }

    /// Finds or begins the flows that the datagrams of one slot belong to.
    fn assign(&mut self, slot: usize, train: &Train<'_>, context: &BatchContext<'_>, runs: &mut Vec<Run>) {
        let overruns = self.clients.overruns_since(train.overruns);
        self.count_dropped(DropReason::ReceiveBufferOverrun, overruns);
        #[cfg(feature = "faults")]
        fault::panic_if_asked(&context.view.state.name, train.bytes);
        let Some(client) = train.source.filter(|_| !train.is_truncated) else {
            return self.count_dropped(DropReason::Truncated, 1);
        };
        let key = FlowKey { client, destination: train.destination, backend: 0 };
        let (mut start, mut left) = (0, u32::try_from(train.count()).unwrap_or(u32::MAX));
        while left > 0 {
            match self.assigner(context).assign(key, left) {
                Ok((flow, datagrams)) => {
                    let run = Run::new(flow, slot, train, start, datagrams);
                    start = run.end;
                    left -= datagrams;
                    runs.push(run);
                }
                // What holds for one holds for those behind it.
                Err(reason) => return self.drop_unassigned(reason, left, context),
            }
        }
    }

    /// Sends what belongs to one flow to its backend; what that one's machine refuses goes to where the flow goes then.
    fn send_upstream(&mut self, requests: &Requests<'_>, context: &BatchContext<'_>, sender: &mut Sender) {
        // The flow may have moved since it was found for the first of these datagrams.
        let flow = self.backends.present(requests.flow());
        let refused_after = self.send_to_backend(flow, requests, 0, OnRefusal::Stop, sender);
        if let (Some(sent), Some(client)) = (refused_after, requests.key()) {
            let flow = self.assigner(context).reassign(flow, client, requests.datagrams() - sent);
            self.send_to_backend(flow, requests, sent, OnRefusal::GoOn, sender);
        }
    }

    /// Sends all but the first `skipped` datagrams; returns how many were dealt with, those included, when the backend's
    /// machine refused.
    fn send_to_backend(
        &mut self,
        flow: FlowId,
        requests: &Requests<'_>,
        skipped: usize,
        on_refusal: OnRefusal,
        sender: &mut Sender,
    ) -> Option<usize> {
        let Some(resources) = self.flows.table.get_mut(flow) else {
            self.count_dropped(DropReason::Evicted, requests.datagrams().saturating_sub(skipped) as u64);
            return None;
        };
        let sent = resources.socket.send(requests, skipped, on_refusal, sender);
        resources.bytes_up += sent.bytes;
        if let Some(settings) = &self.settings {
            settings.count_unsent(&sent.unsent);
        }
        sent.refused_after
    }

    /// Receives what backends have sent, as much as there is room for, and sends it to the clients.
    fn forward_replies(&mut self, buffers: &mut Buffers) {
        // Without settings there are no flows yet.
        let Some(settings) = &self.settings else { return };
        let Buffers { receiver, sender, replies, finished, .. } = buffers;
        receiver.clear();
        self.backends.receive(&mut self.flows.table, receiver, replies, settings.config.receive_buffer);
        let now = Tick::now();
        let mut batch = sender.batch();
        for Replies { flow, slots, datagrams, bytes, overruns } in replies.drain(..) {
            settings.count_dropped(DropReason::ReceiveBufferOverrun, overruns.into());
            let Some(reply) = self.flows.table.take_replies(flow, datagrams, now.millis()) else { continue };
            if let Some(resources) = self.flows.table.get_mut(flow) {
                resources.bytes_down += bytes;
            }
            // The kernel sends from no address that stands for a group.
            let source = reply.key.destination.filter(|ip| !ip.is_multicast());
            let route = Route { destination: Some(reply.key.client), source };
            for train in receiver.trains(slots) {
                batch.push(route, train.segment_size, train.bytes);
            }
            if reply.is_last {
                finished.push(flow);
            }
        }
        settings.count_unsent(&self.clients.send(&mut batch));
        for flow in finished.drain(..) {
            self.flows.end(flow, FlowCloseReason::Finished);
        }
        receiver.clear();
    }

    fn assigner<'a>(&'a mut self, context: &'a BatchContext<'a>) -> Assigner<'a> {
        Assigner { flows: &mut self.flows, backends: &mut self.backends, context }
    }

    /// Counts datagrams that no flow takes, and logs it where it was a configured limit, but not too often.
    fn drop_unassigned(&self, reason: DropReason, datagrams: u32, context: &BatchContext<'_>) {
        self.count_dropped(reason, datagrams.into());
        if matches!(reason, DropReason::TableFull | DropReason::SourceLimit | DropReason::NoBackend)
            && let Some(suppressed) = self.local.registry.refusals.allow(context.now)
        {
            let listener = context.view.state.name.as_str();
            tracing::warn!(listener, reason = reason.label(), suppressed, "datagram dropped");
        }
    }

    fn count_dropped(&self, reason: DropReason, datagrams: u64) {
        if let Some(settings) = &self.settings {
            settings.count_dropped(reason, datagrams);
        }
    }

    /// Goes on to what comes next, and looks at the configuration.
    fn enter(&mut self, lifecycle: Lifecycle) {
        self.lifecycle = lifecycle;
        match lifecycle {
            Lifecycle::Serving | Lifecycle::Draining => {}
            Lifecycle::Retiring { .. } => self.clients.retire(),
            Lifecycle::Ended => self.flows.end_all(FlowCloseReason::Shutdown),
        }
        let local = Rc::clone(&self.local);
        local.with_snapshot(|snapshot| {
            self.load_settings(snapshot);
        });
        self.apply_settings();
    }

    /// What the snapshot says about this address, applied if it is new; `None` when the address is no longer known.
    fn load_settings<'a>(&mut self, snapshot: &'a Snapshot) -> Option<&'a UdpView> {
        let view = snapshot.udp(self.bind)?;
        if self.settings.as_ref().is_none_or(|settings| settings.version != snapshot.version) {
            let settings = Settings::new(snapshot.version, view, &self.local);
            self.clients.apply(&settings, self.settings.as_ref(), self.local.capabilities);
            self.settings = Some(settings);
            self.apply_settings();
        }
        Some(view)
    }

    /// Applies the settings to the flows, depending on the lifecycle.
    fn apply_settings(&mut self) {
        if let Some(settings) = &self.settings {
            self.flows.apply(settings.rules(self.lifecycle), settings.access_log);
        }
    }
}
