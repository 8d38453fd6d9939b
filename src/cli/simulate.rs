//! `evenkeel simulate`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::task::JoinSet;

use super::Exit;
use super::interrupt::Interrupt;
use crate::demo::backend::{Alive, Backend, Behaviour};
use crate::demo::datagram::{Counts, Echo};

/// What `--help` adds.
pub(super) const HELP: &str = "\
Every backend echoes what it receives. Put their addresses into a pool, start evenkeel in front, and stop or restart \
them as you like to see what your clients would see. Ctrl-c stops all of them; open connections are reset, as when a \
process is killed.

Examples:
  evenkeel simulate --listen 127.0.0.1:9001 127.0.0.1:9002
  evenkeel simulate --listen 127.0.0.1:9003 --latency 20ms --failure-rate 0.1
  evenkeel simulate --listen 127.0.0.1:2525 --greeting '220 ready'
  evenkeel simulate --protocol udp --listen 127.0.0.1:5301 127.0.0.1:5302

Exit codes: 0 clean stop, 2 the arguments make no sense, 3 could not listen";

/// The longest delay that can be asked for.
const LONGEST_DELAY: Duration = Duration::from_secs(3_600);

/// The arguments of `simulate`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Addresses to listen on, each a backend of its own; port 0 takes any free port
    #[arg(long, value_name = "IP:PORT", required = true, num_args = 1.., value_parser = address)]
    listen: Vec<SocketAddr>,
    /// What to speak
    #[arg(long, value_enum, default_value_t = Protocol::Tcp)]
    protocol: Protocol,
    /// Wait this long before each answer
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = delay)]
    latency: Duration,
    /// Add up to this much to the latency, at random
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = delay)]
    jitter: Duration,
    /// Reset this share of connections instead of serving them, or ignore this share of datagrams, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    failure_rate: f64,
    /// Send this line to each client as soon as it connects; not over UDP
    #[arg(long, value_name = "TEXT")]
    greeting: Option<String>,
    /// Connections that each backend serves at a time, or datagrams that wait for their answers; one more is refused
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// Repeat the same random choices
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// What backends speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// Streams, echoed as they come
    Tcp,
    /// Datagrams, echoed one by one
    Udp,
}

/// Runs simulated backends until ctrl-c.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let outcome = match (arguments.protocol, &arguments.greeting) {
        (Protocol::Tcp, _) => simulate(arguments),
        (Protocol::Udp, None) => simulate_udp(arguments),
        (Protocol::Udp, Some(_)) => {
            eprintln!("evenkeel: over UDP nobody connects who could be greeted: leave out --greeting");
            return Exit::Usage;
        }
    };
    match outcome {
        Ok(()) => Exit::Success,
        Err(error) => {
            eprintln!("evenkeel: {error}");
            Exit::CouldNotStart
        }
    }
}

fn simulate(arguments: &Arguments) -> io::Result<()> {
    super::runtime()?.block_on(async {
        let interrupt = Arc::new(Interrupt::install()?);
        let mut backends = Vec::new();
        let mut serving = JoinSet::new();
        for (addr, behaviour) in arguments.behaviours() {
            let (backend, alive) = start(addr, behaviour)
                .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}")))?;
            let interrupt = Arc::clone(&interrupt);
            serving.spawn(alive.serve_until(async move { interrupt.received().await }));
            backends.push(backend);
        }
        let addrs: Vec<SocketAddr> = backends.iter().map(Backend::addr).collect();
        print(&arguments.introduction(&addrs))?;
        while serving.join_next().await.is_some() {}
        print(&summary(&backends))
    })
}

fn simulate_udp(arguments: &Arguments) -> io::Result<()> {
    super::runtime()?.block_on(async {
        let interrupt = Arc::new(Interrupt::install()?);
        let mut backends: Vec<(SocketAddr, Arc<Counts>)> = Vec::new();
        let mut serving = JoinSet::new();
        for (addr, behaviour) in arguments.behaviours() {
            let echo = Echo::bind(addr, behaviour)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("cannot bind {addr}: {error}")))?;
            backends.push((echo.addr()?, Arc::clone(echo.counts())));
            let interrupt = Arc::clone(&interrupt);
            serving.spawn(echo.serve_until(async move { interrupt.received().await }));
        }
        let addrs: Vec<SocketAddr> = backends.iter().map(|(addr, _)| *addr).collect();
        print(&arguments.introduction(&addrs))?;
        while serving.join_next().await.is_some() {}
        print(&udp_summary(&backends))
    })
}

