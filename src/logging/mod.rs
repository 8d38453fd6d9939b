//! Logs: structured records on stderr, as text or as JSON.
//!
//! A record is formatted where it is made, left in a buffer without waiting, and written by a thread of its own, see
//! `queue`. When stderr is stuck the buffers fill and records are dropped and counted: a worker never waits for a log. The
//! access log is an ordinary target, `evenkeel::access`, so that a filter can switch it off or let only it through.

mod queue;
mod text;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::{env, panic};

use clap::ValueEnum;
use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::{EnvFilter, fmt, reload};

use self::queue::{LogThread, Queue};
use crate::config::{self, BadLogFilter};

/// The environment variable whose filter goes before that of the configuration.
pub const FILTER_VARIABLE: &str = "EVENKEEL_LOG";

/// What a record looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// A line for people: time in UTC, level, target, message, fields.
    #[default]
    Text,
    /// One flat JSON object a line: `timestamp`, `level`, `target`, `message` and every field beside them.
    Json,
}

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter in the environment is not one that the configuration could have.
    #[error("{FILTER_VARIABLE} in the environment: {0}")]
    Environment(#[from] BadLogFilter),
    /// The filter is not in the syntax of [`EnvFilter`].
    #[error("log filter {filter:?}: {error}")]
    Filter {
        /// As written.
        filter: String,
        /// What is wrong with it.
        error: ParseError,
    },
    /// The process has logging already.
    #[error("logging is set up already")]
    Twice(#[from] SetGlobalDefaultError),
    /// The subscriber is gone.
    #[error("the log filter cannot be changed: {0}")]
    Reload(#[from] reload::Error),
    /// There is no thread to write records.
    #[error("cannot start the log thread: {0}")]
    Thread(#[from] io::Error),
}

/// Keeps logging alive. Dropping it writes what is left, waiting about a second for a stderr that is stuck.
#[derive(Debug)]
pub struct Guard {
    filter: FilterHandle,
    dropped: Arc<AtomicU64>,
    _log_thread: LogThread,
}

/// Starts logging for the whole process, panics included.
///
/// `config_filter` holds directives in the syntax of [`EnvFilter`], such as `info,evenkeel::access=off`; the variable
/// [`FILTER_VARIABLE`] replaces it when it is set and not empty, and is held to the same rule as the key `log`.
///
/// # Errors
/// When the filter does not parse, or when logging was started before.
pub fn init(format: Format, config_filter: &str) -> Result<Guard, LogError> {
    let filter = FilterHandle::parse(environment().as_deref(), config_filter)?;
    let (queue, log_thread) = queue::start(io::stderr())?;
    let dropped = queue.dropped();
    let (layer, handle) = reload::Layer::new(filter);
    let color = if colored() { Color::On } else { Color::Off };
    tracing::subscriber::set_global_default(Registry::default().with(layer).with(records(format, color, queue)))?;
    log_panics();
    Ok(Guard { filter: FilterHandle(handle), dropped, _log_thread: log_thread })
}

impl Guard {
    /// Filters by `config_filter` from now on, unless the environment decides.
    ///
    /// # Errors
    /// When the filter does not parse; the old one stays.
    pub fn set_filter(&self, config_filter: &str) -> Result<(), LogError> {
        self.filter.set(environment().as_deref(), config_filter)
    }

    /// Counts the records dropped since the start because stderr took no more.
    pub fn dropped_records(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }
}

/// Changes the filter of a subscriber.
#[derive(Debug)]
struct FilterHandle(reload::Handle<EnvFilter, Registry>);

impl FilterHandle {
    fn set(&self, environment: Option<&str>, config_filter: &str) -> Result<(), LogError> {
        Ok(self.0.reload(Self::parse(environment, config_filter)?)?)
    }

    fn parse(environment: Option<&str>, config_filter: &str) -> Result<EnvFilter, LogError> {
        let filter = match environment {
            Some(filter) => config::log_filter(filter)?,
            None => config_filter.to_owned(),
        };
        EnvFilter::try_new(&filter).map_err(|error| LogError::Filter { filter, error })
    }
}

fn environment() -> Option<String> {
    let filter = env::var_os(FILTER_VARIABLE).filter(|filter| !filter.is_empty())?;
    Some(filter.to_string_lossy().into_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Color {
    On,
    Off,
}

/// A terminal gets colors, unless its user asks every program for none (no-color.org).
fn colored() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The layer that formats records into `queue`.
fn records<S>(format: Format, color: Color, queue: Arc<Queue>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(queue).with_ansi(color == Color::On);
    match format {
        Format::Text if color == Color::On => layer.boxed(),
        Format::Text => layer.event_format(text::Text).boxed(),
        Format::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    }
}

/// Makes a panic a record like any other: the default hook writes to stderr from the thread that panics, which
/// would break the JSON and could stop a worker.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(tracing::field::display);
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let reason = text.unwrap_or("a value that is no text");
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
        tracing::error!(location, reason, backtrace, "panicked");
    }));
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;

    use super::*;

    /// Hands what is written to the test.
    struct Pipe(mpsc::Sender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `log` leaves under this format and filter.
    fn logged(format: Format, filter: &str, log: impl FnOnce(&FilterHandle)) -> Vec<String> {
        let (sender, written) = mpsc::channel();
        let (queue, log_thread) = queue::start(Pipe(sender)).expect("a thread");
        let (layer, handle) = reload::Layer::new(FilterHandle::parse(None, filter).expect("the filter is valid"));
        let subscriber = Registry::default().with(layer).with(records(format, Color::Off, queue));
        tracing::subscriber::with_default(subscriber, || log(&FilterHandle(handle)));
        drop(log_thread);
        let bytes = written.into_iter().flatten().collect();
        String::from_utf8(bytes).expect("records are text").lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_json_record_is_one_flat_object() {
        let lines = logged(Format::Json, "info", |_| {
            let _span = tracing::info_span!("outer", hidden = 1).entered();
            tracing::info!(target: "evenkeel::access", listener = "pg", bytes_in = 7_u64, "session closed");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        let record: serde_json::Value = serde_json::from_str(&lines[0]).expect("the record is JSON");
        let object = record.as_object().expect("the record is an object");
        assert_eq!(object["message"], "session closed");
        assert_eq!(object["target"], "evenkeel::access");
        assert_eq!(object["level"], "INFO");
        assert_eq!(object["listener"], "pg");
        assert_eq!(object["bytes_in"], 7);
        assert!(object["timestamp"].as_str().is_some_and(|time| time.contains('T') && time.ends_with('Z')), "{record}");
        assert_eq!(object.len(), 6, "{record}");
    }

    #[test]
    fn a_text_record_is_one_line_without_escapes() {
        let lines = logged(Format::Text, "info", |_| tracing::warn!(backend = "a:1", "backend down"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("WARN") && lines[0].contains("backend down backend=\"a:1\""), "{lines:?}");
        assert!(!lines[0].contains('\x1b'), "{lines:?}");
    }

    #[test]
    fn a_reload_changes_the_filter_and_a_bad_one_does_not() {
        let lines = logged(Format::Text, "info,evenkeel::access=off", |filter| {
            tracing::info!(target: "evenkeel::access", "first");
            filter.set(None, "warn,evenkeel::access=info").expect("the filter is valid");
            tracing::info!(target: "evenkeel::access", "second");
            let error = filter.set(None, "info,=nonsense=").expect_err("the filter is not valid");
            assert!(error.to_string().contains("info,=nonsense="), "{error}");
            tracing::info!(target: "evenkeel::access", "third");
            tracing::info!("fourth");
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("second") && lines[1].ends_with("third"), "{lines:?}");
    }

    #[test]
    fn the_environment_goes_before_the_configuration() {
        let filter = FilterHandle::parse(Some(" debug "), "error").expect("both are valid");
        assert_eq!(filter.to_string(), "debug");
        let error = FilterHandle::parse(Some("inof"), "error").expect_err("the environment's filter is not valid");
        let expected = "EVENKEEL_LOG in the environment: `inof` is not a log level: did you mean `info`?";
        assert_eq!(error.to_string(), expected);
    }
}
