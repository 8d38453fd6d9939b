//! A backend over UDP: a thread that sends back what it gets, one datagram a system call unless the case is about trains.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use evenkeel::sys::udp::{self, Capabilities, Receiver, Route, Sender};

use super::readiness::Readiness;
use super::work::{Pieces, TRAIN, Work};

/// What clients and backends ask the kernel to queue.
pub(super) const BUFFER: usize = 4 << 20;
/// Between two looks at whether it is to end.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a backend sends back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// What it got.
    Same,
    /// The same, many at a time.
    Trains(Pieces),
    /// The same with the bit set that makes an answer of a question.
    Dns,
}

/// A backend, gone when dropped.
pub(super) struct Echo {
    pub(super) addr: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Echo {
    pub(super) fn start(work: Work) -> io::Result<Self> {
        let answer = match work {
            Work::Dns => Answer::Dns,
            Work::Trains { pieces, .. } => Answer::Trains(pieces),
            Work::PingPong { .. } | Work::NewFlows | Work::Idle => Answer::Same,
        };
        let capabilities = match answer {
            Answer::Trains(pieces) => pieces.capabilities()?,
            Answer::Same | Answer::Dns => Capabilities::NONE,
        };
        let (socket, _) = udp::listen(SocketAddr::from(([127, 0, 0, 1], 0)), Some(BUFFER), capabilities)?;
        let socket = UdpSocket::from(socket);
        let addr = socket.local_addr()?;
        let is_over = Arc::<AtomicBool>::default();
        let end = Arc::clone(&is_over);
        let thread = thread::spawn(move || match answer {
            Answer::Trains(_) => echo_trains(&socket, capabilities, &end),
            Answer::Same | Answer::Dns => echo(&socket, answer, &end),
        });
        Ok(Self { addr, is_over, thread: Some(thread) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("bench: a backend saw: {error}");
        }
    }
}

fn echo(socket: &UdpSocket, answer: Answer, end: &AtomicBool) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(LOOK_AGAIN))?;
    let mut bytes = [0; 65_536];
    while !end.load(Ordering::Relaxed) {
        match socket.recv_from(&mut bytes) {
            Ok((length, client)) => {
                if answer == Answer::Dns && length > 2 {
                    bytes[2] |= 0x80;
                }
                // A proxy that is being stopped may be gone already.
                let _ = socket.send_to(&bytes[..length], client);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn echo_trains(socket: &UdpSocket, capabilities: Capabilities, end: &AtomicBool) -> io::Result<()> {
    let mut receiver = Receiver::new(TRAIN, 65_535, capabilities);
    let mut sender = Sender::new(capabilities);
    let ready = Readiness::of([socket.as_fd()])?;
    while !end.load(Ordering::Relaxed) {
        ready.wait(LOOK_AGAIN)?;
        receiver.clear();
        let Ok(received) = receiver.receive(socket) else { continue };
        let mut batch = sender.batch();
        for train in receiver.trains(received.slots) {
            batch.push(Route { destination: train.source, source: None }, train.segment_size, train.bytes);
        }
        while batch.send(socket).is_err() {
            batch.skip();
        }
    }
    Ok(())
}
