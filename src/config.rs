//! What can be set before a server starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use crate::limits::{CLIENTS_MAX, LINE_BYTES_MAX};
use crate::stamp::{Clock, TimeFormat};

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
    /// Where the time comes from; the system's clock by default.
    pub clock: Clock,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 9999)),
            time_format: TimeFormat::default(),
            clients_max: CLIENTS_MAX,
            line_bytes_max: LINE_BYTES_MAX,
            clock: SystemTime::now,
        }
    }
}
