//! The pace of one client: how long it must wait before it may do the next thing.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::limits::{BURST, WORK_BURST, WORK_UNITS};

/// Units a second, with a burst: a token bucket in its virtual-scheduling form (ITU-T I.371,
/// appendix A), so that one instant is all its state.
pub(crate) struct Pace {
    /// The time of one unit, in nanoseconds.
    unit_nanos: u64,
    burst: Duration,
    /// When the next unit would be due if there were no burst.
    due: Option<Instant>,
}

impl Pace {
    /// For what is said: so many lines a second, with a burst of what [`BURST`] allows, where each
    /// started [`TALK_UNIT_BYTES`](crate::limits::TALK_UNIT_BYTES) count as a line. No limit without a
    /// rate.
    pub(crate) fn of_talk(rate_lines: Option<NonZeroU32>) -> Pace {
        let unit_nanos = rate_lines.map_or(0, |lines| 1_000_000_000 / u64::from(lines.get()));
        Pace { unit_nanos, burst: BURST, due: None }
    }

    /// For what is asked for, in [units of work](WORK_UNITS).
    pub(crate) fn of_work() -> Pace {
        Pace { unit_nanos: 1_000_000_000 / WORK_UNITS, burst: WORK_BURST, due: None }
    }

    /// Counts so many units, and gives how long to wait before they are due.
    pub(crate) fn charge(&mut self, units: u64, now: Instant) -> Duration {
        let time = Duration::from_nanos(self.unit_nanos.saturating_mul(units));
        let due = self.due.map_or(now, |due| due.max(now)) + time;
        self.due = Some(due);
        due.saturating_duration_since(now + self.burst)
    }

    /// Whether half of the burst may be used again.
    pub(crate) fn has_rested(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now + self.burst / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_follows_keeps_the_rate() {
        let mut pace = Pace::of_talk(NonZeroU32::new(10));
        let start = Instant::now();
        for line in 0..500 {
            assert_eq!(pace.charge(1, start), Duration::ZERO, "line {line}");
        }
        assert_eq!(pace.charge(1, start), Duration::from_millis(100));
        let later = start + Duration::from_millis(100);
        assert_eq!(pace.charge(1, later), Duration::from_millis(100));
        let rested = later + 2 * BURST;
        for line in 0..500 {
            assert_eq!(pace.charge(1, rested), Duration::ZERO, "rested, line {line}");
        }
        assert!(pace.charge(1, rested) > Duration::ZERO, "rest is not saved up beyond the burst");
    }

    #[test]
    fn work_is_paid_for_by_its_units() {
        let mut pace = Pace::of_work();
        let start = Instant::now();
        let burst = WORK_UNITS * WORK_BURST.as_secs();
        assert_eq!(pace.charge(burst, start), Duration::ZERO);
        let second = pace.charge(WORK_UNITS, start);
        assert!(
            second > Duration::from_millis(990) && second <= Duration::from_secs(1),
            "{second:?}"
        );
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let mut pace = Pace::of_talk(None);
        let now = Instant::now();
        assert!((0..100_000).all(|_| pace.charge(1, now).is_zero()));
    }
}
