//! The workers, as the control plane tells them what to do.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::opening::UnopenedAddr;
use crate::pool::snapshot::BindId;
use crate::worker::{Command, Worker};

/// How long a worker that was told to stop may take. It only drops what it has; one that takes longer is stuck.
const STOPPING: Duration = Duration::from_secs(2);

/// Between two looks at whether a worker has stopped.
const POLL: Duration = Duration::from_millis(5);

/// All workers. Telling them something never waits.
#[derive(Debug)]
pub(super) struct Workers(Vec<Worker>);

impl Workers {
    /// Those that were started.
    pub(super) fn new(workers: Vec<Worker>) -> Self {
        Self(workers)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Gives an address to as many workers as there are sockets for it.
    pub(super) fn serve(&self, UnopenedAddr { bound, sockets, .. }: UnopenedAddr) {
        for (worker, socket) in self.0.iter().zip(sockets) {
            worker.tell(Command::Serve(bound.id, bound.addr.transport(), socket));
        }
    }

    /// Tells all workers to give an address up.
    pub(super) fn retire(&self, bind: BindId) {
        self.tell_all(|| Command::Retire(bind));
    }

    /// Tells every worker the same.
    pub(super) fn tell_all(&self, command: impl Fn() -> Command) {
        self.0.iter().for_each(|worker| worker.tell(command()));
    }

    /// Stops all; one that does not stop is left behind.
    pub(super) async fn stop(self) {
        self.tell_all(|| Command::Stop);
        let deadline = Instant::now() + STOPPING;
        for worker in self.0 {
            while !worker.has_ended() && Instant::now() < deadline {
                sleep(POLL).await;
            }
            if worker.has_ended() {
                worker.join();
            } else {
                tracing::error!("a worker does not stop");
            }
        }
    }
}
