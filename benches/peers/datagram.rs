//! Clients and backends over UDP.
//!
//! A thread echoes; the client loops on the thread that measures. Both have the load's CPU, and use plain system calls, one
//! a datagram, unless the case is about trains.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evenkeel::sys::udp::{self, Capabilities, Receiver, Route, Sender};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::failure::Failure;
use crate::measure::{Latency, Sample};
use crate::peers::{Peer, Transport};
use crate::proxy::Proxy;
use crate::usage::{self, Cpus, Meters};

/// What clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Datagrams {
    /// Small datagrams on so many flows, so many of them at a time; the next is the one that has rested the longest.
    PingPong { flows: usize, at_once: usize },
    /// Trains of [`TRAIN`] on [`TRAIN_FLOWS`], each sent when the one before it is back or lost.
    Trains { bytes: usize, pieces: Pieces },
    /// One datagram and its reply on each of [`FLOWS`].
    NewFlows,
    /// `dnsperf`.
    Dns,
    /// [`FLOWS`] with one exchange each that then keep still.
    Idle,
}

/// How a train leaves and arrives at clients and backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// Many datagrams, one system call: sendmmsg and recvmmsg.
    Many,
    /// One piece that the kernel cuts up or has put together: UDP_SEGMENT and UDP_GRO.
    One,
}

impl Pieces {
    fn capabilities(self) -> io::Result<Capabilities> {
        let all = Capabilities::probe()?;
        Ok(if self == Self::One { all } else { all.without_trains() })
    }
}

const SMALL: usize = 64;
const OUTSTANDING: usize = 16;
const TRAIN: usize = 32;
const TRAIN_FLOWS: usize = 4;
/// As many flows as fit the usual limit of 20,000 descriptors beside what else there is.
const FLOWS: usize = 10_000;
/// What is not back by then is lost: a thousand times what it takes.
const LOST_AFTER: Duration = Duration::from_millis(100);
/// What clients and backends ask the kernel to queue.
const BUFFER: usize = 4 << 20;

