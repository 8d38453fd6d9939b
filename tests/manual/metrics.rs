//! The table of metrics, against a scrape of a balancer that has something of every kind.

use std::collections::BTreeSet;

use crate::pages::{pages, table};
use crate::support::backend::{Backend, Behaviour};
use crate::support::balancer::Balancer;
use crate::support::config::Config;
use crate::support::datagram::Echo;
use crate::support::metrics::HttpClient;
use crate::support::port::free_addr;

const SUBJECT: &str = "metrics";

/// The table of all metrics, in the order of the page.
pub(crate) fn render(subject: &str) -> Option<String> {
    (subject == SUBJECT).then(|| {
        let page = scrape();
        let families: Vec<Family> = page.split("# HELP ").skip(1).map(Family::parse).collect();
        assert!(families.len() > 30, "only {} metrics found", families.len());
        table(&["metric", "type", "labels", "meaning"], families.into_iter().map(Family::row))
    })
}

struct Family {
    name: String,
    help: String,
    kind: String,
    labels: BTreeSet<String>,
}

impl Family {
    /// From what follows `# HELP `, up to the next family.
    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let (name, help) = lines.next().and_then(|line| line.split_once(' ')).expect("a name and a help");
        let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} "))).expect("a type");
        let samples: Vec<&str> = lines.filter(|line| line.starts_with(name)).collect();
        assert!(!samples.is_empty(), "{name} has no sample");
        let labels = samples.iter().filter_map(|line| line.split_once('{')?.1.split_once('}'));
        let names = labels.flat_map(|(labels, _)| labels.split("\",").filter_map(|label| label.split_once('=')));
        let names = names.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
        Self { name: name.to_owned(), help: help.to_owned(), kind: kind.to_owned(), labels: names.collect() }
    }

    fn row(self) -> Vec<String> {
        let labels: Vec<String> = self.labels.into_iter().collect();
        let meaning = self.help.trim_end_matches('.').to_owned();
        vec![format!("`{}`", self.name), self.kind, labels.join(", "), meaning]
    }
}

/// The page of a balancer with a listener and a pool of either transport.
fn scrape() -> String {
    let (backend, echo) = (Backend::start(Behaviour::Echo), Echo::start());
    let config = Config::new()
        .listener("streams", free_addr(), "streams", "")
        .udp_listener("datagrams", free_addr(), "datagrams", "")
        .pool("streams", &[backend.addr()], "")
        .pool("datagrams", &[echo.addr()], "");
    let balancer = Balancer::start(&config);
    HttpClient::connect(balancer.admin()).expect("connects").get("/metrics").expect("answers").body
}

#[test]
fn the_metrics_are_in_the_manual() {
    let pages = pages();
    let tables = pages.iter().flat_map(|page| page.subjects()).filter(|subject| *subject == SUBJECT);
    assert_eq!(tables.count(), 1);
}