fn start(addr: SocketAddr, behaviour: Behaviour) -> io::Result<(Backend, Alive)> {
    let backend = Backend::reserve(addr, behaviour)?;
    let alive = backend.listen()?;
    Ok((backend, alive))
}

impl Arguments {
    /// The backends asked for. Each has a seed of its own, or all of them would fail in step.
    fn behaviours(&self) -> impl Iterator<Item = (SocketAddr, Behaviour)> {
        self.listen.iter().zip(0..).map(|(addr, nth)| {
            let behaviour = Behaviour {
                latency: self.latency,
                jitter: self.jitter,
                failure_rate: self.failure_rate,
                greeting: self.greeting.as_ref().map(|line| format!("{line}\n")),
                max_connections: self.max_connections as usize,
                seed: self.seed.wrapping_add(nth),
            };
            (*addr, behaviour)
        })
    }

    /// What runs, how to try it and how to stop it.
    fn introduction(&self, addrs: &[SocketAddr]) -> String {
        let (failures, netcat) = match self.protocol {
            Protocol::Tcp => ("connections reset", "nc -N"),
            Protocol::Udp => ("datagrams ignored", "nc -u -w1"),
        };
        let mut text = format!(
            "simulated backends: echo, latency {}, jitter {}, {}% of {failures}\n",
            humantime::format_duration(self.latency),
            humantime::format_duration(self.jitter),
            self.failure_rate * 100.0,
        );
        for addr in addrs {
            text += &format!("  {addr}\n");
        }
        if let Some(first) = addrs.first() {
            text += &format!("try: echo hello | {netcat} {} {}\n", first.ip(), first.port());
        }
        text + "stop: ctrl-c\n"
    }
}

/// What each backend has done.
fn summary(backends: &[Backend]) -> String {
    let mut text = String::from("\n");
    for backend in backends {
        let counts = backend.counts();
        text += &format!(
            "{}: {} connections, {} of them reset, {} refused as one too many, {} bytes echoed\n",
            backend.addr(),
            counts.connections.load(Ordering::Relaxed),
            counts.failed.load(Ordering::Relaxed),
            counts.refused.load(Ordering::Relaxed),
            counts.bytes.load(Ordering::Relaxed),
        );
    }
    text
}

/// What each backend has done.
fn udp_summary(backends: &[(SocketAddr, Arc<Counts>)]) -> String {
    let mut text = String::from("\n");
    for (addr, counts) in backends {
        text += &format!(
            "{addr}: {} datagrams, {} of them ignored, {} refused as one too many, {} bytes echoed\n",
            counts.datagrams.load(Ordering::Relaxed),
            counts.ignored.load(Ordering::Relaxed),
            counts.refused.load(Ordering::Relaxed),
            counts.bytes.load(Ordering::Relaxed),
        );
    }
    text
}

/// Prints to stdout; a reader that has gone away is no reason to stop serving.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address is IP:PORT, such as 127.0.0.1:9001 or [::1]:9001".into())
}

fn delay(text: &str) -> Result<Duration, String> {
    let delay = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if delay > LONGEST_DELAY {
        return Err("more than an hour".into());
    }
    Ok(delay)
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    if !(0.0..=1.0).contains(&share) {
        return Err("not between 0 and 1".into());
    }
    Ok(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_and_shares_have_bounds() {
        assert_eq!(delay("20ms"), Ok(Duration::from_millis(20)));
        assert!(delay("2h").is_err() && delay("20").is_err() && delay("-1s").is_err());
        assert_eq!(share("0.1"), Ok(0.1));
        assert!(share("1.1").is_err() && share("-0.1").is_err() && share("NaN").is_err() && share("x").is_err());
    }
}
