//! The metrics as Prometheus text, rendered piece by piece while the client takes them.
//!
//! With ten thousand backends the text has tens of megabytes. Rendered at once it would stop the control thread for
//! a good part of a second, and every client that reads slowly would hold a copy. So a scrape holds only references to
//! what it will read, and renders the next piece when the connection has room for it and everything else that the
//! control thread has to do has had its turn. The series of one piece belong to one moment, those of different pieces
//! need not.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use prometheus::TextEncoder;
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};
use tokio::task::yield_now;

use super::Observed;
use super::families::{FAMILIES, Family, Source};
use super::process::Usage;
use crate::config::PoolName;
use crate::metrics::stats::{FlowStats, SessionStats};
use crate::metrics::{BATCH_BOUNDS, BUCKETS, BatchSizes, Histogram};
use crate::pool::backend::BackendState;
use crate::pool::listener::ListenerState;
use crate::pool::registry::Registry;

/// Backends in one piece: at most about 100 KiB of text, rendered in less than a millisecond.
const PIECE: usize = 64;

/// One scrape under way. Gives the text in order, as an iterator and as a response body.
pub(super) struct Exposition {
    scene: Scene,
    /// The family that is next, by position in [`FAMILIES`].
    family: usize,
    /// The subject within it that is next.
    subject: usize,
    /// Lets the rest of the control thread run before the next piece, even if the client reads as fast as we write.
    pause: Option<Pause>,
}

type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Everything a scrape reads.
pub(super) struct Scene {
    pub(super) registry: Arc<Registry>,
    pub(super) generation: u64,
    pub(super) process: Option<Usage>,
    tcp_listeners: Vec<NamedListener<SessionStats>>,
    udp_listeners: Vec<NamedListener<FlowStats>>,
    /// Those with counters: the configured ones and those removed that still have sessions.
    backends: Vec<Arc<BackendState>>,
    /// Those of them that UDP listeners send to.
    datagram_backends: Vec<Arc<BackendState>>,
    /// Those of the configuration in force.
    configured: Vec<Arc<BackendState>>,
}

/// The states of a listener under one name: more than one while sessions are left from before its pool changed.
pub(super) struct NamedListener<S>(Vec<Arc<ListenerState<S>>>);

impl<S> NamedListener<S> {
    pub(super) fn name(&self) -> &str {
        self.0[0].name.as_str()
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &ListenerState<S>> {
        self.0.iter().map(|state| &**state)
    }

    /// The counters of every worker.
    pub(super) fn stats(&self) -> impl Iterator<Item = &S> {
        self.states().flat_map(|state| state.stats.iter())
    }
}

impl Scene {
    fn new(observed: &Observed) -> Self {
        let snapshot = observed.snapshot.load();
        let configured = snapshot.pools.values().flat_map(|pool| &pool.backends);
        let backends = observed.registry.backends();
        let udp_listeners = observed.registry.udp_listeners();
        let udp_pools: BTreeSet<&PoolName> = udp_listeners.iter().map(|state| &state.pool).collect();
        let datagram_backends = backends.iter().filter(|state| udp_pools.contains(&state.key.pool));
        Self {
            registry: Arc::clone(&observed.registry),
            generation: snapshot.generation,
            process: Usage::read(),
            tcp_listeners: by_name(&observed.registry.tcp_listeners()),
            udp_listeners: by_name(&udp_listeners),
            datagram_backends: datagram_backends.cloned().collect(),
            backends,
            configured: configured.map(|backend| Arc::clone(&backend.state)).collect(),
        }
    }

    pub(super) fn tcp_listeners(&self) -> &[NamedListener<SessionStats>] {
        &self.tcp_listeners
    }
}

/// Groups `sorted` by name.
fn by_name<S>(sorted: &[Arc<ListenerState<S>>]) -> Vec<NamedListener<S>> {
    sorted.chunk_by(|a, b| a.name == b.name).map(|states| NamedListener(states.to_vec())).collect()
}

impl Exposition {
    /// A scrape of what there is now.
    pub(super) fn new(observed: &Observed) -> Self {
        Self { scene: Scene::new(observed), family: 0, subject: 0, pause: None }
    }
}

impl Iterator for Exposition {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let family = FAMILIES.get(self.family)?;
            let from = self.subject;
            let mut series = Series { kind: family.kind, metrics: Vec::new() };
            match collect(&family.source, &self.scene, from, &mut series) {
                Some(next) => self.subject = next,
                None => (self.family, self.subject) = (self.family + 1, 0),
            }
            if !series.metrics.is_empty() {
                return Some(encode(family, series, from == 0));
            }
        }
    }
}

