//! Small datagrams there and back, some of them under way at any time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::clients::{LOST_AFTER, SMALL, clients, exchange_once};
use super::readiness::Readiness;
use super::window::Window;
use crate::outcome::{Failure, Sample};
use crate::proxy::Proxy;

pub(super) fn measure(flows: usize, at_once: usize, proxy: &Proxy, length: Duration) -> Result<Sample, Failure> {
    let clients = clients(flows, proxy)?;
    exchange_once(&clients, &mut Window::open(proxy)?)?;
    let ready = Readiness::of(&clients)?;
    let mut window = Window::open(proxy)?;
    let mut begun = vec![Instant::now(); flows];
    let mut resting: VecDeque<usize> = (0..flows).collect();
    let mut outstanding = 0;
    while window.is_shorter_than(length) {
        while outstanding < at_once
            && let Some(index) = resting.pop_front()
        {
            begun[index] = Instant::now();
            clients[index].send(&[7; SMALL])?;
            window.sent += 1;
            outstanding += 1;
        }
        let woken = ready.wait(LOST_AFTER)?;
        if woken.is_empty() {
            // All of them are lost, and their clients free.
            outstanding = 0;
            resting = (0..flows).collect();
        }
        for index in woken {
            clients[index].recv(&mut [0; SMALL])?;
            window.took(begun[index]);
            window.received += 1;
            // One that was given up may come all the same.
            outstanding = outstanding.saturating_sub(1);
            resting.push_back(index);
        }
    }
    window.leave_out(outstanding);
    window.close(proxy, 2.0)
}
