//! What was said before, for one who asks: `/last` and `/find`, from the history and, beyond it, from
//! the transcript. The asker alone waits; no lock is held but for short steps through the history.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use log::warn;
use parking_lot::MutexGuard;

use super::backwards::Backwards;
use super::client::Peer;
use super::history::Said;
use super::{Room, history, transcript};
use crate::limits::{FOUND_LINES_MAX, HISTORY_BYTES_MAX, REPLAY_BYTES_MAX, REPLAY_LINES_MAX};
use crate::stamp::TimeFormat;
use crate::text::clean;

/// How often one who waits for its turn looks whether it is still wanted.
const TURN_WAIT: Duration = Duration::from_millis(100);

/// Lines of the history that are looked at in one step, with its lock held.
const STEP_LINES: usize = 1000;

impl Room {
    /// The last lines that were said, oldest first: `most`, or fewer when there are no more, or
    /// [`REPLAY_LINES_MAX`] or [`REPLAY_BYTES_MAX`] are reached.
    ///
    /// *Blocking*: on the disk, when the history does not go back far enough.
    pub(crate) fn last(&self, asker: &Peer, most: usize) -> Vec<Said> {
        self.recall(asker, most.min(REPLAY_LINES_MAX), &|_: &str| true)
    }

    /// The last [`FOUND_LINES_MAX`] lines that hold every one of `words`, in whatever case, oldest
    /// first.
    ///
    /// *Blocking*: on the disk, when the history does not hold as many.
    pub(crate) fn find(&self, asker: &Peer, words: &str) -> Vec<Said> {
        let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
        self.recall(asker, FOUND_LINES_MAX, &|body: &str| {
            let body = body.to_lowercase();
            words.iter().all(|word| body.contains(word.as_str()))
        })
    }

    fn recall(&self, asker: &Peer, most: usize, wanted: &dyn Fn(&str) -> bool) -> Vec<Said> {
        let mut kept = Recall::new(most, REPLAY_BYTES_MAX, wanted);
        self.recall_from_history(asker, &mut kept);
        if !kept.is_full()
            && let Some(path) = &self.config.transcript
            && let Some(_turn) = self.take_turn(asker)
        {
            let mut written = Recall::new(most, REPLAY_BYTES_MAX, wanted);
            let goes_on = || asker.dismissed().is_none();
            written.read_file(path, u64::MAX, &self.config.time_format, goes_on);
            // The file holds what the history does, and more, unless the disk made trouble.
            if written.found.len() > kept.found.len() {
                kept = written;
            }
        }
        kept.found.reverse();
        kept.found
    }

    fn recall_from_history(&self, asker: &Peer, recall: &mut Recall<'_>) {
        let mut number = u64::MAX;
        while !recall.is_full() && asker.dismissed().is_none() {
            let history = self.history.lock();
            number = number.min(history.next());
            let step: Vec<Said> = history.before(number, STEP_LINES).cloned().collect();
            drop(history);
            if step.is_empty() {
                return;
            }
            step.iter().rev().for_each(|said| recall.take(said.body(), || said.clone()));
            number -= step.len() as u64;
        }
    }

    /// One search of the file at a time, so that they cost one processor at the most; none for an
    /// asker that was asked to end meanwhile.
    fn take_turn(&self, asker: &Peer) -> Option<MutexGuard<'_, ()>> {
        while asker.dismissed().is_none() {
            if let Some(turn) = self.searching.try_lock_for(TURN_WAIT) {
                return Some(turn);
            }
        }
        None
    }

    /// Fills the history from what the transcript ends with: no more of the file than could be kept,
    /// whatever it is that stands in it.
    pub(crate) fn remember(&self, transcript: &Path) {
        let lines_max = history::lines_max(self.config.history_lines);
        let mut last = Recall::new(lines_max, HISTORY_BYTES_MAX, &|_: &str| true);
        last.read_file(transcript, HISTORY_BYTES_MAX as u64, &self.config.time_format, || true);
        let mut history = self.history.lock();
        last.found.into_iter().rev().for_each(|said| history.push(said));
    }
}

/// Lines that were found so far, newest first.
struct Recall<'a> {
    lines_max: usize,
    bytes_max: usize,
    wanted: &'a dyn Fn(&str) -> bool,
    found: Vec<Said>,
    bytes: usize,
}

impl<'a> Recall<'a> {
    fn new(lines_max: usize, bytes_max: usize, wanted: &'a dyn Fn(&str) -> bool) -> Recall<'a> {
        Recall { lines_max, bytes_max, wanted, found: Vec::new(), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= self.lines_max || self.bytes >= self.bytes_max
    }

    /// Takes one line more, if it is wanted and there is room.
    fn take(&mut self, body: &str, said: impl FnOnce() -> Said) {
        if !self.is_full() && (self.wanted)(body) {
            let said = said();
            self.bytes += said.text().len();
            self.found.push(said);
        }
    }

    /// Takes the wanted lines of the last `bytes_max` bytes of a transcript, as long as it `goes_on`.
    fn read_file(
        &mut self,
        path: &Path,
        bytes_max: u64,
        time_format: &TimeFormat,
        goes_on: impl Fn() -> bool,
    ) {
        let (file, length) = match File::open(path).and_then(|file| Ok((file.metadata()?, file))) {
            Ok((metadata, file)) if metadata.is_file() => (file, metadata.len()),
            Ok(_) => return,
            Err(error) => return warn!("cannot read the transcript {}: {error}", path.display()),
        };
        let until = length.saturating_sub(bytes_max);
        let mut lines = Backwards::new(file);
        while lines.position() >= until && !self.is_full() && goes_on() {
            let Some(line) = lines.next() else { return };
            let line = String::from_utf8_lossy(&line);
            let Some((time, body)) = transcript::parse(&line) else { continue };
            self.take(body, || {
                let stamp = format!("[{}] ", time_format.format(time.into()));
                Said::new(&stamp, &clean(body))
            });
        }
    }
}
