//! The budget for what waits for all clients together: lines and answers in the server, and what the
//! larger send buffers of the kernel may hold. Counts only; it knows no clients.

/// See the module's documentation. All numbers are bytes.
pub(crate) struct Budget {
    bytes_max: usize,
    /// What waits in the backlogs of all clients.
    waiting: usize,
    /// What send buffers were made larger by.
    granted: usize,
    /// Beyond this much something has to be dropped: the limit, unless nothing could be dropped there.
    trigger: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Budget {
        Budget { bytes_max, waiting: 0, granted: 0, trigger: bytes_max }
    }

    /// Counts what waits for one client: `before` it was changed, and `after`.
    pub(crate) fn changed(&mut self, before: usize, after: usize) {
        self.waiting = (self.waiting + after).saturating_sub(before);
    }

    /// Grants a larger send buffer, if so many bytes more leave half of the budget to the backlogs.
    pub(crate) fn grant(&mut self, bytes: usize) -> bool {
        let grants = self.waiting + self.granted + bytes <= self.bytes_max / 2;
        self.granted += if grants { bytes } else { 0 };
        grants
    }

    /// Takes back what a client that leaves was granted.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.granted -= bytes;
    }

    /// Whether something must be dropped.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.waiting + self.granted > self.trigger
    }

    /// What may wait once something was dropped: less than the limit, so that dropping is rare.
    pub(crate) fn target(&self) -> usize {
        self.bytes_max.saturating_sub(self.granted) / 4 * 3
    }

    /// Something was dropped. Where that was not enough, since lines that were begun stay, it is not
    /// tried again before an eighth of the limit more waits.
    pub(crate) fn trimmed(&mut self) {
        self.trigger = self.bytes_max.max(self.waiting + self.granted + self.bytes_max / 8);
    }
}

/// How much may wait for one client so that no more than `target` wait for all, if the ones with the
/// most give up first. Sorts `waiting`, which is what waits for each.
pub(crate) fn level(waiting: &mut [usize], target: usize) -> usize {
    waiting.sort_unstable();
    let mut rest = target;
    for (position, &bytes) in waiting.iter().enumerate() {
        let clients = waiting.len() - position;
        if bytes > rest / clients {
            return rest / clients;
        }
        rest -= bytes;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_the_highest_at_which_all_fit() {
        assert_eq!(level(&mut [], 0), usize::MAX);
        assert_eq!(level(&mut [3, 1, 2], 6), usize::MAX);
        assert_eq!(level(&mut [3, 1, 2], 5), 2);
        assert_eq!(level(&mut [100, 10, 10, 10], 60), 30);
        assert_eq!(level(&mut [100, 100, 10], 60), 25);
        assert_eq!(level(&mut [5, 5], 0), 0);
    }

    #[test]
    fn larger_buffers_take_half_of_the_budget_at_the_most_and_come_back() {
        let mut budget = Budget::new(100);
        assert!(budget.grant(30));
        budget.changed(0, 20);
        assert!(!budget.grant(1));
        budget.give_back(30);
        assert!(budget.grant(30));
    }

    #[test]
    fn beyond_the_limit_something_is_dropped_and_not_at_once_again() {
        let mut budget = Budget::new(100);
        budget.changed(0, 100);
        assert!(!budget.is_exceeded());
        budget.changed(10, 11);
        assert!(budget.is_exceeded());
        assert_eq!(budget.target(), 75);
        budget.changed(101, 75);
        budget.trimmed();
        budget.changed(0, 26);
        assert!(budget.is_exceeded(), "the limit holds again");
        budget.trimmed();
        assert!(!budget.is_exceeded(), "what cannot be dropped is not tried for at every line");
    }
}
