//! Watching: the room's public lines for a program that listens along, such as the console.
//!
//! A watcher that is slow misses lines, and is told how many; it never holds the room.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::limits::WATCH_LINES_MAX;
use crate::room::wire::LineView;

/// Every public line, as an iterator that ends with the server. At most 1024 lines wait; more are
/// skipped and counted.
pub struct Watch {
    lines: Receiver<Heard>,
    missed: Arc<AtomicU64>,
}

impl Watch {
    /// How many lines were skipped so far because too many waited.
    pub fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }
}

/// A public line: as clients see it, without its line end, when shown with `{}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    line: String,
    stamp_bytes: usize,
}

impl Heard {
    /// Who said it, and what; nothing for a notice, and for what somebody does with `/me`.
    ///
    /// Nobody can be taken for another: no name and no address holds a blank or a `*`.
    pub fn said(&self) -> Option<(&str, &str)> {
        let body = &self.line[self.stamp_bytes..];
        body.split_once(": ").filter(|(name, _)| !name.starts_with('*'))
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.line)
    }
}

impl Iterator for Watch {
    type Item = Heard;

    /// *Blocking*: until the next line.
    fn next(&mut self) -> Option<Heard> {
        self.lines.recv().ok()
    }
}

/// The room's side of a [`Watch`].
pub(crate) struct Sender {
    lines: SyncSender<Heard>,
    missed: Arc<AtomicU64>,
}

impl Sender {
    /// Shows one line, or counts it as missed. False when the watcher has gone. Never blocks.
    pub(crate) fn show(&self, line: &LineView<'_>) -> bool {
        let stamp_bytes = line.text.len() - line.body.len();
        match self.lines.try_send(Heard { line: line.text.to_owned(), stamp_bytes }) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.missed.fetch_add(1, Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

pub(crate) fn pair() -> (Sender, Watch) {
    let (sender, receiver) = sync_channel(WATCH_LINES_MAX);
    let missed = Arc::new(AtomicU64::new(0));
    (Sender { lines: sender, missed: Arc::clone(&missed) }, Watch { lines: receiver, missed })
}
