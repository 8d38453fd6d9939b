//! The operator's read-only HTTP: `/metrics`, `/livez`, `/readyz`.
//!
//! A connection becomes a task of the control thread; `routes` answers a request from what is [`Observed`], and
//! `metrics` renders the numbers while the client takes them. Nothing here writes any state and no worker waits for
//! anything here, so a slow or hostile client costs the data plane nothing; what it can cost the control thread is
//! bounded by `Limits`.

mod metrics;
mod observed;
mod routes;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

pub use self::observed::Observed;
use crate::sys::errno;

/// Serves the pages on `listener` until the task is dropped.
///
/// Connections are tasks of the current runtime and end with it.
pub async fn serve(listener: TcpListener, observed: Arc<Observed>) {
    serve_within(listener, observed, LIMITS).await;
}

/// What clients may cost.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Open at once; one more is closed unanswered.
    connections: usize,
    /// For the head of a request, the wait for it on an idle connection included.
    request_head: Duration,
    /// Age at which a connection is closed as soon as no response is under way.
    age: Duration,
    /// How long a response may still be under way after that.
    last_response: Duration,
}

/// A few scrapers, probes and people at once, each of them near: what takes longer is stuck.
const LIMITS: Limits = Limits {
    connections: 64,
    request_head: Duration::from_secs(10),
    age: Duration::from_secs(60),
    last_response: Duration::from_secs(30),
};

/// Bound on the head of a request and on the bytes of a response that wait for the client; hyper's minimum.
const BUFFER_BYTES: usize = 8 * 1024;

/// Between attempts to accept while descriptors or memory are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn serve_within(listener: TcpListener, observed: Arc<Observed>, limits: Limits) {
    let room = Arc::new(Semaphore::new(limits.connections));
    loop {
        let stream = accept(&listener).await;
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            debug!(limit = limits.connections, "admin connection refused: too many");
            continue;
        };
        let observed = Arc::clone(&observed);
        tokio::spawn(async move {
            converse(stream, &observed, limits).await;
            drop(permit);
        });
    }
}

