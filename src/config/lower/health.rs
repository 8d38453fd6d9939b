//! Health checks: active probes of three kinds, and the passive check.

use super::presence::refuse;
use crate::config::error::{Place, Problem, Problems, quote};
use crate::config::file::{self, At, Field, ProbeType, Show};
use crate::config::types::{DnsProbe, HealthCheck, PassiveCheck, Probe, UdpProbe};

/// The active check of a pool, if it has one.
pub(super) fn active(pool: &file::Pool, problems: &mut Problems) -> Option<HealthCheck> {
    let At { value: check, place } = pool.health_check.given()?;
    let interval = check.interval.value();
    if let Some(given) = check.timeout.given()
        && given.value > interval
    {
        let message = format!("`timeout` is longer than `interval`, which is {}", Show(interval));
        let help = "a probe must be over before the next one starts";
        problems.report(Problem::new(given.place, message).help(help));
    }
    let kind = check.kind.value();
    // Whatever a type that was refused had meant, its keys are not held against it.
    if !check.kind.is_refused() {
        refuse_keys_of_other_types(check, kind, problems);
        refuse_unix_probes(pool, check, kind, problems);
    }
    Some(HealthCheck {
        probe: match kind {
            ProbeType::Tcp => Probe::Tcp,
            ProbeType::Udp => Probe::Udp(udp_probe(check, *place, problems)),
            ProbeType::Dns => dns_probe(check, *place, problems).map_or(Probe::Tcp, Probe::Dns),
        },
        port: check.port.get(),
        interval,
        timeout: check.timeout.value().min(interval),
        rise: check.rise.value(),
        fall: check.fall.value(),
    })
}

fn udp_probe(check: &file::HealthCheck, place: Place, problems: &mut Problems) -> UdpProbe {
    if check.send.is_absent() && check.send_hex.is_absent() {
        let message = "a health check of type `udp` has no `send`";
        let help = "add what the backend answers: send = \"TEXT\" or send_hex = \"00ff\"";
        problems.report(Problem::missing(place, message).help(help));
    }
    refuse_both(&check.send, &check.send_hex, problems);
    refuse_both(&check.expect, &check.expect_hex, problems);
    let send = check.send.get().map(|text| text.0).or(check.send_hex.get().map(|hex| hex.0));
    let expect = check.expect.get().map(|text| text.0).or(check.expect_hex.get().map(|hex| hex.0));
    UdpProbe { send: send.unwrap_or_default(), expect: expect.unwrap_or_default() }
}

/// Reports bytes that are written both as text and in hex.
fn refuse_both<T, H>(text: &Field<T>, hex: &Field<H>, problems: &mut Problems) {
    if let (Some(_), Some(given)) = (text.given(), hex.given()) {
        let message = format!("`{}` and `{}` are two ways to say the same", text.key, hex.key);
        problems.report(Problem::new(given.place, message).help("leave one of them out"));
    }
}

/// Nothing, if there is no name to ask for, which is reported.
fn dns_probe(check: &file::HealthCheck, place: Place, problems: &mut Problems) -> Option<DnsProbe> {
    if check.query.is_absent() {
        let message = "a health check of type `dns` has no `query`";
        let help = "add a name that every backend can answer: query = \"example.com\"";
        problems.report(Problem::missing(place, message).help(help));
    }
    Some(DnsProbe { query: check.query.get()?, record: check.record.value(), rcode: check.rcode.get() })
}

fn refuse_keys_of_other_types(check: &file::HealthCheck, kind: ProbeType, problems: &mut Problems) {
    if kind != ProbeType::Udp {
        let (what, help) = ("a health check of type `udp`", "set type = \"udp\"");
        refuse(&check.send, what, help, problems);
        refuse(&check.send_hex, what, help, problems);
        refuse(&check.expect, what, help, problems);
        refuse(&check.expect_hex, what, help, problems);
    }
    if kind != ProbeType::Dns {
        let (what, help) = ("a health check of type `dns`", "set type = \"dns\"");
        refuse(&check.query, what, help, problems);
        refuse(&check.record, what, help, problems);
        refuse(&check.rcode, what, help, problems);
    }
}

/// Reports unix backends that are to be probed over IP.
fn refuse_unix_probes(pool: &file::Pool, check: &file::HealthCheck, kind: ProbeType, problems: &mut Problems) {
    let (why, place) = match (kind, check.port.given(), check.kind.given()) {
        (ProbeType::Tcp, Some(port), _) => ("`port`", port.place),
        (ProbeType::Udp | ProbeType::Dns, _, Some(kind)) => ("`type`", kind.place),
        _ => return,
    };
    for backend in pool.unix_backends() {
        let message = format!("{} cannot be probed: it has no port", quote(backend.value.name.as_str()));
        let help = "probe unix sockets with type = \"tcp\" and without `port`";
        let problem = Problem::new(backend.place, message).related(place, format!("{why} is for IP addresses"));
        problems.report(problem.help(help));
    }
}

/// The passive check of a pool that has one.
pub(super) fn passive(check: &file::PassiveCheck, problems: &mut Problems) -> PassiveCheck {
    let eject_for = check.eject_for.value();
    if let Some(given) = check.eject_for_at_most.given()
        && given.value < eject_for
    {
        let message = format!("`eject_for_at_most` is shorter than `eject_for`, which is {}", Show(eject_for));
        problems.report(Problem::new(given.place, message));
    }
    PassiveCheck {
        unanswered: check.unanswered.value(),
        flows: check.flows.value(),
        window: check.window.value(),
        eject_for,
        eject_for_at_most: check.eject_for_at_most.value().max(eject_for),
        max_ejected: check.max_ejected.value().0,
    }
}
