//! Watching: the room's public lines for a program that listens along, such as the console.
//!
//! A watcher that is slow misses lines, and is told how many; it never holds the room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::limits::WATCH_LINES_MAX;

/// Every public line as clients see it, without its line end, as an iterator that ends with the
/// server. At most 1024 lines wait; more are skipped and counted.
pub struct Watch {
    lines: Receiver<String>,
    missed: Arc<AtomicU64>,
}

impl Watch {
    /// How many lines were skipped so far because too many waited.
    pub fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }
}

impl Iterator for Watch {
    type Item = String;

    /// *Blocking*: until the next line.
    fn next(&mut self) -> Option<String> {
        self.lines.recv().ok()
    }
}

/// The room's side of a [`Watch`].
pub(crate) struct Sender {
    lines: SyncSender<String>,
    missed: Arc<AtomicU64>,
}

impl Sender {
    /// Shows one line, or counts it as missed. False when the watcher has gone. Never blocks.
    pub(crate) fn show(&self, line: &str) -> bool {
        match self.lines.try_send(line.to_owned()) {
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