/// The next connection, however often accepting fails meanwhile.
async fn accept(listener: &TcpListener) -> TcpStream {
    let mut paused = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if paused {
                    info!("admin accepts again");
                }
                return stream;
            }
            Err(error) if errno::is_of_one_connection(&error) => {}
            Err(error) => {
                if !paused {
                    warn!(%error, "admin cannot accept; retrying");
                }
                paused = true;
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection, one after the other.
async fn converse(stream: TcpStream, observed: &Observed, limits: Limits) {
    let service = service_fn(|request| {
        let response = routes::respond(&request, observed);
        async { Ok::<_, Infallible>(response) }
    });
    let mut conn = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.request_head)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut result = timeout(limits.age, conn.as_mut()).await;
    if result.is_err() {
        conn.as_mut().graceful_shutdown();
        result = timeout(limits.last_response, conn).await;
    }
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "admin connection failed"),
        Err(_) => debug!("admin connection closed: the client does not take its response"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::num::{NonZeroU32, NonZeroUsize};
    use std::task::{Context, Waker};
    use std::time::Instant;

    use arc_swap::ArcSwap;
    use hyper::body::Body as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::watch;

    use super::metrics::exposition::Exposition;
    use super::*;
    use crate::config::{Admin, Config};
    use crate::control::phase::Phase;
    use crate::pool::backend::BackendKey;
    use crate::pool::health::Health;
    use crate::pool::registry::Registry;
    use crate::pool::snapshot::Snapshot;

    const SHORT: Duration = Duration::from_millis(50);

    /// Far above anything expected on a busy machine; only a hang reaches it.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Limits that no test reaches.
    const GENEROUS: Limits = Limits {
        connections: 8,
        request_head: Duration::from_secs(600),
        age: Duration::from_secs(600),
        last_response: Duration::from_secs(600),
    };

    /// A process without a listener or a pool that counts `backends`.
    fn observed(backends: usize) -> Observed {
        let registry = Registry::new(1);
        for number in 0..backends {
            let key = BackendKey { pool: "pool".into(), backend: number.to_string().as_str().into() };
            registry.backend(&key, Health::Up);
        }
        let config = Config {
            workers: NonZeroUsize::MIN,
            max_connections: NonZeroU32::MIN,
            busy_poll: None,
            default_max_flows: NonZeroU32::MIN,
            max_pipes: 0,
            shutdown_timeout: Duration::ZERO,
            log: String::new(),
            admin: Admin::default(),
            listeners: Default::default(),
            pools: Default::default(),
        };
        let snapshot = Snapshot {
            version: 1,
            generation: 1,
            config: Arc::new(config),
            pools: Default::default(),
            binds: Default::default(),
            udp_addrs: Vec::new(),
        };
        Observed {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            registry: Arc::new(registry),
            phase: watch::channel(Phase::Running).1,
        }
    }

    async fn start(backends: usize, limits: Limits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let addr = listener.local_addr().expect("the listener is bound");
        tokio::spawn(serve_within(listener, Arc::new(observed(backends)), limits));
        addr
    }

    async fn send(addr: SocketAddr, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(addr).await.expect("the listener accepts");
        stream.write_all(request.as_bytes()).await.expect("the request fits the socket's buffer");
        stream
    }

    /// What arrives until the connection ends, be it by FIN or RST.
    async fn rest(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        String::from_utf8(bytes).expect("responses are text")
    }

    #[tokio::test]
    async fn half_a_request_is_closed_in_time() {
        let addr = start(0, Limits { request_head: SHORT, ..GENEROUS }).await;
        assert_eq!(rest(send(addr, "GET /livez HTTP/1.1\r\nhost:").await).await, "");
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_in_time() {
        let addr = start(0, Limits { request_head: Duration::from_secs(1), ..GENEROUS }).await;
        let response = rest(send(addr, "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await).await;
        assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("\r\n\r\nlive\n"), "{response}");
    }

    #[tokio::test]
    async fn a_busy_connection_is_closed_when_old() {
        let addr = start(0, Limits { age: SHORT, ..GENEROUS }).await;
        let opened = Instant::now();
        let mut stream = send(addr, "").await;
        let mut page = [0; 4096];
        while stream.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.is_ok() {
            if matches!(stream.read(&mut page).await, Ok(0) | Err(_)) {
                break;
            }
        }
        assert!(opened.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn a_client_that_takes_no_response_is_cut_off() {
        // The text of so many backends has about 30 MB, more than the sockets' buffers hold.
        let limits = Limits { connections: 1, age: SHORT, last_response: SHORT, ..GENEROUS };
        let addr = start(6_000, limits).await;
        let stalled = send(addr, "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        // There is room for one connection, so another is answered only once the first is gone.
        let another_is_served =
            async { while rest(send(addr, "GET /livez HTTP/1.0\r\n\r\n").await).await.is_empty() {} };
        timeout(PATIENCE, another_is_served).await.expect("the stalled client is cut off");
        let response = rest(stalled).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{}", &response[..response.len().min(200)]);
        assert!(!response.ends_with("\r\n0\r\n\r\n"), "the response is complete");
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused() {
        let addr = start(0, GENEROUS).await;
        let request = format!("GET /livez HTTP/1.1\r\nlong: {}", "x".repeat(BUFFER_BYTES));
        let response = rest(send(addr, &request).await).await;
        assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
    }

    #[tokio::test]
    async fn a_scrape_lets_others_run_between_pieces() {
        let observed = observed(200);
        let mut exposition = pin!(Exposition::new(&observed.snapshot.load(), &observed.registry));
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = || exposition.as_mut().poll_frame(&mut context);
        assert!(poll().is_ready());
        assert!(poll().is_pending());
        assert!(poll().is_ready());
    }
}
