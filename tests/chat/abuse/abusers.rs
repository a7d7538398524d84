//! Abusers: many connections that one thread serves, so that they cost the test little and the
//! program much.
//!
//! Each sends what its [`Script`] says as fast as its socket takes it, reads or does not read, and
//! hangs up when the abuse is over. Their thread yields the processor to all others: on machines of
//! their own they would not take any of the server's.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::setpriority_process;

use crate::harness::*;

/// How long a thread of abusers may notice nothing of the end.
const OVER_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// How long a blocking call of an abuser takes at the most.
const CALL_MAX: Duration = Duration::from_millis(100);

/// Writes of one abuser before the others have their turn.
const WRITES_MAX: usize = 64;

/// The lowest priority that there is (setpriority(2)).
const LOWEST_PRIORITY: i32 = 19;

/// Where an abuse takes place, and how long.
pub(super) struct Stage {
    /// Where the program listens.
    pub(super) addr: SocketAddr,
    /// Whether the abuse is to end.
    pub(super) over: AtomicBool,
}

impl Venue for Stage {
    fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Stage {
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// A connection of which no call takes long.
    pub(super) fn connect_hasty(&self) -> Option<TcpStream> {
        // A program that stops takes nobody more.
        let stream = TcpStream::connect(self.addr).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(CALL_MAX)).ok()?;
        stream.set_write_timeout(Some(CALL_MAX)).ok()?;
        Some(stream)
    }

    /// Waits, unless the abuse ends before.
    pub(super) fn pauses(&self, time: Duration) {
        let mut left = time;
        while !self.is_over() && !left.is_zero() {
            let step = left.min(CALL_MAX);
            std::thread::sleep(step);
            left -= step;
        }
    }
}

/// What an abuser does.
#[derive(Clone, Default)]
pub(super) struct Script {
    /// What it sends once.
    pub(super) opening: Vec<u8>,
    /// What it sends after that, over and over.
    pub(super) refrain: Vec<u8>,
    /// Whether it sends each byte of the refrain in a packet of its own.
    pub(super) bytewise: bool,
    /// Whether it reads what comes.
    pub(super) reads: bool,
}

/// Leaves the processor to all other threads, from now on.
pub(super) fn yield_to_others() {
    setpriority_process(None, LOWEST_PRIORITY).expect("a lower priority needs no right");
}

/// Lets an abuser connect for each script, and serves all of them until the abuse is over.
pub(super) fn perform(stage: &Stage, scripts: impl IntoIterator<Item = Script>) {
    yield_to_others();
    let mut abusers = Vec::new();
    for script in scripts {
        if let Some(stream) = stage.connect_hasty()
            && stream.set_nonblocking(true).is_ok()
        {
            let mut abuser = Abuser { stream, script, sent: 0, opened: false };
            abuser.writes();
            abusers.push(abuser);
        }
    }
    let mut scratch = vec![0; 64 << 10];
    while !stage.is_over() {
        let mut polled: Vec<PollFd<'_>> =
            abusers.iter().map(|abuser| PollFd::new(&abuser.stream, abuser.interest())).collect();
        poll(&mut polled, Some(&OVER_INTERVAL)).expect("poll needs nothing but memory");
        let ready: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
        let mut ready = ready.into_iter();
        abusers.retain_mut(|abuser| {
            let ready = ready.next().unwrap_or(PollFlags::empty());
            let gone = ready.intersects(PollFlags::ERR | PollFlags::HUP);
            !gone
                && (!ready.contains(PollFlags::IN) || abuser.reads(&mut scratch))
                && (!ready.contains(PollFlags::OUT) || abuser.writes())
        });
        if abusers.is_empty() {
            stage.pauses(CALL_MAX);
        }
    }
}

struct Abuser {
    stream: TcpStream,
    script: Script,
    /// Bytes of the opening, and then of the refrain, that have been sent.
    sent: usize,
    /// Whether all of the opening has been sent.
    opened: bool,
}

impl Abuser {
    fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, self.script.reads);
        interest.set(PollFlags::OUT, !self.opened || !self.script.refrain.is_empty());
        interest
    }

    /// Reads once; gives whether the connection goes on.
    fn reads(&mut self, scratch: &mut [u8]) -> bool {
        goes_on(self.stream.read(scratch)).is_some()
    }

    /// Sends on, as long as the socket takes it; gives whether the connection goes on.
    fn writes(&mut self) -> bool {
        for _ in 0..WRITES_MAX {
            let text = if self.opened { &self.script.refrain } else { &self.script.opening };
            if self.sent == text.len() {
                self.sent = 0;
                if self.opened && text.is_empty() {
                    break;
                }
                self.opened = true;
                continue;
            }
            let bytewise = self.opened && self.script.bytewise;
            let end = if bytewise { self.sent + 1 } else { text.len() };
            match goes_on(self.stream.write(&text[self.sent..end])) {
                Some(0) => break,
                Some(written) => self.sent += written,
                None => return false,
            }
        }
        true
    }
}

/// How many bytes were read or written, 0 when the socket is not ready; nothing when the connection
/// has ended.
fn goes_on(called: std::io::Result<usize>) -> Option<usize> {
    match called {
        Ok(0) => None,
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
        Err(_) => None,
    }
}
