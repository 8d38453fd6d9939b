//! The metrics as Prometheus text, rendered piece by piece while the client takes them.
//!
//! With ten thousand backends the text has tens of megabytes. Rendered at once it would stop the control thread for
//! a good part of a second, and every client that reads slowly would hold a copy. So a scrape holds only references to
//! what it will read, and renders the next piece when the connection has room for it and everything else that the
//! control thread has to do has had its turn. The series of one piece belong to one moment, those of different pieces
//! need not.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::task::yield_now;

use super::family::{Family, Subject};
use super::series::{Place, Series};
use super::subjects::Subjects;
use super::{backends, listeners, process};
use crate::pool::registry::Registry;
use crate::pool::snapshot::Snapshot;

/// Backends in one piece: at most about 100 KiB of text, rendered in less than a millisecond.
const PIECE: usize = 64;

/// One scrape under way. Gives the text in order, as an iterator and as a response body.
pub(in crate::admin) struct Exposition {
    subjects: Subjects,
    /// The family that is next, by its position.
    family: usize,
    /// The subject within it that is next.
    subject: usize,
    /// Lets the rest of the control thread run before the next piece, even if the client reads as fast as we write.
    pause: Option<Pause>,
}

type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Exposition {
    /// A scrape of what there is now.
    pub(in crate::admin) fn new(snapshot: &Snapshot, registry: &Arc<Registry>) -> Self {
        Self { subjects: Subjects::new(snapshot, registry), family: 0, subject: 0, pause: None }
    }
}

impl Iterator for Exposition {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let family = families().nth(self.family)?;
            let from = self.subject;
            let mut series = Series::new(family.kind);
            match collect(&family.subject, &self.subjects, from, &mut series) {
                Some(next) => self.subject = next,
                None => (self.family, self.subject) = (self.family + 1, 0),
            }
            if !series.is_empty() {
                let place = if from == 0 { Place::First } else { Place::Later };
                return Some(series.encode(family.name, family.help, place));
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

/// Every metric, in the order of the text.
fn families() -> impl Iterator<Item = &'static Family> {
    [listeners::FAMILIES, backends::FAMILIES, process::FAMILIES].into_iter().flatten()
}

/// Collects the series of the next subjects, those at `from` and after; the subject after them, if there is one.
fn collect(subject: &Subject, all: &Subjects, from: usize, series: &mut Series) -> Option<usize> {
    match subject {
        Subject::Process(read) => {
            read(all, series);
            None
        }
        Subject::Sessions(read) => collect_piece(&all.tcp_listeners, from, |listener| read(listener, series)),
        Subject::Flows(read) => collect_piece(&all.udp_listeners, from, |listener| read(listener, series)),
        Subject::Datagrams(read) => collect_piece(&all.datagram_backends, from, |backend| read(backend, series)),
        Subject::Backends(read) => collect_piece(&all.backends, from, |backend| read(backend, series)),
        Subject::Configured(read) => collect_piece(&all.configured, from, |backend| read(backend, series)),
    }
}

fn collect_piece<T>(subjects: &[T], from: usize, read: impl FnMut(&T)) -> Option<usize> {
    let to = subjects.len().min(from + PIECE);
    subjects[from..to].iter().for_each(read);
    (to < subjects.len()).then_some(to)
}
