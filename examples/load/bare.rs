//! The floor: what a room costs that does nothing but send.
//!
//! One thread reads what has come from all, puts a constant stamp and the sender's address in front
//! of each line, exactly as long as the server's own prefix, and sends what one round gathered to
//! all. No names, no limits, no queues: when a client's socket is full, everybody waits for it. That
//! is no way to run a server, but nothing is lost or reordered, and no server on these system calls
//! can do less, so its cost is the measure for ours.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use memchr::memchr_iter;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// How much is read of one client in one round; with more, what all are sent outgrows the caches.
const READ_BYTES: usize = 16 * 1024;

/// Events taken from the system at once.
const EVENTS_MAX: usize = 1024;

/// Whoever joins hears at least one line, so that the load knows when it is in.
const GREETING: &[u8] = b"*** the bare loop\n";

/// Serves all who connect to `listener`, until something can be read from `stop` or it is closed.
///
/// # Errors
/// What the system says about the listener, `stop` or the epoll instance. A client's fault ends
/// that client only.
pub(crate) fn serve(listener: TcpListener, stop: impl AsFd) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (listener_token, stop_token) = (token(&listener), token(&stop));
    epoll::add(
        &epoll,
        &listener,
        epoll::EventData::new_u64(listener_token),
        epoll::EventFlags::IN,
    )?;
    epoll::add(&epoll, &stop, epoll::EventData::new_u64(stop_token), epoll::EventFlags::IN)?;

    // Indexed by descriptor, which the system keeps small and dense.
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; READ_BYTES];
    let mut batch = Vec::new();
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        for event in &events {
            let token = event.data.u64();
            if token == stop_token {
                return Ok(());
            } else if token == listener_token {
                accept_all(&listener, &epoll, &mut clients)?;
            } else if let Some(slot) = clients.get_mut(token as usize)
                && let Some(client) = slot
                && !client.read(&mut buffer, &mut batch)
            {
                *slot = None;
            }
        }
        if !batch.is_empty() {
            for client in clients.iter().flatten() {
                send_all(&client.stream, &batch);
            }
            batch.clear();
        }
    }
}

struct Client {
    stream: TcpStream,
    /// What the server would put in front of a line of this client.
    prefix: Vec<u8>,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl Client {
    /// Moves the whole lines that have come to `batch`; false at the end of the stream.
    fn read(&mut self, buffer: &mut [u8], batch: &mut Vec<u8>) -> bool {
        let received = match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return false,
            Ok((count, _)) => &buffer[..count],
            Err(error) => return matches!(error, Errno::AGAIN | Errno::INTR),
        };
        let mut start = 0;
        for end in memchr_iter(b'\n', received) {
            batch.extend_from_slice(&self.prefix);
            batch.append(&mut self.partial);
            batch.extend_from_slice(&received[start..=end]);
            start = end + 1;
        }
        self.partial.extend_from_slice(&received[start..]);
        true
    }
}

fn accept_all(
    listener: &TcpListener,
    epoll: impl AsFd,
    clients: &mut Vec<Option<Client>>,
) -> io::Result<()> {
    loop {
        let (stream, addr) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let token = token(&stream);
        epoll::add(&epoll, &stream, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        send_all(&stream, GREETING);
        let prefix = format!("[2026/11/22-10:32:00] {addr}: ").into_bytes();
        let index = token as usize;
        if clients.len() <= index {
            clients.resize_with(index + 1, || None);
        }
        clients[index] = Some(Client { stream, prefix, partial: Vec::new() });
    }
}

/// Sends all of `bytes`, waiting for room where there is none; a client that is gone is left to
/// its next read, which ends it.
fn send_all(stream: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // Whatever poll says, the next send tells.
                let _ = poll(&mut [PollFd::new(stream, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}

fn token(source: &impl AsFd) -> u64 {
    let descriptor = source.as_fd().as_raw_fd();
    u64::try_from(descriptor).expect("an open descriptor is not negative")
}
