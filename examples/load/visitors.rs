//! Clients who come into the room while others talk and leave it again, to show that nobody notices.
//!
//! They prove nothing and are not measured: what they are told is read and forgotten.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::crowd::{Crowd, connect};

/// Who comes into the room while others talk, and leaves it again, the oldest first.
pub(crate) struct Visitors {
    /// The event of the oldest; the others follow.
    first: u64,
    /// None for one that the server has closed.
    streams: VecDeque<Option<TcpStream>>,
    max: u32,
}

impl Visitors {
    /// Room for `max` visitors, whose events begin at `first`.
    pub(crate) fn new(first: u64, max: u32) -> Self {
        Self { first, streams: VecDeque::new(), max }
    }

    /// One more comes, and the oldest leaves when there are as many as there may be.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub(crate) fn exchange(&mut self, crowd: &Crowd) -> io::Result<()> {
        let stream = connect(crowd.addr)?;
        crowd.watch(&stream, self.first + self.streams.len() as u64)?;
        self.streams.push_back(Some(stream));
        if self.streams.len() > self.max as usize {
            self.streams.pop_front();
            self.first += 1;
        }
        Ok(())
    }

    /// Reads and forgets what a visitor is told.
    pub(crate) fn read(&mut self, token: u64) {
        let index = token.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(slot) = index.and_then(|index| self.streams.get_mut(index))
            && let Some(stream) = slot
            && !matches!(
                recv(stream, &mut [0; 4096], RecvFlags::DONTWAIT),
                Ok((1.., _)) | Err(Errno::AGAIN | Errno::INTR)
            )
        {
            *slot = None;
        }
    }
}
