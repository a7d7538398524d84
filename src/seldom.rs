//! Log lines that a storm would multiply: said at most once in a while, with how many were not.

use std::fmt;
use std::time::Instant;

use crate::limits::LOG_INTERVAL;

/// When a log line of one kind may be written again.
#[derive(Default)]
pub(crate) struct Seldom {
    last: Option<Instant>,
    left_out: u64,
}

/// How many lines were left out, as the end of the next one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeftOut(u64);

impl Seldom {
    /// Whether it is time for the next line; if it is not, the line is counted as left out.
    pub(crate) fn due(&mut self) -> Option<LeftOut> {
        self.due_at(Instant::now())
    }

    fn due_at(&mut self, now: Instant) -> Option<LeftOut> {
        if self.last.is_some_and(|last| now < last + LOG_INTERVAL) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(LeftOut(std::mem::take(&mut self.left_out)))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            left_out => write!(f, " (and {left_out} times more since it was last said)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_gives_one_line_in_a_while_and_loses_no_count() {
        let mut seldom = Seldom::default();
        let start = Instant::now();
        assert_eq!(seldom.due_at(start), Some(LeftOut(0)));
        assert_eq!(seldom.due_at(start), None);
        assert_eq!(seldom.due_at(start), None);
        let next = seldom.due_at(start + LOG_INTERVAL).unwrap();
        assert_eq!(next.to_string(), " (and 2 times more since it was last said)");
        assert_eq!(seldom.due_at(start + 2 * LOG_INTERVAL).unwrap().to_string(), "");
    }
}
