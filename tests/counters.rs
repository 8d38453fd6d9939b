//! After any mixture of faults nothing is left: every gauge is 0 and the descriptors are back at the baseline.
//!
//! `EVENKEEL_SESSIONS=n` runs n sessions instead of 20,000; `EVENKEEL_SEED=x` replays one choice of faults.

mod support;

use std::env;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use support::backend::{Backend, Behaviour, Command};
use support::balancer::Balancer;
use support::config::Config;
use support::port::free_addr;
use support::socket::{echo, is_reset, reset, try_connect};
use support::wait::{SOON, wait_until};

const DEFAULT_SESSIONS: u64 = 20_000;
const LANES: u64 = 8;

/// The first sessions open what the process keeps (cached pipes, the log's thread); the baseline comes after them.
const WARM_UP: u64 = 2_000;

/// Of all addresses of the pool one is dead and one resets, so that sessions retry and fail too.
const LIVING: usize = 3;

#[test]
fn random_faults_leave_nothing_behind() {
    let number = |name, default| env::var(name).map_or(default, |text: String| text.parse().expect("a number"));
    let (sessions, seed) = (number("EVENKEEL_SESSIONS", DEFAULT_SESSIONS), number("EVENKEEL_SEED", 1));
    eprintln!("EVENKEEL_SEED={seed} replays this choice of faults");

    let (front, dead) = (free_addr(), free_addr());
    let living = [(); LIVING].map(|()| Backend::start(Behaviour::Obey));
    let resetting = Backend::start(Behaviour::Reset);
    let mut backends: Vec<SocketAddr> = living.iter().map(Backend::addr).collect();
    backends.extend([dead, resetting.addr()]);
    let config = Config::new().listener("main", front, "main", "access_log = false").pool(
        "main",
        &backends,
        "policy = \"round-robin\"\nconnect_attempts = 1",
    );
    let balancer = Balancer::start(&config);

    run(front, seed, WARM_UP);
    balancer.wait_idle(SOON);
    let baseline = balancer.settled_descriptors().sockets;
    run(front, !seed, sessions);
    balancer.wait_idle(SOON);

    wait_until("the sockets are back at the baseline", SOON, || balancer.process.descriptors().sockets <= baseline);
    balancer.wait_no_close_wait();
    wait_until("the backends see nobody", SOON, || living.iter().all(|backend| backend.open() == 0));
    let metrics = balancer.metrics();
    let total = metrics.sum("evenkeel_listener_sessions_total", &[]);
    assert_eq!(total, (WARM_UP + sessions) as f64, "every connection was a session");
    assert_eq!(metrics.sum("evenkeel_sessions_closed_total", &[]), total, "every session has one reason");
    assert_eq!(metrics.sum("evenkeel_session_seconds_count", &[]), total);
    assert_eq!(metrics.sum("evenkeel_session_panics_total", &[]), 0.0);
    assert_eq!(metrics.sum("evenkeel_listener_refused_total", &[]), 0.0);
    for reason in ["finished", "client-reset", "backend-reset", "connect-failed"] {
        let count = metrics.sum("evenkeel_sessions_closed_total", &[("reason", reason)]);
        assert!(count > total / 100.0, "the faults are not random enough: {count} of {total} ended as {reason}");
    }
    let internal = metrics.sum("evenkeel_sessions_closed_total", &[("reason", "internal")]);
    assert_eq!(internal, 0.0);
}

/// Runs `sessions` sessions with the faults that `seed` decides.
fn run(front: SocketAddr, seed: u64, sessions: u64) {
    thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed.wrapping_mul(LANES) ^ lane);
                let mine = sessions / LANES + u64::from(lane < sessions % LANES);
                for _ in 0..mine {
                    match try_connect(front) {
                        // Errors are what these sessions are for.
                        Ok(stream) => drop(misbehave(stream, &mut rng)),
                        // The balancer's reset, when no backend was reached, can overtake the return of connect.
                        Err(error) => assert!(is_reset(&error), "connecting: {error}"),
                    }
                }
            });
        }
    });
}

/// One session of a client that does anything.
fn misbehave(mut stream: TcpStream, rng: &mut Rng) -> io::Result<()> {
    match rng.u8(0..10) {
        // Gone at once, in either way.
        0 => return Ok(()),
        1 => {
            reset(&stream);
            return Ok(());
        }
        // Ends with nothing said.
        2 => stream.shutdown(Shutdown::Write)?,
        3 => {
            stream.write_all(&[Command::Reset as u8])?;
        }
        4 => stream.write_all(&[Command::Close as u8])?,
        5 => stream.write_all(&[Command::SendThenReset as u8])?,
        6 => stream.write_all(&[Command::EndFirst as u8])?,
        // A receiver that stalls, and a client that loses patience.
        7 => {
            stream.write_all(&[Command::Stall as u8])?;
            stream.write_all(&vec![0; rng.usize(1..128 << 10)])?;
            reset(&stream);
            return Ok(());
        }
        // An exchange, cut off in the middle or brought to its end.
        kind => {
            stream.write_all(&[Command::Echo as u8])?;
            for _ in 0..rng.u8(1..4) {
                echo(&mut stream, &vec![7; rng.usize(1..64 << 10)])?;
            }
            if kind == 8 {
                reset(&stream);
                return Ok(());
            }
            stream.shutdown(Shutdown::Write)?;
        }
    }
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut buffer = vec![0; 64 << 10];
    // Some leave before they have read what there is.
    for _ in 0..rng.u8(0..20) {
        if stream.read(&mut buffer)? == 0 {
            break;
        }
    }
    Ok(())
}
