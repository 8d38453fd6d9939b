//! A started program with all of its processes: stopped whatever happens.

use std::fs::File;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::outcome::Failure;
use crate::system;

/// Between two looks at whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Bound on stopping by SIGTERM, before SIGKILL.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// A process tree; stopped when dropped.
pub(super) struct Process {
    child: Child,
    /// The child and its descendants, once all of them are there.
    tree: Vec<Pid>,
}

impl Process {
    /// Starts `command`, whose stdout and stderr go to `log`.
    pub(super) fn start(command: &mut Command, log: File) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { child, tree: Vec::new() })
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// How many processes it is now.
    pub(super) fn count(&self) -> io::Result<usize> {
        Ok(system::process_tree(Pid::from_child(&self.child))?.len())
    }

    /// Takes the processes that there are now for all of them.
    ///
    /// # Errors
    /// A thread of theirs may run elsewhere than on `cpu`.
    pub(super) fn complete(&mut self, cpu: usize) -> Result<(), Failure> {
        self.tree = system::process_tree(Pid::from_child(&self.child))?;
        system::check_pinned(&self.tree, cpu)
    }

    pub(super) fn tree(&self) -> &[Pid] {
        &self.tree
    }

    /// Whether all of it ended in time: what a child of the child still writes counts, too.
    fn has_ended_by(&mut self, deadline: Instant) -> bool {
        while matches!(self.child.try_wait(), Ok(None)) || !self.tree.iter().all(|pid| system::has_ended(*pid)) {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        true
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not yet waited for, so the process id is still its own; that it has already ended is no error.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        if !self.has_ended_by(Instant::now() + STOP_LIMIT) {
            for &pid in self.tree.iter().filter(|pid| !system::has_ended(**pid)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
