//! Waiting for a condition: the only pause in the tests.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for anything that happens by itself on a busy machine; what must be quick has a bound of its own.
pub const SOON: Duration = Duration::from_secs(15);

/// Between two looks: short next to the 100 ms that some tests measure, long enough to leave the processor alone.
const POLL: Duration = Duration::from_millis(1);

/// Returns once `condition` holds; fails naming `what` was waited for when it does not within `deadline`.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}

/// As [`wait_until`], for a condition that yields something.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} in vain until {what}");
        thread::sleep(POLL);
    }
}

/// Lets `period` pass while `check` holds throughout: for what must *not* happen.
#[track_caller]
pub fn hold_for(what: &str, period: Duration, mut check: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < period {
        assert!(check(), "after {:?} it no longer held that {what}", started.elapsed());
        thread::sleep(POLL);
    }
}

/// Calls `step` with 0, 1, ... `count - 1`, one `period` apart: for traffic that must arrive at a rate.
pub fn at_a_pace(period: Duration, count: u32, mut step: impl FnMut(u32)) {
    let started = Instant::now();
    for index in 0..count {
        let due = period * index;
        wait_until("the next step is due", SOON + due, || started.elapsed() >= due);
        step(index);
    }
}
