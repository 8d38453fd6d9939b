//! Why things ended: one set of words, shared by the access log, the metrics and the API.

/// Gives a fieldless enum its labels, what they mean, and a dense index.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $meaning:literal])+ $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl $name {
            /// Every value, in the order of its index.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// How many values there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The word in logs, labels and responses.
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }

            /// What it says, in words: the manual has them.
            pub fn meaning(self) -> String {
                let lines: &[&str] = match self {
                    $(Self::$variant => &[$($meaning),+],)+
                };
                lines.concat().trim().trim_end_matches('.').to_owned()
            }

            /// Dense from 0.
            pub fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// Why a session is over.
    CloseReason {
        /// Both sides ended their streams and every byte was delivered.
        Finished = "finished",
        /// The client reset the connection.
        ClientReset = "client-reset",
        /// The backend reset the connection.
        BackendReset = "backend-reset",
        /// The client's machine stopped answering, or cannot be reached any more.
        ClientLost = "client-lost",
        /// The backend's machine stopped answering, or cannot be reached any more.
        BackendLost = "backend-lost",
        /// The client left before a backend was connected.
        ClientLeft = "client-left",
        /// No backend of the pool could be picked.
        NoBackend = "no-backend",
        /// Every attempt to connect to a backend failed.
        ConnectFailed = "connect-failed",
        /// No byte moved for `idle_timeout`.
        IdleTimeout = "idle-timeout",
        /// One side had ended, and no byte moved for `half_close_timeout`.
        HalfCloseTimeout = "half-close-timeout",
        /// The backend went down and the pool says `on_down = "close"`.
        BackendDown = "backend-down",
        /// The process stopped and `shutdown_timeout` ran out.
        Shutdown = "shutdown",
        /// A system call failed through no fault of either side.
        Internal = "internal",
        /// The session's task panicked.
        Panicked = "panicked",
    }
}

labels! {
    /// Who ended a session.
    Side {
        /// The client.
        Downstream = "downstream",
        /// The backend.
        Upstream = "upstream",
        /// evenkeel itself.
        Us = "us",
    }
}

labels! {
    /// Why an accepted connection was closed at once.
    RefuseReason {
        /// The listener is at its `max_connections`.
        ListenerFull = "listener-full",
        /// The process is at its `max_connections`.
        ProcessFull = "process-full",
        /// No backend of the pool could be picked.
        NoBackend = "no-backend",
    }
}

labels! {
    /// Why an attempt to connect to a backend failed.
    ConnectErrorReason {
        /// It answered with a reset.
        Refused = "refused",
        /// It did not answer within `connect_timeout`.
        Timeout = "timeout",
        /// No route, or a router said no.
        Unreachable = "unreachable",
        /// We ran out of ports, descriptors or memory: not the backend's fault.
        Local = "local",
        /// Anything else.
        Other = "other",
    }
}

labels! {
    /// Why a flow is over.
    FlowCloseReason {
        /// It had as many replies as `responses` says.
        Finished = "finished",
        /// No datagram moved for `flow_idle_timeout`, or for 5 seconds while the process stops.
        IdleTimeout = "idle-timeout",
        /// The table was full, and this one had never had a reply.
        Evicted = "evicted",
        /// A reload took its listener away.
        ListenerGone = "listener-gone",
        /// The process stopped and `shutdown_timeout` ran out.
        Shutdown = "shutdown",
        /// A system call failed through no fault of either side.
        Internal = "internal",
        /// What forwards the datagrams of its address panicked.
        Panicked = "panicked",
    }
}

labels! {
    /// Why a datagram went nowhere.
    DropReason {
        /// The listener is at its `max_flows`, and every flow has had a reply.
        TableFull = "table-full",
        /// The client's address is at `max_flows_per_source`.
        SourceLimit = "source-limit",
        /// It was longer than any datagram may be and was cut off by the kernel, or came from no address of IP.
        Truncated = "truncated",
        /// No backend of the pool could be picked.
        NoBackend = "no-backend",
        /// The kernel would not send it on.
        SendError = "send-error",
        /// The kernel had no room for it in the buffer that it was to leave from.
        SendBufferFull = "send-buffer-full",
        /// The kernel had no room for it in the buffer of the socket that it came to: the listener's, or a flow's.
        ReceiveBufferOverrun = "receive-buffer-overrun",
        /// Its flow had to make room for another before it was sent.
        Evicted = "evicted",
        /// It claims to come from an address and port of our own, and would go round for ever.
        OwnAddress = "own-address",
        /// It would have begun a flow on a listener that takes no more.
        Draining = "draining",
        /// We ran out of descriptors, ports or memory for its flow.
        NoResources = "no-resources",
    }
}

impl CloseReason {
    /// Who ended the session.
    pub fn side(self) -> Side {
        match self {
            Self::ClientReset | Self::ClientLost | Self::ClientLeft => Side::Downstream,
            Self::BackendReset | Self::BackendLost | Self::ConnectFailed | Self::BackendDown => Side::Upstream,
            Self::Finished
            | Self::NoBackend
            | Self::IdleTimeout
            | Self::HalfCloseTimeout
            | Self::Shutdown
            | Self::Internal
            | Self::Panicked => Side::Us,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn labels_are_distinct_kebab_case_and_indices_dense() {
        let closed = CloseReason::ALL.iter().map(|reason| (reason.label(), reason.index()));
        let flows = FlowCloseReason::ALL.iter().map(|reason| (reason.label(), reason.index()));
        let drops = DropReason::ALL.iter().map(|reason| (reason.label(), reason.index()));
        for all in [closed.collect::<Vec<_>>(), flows.collect(), drops.collect()] {
            let labels: HashSet<_> = all.iter().map(|(label, _)| label).collect();
            assert_eq!(labels.len(), all.len());
            assert!(labels.iter().all(|label| label.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
            assert!(all.iter().enumerate().all(|(expected, (_, index))| *index == expected));
        }
    }
}
