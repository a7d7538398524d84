//! The budget for what waits for all clients together: lines and answers in the server, and what the
//! send buffers of the kernel may hold. Counts only; it knows no clients.

use crate::limits::{SEND_BUFFER_BYTES_MAX, SEND_BUFFER_BYTES_MIN};

/// What the kernel makes of the size of a send buffer that it is asked for: socket(7).
const KERNEL_FACTOR: usize = 2;

/// Size to ask for as each client's send buffer, so that so many clients take half of the budget at the
/// most, if they do not go below the least size.
pub(crate) fn send_buffer_bytes(bytes_max: usize, clients_max: usize) -> usize {
    let part = bytes_max / 2 / clients_max.max(1) / KERNEL_FACTOR;
    part.clamp(SEND_BUFFER_BYTES_MIN, SEND_BUFFER_BYTES_MAX)
}

/// See the module's documentation. All numbers are bytes.
pub(crate) struct Budget {
    bytes_max: usize,
    /// What a send buffer holds that was not made larger.
    send_buffer: usize,
    /// What waits in the backlogs of all clients.
    waiting: usize,
    /// What waits in the kernel: what send buffers were made larger by, and those of clients that take too
    /// little.
    granted: usize,
    /// Beyond this much something has to be dropped: the limit, unless nothing could be dropped there.
    trigger: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize, clients_max: usize) -> Budget {
        let send_buffer = KERNEL_FACTOR * send_buffer_bytes(bytes_max, clients_max);
        Budget { bytes_max, send_buffer, waiting: 0, granted: 0, trigger: bytes_max }
    }

    /// Counts what waits for one client: `before` it was changed, and `after`.
    pub(crate) fn changed(&mut self, before: usize, after: usize) {
        self.waiting = (self.waiting + after).saturating_sub(before);
    }

    /// Grants a client the largest send buffer, if that leaves three quarters of the budget to the backlogs.
    pub(crate) fn grant_large_buffer(&mut self) -> bool {
        let more = self.large_buffer_more();
        let grants = more > 0 && self.waiting + self.granted + more <= self.bytes_max / 4;
        self.granted += if grants { more } else { 0 };
        grants
    }

    /// Takes back what a client that leaves was granted.
    pub(crate) fn give_large_buffer_back(&mut self) {
        self.granted -= self.large_buffer_more();
    }

    fn large_buffer_more(&self) -> usize {
        KERNEL_FACTOR * SEND_BUFFER_BYTES_MAX - self.send_buffer
    }

    /// Counts the send buffer of a client that takes too little: it is full.
    pub(crate) fn count_full_buffer(&mut self) {
        self.granted += self.send_buffer;
    }

    /// Counts it no more.
    pub(crate) fn discount_full_buffer(&mut self) {
        self.granted -= self.send_buffer;
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
    fn send_buffers_share_half_of_the_budget() {
        assert_eq!(send_buffer_bytes(1 << 30, 10_000), (1 << 30) / 40_000);
        assert_eq!(send_buffer_bytes(64 << 20, 10_000), SEND_BUFFER_BYTES_MIN);
        assert_eq!(send_buffer_bytes(1 << 30, 1), SEND_BUFFER_BYTES_MAX);
    }

    #[test]
    fn larger_buffers_leave_three_quarters_of_the_budget_to_the_backlogs_and_come_back() {
        let mut budget = Budget::new(2 << 20, 10_000);
        assert!(budget.grant_large_buffer());
        budget.changed(0, 1 << 19);
        assert!(!budget.grant_large_buffer(), "a quarter is taken");
        budget.give_large_buffer_back();
        budget.changed(1 << 19, 0);
        assert!(budget.grant_large_buffer());
    }

    #[test]
    fn beyond_the_limit_something_is_dropped_and_not_at_once_again() {
        let mut budget = Budget::new(100, 1);
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