impl Body for Exposition {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
        }
        self.pause = Some(Box::pin(yield_now()));
        Poll::Ready(self.next().map(|piece| Ok(Frame::data(piece))))
    }
}

/// Collects the series of the next subjects, those at `from` and after; the subject after them, if there is one.
fn collect(source: &Source, scene: &Scene, from: usize, series: &mut Series) -> Option<usize> {
    match source {
        Source::Process(read) => {
            read(scene, series);
            None
        }
        Source::Sessions(read) => collect_piece(&scene.tcp_listeners, from, |listener| read(listener, series)),
        Source::Flows(read) => collect_piece(&scene.udp_listeners, from, |listener| read(listener, series)),
        Source::Datagrams(read) => collect_piece(&scene.datagram_backends, from, |backend| read(backend, series)),
        Source::Backends(read) => collect_piece(&scene.backends, from, |backend| read(backend, series)),
        Source::Configured(read) => collect_piece(&scene.configured, from, |backend| read(backend, series)),
    }
}

fn collect_piece<T>(subjects: &[T], from: usize, read: impl FnMut(&T)) -> Option<usize> {
    let to = subjects.len().min(from + PIECE);
    subjects[from..to].iter().for_each(read);
    (to < subjects.len()).then_some(to)
}

/// The text of some series of `family`; the first carry its help and type.
fn encode(family: &Family, series: Series, first: bool) -> Bytes {
    let mut message = MetricFamily::default();
    message.set_name(family.name.to_owned());
    message.set_help(family.help.to_owned());
    message.set_field_type(family.kind);
    message.set_metric(series.metrics);
    let text = TextEncoder::new().encode_to_string(&[message]).expect("a family with a name and series is encoded");
    let header = if first { 0 } else { header_len(&text) };
    Bytes::from(text).slice(header..)
}

/// Length of the comment lines at the start of `text`.
fn header_len(text: &str) -> usize {
    text.split_inclusive('\n').take_while(|line| line.starts_with('#')).map(str::len).sum()
}

/// The series of one family, each with its labels.
pub(super) struct Series {
    kind: MetricType,
    metrics: Vec<Metric>,
}

impl Series {
    /// Adds a counter or a gauge, whichever the family is.
    pub(super) fn number(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let mut metric = Metric::from_label(pairs(labels));
        if self.kind == MetricType::COUNTER {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    /// Adds a count; above 2^53 it is no longer exact, as everywhere in Prometheus.
    pub(super) fn count(&mut self, labels: &[(&'static str, &str)], value: u64) {
        self.number(labels, value as f64);
    }

    /// Adds the sum of `histograms`, which share their bounds, in seconds.
    pub(super) fn durations<'a>(
        &mut self,
        labels: &[(&'static str, &str)],
        histograms: impl Iterator<Item = &'a Histogram>,
    ) {
        let mut histograms = histograms.peekable();
        let Some(bounds) = histograms.peek().map(|histogram| histogram.bounds()) else { return };
        let mut counts = [0; BUCKETS + 1];
        let mut sum_micros = 0;
        for histogram in histograms {
            counts.iter_mut().enumerate().for_each(|(bucket, count)| *count += histogram.count(bucket));
            sum_micros += histogram.sum_micros();
        }
        self.histogram(labels, bounds.map(|bound| bound.as_secs_f64()), &counts, sum_micros as f64 / 1e6);
    }

    /// Adds the sum of `histograms`.
    pub(super) fn sizes<'a>(
        &mut self,
        labels: &[(&'static str, &str)],
        histograms: impl Iterator<Item = &'a BatchSizes>,
    ) {
        let mut counts = [0; BATCH_BOUNDS.len() + 1];
        let mut sum = 0;
        for histogram in histograms {
            counts.iter_mut().enumerate().for_each(|(bucket, count)| *count += histogram.count(bucket));
            sum += histogram.sum();
        }
        self.histogram(labels, BATCH_BOUNDS.map(|bound| bound as f64), &counts, sum as f64);
    }

    /// Adds a histogram with one count for each of `bounds` and one for what is above them.
    fn histogram(
        &mut self,
        labels: &[(&'static str, &str)],
        bounds: impl IntoIterator<Item = f64>,
        counts: &[u64],
        sum: f64,
    ) {
        let mut below = 0;
        let buckets = bounds.into_iter().zip(counts).map(|(bound, count)| {
            below += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }
}

fn pairs(labels: &[(&'static str, &str)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&'static str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}
