//! The pace of one client: how long it must wait before it may say the next line.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::limits::BURST;

/// Lines a second, with a burst of what [`BURST`] allows: a token bucket in its virtual-scheduling
/// form (ITU-T I.371, appendix A), so that one instant is all its state.
pub(crate) struct Pace {
    interval: Duration,
    /// When the next line would be due if there were no burst.
    due: Option<Instant>,
}

impl Pace {
    /// No limit without a rate.
    pub(crate) fn new(rate_lines: Option<NonZeroU32>) -> Pace {
        let interval =
            rate_lines.map_or(Duration::ZERO, |lines| Duration::from_secs(1) / lines.get());
        Pace { interval, due: None }
    }

    /// Counts one line, and gives how long to wait before it is said.
    pub(crate) fn delay(&mut self, now: Instant) -> Duration {
        let due = self.due.map_or(now, |due| due.max(now)) + self.interval;
        self.due = Some(due);
        due.saturating_duration_since(now + BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_follows_keeps_the_rate() {
        let mut pace = Pace::new(NonZeroU32::new(10));
        let start = Instant::now();
        for line in 0..100 {
            assert_eq!(pace.delay(start), Duration::ZERO, "line {line}");
        }
        assert_eq!(pace.delay(start), Duration::from_millis(100));
        let later = start + Duration::from_millis(100);
        assert_eq!(pace.delay(later), Duration::from_millis(100));
        let rested = later + 2 * BURST;
        for line in 0..100 {
            assert_eq!(pace.delay(rested), Duration::ZERO, "rested, line {line}");
        }
        assert!(pace.delay(rested) > Duration::ZERO, "rest is not saved up beyond the burst");
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let mut pace = Pace::new(None);
        let now = Instant::now();
        assert!((0..100_000).all(|_| pace.delay(now).is_zero()));
    }
}
