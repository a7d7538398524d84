//! A crowd of clients of one server, held by one thread and one epoll instance.
//!
//! It connects them, knows when all are in the room, and reads. Whoever connected may still be on
//! its way into the room; so one client says a *fence*, a line that no other can be taken for, and
//! when all have heard it, all are in, and what any of them receives behind it is the same.
//!
//! It never blocks on one client, and it does not know what the lines mean: see `talk`.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, UNIX_EPOCH};

use memchr::{memmem, memrchr};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// How many clients may be connected and not yet greeted: fewer than any listener's backlog, where
/// an overflow would cost a second for each retransmission and hide what the server itself takes.
const CONNECTING_MAX: usize = 100;

/// How long the server may stay silent when something is due, before the measurement is given up.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(20);

/// How often a wait ends at least, for deadlines to be looked at.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Read at once: larger reads save calls, but then the comparison finds its data out of the cache.
const READ_BYTES: usize = 128 * 1024;

/// Events taken from the system at once.
const EVENTS_MAX: usize = 1024;

/// The connected clients, known by their index.
pub(crate) struct Crowd {
    pub(crate) addr: SocketAddr,
    pub(crate) clients: Vec<Client>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

/// One client.
pub(crate) struct Client {
    stream: TcpStream,
    stage: Stage,
    /// What it received last: before the fence its last line, behind it the room's stream.
    pub(crate) early: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server has not said anything yet.
    Connected,
    /// The server has said something.
    Greeted,
    /// The fence was heard.
    Joined,
}

impl Crowd {
    /// `count` clients of the server at `addr`, all of them in the room.
    ///
    /// # Errors
    /// What the system says; a client that the server closed; `SILENCE_MAX` without an answer.
    pub(crate) fn connect(addr: SocketAddr, count: usize) -> io::Result<Self> {
        let mut crowd = Self {
            addr,
            clients: Vec::with_capacity(count),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS_MAX),
            buffer: vec![0; READ_BYTES],
        };
        let mut greeted = 0;
        for index in 0..count {
            while index - greeted >= CONNECTING_MAX {
                greeted += crowd.settle_until_heard(Stage::Greeted)?;
            }
            let stream = connect(addr)?;
            stream.set_nodelay(true)?;
            crowd.watch(&stream, index as u64)?;
            crowd.clients.push(Client { stream, stage: Stage::Connected, early: Vec::new() });
        }
        while greeted < count {
            greeted += crowd.settle_until_heard(Stage::Greeted)?;
        }
        let deadline = Instant::now() + SILENCE_MAX;
        while !crowd.all_hear_fence()? {
            if Instant::now() > deadline {
                return Err(crowd.missing(Stage::Joined));
            }
        }
        Ok(crowd)
    }

    /// Has the first client say a fence; false if the room falls silent before all have heard it.
    ///
    /// A server may greet a client before it counts it in, so the next fence may find more.
    fn all_hear_fence(&mut self) -> io::Result<bool> {
        let stamp = UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let fence = format!("fence {} {stamp}\n", std::process::id()).into_bytes();
        for client in &mut self.clients {
            client.stage = Stage::Greeted;
        }
        if self.send(0, &fence)? < fence.len() {
            return Err(io::Error::other("the server does not read"));
        }
        let mut joined = 0;
        while joined < self.clients.len() {
            match self.settle(Stage::Joined, &fence)? {
                Some(count) => joined += count,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Waits until something comes and returns how many clients have reached `stage` by it.
    fn settle_until_heard(&mut self, stage: Stage) -> io::Result<usize> {
        let deadline = Instant::now() + SILENCE_MAX;
        while Instant::now() < deadline {
            if let Some(reached) = self.settle(stage, b"")? {
                return Ok(reached);
            }
        }
        Err(self.missing(stage))
    }

    /// How many clients have reached `stage` by what came now; none if nothing came for a tick.
    fn settle(&mut self, stage: Stage, fence: &[u8]) -> io::Result<Option<usize>> {
        let events = self.wait()?;
        let mut reached = 0;
        for event in &events {
            reached += usize::from(self.take_in(event.data.u64() as usize, stage, fence)?);
        }
        let heard = (!events.is_empty()).then_some(reached);
        self.give_back(events);
        Ok(heard)
    }

    fn missing(&self, stage: Stage) -> io::Error {
        let missing = self.clients.iter().filter(|client| client.stage != stage).count();
        let message = format!("{missing} clients are not in the room after {SILENCE_MAX:?}");
        io::Error::new(io::ErrorKind::TimedOut, message)
    }

    /// Reads for one client before the room's stream begins; true if it reached `stage` by that.
    fn take_in(&mut self, index: usize, stage: Stage, fence: &[u8]) -> io::Result<bool> {
        let count = self.read(index)?.len();
        let client = &mut self.clients[index];
        client.early.extend_from_slice(&self.buffer[..count]);
        let before = client.stage;
        if before == Stage::Joined {
            return Ok(false);
        }
        client.stage = Stage::Greeted;
        if stage == Stage::Joined
            && let Some(start) = memmem::find(&client.early, fence)
        {
            client.stage = Stage::Joined;
            client.early.drain(..start + fence.len());
        } else if let Some((_, rest)) = client.early.split_last()
            && let Some(end) = memrchr(b'\n', rest)
        {
            client.early.drain(..=end);
        }
        Ok(before != stage && client.stage == stage)
    }

    /// The events that have come; none when nothing came for a tick. Give them back when done.
    pub(crate) fn wait(&mut self) -> io::Result<Vec<epoll::Event>> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&TICK)) {
            Ok(_) | Err(Errno::INTR) => Ok(events),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes back the room for events that `wait` lent.
    pub(crate) fn give_back(&mut self, events: Vec<epoll::Event>) {
        self.events = events;
    }

    /// What client `index` receives now, possibly nothing.
    ///
    /// # Errors
    /// When its connection has ended, with the last words of the server if it had any.
    pub(crate) fn read(&mut self, index: usize) -> io::Result<&[u8]> {
        let client = &self.clients[index];
        match recv(&client.stream, &mut self.buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                let last = client.early.escape_ascii();
                let message = format!("the server closed client {index}, after saying: {last}");
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
            }
            Ok((count, _)) => Ok(&self.buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => Ok(&[]),
            Err(error) => {
                let message = format!("client {index}: {}", io::Error::from(error));
                Err(io::Error::other(message))
            }
        }
    }

    /// Sends of `bytes` what the socket of client `index` takes now, and returns how much that is.
    pub(crate) fn send(&self, index: usize, bytes: &[u8]) -> io::Result<usize> {
        let stream = &self.clients[index].stream;
        match send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            result => Ok(result?),
        }
    }

    /// Whether to be told when the socket of client `index` takes more.
    pub(crate) fn watch_room(&self, index: usize, wanted: bool) -> io::Result<()> {
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, wanted);
        let data = epoll::EventData::new_u64(index as u64);
        Ok(epoll::modify(&self.epoll, &self.clients[index].stream, data, flags)?)
    }

    /// Tells of what can be read from `source` as `token`.
    pub(crate) fn watch(&self, source: impl AsFd, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, source, data, epoll::EventFlags::IN)?)
    }
}

/// A connection to `addr`, or an error that names it.
pub(crate) fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(addr)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot connect to {addr}: {error}")))
}
