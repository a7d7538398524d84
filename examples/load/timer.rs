//! A steady beat that an epoll instance can wait for, finer than the milliseconds of its time-out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer of the system, readable when it has beaten.
pub(crate) struct Timer(OwnedFd);

impl Timer {
    /// A timer that beats `rate` times a second from now on; none for 0.
    ///
    /// # Errors
    /// When the system refuses it.
    pub(crate) fn beating(rate: u32) -> io::Result<Option<Self>> {
        if rate == 0 {
            return Ok(None);
        }
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let nanos = 1_000_000_000 / i64::from(rate);
        let beat = Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 };
        let setting = Itimerspec { it_interval: beat, it_value: beat };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
        Ok(Some(Self(timer)))
    }

    /// How often it has beaten since this was last asked.
    pub(crate) fn beats(&self) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(&self.0, &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            // Not once.
            Err(_) => 0,
        }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[test]
    fn a_timer_beats_as_often_as_asked_and_each_beat_counts_once() {
        let start = Instant::now();
        let timer = Timer::beating(2_000).unwrap().unwrap();
        let mut beats = 0;
        while beats < 20 {
            poll(&mut [PollFd::new(&timer, PollFlags::IN)], None).unwrap();
            beats += timer.beats();
        }
        let due = start.elapsed().as_micros() as u64 / 500;
        assert!(beats <= due, "{beats} beats, {due} were due");
    }

    #[test]
    fn a_rate_of_nothing_is_no_timer() {
        assert!(Timer::beating(0).unwrap().is_none());
    }
}
