//! The series of one metric, and their text.

use bytes::Bytes;
use prometheus::TextEncoder;
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};

use crate::metrics::{BATCH_BOUNDS, BUCKETS, BatchSizes, Histogram};

/// Where in its family a series stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is among the first ones.
    First,
    /// Others came before.
    Later,
}

/// The series of one family, each with its labels.
pub(super) struct Series {
    kind: MetricType,
    metrics: Vec<Metric>,
}

impl Series {
    /// None yet.
    pub(super) fn new(kind: MetricType) -> Self {
        Self { kind, metrics: Vec::new() }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }

    /// Their text. The first of a family carry its help and type.
    pub(super) fn encode(self, name: &str, help: &str, place: Place) -> Bytes {
        let mut message = MetricFamily::default();
        message.set_name(name.to_owned());
        message.set_help(help.to_owned());
        message.set_field_type(self.kind);
        message.set_metric(self.metrics);
        let text = TextEncoder::new().encode_to_string(&[message]).expect("a family with a name and series is encoded");
        let header = match place {
            Place::First => 0,
            Place::Later => header_len(&text),
        };
        Bytes::from(text).slice(header..)
    }

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

/// Length of the comment lines at the start of `text`.
fn header_len(text: &str) -> usize {
    text.split_inclusive('\n').take_while(|line| line.starts_with('#')).map(str::len).sum()
}
