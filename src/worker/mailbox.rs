//! What a worker has been told and has not done yet. Telling it something never waits.
//!
//! It holds no more than one command for each bound address and one of each other kind: what a worker has still to begin
//! is not begun when it is to end, and what it has still to do once it need not do twice.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Command;

/// Both ends of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Mailbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    commands: Mutex<VecDeque<Command>>,
    told: Notify,
}

impl Mailbox {
    /// Leaves a command.
    pub(super) fn tell(&self, command: Command) {
        add(&mut self.commands(), command);
        self.0.told.notify_one();
    }

    /// Takes the next command. Nothing is lost when this is cancelled.
    pub(super) async fn next(&self) -> Command {
        loop {
            let next = self.commands().pop_front();
            match next {
                Some(command) => return command,
                None => self.0.told.notified().await,
            }
        }
    }

    /// Nothing under this lock can panic halfway, so a poisoned one is still whole.
    fn commands(&self) -> MutexGuard<'_, VecDeque<Command>> {
        self.0.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(commands: &mut VecDeque<Command>, command: Command) {
    match &command {
        Command::Serve(..) => {}
        Command::Retire(bind) => {
            let before = commands.len();
            commands.retain(|command| !matches!(command, Command::Serve(waiting, ..) if waiting == bind));
            if commands.len() < before {
                return;
            }
        }
        Command::RetireAll | Command::Refresh | Command::EndCut | Command::EndAll(_) | Command::Stop => {
            commands.retain(|waiting| discriminant(waiting) != discriminant(&command));
        }
    }
    commands.push_back(command);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Transport;
    use crate::metrics::reason::CloseReason;
    use crate::pool::snapshot::BindId;

    fn serve(bind: u64) -> Command {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        Command::Serve(BindId(bind), Transport::Udp, socket.into())
    }

    fn waiting(commands: impl IntoIterator<Item = Command>) -> Vec<String> {
        let mut queue = VecDeque::new();
        commands.into_iter().for_each(|command| add(&mut queue, command));
        let shown = |command: &Command| match command {
            Command::Serve(bind, ..) => format!("serve {}", bind.0),
            Command::Retire(bind) => format!("retire {}", bind.0),
            other => format!("{other:?}"),
        };
        queue.iter().map(shown).collect()
    }

    #[test]
    fn commands_stay_in_order() {
        let retire = |bind| Command::Retire(BindId(bind));
        assert_eq!(
            waiting([serve(1), serve(2), retire(7), Command::Refresh]),
            ["serve 1", "serve 2", "retire 7", "Refresh"]
        );
    }

    #[test]
    fn what_has_not_begun_is_not_begun() {
        assert_eq!(waiting([serve(1), serve(2), Command::Retire(BindId(1))]), ["serve 2"]);
    }

    #[test]
    fn a_worker_that_is_stuck_collects_no_more_than_there_is_to_do() {
        let reload = |round: u64| [serve(round), Command::Retire(BindId(round)), Command::Refresh, Command::EndCut];
        assert_eq!(waiting((0..1_000).flat_map(reload)), ["Refresh", "EndCut"]);
        let end = || Command::EndAll(CloseReason::Shutdown);
        assert_eq!(waiting([end(), Command::Stop, end(), Command::Stop]), ["EndAll(Shutdown)", "Stop"]);
    }

    #[tokio::test]
    async fn a_worker_is_woken_and_finds_everything() {
        let mailbox = Mailbox::default();
        let worker = mailbox.clone();
        let taken = tokio::spawn(async move { [worker.next().await, worker.next().await].map(|it| format!("{it:?}")) });
        tokio::task::yield_now().await;
        mailbox.tell(Command::EndCut);
        mailbox.tell(Command::Stop);
        assert_eq!(taken.await.expect("it ends"), ["EndCut", "Stop"]);
    }
}
