//! Records as lines of text, in the format of [`fmt`](tracing_subscriber::fmt), at about half of its cost.
//!
//! An access record has a dozen fields, and its formatting is most of what it costs a worker. This writes what
//! `tracing_subscriber` writes without colors, which the tests compare, but for control characters: there they stay as they
//! are in values that are shown by `Display`, and here they are made visible everywhere. Spans are left out: there are none.

use std::fmt::{self, Debug, Write};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// `TIME LEVEL TARGET: MESSAGE FIELD=VALUE ...`
#[derive(Debug)]
pub(super) struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        write!(writer, "{}", humantime::format_rfc3339_micros(SystemTime::now()))?;
        writer.write_str(level(*metadata.level()))?;
        writer.write_str(metadata.target())?;
        writer.write_str(": ")?;
        let mut fields = Fields { writer, is_first: true, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        fields.writer.write_char('\n')
    }
}

/// The level between two spaces, aligned to the right.
fn level(level: Level) -> &'static str {
    match level {
        Level::TRACE => " TRACE ",
        Level::DEBUG => " DEBUG ",
        Level::INFO => "  INFO ",
        Level::WARN => "  WARN ",
        Level::ERROR => " ERROR ",
    }
}

/// Writes fields as they are visited. The first error stands.
struct Fields<'w> {
    writer: Writer<'w>,
    is_first: bool,
    result: fmt::Result,
}

impl Fields<'_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.result.is_ok() {
            self.result = self.try_write(field, value);
        }
    }

    fn try_write(&mut self, field: &Field, value: fmt::Arguments<'_>) -> fmt::Result {
        if !std::mem::replace(&mut self.is_first, false) {
            self.writer.write_char(' ')?;
        }
        if field.name() != "message" {
            self.writer.write_str(field.name().trim_start_matches("r#"))?;
            self.writer.write_char('=')?;
        }
        Escaped(&mut self.writer).write_fmt(value)
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, format_args!("{value:?}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.write(field, format_args!("{value}"));
        } else {
            self.write(field, format_args!("{value:?}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.write(field, format_args!("{value:?}"));
    }
}

/// Makes control characters visible: what comes from outside must not steer the terminal of who reads the log. Line ends
/// stay, for backtraces have them.
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let steers = |letter: char| {
            matches!(letter, '\x07' | '\x08' | '\x0c' | '\x1b' | '\x7f') || matches!(letter, '\u{80}'..='\u{9f}')
        };
        // Nothing else begins with a byte above 0xc1 and below 0xc3, and the rest is ASCII.
        let is_plain = |byte: u8| byte >= b' ' && byte != 0x7f && byte != 0xc2 || byte == b'\n';
        if text.bytes().all(is_plain) {
            return self.0.write_str(text);
        }
        for letter in text.chars() {
            match letter {
                '\u{80}'..='\u{9f}' => write!(self.0, "\\u{{{:x}}}", u32::from(letter))?,
                letter if steers(letter) => write!(self.0, "\\x{:02x}", u32::from(letter))?,
                letter => self.0.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry::Registry;

    use super::Text;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics here").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn some_records() {
        let (absent, present): (Option<&str>, Option<&str>) = (None, Some("10.0.0.1:5432"));
        tracing::info!(
            target: "evenkeel::access",
            listener = "pg",
            client = %"[::1]:42430",
            backend = present,
            pool = absent,
            connect_ms = Some(0.049),
            total_ms = 12.0,
            bytes_up = 18_446_744_073_709_551_615_u64,
            below = -3,
            is_it = true,
            reason = ?Some("quo\"ted"),
            "session closed"
        );
        tracing::warn!(text = "tab\there", "odd {}", "\x7f");
        tracing::error!(r#type = "x", "a\nb");
        tracing::debug!("only a message");
        tracing::trace!(only = "a field");
    }

    /// The lines, without their times.
    fn lines(kept: &Kept) -> Vec<String> {
        let bytes = kept.0.lock().expect("no test panics here").clone();
        let text = String::from_utf8(bytes).expect("text");
        let is_time = |word: &str| word.len() == 27 && word.starts_with("20") && word.ends_with('Z');
        let without_time = |line: &str| match line.split_once(' ') {
            Some((time, rest)) if is_time(time) => rest.to_owned(),
            _ => line.to_owned(),
        };
        text.lines().map(without_time).collect()
    }

    #[test]
    fn a_line_is_the_one_that_the_library_writes() {
        let (ours, theirs) = (Kept::default(), Kept::default());
        let kept = |kept: &Kept| {
            let kept = kept.clone();
            move || kept.clone()
        };
        let layer = fmt::layer().with_writer(kept(&ours)).with_ansi(false).event_format(Text);
        tracing::subscriber::with_default(Registry::default().with(layer), some_records);
        let layer = fmt::layer().with_writer(kept(&theirs)).with_ansi(false);
        tracing::subscriber::with_default(Registry::default().with(layer), some_records);
        let (ours, theirs) = (lines(&ours), lines(&theirs));
        assert!(
            ours.len() >= 6 && ours[0].starts_with(" INFO evenkeel::access: session closed listener=\"pg\""),
            "{ours:?}"
        );
        assert_eq!(ours, theirs);
    }

    #[test]
    fn control_characters_are_visible_in_every_value() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = fmt::layer().with_writer(move || writer.clone()).with_ansi(false).event_format(Text);
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            tracing::warn!(error = %io::Error::other("\x1b[31mred \u{9b} or \x07"), "odd");
        });
        let expected = " WARN evenkeel::logging::text::tests: odd error=\\x1b[31mred \\u{9b} or \\x07";
        assert_eq!(lines(&kept), [expected]);
    }
}
