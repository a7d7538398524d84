//! A client's reader thread: blocks in read, cuts bytes into lines, and hands them to the
//! conversation. It alone ends its client; others ask it to, by shutting the socket down.

use std::io::{ErrorKind, Read as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use log::{error, info};

use crate::conversation::Conversation;
use crate::decoder::Decoder;
use crate::limits::{LINGER_MAX, READ_BYTES, TOGETHER_BYTES_MAX};
use crate::room::client::{Ending, Peer};
use crate::room::{NoSeat, Room};
use crate::sys;

/// A connection's place among `--max-clients`, free again when it is dropped.
pub(crate) struct Seat(Arc<Room>);

impl Seat {
    /// The next free place, if there is one.
    pub(crate) fn take(room: &Arc<Room>) -> Option<Seat> {
        let free = |taken: usize| (taken < room.config.clients_max).then_some(taken + 1);
        room.seats.fetch_update(Relaxed, Relaxed, free).ok()?;
        Some(Seat(Arc::clone(room)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.seats.fetch_sub(1, Relaxed);
    }
}

/// Serves one connection from its join to its close.
///
/// *Blocking*: in read, for space in the inbox, and at the end until what is queued was written.
pub(crate) fn serve(room: &Arc<Room>, peer: &Arc<Peer>, seat: Seat) {
    let done = match room.join(peer) {
        Ok(done) => done,
        Err(reason) => return turn_away(peer, &reason),
    };
    let mut conversation = Conversation::new(Arc::clone(room), Arc::clone(peer));
    let ending = catch_unwind(AssertUnwindSafe(|| listen(room, peer, &mut conversation)))
        .unwrap_or_else(|_| {
            error!("the thread of {} panicked; only this client is ended", peer.addr);
            Ending::Fault
        });
    room.leave(peer.addr, conversation.shown(), &ending);
    // Nothing is ever sent here: it ends when the row is dropped, with everything written.
    let _ = done.recv();
    close(&peer.stream);
    drop(seat);
}

/// Reads until the client ends, or is asked to.
fn listen(room: &Room, peer: &Peer, conversation: &mut Conversation) -> Ending {
    let mut decoder = Decoder::new(room.config.line_bytes_max);
    let mut buffer = [0; READ_BYTES];
    let mut events = Vec::new();
    loop {
        let read = (&peer.stream).read(&mut buffer);
        if let Some(ending) = peer.ending() {
            return ending.clone();
        }
        let ended = match read {
            Ok(0) => {
                decoder.finish(&mut events);
                Some(Ending::HungUp)
            }
            Ok(read) => {
                decoder.feed(&buffer[..read], &mut events);
                read_on(peer, &mut buffer, read, |bytes| decoder.feed(bytes, &mut events));
                None
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Some(Ending::Broken(error.kind())),
        };
        conversation.notice_form(decoder.wants_crlf());
        if let Some(ending) = conversation.handle(events.drain(..)).or(ended) {
            return ending;
        }
    }
}

/// Takes what else has arrived already, so that a paste is posted together.
fn read_on(peer: &Peer, buffer: &mut [u8], mut read: usize, mut feed: impl FnMut(&[u8])) {
    let mut together = read;
    while read == buffer.len() && together < TOGETHER_BYTES_MAX {
        // An error, or the end, shows again in the next blocking read.
        read = sys::receive_now(&peer.stream, buffer).unwrap_or(0);
        feed(&buffer[..read]);
        together += read;
    }
}

fn turn_away(peer: &Peer, reason: &NoSeat) {
    let text = match reason {
        NoSeat::AddressHeld => format!("*** {} is connected already\n", peer.addr),
        NoSeat::Stopping => "*** the server stops; goodbye\n".to_owned(),
    };
    info!("{} turned away: {reason:?}", peer.addr);
    // A line that does not fit into an empty socket is no loss.
    let _ = sys::send_now(&peer.stream, text.as_bytes());
    close(&peer.stream);
}

/// Closes without a reset: says the end, then reads what the peer still had under way.
///
/// *Blocking*: up to [`LINGER_MAX`].
fn close(mut stream: &TcpStream) {
    // Each failure below means that the connection is gone, which is what is wanted.
    let _ = stream.shutdown(Shutdown::Write);
    let deadline = Instant::now() + LINGER_MAX;
    let mut buffer = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => {}
            _ => return,
        }
    }
}

/// The name of a client's thread.
pub(crate) fn thread_name(addr: SocketAddr) -> String {
    format!("client {addr}")
}
