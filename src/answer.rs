//! Answers of many lines: where their lines come from, and in which pieces they are made. What a client
//! asks for is made by its own reader, a slice at a time, so that it holds up nobody else.

use std::fmt::Write as _;

use crate::limits::{ANSWER_SLICE_BYTES, SCANNED_BYTES_PER_UNIT};

/// Where the lines of an answer come from: a cursor, not a copy.
pub(crate) trait Source {
    /// What follows, for an answer that takes more than one slice.
    fn title(&self) -> String;

    /// Works for a moment, and appends lines until the slice is full.
    ///
    /// *Blocking*: on the disk at the most.
    fn fill(&mut self, slice: &mut Slice) -> Progress;
}

/// Whether an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is more to be done.
    More,
    /// This was all.
    Done,
}

/// Some lines of an answer, each with its LF, and what it has cost to make them.
#[derive(Default)]
pub(crate) struct Slice {
    pub(crate) text: String,
    /// In the units of the pace of what is asked for.
    pub(crate) units: u64,
}

impl Slice {
    /// Appends a line that was said before, as it was shown then.
    pub(crate) fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Appends a line of the server's.
    pub(crate) fn tell(&mut self, text: &str) {
        writeln!(self.text, "*** {text}").expect("a String takes everything");
    }

    /// Whether nothing more should be appended.
    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= ANSWER_SLICE_BYTES
    }

    /// Counts bytes that were looked through.
    pub(crate) fn charge_scanned(&mut self, bytes: usize) {
        self.units += bytes as u64 / SCANNED_BYTES_PER_UNIT + 1;
    }
}
