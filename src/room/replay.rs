//! What was said before, for one who asks: `/last` and `/find`, from the history and, beyond it, from
//! the transcript. The asker alone waits; no lock is held but for short steps through the history.

use std::fs::File;

use log::warn;
use rev_lines::RawRevLines;

use super::Room;
use super::client::Peer;
use super::history::Said;
use super::transcript;
use crate::limits::{FOUND_LINES_MAX, REPLAY_BYTES_MAX, REPLAY_LINES_MAX};
use crate::text::clean;

/// Lines of the history that are looked at in one step, with its lock held.
const STEP_LINES: usize = 1000;

/// Bytes of a transcript that are read at once.
const CHUNK_BYTES: usize = 64 << 10;

impl Room {
    /// The last lines that were said, oldest first: `most`, or fewer when there are no more, or
    /// [`REPLAY_LINES_MAX`] or [`REPLAY_BYTES_MAX`] are reached.
    ///
    /// *Blocking*: on the disk, when the history does not go back far enough.
    pub(crate) fn last(&self, asker: &Peer, most: usize) -> Vec<Said> {
        self.recall(asker, most.min(REPLAY_LINES_MAX), |_| true)
    }

    /// The last [`FOUND_LINES_MAX`] lines that hold every one of `words`, in whatever case, oldest
    /// first.
    ///
    /// *Blocking*: on the disk, when the history does not hold as many.
    pub(crate) fn find(&self, asker: &Peer, words: &str) -> Vec<Said> {
        let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
        self.recall(asker, FOUND_LINES_MAX, |body| {
            let body = body.to_lowercase();
            words.iter().all(|word| body.contains(word.as_str()))
        })
    }

    fn recall(&self, asker: &Peer, most: usize, wanted: impl Fn(&str) -> bool) -> Vec<Said> {
        let mut kept = Recall::new(asker, most, &wanted);
        let mut number = u64::MAX;
        loop {
            let history = self.history.lock();
            number = number.min(history.next());
            let step: Vec<Said> = history.before(number, STEP_LINES).cloned().collect();
            drop(history);
            if step.is_empty() || !step.iter().rev().all(|said| kept.take(said)) {
                break;
            }
            number -= step.len() as u64;
        }
        if !kept.is_full()
            && let Some(path) = &self.config.transcript
        {
            let mut written = Recall::new(asker, most, &wanted);
            match File::open(path) {
                Ok(file) => self.read_back(file, |said| written.take(said)),
                Err(error) => warn!("cannot read the transcript {}: {error}", path.display()),
            }
            // The file holds what the history does, and more, unless the disk made trouble.
            if written.found.len() > kept.found.len() {
                kept = written;
            }
        }
        kept.found.reverse();
        kept.found
    }

    /// Gives the lines of a transcript, last first, as long as `take` wants more.
    pub(crate) fn read_back(&self, file: File, mut take: impl FnMut(&Said) -> bool) {
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return;
        }
        for line in RawRevLines::with_capacity(CHUNK_BYTES, file).map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            let Some((time, body)) = transcript::parse(&line) else { continue };
            let stamp = format!("[{}] ", self.config.time_format.format(time.into()));
            if !take(&Said::new(&stamp, &clean(body))) {
                return;
            }
        }
    }
}

/// Lines that were found so far, newest first.
struct Recall<'a, F> {
    asker: &'a Peer,
    most: usize,
    wanted: &'a F,
    found: Vec<Said>,
    bytes: usize,
}

impl<'a, F: Fn(&str) -> bool> Recall<'a, F> {
    fn new(asker: &'a Peer, most: usize, wanted: &'a F) -> Self {
        Recall { asker, most, wanted, found: Vec::new(), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= self.most || self.bytes >= REPLAY_BYTES_MAX
    }

    /// Takes one line more if it is wanted. False when no more are needed, or nobody asks any more.
    fn take(&mut self, said: &Said) -> bool {
        if self.is_full() || self.asker.ending().is_some() {
            return false;
        }
        if (self.wanted)(said.body()) {
            self.bytes += said.text().len();
            self.found.push(said.clone());
        }
        !self.is_full()
    }
}
