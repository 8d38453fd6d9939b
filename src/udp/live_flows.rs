//! The flows that there are, and what it takes to begin and to end one: the table decides, and this carries it out.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::access_records::AccessRecords;
use super::batch_context::BatchContext;
use super::flow::{Ended, FlowId, FlowKey, Flows, Occupancy, Rules};
use super::own_addrs::OwnAddrs;
use super::resources::{Recording, Resources};
use super::upstream_socket::UpstreamSocket;
use crate::config::{AccessLog, Assignment};
use crate::metrics::WorkerId;
use crate::metrics::reason::{DropReason, FlowCloseReason};
use crate::pool::admission::{Full, Limits, Permits};
use crate::sys::clock::Tick;

/// Flows that are ended by the clock at once: closing so many sockets takes about a millisecond.
const MOST_EXPIRED: usize = 256;

/// The flows of one address on one worker.
#[derive(Debug)]
pub(super) struct LiveFlows {
    pub(super) table: Flows<Resources>,
    own_addrs: OwnAddrs,
    records: AccessRecords,
    worker: WorkerId,
}

impl LiveFlows {
    /// No flows, and none to begin before there are other rules.
    pub(super) fn new(worker: WorkerId) -> Self {
        Self {
            table: Flows::new(Rules::NONE, fastrand::u64(..)),
            own_addrs: OwnAddrs::default(),
            records: AccessRecords::default(),
            worker,
        }
    }

    /// Changes what holds for flows, also for those that there are.
    pub(super) fn apply(&mut self, rules: Rules, access_log: AccessLog) {
        self.table.set_rules(rules);
        self.records.set(access_log);
    }

    /// Permits for one more flow, if this client may begin one. If need be, others make room.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn admit(&mut self, client: SocketAddr, context: &BatchContext<'_>) -> Result<Permits, DropReason> {
        if self.own_addrs.contain(client, &context.snapshot.udp_addrs, context.now) {
            return Err(DropReason::OwnAddress);
        }
        let config = &context.view.config;
        let source = config.max_flows_per_source.map(|most| (client.ip(), most.get()));
        let admission = &context.view.state.admission;
        let of_source = source.map_or(0, |(ip, _)| admission.admitted_from(ip));
        let occupancy = Occupancy { flows: admission.admitted(), of_source };
        for _ in 0..self.table.admit(occupancy, context.now.millis())? {
            self.evict(context.now);
        }
        // Another worker may have been faster. Then the client's next datagram asks again.
        let limits = Limits { listener: config.max_flows.get(), process: None, source };
        admission.admit(limits).map_err(|full| match full {
            Full::Source => DropReason::SourceLimit,
            Full::Listener | Full::Process => DropReason::TableFull,
        })
    }

    /// Begins a flow.
    pub(super) fn begin(
        &mut self,
        key: FlowKey,
        socket: UpstreamSocket,
        permits: Permits,
        context: &BatchContext<'_>,
    ) -> FlowId {
        let config = &context.view.config;
        let is_one_shot = config.requests == Some(NonZeroU32::MIN);
        let is_sampled = is_one_shot || config.assignment == Assignment::PerPacket;
        let recording = if is_sampled { Recording::Sampled } else { Recording::Each };
        let resources = Resources::new(&context.view.state, permits, socket, recording, self.worker);
        self.table.begin(key, resources, context.now.millis())
    }

    /// Ends the flow that never had a reply and is silent the longest; whether there was one that may be evicted.
    pub(super) fn evict(&mut self, now: Tick) -> bool {
        let evicted = self.table.evict(now.millis());
        let had_one = evicted.is_some();
        if let Some(evicted) = evicted {
            self.close(evicted, FlowCloseReason::Evicted);
        }
        had_one
    }

    /// Ends a flow, unless it is over.
    pub(super) fn end(&mut self, flow: FlowId, reason: FlowCloseReason) {
        if let Some(ended) = self.table.end(flow) {
            self.close(ended, reason);
        }
    }

    /// Ends flows that have been silent for too long; whether those were all.
    pub(super) fn expire(&mut self, now: Tick) -> bool {
        for _ in 0..MOST_EXPIRED {
            let Some(ended) = self.table.expire(now.millis()) else { return true };
            self.close(ended, FlowCloseReason::IdleTimeout);
        }
        false
    }

    /// Ends every flow.
    pub(super) fn end_all(&mut self, reason: FlowCloseReason) {
        while let Some(ended) = self.table.end_any() {
            self.close(ended, reason);
        }
    }

    /// Goes on with an empty table; returns how many flows were in the one before, which are dropped as they are.
    pub(super) fn start_over(&mut self, rules: Rules) -> usize {
        let before = std::mem::replace(&mut self.table, Flows::new(rules, fastrand::u64(..)));
        before.len()
    }

    #[expect(clippy::needless_pass_by_value, reason = "what the flow held is dropped here")]
    fn close(&mut self, ended: Ended<Resources>, reason: FlowCloseReason) {
        self.records.record(&ended, reason);
    }
}
