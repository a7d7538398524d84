//! How is the connection made, and made again?
//!
//! Tries with a growing delay, so that a server that has just been started again is soon found
//! and one that stays away is not pestered. Knows nothing of what is said on the connection.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

/// The wait after a first failure; each further one doubles it.
const DELAY_MIN: Duration = Duration::from_millis(500);

/// The wait is never longer than this.
const DELAY_MAX: Duration = Duration::from_secs(30);

/// How long one address may leave us without an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that lasted so long was a good one; a shorter one counts as a failure, or a
/// server that accepts everybody and closes at once would be called without pause.
const GOOD_AFTER: Duration = Duration::from_secs(30);

/// Makes connections to one server, and counts its failures in a row.
pub(crate) struct Dialer {
    server: String,
    retries: u32,
    failures: u32,
}

impl Dialer {
    /// Will give up after `retries` further tries.
    pub(crate) fn new(server: String, retries: u32) -> Dialer {
        Dialer { server, retries, failures: 0 }
    }

    /// Allows another number of tries in a row from now on.
    pub(crate) fn set_retries(&mut self, retries: u32) {
        self.retries = retries;
        self.failures = 0;
    }

    /// A connection, however many of the tries it takes; `say` is told of each that fails.
    ///
    /// # Errors
    /// Says why the last try failed, when none is left.
    pub(crate) fn dial(&mut self, say: &mut impl FnMut(&str)) -> Result<TcpStream, String> {
        loop {
            match connect(&self.server) {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    self.wait(format!("cannot connect to {}: {error}", self.server), say)?;
                }
            }
        }
    }

    /// A new connection in place of one that was lost after it had `lasted` so long.
    ///
    /// # Errors
    /// As `dial`.
    pub(crate) fn dial_again(
        &mut self,
        lasted: Duration,
        say: &mut impl FnMut(&str),
    ) -> Result<TcpStream, String> {
        if lasted >= GOOD_AFTER {
            self.failures = 0;
        }
        self.wait(format!("the connection to {} was lost", self.server), say)?;
        self.dial(say)
    }

    /// Waits before the next try, or hands the fault back when none is left.
    fn wait(&mut self, fault: String, say: &mut impl FnMut(&str)) -> Result<(), String> {
        if self.failures >= self.retries {
            return Err(fault);
        }
        let delay = DELAY_MIN.saturating_mul(2_u32.saturating_pow(self.failures)).min(DELAY_MAX);
        self.failures += 1;
        say(&format!("{fault}; trying again in {delay:?}"));
        thread::sleep(delay);
        Ok(())
    }
}

/// Tries each address of the server once. The name is looked up anew, since it may have moved.
fn connect(server: &str) -> io::Result<TcpStream> {
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}
