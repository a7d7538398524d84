//! What can be set before a server starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::encoding::EncodingChoice;
use crate::limits::{
    BACKLOG_BYTES_MAX, CLIENTS_MAX, HISTORY_LINES, LINE_BYTES_MAX, RATE_LINES, STALL_TIMEOUT,
    WAITING_BYTES_MIN, WAITING_SHARE,
};
use crate::stamp::{Clock, TimeFormat};
use crate::sys;

/// How a server listens, and its limits. Start from [`Config::default`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes any free port. 127.0.0.1:9999 by default.
    pub addr: SocketAddr,
    /// How lines are stamped, in local time.
    pub time_format: TimeFormat,
    /// How many clients may be connected; [`CLIENTS_MAX`] by default.
    pub clients_max: usize,
    /// Bytes of the longest line, without its end; [`LINE_BYTES_MAX`] by default.
    pub line_bytes_max: usize,
    /// How many clients may be connected from one address; no limit by default.
    pub clients_per_host_max: Option<usize>,
    /// Lines a second that one client may sustain, with a burst of fifty times that; each started
    /// [`TALK_UNIT_BYTES`](crate::limits::TALK_UNIT_BYTES) count as a line. Beyond it the client is
    /// slowed. [`RATE_LINES`] by default, no limit when `None`.
    pub rate_lines: Option<NonZeroU32>,
    /// Bytes of lines that may wait for one slow client; [`BACKLOG_BYTES_MAX`] by default.
    pub backlog_bytes_max: usize,
    /// Bytes of lines that may wait for all clients together. By default one in [`WAITING_SHARE`] of
    /// the bytes of memory that the process may use, and [`WAITING_BYTES_MIN`] at least.
    pub waiting_bytes_max: usize,
    /// How long a client that has lines waiting may take none; [`STALL_TIMEOUT`] by default.
    pub stall_timeout: Duration,
    /// How long a client may say nothing; for ever by default.
    pub idle_timeout: Option<Duration>,
    /// How clients' bytes are read and written; by each client's own by default.
    pub encoding: EncodingChoice,
    /// How many earlier lines a newcomer is shown; [`HISTORY_LINES`] by default. With 0 no history is
    /// kept at all.
    pub history_lines: usize,
    /// The file that every line is written to, and the history read back from; none by default.
    pub transcript: Option<PathBuf>,
    /// Whether a line is on the disk before anybody is shown it; not, by default.
    pub sync: bool,
    /// Where the time comes from; the system's clock by default.
    pub clock: Clock,
}

impl Default for Config {
    /// Every default. The first call asks the system how much memory the process may use: it reads
    /// `/proc/meminfo`, the limits of control groups, and that of `ulimit -v`. The value holds for all
    /// later calls.
    fn default() -> Config {
        Config {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 9999)),
            time_format: TimeFormat::default(),
            clients_max: CLIENTS_MAX,
            line_bytes_max: LINE_BYTES_MAX,
            clients_per_host_max: None,
            rate_lines: NonZeroU32::new(RATE_LINES),
            backlog_bytes_max: BACKLOG_BYTES_MAX,
            waiting_bytes_max: waiting_bytes_default(sys::usable_bytes()),
            stall_timeout: STALL_TIMEOUT,
            idle_timeout: None,
            encoding: EncodingChoice::Auto,
            history_lines: HISTORY_LINES,
            transcript: None,
            sync: false,
            clock: SystemTime::now,
        }
    }
}

/// Bytes that may wait for all clients together where so much memory may be used.
fn waiting_bytes_default(usable_bytes: u64) -> usize {
    let share = usize::try_from(usable_bytes / WAITING_SHARE).unwrap_or(usize::MAX);
    share.max(WAITING_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_memory_may_wait_and_64_mib_at_least() {
        assert_eq!(waiting_bytes_default(8 << 30), 2 << 30);
        assert_eq!(waiting_bytes_default(260 << 20), 65 << 20);
        assert_eq!(waiting_bytes_default(256 << 20), 64 << 20);
        assert_eq!(waiting_bytes_default(1 << 20), 64 << 20);
        assert!(Config::default().waiting_bytes_max >= 64 << 20);
    }
}
