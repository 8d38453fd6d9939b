//! What a worker cannot go on without. If it panics the process ends, for its supervisor to see: a worker that only seems
//! to work would let its clients wait for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::task::spawn_local;

/// How long the thread that writes the log has for the record of the panic before the process is gone.
const LOG_GRACE: Duration = Duration::from_millis(200);

/// Runs something to its end on this thread.
pub(super) fn run(essential: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(essential)).is_err() {
        end_process();
    }
}

/// Runs a task on the current worker.
pub(super) fn spawn(task: impl Future<Output = ()> + 'static) {
    let task = spawn_local(task);
    spawn_local(async move {
        if task.await.is_err_and(|error| error.is_panic()) {
            end_process();
        }
    });
}

fn end_process() -> ! {
    std::thread::sleep(LOG_GRACE);
    std::process::abort()
}
