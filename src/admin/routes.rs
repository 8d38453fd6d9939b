//! Which page answers a request, and the short pages.

use std::fmt::Write as _;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use prometheus::TEXT_FORMAT;

use super::metrics::exposition::Exposition;
use super::observed::Observed;
use crate::VERSION;
use crate::control::phase::Phase;
use crate::pool::health::Health;
use crate::pool::snapshot::Snapshot;
use crate::pool::view::PoolView;

/// A short page, or the metrics.
type Body = Either<Full<Bytes>, Exposition>;

/// The response to `request`, whose body is never read.
pub(super) fn respond<B>(request: &Request<B>, observed: &Observed) -> Response<Body> {
    let page: fn(&Observed) -> Response<Body> = match request.uri().path() {
        "/" => index,
        "/livez" => livez,
        "/readyz" => readyz,
        "/metrics" => metrics,
        _ => return text(StatusCode::NOT_FOUND, "not found; / lists what is here\n"),
    };
    // hyper leaves out the body of a response to HEAD.
    if request.method() == Method::GET || request.method() == Method::HEAD {
        page(observed)
    } else {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "read-only: GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        response
    }
}

fn index(_: &Observed) -> Response<Body> {
    let page = format!(
        "evenkeel {VERSION}\n\n\
         /metrics  counters, gauges and histograms in the Prometheus text format\n\
         /livez    200 while the process runs\n\
         /readyz   200 while it accepts connections\n"
    );
    text(StatusCode::OK, page)
}

fn livez(_: &Observed) -> Response<Body> {
    text(StatusCode::OK, "live\n")
}

/// Ready is who accepts: a pool without a backend is said, but taking this instance out would not bring one back.
fn readyz(observed: &Observed) -> Response<Body> {
    let phase = *observed.phase.borrow();
    let (status, mut page) = match phase {
        Phase::Running => (StatusCode::OK, "ready\n".to_owned()),
        phase => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", name(phase))),
    };
    page.push_str(&pools_without_backend(&observed.snapshot.load()));
    text(status, page)
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Draining => "draining",
        Phase::Stopped => "stopped",
    }
}

/// One line for each pool in which no backend is up.
fn pools_without_backend(snapshot: &Snapshot) -> String {
    let mut lines = String::new();
    for pool in snapshot.pools.values() {
        let count = |health| count(pool, health);
        if count(Health::Up) == 0 {
            let (checking, down) = (count(Health::Checking), count(Health::Down));
            writeln!(lines, "pool {}: no backend is up ({checking} checking, {down} down)", pool.name)
                .expect("writing to a string succeeds");
        }
    }
    lines
}

/// Backends of `pool` with this health that would get sessions if it were the best; weight 0 gets none.
fn count(pool: &PoolView, health: Health) -> usize {
    pool.backends.iter().filter(|backend| backend.weight > 0 && backend.state.health() == health).count()
}

fn metrics(observed: &Observed) -> Response<Body> {
    page(StatusCode::OK, TEXT_FORMAT, Either::Right(Exposition::new(&observed.snapshot.load(), &observed.registry)))
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    page(status, "text/plain; charset=utf-8", Either::Left(Full::new(text.into())))
}

fn page(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
