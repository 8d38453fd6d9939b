//! The metrics of a running balancer, after sessions of every kind.

mod support;

use support::backend::{Backend, Behaviour};
use support::balancer::Balancer;
use support::config::Config;
use support::metrics::HttpClient;
use support::port::free_addr;
use support::promtool;
use support::socket::{assert_echo, assert_refused, connect};
use support::wait::SOON;

#[test]
fn promtool_accepts_the_page_of_a_running_balancer() {
    let (front, dead_front, recorded, silent) = (free_addr(), free_addr(), free_addr(), free_addr());
    let backend = Backend::start(Behaviour::Echo);
    let config = Config::new()
        .listener("l", front, "p", "")
        .listener("dead", dead_front, "dead", "")
        .listener("recorded", recorded, "p", "")
        .listener("silent", silent, "p", "access_log = false")
        .pool("p", &[backend.addr()], "")
        .health_check("p", 200, 100)
        .pool("dead", &[free_addr()], "");
    let balancer = Balancer::start(&config);
    for front in [front, recorded, silent] {
        assert_echo(&mut connect(front));
    }
    assert_refused(dead_front);
    balancer.wait_idle(SOON);

    let page = HttpClient::connect(balancer.admin()).expect("connects").get("/metrics").expect("answers");
    promtool::accept(&page.body);

    let metrics = balancer.metrics();
    for listener in ["l", "recorded", "silent"] {
        let labels = [("listener", listener), ("reason", "finished")];
        assert_eq!(metrics.sum("evenkeel_sessions_closed_total", &labels), 1.0, "{listener}");
    }
    let refused = [("pool", "dead"), ("reason", "refused")];
    assert_eq!(metrics.sum("evenkeel_backend_connect_errors_total", &refused), 1.0);
    assert_eq!(metrics.value("evenkeel_log_records_dropped_total", &[]), 0.0);

    let sessions = balancer.log.sessions();
    assert_eq!(sessions.len(), 3, "one record for each session, and none where the access log is off");
    for record in sessions.iter().filter(|record| record.text("listener") != "dead") {
        let (connect, first, total) =
            (record.number("connect_ms"), record.number("first_byte_ms"), record.number("total_ms"));
        assert!(connect > 0.0 && first > 0.0 && total >= first, "{connect} {first} {total}");
    }
}
