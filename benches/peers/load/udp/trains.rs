//! Trains of equal datagrams there and back, one under way on each flow.

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use evenkeel::sys::udp::{self, Receiver, Route, Sender};

use super::clients::{LOST_AFTER, clients, exchange_once};
use super::echo::BUFFER;
use super::readiness::Readiness;
use super::window::Window;
use super::work::{Pieces, TRAIN};
use crate::outcome::{Failure, Sample};
use crate::proxy::Proxy;

const TRAIN_FLOWS: usize = 4;

/// A client and what it waits for.
struct Client {
    socket: UdpSocket,
    since: Instant,
    missing: usize,
}

impl Client {
    /// Sends the next train, whatever of the last one is still missing.
    fn begin(&mut self, sender: &mut Sender, bytes: usize, train: &[u8], window: &mut Window) -> io::Result<()> {
        let mut batch = sender.batch();
        batch.push(Route::CONNECTED, bytes, train);
        batch.send(&self.socket).map_err(|refusal| refusal.error)?;
        window.sent += TRAIN as u64;
        (self.since, self.missing) = (Instant::now(), TRAIN);
        Ok(())
    }
}

pub(super) fn measure(bytes: usize, pieces: Pieces, proxy: &Proxy, length: Duration) -> Result<Sample, Failure> {
    let capabilities = pieces.capabilities()?;
    let sockets = clients(TRAIN_FLOWS, proxy)?;
    for socket in &sockets {
        socket2::SockRef::from(socket).set_recv_buffer_size(BUFFER)?;
        if pieces == Pieces::One {
            udp::coalesce(socket)?;
        }
    }
    exchange_once(&sockets, &mut Window::open(proxy)?)?;
    let ready = Readiness::of(&sockets)?;
    let (mut receiver, mut sender) = (Receiver::new(TRAIN, 65_535, capabilities), Sender::new(capabilities));
    let train = vec![7; bytes * TRAIN];

    let mut window = Window::open(proxy)?;
    let client = |socket| Client { socket, since: Instant::now(), missing: 0 };
    let mut clients: Vec<Client> = sockets.into_iter().map(client).collect();
    for client in &mut clients {
        client.begin(&mut sender, bytes, &train, &mut window)?;
    }
    while window.is_shorter_than(length) {
        for index in ready.wait(LOST_AFTER / 4)? {
            let client = &mut clients[index];
            receiver.clear();
            let Ok(received) = receiver.receive_connected(&client.socket) else { continue };
            let count: usize = receiver.trains(received.slots).map(|train| train.count()).sum();
            window.received += count as u64;
            client.missing = client.missing.saturating_sub(count);
            if client.missing == 0 {
                window.took(client.since);
                client.begin(&mut sender, bytes, &train, &mut window)?;
            }
        }
        // What does not come back is given up, so that the loop goes on.
        for client in clients.iter_mut().filter(|client| client.since.elapsed() > LOST_AFTER) {
            client.begin(&mut sender, bytes, &train, &mut window)?;
        }
    }
    window.leave_out(clients.iter().map(|client| client.missing).sum());
    window.close(proxy, 2.0)
}
