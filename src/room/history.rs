//! The history: the last lines that were said, in memory, bounded in lines and in bytes.
//!
//! Only the delivery thread appends, before anybody is shown the lines. Each line has a number that
//! never changes, so that readers can go through it in small steps without holding anybody up.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;
use std::ops::Range;
use std::sync::Arc;

use super::wire::Lines;
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_LINES_MAX};

/// One line as clients see it, without its line end.
#[derive(Clone)]
pub(crate) struct Said {
    text: Arc<str>,
    /// Where the line begins, after its stamp.
    body: usize,
}

impl Said {
    pub(crate) fn new(stamp: &str, body: &str) -> Said {
        Said { text: [stamp, body].concat().into(), body: stamp.len() }
    }

    /// The line with its stamp.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The line without its stamp.
    pub(crate) fn body(&self) -> &str {
        &self.text[self.body..]
    }
}

/// How many lines are kept, so that newcomers can be shown so many: none, if they are shown none.
pub(crate) fn lines_max(shown: usize) -> usize {
    if shown == 0 { 0 } else { shown.max(HISTORY_LINES_MAX) }
}

/// See the module's documentation.
pub(crate) struct History {
    lines: VecDeque<Said>,
    /// The number of the line that is appended next.
    next: u64,
    bytes: usize,
    lines_max: usize,
}

impl History {
    /// An empty history that is good for showing `shown` lines; none are kept when that is 0.
    pub(crate) fn new(shown: usize) -> History {
        History { lines: VecDeque::new(), next: 0, bytes: 0, lines_max: lines_max(shown) }
    }

    /// The number of the next line.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The number of the first line that is kept, or of the next one when none is.
    pub(crate) fn first(&self) -> u64 {
        self.next - self.lines.len() as u64
    }

    /// The lines with these numbers, oldest first, until they have about so many bytes: one at least, if
    /// there is one.
    pub(crate) fn step(&self, numbers: Range<u64>, bytes_max: usize) -> Vec<Said> {
        first_bytes(self.range(numbers), bytes_max)
    }

    /// Like [`History::step`], from the last of them back.
    pub(crate) fn step_back(&self, numbers: Range<u64>, bytes_max: usize) -> Vec<Said> {
        first_bytes(self.range(numbers).rev(), bytes_max)
    }

    /// Whether the last `most` lines have at most so many bytes.
    pub(crate) fn fits(&self, most: usize, bytes_max: usize) -> bool {
        let mut bytes = 0;
        self.lines.iter().rev().take(most).all(|said| {
            bytes += said.text.len();
            bytes <= bytes_max
        })
    }

    /// Appends what was said in a batch. What is too much goes with the next one: newcomers of this
    /// batch are still to be shown what stands before them.
    pub(crate) fn append(&mut self, lines: &Lines) {
        self.trim();
        for line in lines.iter().filter(|line| line.recorded) {
            self.add(Said { text: line.text.into(), body: line.text.len() - line.body.len() });
        }
    }

    pub(crate) fn push(&mut self, said: Said) {
        self.add(said);
        self.trim();
    }

    fn add(&mut self, said: Said) {
        if self.lines_max == 0 {
            return;
        }
        self.bytes += said.text.len();
        self.lines.push_back(said);
        self.next += 1;
    }

    fn trim(&mut self) {
        while self.lines.len() > self.lines_max || self.bytes > HISTORY_BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.text.len();
        }
    }

    /// At most the last `most` lines before the one with this number, oldest first.
    pub(crate) fn before(&self, number: u64, most: usize) -> impl Iterator<Item = &Said> {
        self.range(number.saturating_sub(most as u64)..number)
    }

    fn range(&self, numbers: Range<u64>) -> Iter<'_, Said> {
        let place = |number: u64| {
            let place = usize::try_from(number.saturating_sub(self.first())).unwrap_or(usize::MAX);
            place.min(self.lines.len())
        };
        self.lines.range(place(numbers.start)..place(numbers.end))
    }
}

/// Clones of the first of these lines, until they have about so many bytes.
fn first_bytes<'a>(lines: impl Iterator<Item = &'a Said>, bytes_max: usize) -> Vec<Said> {
    let mut bytes = 0;
    let fits = |said: &&Said| {
        let fits = bytes < bytes_max;
        bytes += said.text.len();
        fits
    };
    lines.take_while(fits).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(shown: usize, bodies: impl IntoIterator<Item = String>) -> History {
        let mut history = History::new(shown);
        bodies.into_iter().for_each(|body| history.push(Said::new("[now] ", &body)));
        history
    }

    fn bodies(history: &History, number: u64, most: usize) -> Vec<&str> {
        history.before(number, most).map(Said::body).collect()
    }

    #[test]
    fn the_last_lines_before_any_one_are_found_by_number() {
        let history = filled(20, (0..5).map(|number| number.to_string()));
        assert_eq!(history.next(), 5);
        assert_eq!(bodies(&history, 5, 2), ["3", "4"]);
        assert_eq!(bodies(&history, 3, 2), ["1", "2"]);
        assert_eq!(bodies(&history, 1, 2), ["0"]);
        assert_eq!(bodies(&history, 0, 2), [""; 0]);
        assert_eq!(bodies(&history, 9, 9), ["0", "1", "2", "3", "4"]);
        assert_eq!(history.before(1, 1).next().unwrap().text(), "[now] 0");
    }

    #[test]
    fn it_is_bounded_in_lines_and_in_bytes() {
        let lines_max = HISTORY_LINES_MAX as u64;
        let history = filled(20, (0..=lines_max).map(|number| number.to_string()));
        assert_eq!(history.lines.len(), HISTORY_LINES_MAX);
        assert_eq!(bodies(&history, 2, 9), ["1"], "line 0 has gone");
        let body = "x".repeat(4 << 10);
        let history = filled(20, (0..HISTORY_BYTES_MAX / body.len()).map(|_| body.clone()));
        assert!(history.bytes <= HISTORY_BYTES_MAX);
        assert!(history.bytes > HISTORY_BYTES_MAX - 2 * body.len());
    }

    #[test]
    fn what_stands_before_a_line_of_the_last_batch_is_kept_however_long_the_batch_is() {
        let mut history = filled(20, (0..20).map(|number| number.to_string()));
        let mut batch = Lines::new();
        (0..2 * HISTORY_LINES_MAX).for_each(|_| batch.push(("[now] ", 0), true, &["x"]));
        history.append(&batch);
        assert_eq!(bodies(&history, 20, 2), ["18", "19"]);
        history.append(&Lines::new());
        assert_eq!(history.lines.len(), HISTORY_LINES_MAX);
    }

    #[test]
    fn more_is_kept_when_more_is_shown_and_nothing_when_nothing_is() {
        let shown = HISTORY_LINES_MAX + 7;
        let history = filled(shown, (0..2 * shown).map(|number| number.to_string()));
        assert_eq!(history.lines.len(), shown);
        assert_eq!(filled(0, ["a".to_owned()]).lines.len(), 0);
    }
}