/// One measurement.
///
/// # Errors
/// The proxy did not start, or nothing came back.
pub(crate) async fn measure(load: Datagrams, peer: &Peer, cpus: Cpus, length: Duration) -> Result<Sample, Failure> {
    usage::check_descriptors(FLOWS)?;
    let answer = match load {
        Datagrams::Dns => Answer::Dns,
        Datagrams::Trains { pieces, .. } => Answer::Trains(pieces),
        _ => Answer::Same,
    };
    let echo = Echo::start(answer)?;
    let proxy = Proxy::start(peer, Transport::Udp, &[echo.addr], cpus).await?;
    match load {
        Datagrams::PingPong { flows, at_once } => ping_pong(flows, at_once, &proxy, length),
        Datagrams::Trains { bytes, pieces } => trains(bytes, pieces, &proxy, length),
        Datagrams::NewFlows => new_flows(&proxy),
        Datagrams::Dns => dns(&proxy, length),
        Datagrams::Idle => idle(&proxy, length),
    }
}

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
struct Echo {
    addr: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Echo {
    fn start(answer: Answer) -> io::Result<Self> {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let capabilities = match answer {
            Answer::Trains(pieces) => pieces.capabilities()?,
            Answer::Same | Answer::Dns => Capabilities::NONE,
        };
        let (socket, _) = udp::listen(addr, Some(BUFFER), capabilities)?;
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
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
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
    let ready = Ready::new([socket.as_fd()])?;
    while !end.load(Ordering::Relaxed) {
        ready.wait(Duration::from_millis(50))?;
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

/// Sockets that are watched for something to receive; each is told of as long as it has something.
struct Ready(OwnedFd);

impl Ready {
    fn new<F: AsFd>(sockets: impl IntoIterator<Item = F>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, socket) in (0..).zip(sockets) {
            epoll::add(&epoll, socket, epoll::EventData::new_u64(index), epoll::EventFlags::IN)?;
        }
        Ok(Self(epoll))
    }

    /// The indices of those that have something; none when nothing comes within `limit`.
    fn wait(&self, limit: Duration) -> io::Result<Vec<usize>> {
        let mut events = Vec::with_capacity(64);
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        epoll::wait(&self.0, spare_capacity(&mut events), Some(&limit))?;
        Ok(events.iter().filter_map(|event| usize::try_from(event.data.u64()).ok()).collect())
    }
}

/// What was counted between two readings of the meters.
struct Window {
    start: Instant,
    meters: Meters,
    latencies: Vec<u32>,
    sent: u64,
    received: u64,
}

impl Window {
    fn open(proxy: &Proxy) -> io::Result<Self> {
        Ok(Self { start: Instant::now(), meters: proxy.meters()?, latencies: Vec::new(), sent: 0, received: 0 })
    }

    fn took(&mut self, since: Instant) {
        self.latencies.push(u32::try_from(since.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }

    /// `passes` says how often each datagram that came back went through the proxy.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn close(self, proxy: &Proxy, passes: f64) -> Result<Sample, Failure> {
        if self.received == 0 {
            return Err(Failure::Load("nothing came through".into()));
        }
        let elapsed = self.start.elapsed().as_secs_f64();
        let spent = proxy.meters()? - self.meters;
        let units = self.received as f64 * passes;
        Ok(Sample {
            cost: spent.proxy.as_secs_f64() * 1e6 / units,
            rate: units / elapsed,
            latency: Latency::of(self.latencies),
            lag: None,
            disturbance: spent.others.as_secs_f64() / elapsed,
            lost: Some(1.0 - self.received as f64 / self.sent as f64),
        })
    }
}

/// Clients on ports of their own, connected to the proxy.
fn clients(count: usize, proxy: &Proxy) -> io::Result<Vec<UdpSocket>> {
    let client = |_| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(proxy.addr())?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    (0..count).map(client).collect()
}

/// Lets every client have a datagram and its reply, some of them at a time.
fn exchange_once(clients: &[UdpSocket], window: &mut Window) -> Result<(), Failure> {
    let ready = Ready::new(clients)?;
    let mut next = 0;
    let mut outstanding = 0;
    let mut begun = vec![Instant::now(); clients.len()];
    while next < clients.len() || outstanding > 0 {
        while next < clients.len() && outstanding < OUTSTANDING {
            begun[next] = Instant::now();
            clients[next].send(&[7; SMALL])?;
            window.sent += 1;
            next += 1;
            outstanding += 1;
        }
        let woken = ready.wait(LOST_AFTER)?;
        if woken.is_empty() {
            outstanding = 0;
        }
        for index in woken {
            clients[index].recv(&mut [0; SMALL])?;
            window.took(begun[index]);
            window.received += 1;
            outstanding = outstanding.saturating_sub(1);
        }
    }
    Ok(())
}

fn ping_pong(flows: usize, at_once: usize, proxy: &Proxy, length: Duration) -> Result<Sample, Failure> {
    let clients = clients(flows, proxy)?;
    exchange_once(&clients, &mut Window::open(proxy)?)?;
    let ready = Ready::new(&clients)?;
    let mut window = Window::open(proxy)?;
    let mut begun = vec![Instant::now(); flows];
    let mut resting: VecDeque<usize> = (0..flows).collect();
    let mut outstanding = 0;
    while window.start.elapsed() < length {
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
    // Those under way are not lost.
    window.sent = window.sent.saturating_sub(outstanding as u64).max(window.received);
    window.close(proxy, 2.0)
}

fn trains(bytes: usize, pieces: Pieces, proxy: &Proxy, length: Duration) -> Result<Sample, Failure> {
    let capabilities = pieces.capabilities()?;
    let clients = clients(TRAIN_FLOWS, proxy)?;
    for client in &clients {
        socket2::SockRef::from(client).set_recv_buffer_size(BUFFER)?;
        if pieces == Pieces::One {
            udp::coalesce(client)?;
        }
    }
    exchange_once(&clients, &mut Window::open(proxy)?)?;
    let (mut receiver, mut sender) = (Receiver::new(TRAIN, 65_535, capabilities), Sender::new(capabilities));
    let train = vec![7; bytes * TRAIN];
    let mut send = |client: &UdpSocket| -> io::Result<()> {
        let mut batch = sender.batch();
        batch.push(Route::CONNECTED, bytes, &train);
        batch.send(client).map_err(|refusal| refusal.error)
    };
    let ready = Ready::new(&clients)?;
    let mut window = Window::open(proxy)?;
    let mut under_way = vec![(Instant::now(), 0); clients.len()];
    let mut begin = |index: usize, under_way: &mut Vec<(Instant, usize)>, window: &mut Window| -> io::Result<()> {
        send(&clients[index])?;
        window.sent += TRAIN as u64;
        under_way[index] = (Instant::now(), TRAIN);
        Ok(())
    };
    for index in 0..clients.len() {
        begin(index, &mut under_way, &mut window)?;
    }
    while window.start.elapsed() < length {
        for index in ready.wait(LOST_AFTER / 4)? {
            receiver.clear();
            let Ok(received) = receiver.receive_connected(&clients[index]) else { continue };
            let count: usize = receiver.trains(received.slots).map(|train| train.count()).sum();
            window.received += count as u64;
            let (since, missing) = under_way[index];
            under_way[index].1 = missing.saturating_sub(count);
            if missing <= count {
                window.took(since);
                begin(index, &mut under_way, &mut window)?;
            }
        }
        // What does not come back is given up, so that the loop goes on.
        for index in 0..clients.len() {
            if under_way[index].0.elapsed() > LOST_AFTER {
                begin(index, &mut under_way, &mut window)?;
            }
        }
    }
    let missing: usize = under_way.iter().map(|(_, missing)| missing).sum();
    window.sent = window.sent.saturating_sub(missing as u64).max(window.received);
    window.close(proxy, 2.0)
}

fn new_flows(proxy: &Proxy) -> Result<Sample, Failure> {
    let clients = clients(FLOWS, proxy)?;
    let mut window = Window::open(proxy)?;
    exchange_once(&clients, &mut window)?;
    window.close(proxy, 1.0)
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a process, far below 2^52")]
fn idle(proxy: &Proxy, length: Duration) -> Result<Sample, Failure> {
    // What a proxy allocates at its first flows, whatever their number, is not theirs.
    exchange_once(&clients(TRAIN, proxy)?, &mut Window::open(proxy)?)?;
    let before = proxy.resident_bytes()?;
    let clients = clients(FLOWS, proxy)?;
    let mut opening = Window::open(proxy)?;
    exchange_once(&clients, &mut opening)?;
    let grown = proxy.resident_bytes()?.saturating_sub(before);
    let (start, meters) = (Instant::now(), proxy.meters()?);
    thread::sleep(length);
    let (elapsed, spent) = (start.elapsed().as_secs_f64(), proxy.meters()? - meters);
    Ok(Sample {
        cost: grown as f64 / 1024.0 / FLOWS as f64,
        rate: spent.proxy.as_secs_f64() * 1e6 / elapsed,
        latency: None,
        lag: None,
        disturbance: spent.others.as_secs_f64() / elapsed,
        lost: Some(1.0 - opening.received as f64 / opening.sent as f64),
    })
}

fn dns(proxy: &Proxy, length: Duration) -> Result<Sample, Failure> {
    let questions = tempfile::NamedTempFile::new()?;
    std::fs::write(questions.path(), "www.example.test A\nns.example.test A\n")?;
    let mut window = Window::open(proxy)?;
    let output = Command::new("dnsperf")
        .args(["-s", &proxy.addr().ip().to_string(), "-p", &proxy.addr().port().to_string(), "-d"])
        .arg(questions.path())
        .args(["-l", &length.as_secs().max(1).to_string(), "-c", "16", "-q", "64", "-t", "1"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::MissingPeer(format!("dnsperf: {error}: scripts/setup.sh")))?;
    let report = String::from_utf8_lossy(&output.stdout);
    let number = |label: &str| {
        let line = report.lines().find(|line| line.trim_start().starts_with(label));
        let number = line.and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
        number.ok_or_else(|| Failure::Load(format!("dnsperf does not report {label:?}")))
    };
    window.sent = number("Queries sent:")?;
    window.received = number("Queries completed:")?;
    window.close(proxy, 2.0)
}
