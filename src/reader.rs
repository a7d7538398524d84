//! A client's reader thread: blocks in read, cuts bytes into lines, and hands them to the
//! conversation. It alone ends its client; others ask it to, by shutting the socket down.

use std::io::{ErrorKind, Read as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{error, info};

use crate::conversation::Conversation;
use crate::decoder::Decoder;
use crate::door::Stranger;
use crate::limits::{
    DOOR_WAIT, IDLE_WARNING, LINGER_MAX, READ_BYTES_MAX, READ_BYTES_MIN, TOGETHER_BYTES_MAX,
};
use crate::room::client::{Ending, Peer};
use crate::room::{NoPlace, Room};
use crate::seats::Seat;
use crate::sys;

/// How many events are made room for once a flood is over.
const EVENTS_KEPT: usize = 16;

/// Bytes that are looked at to tell a stranger. Like every
/// buffer here it is on the heap: a page of stack that was used once is kept as long as the thread.
const FIRST_BYTES: usize = 512;

/// Serves one connection from its first byte to its close.
///
/// *Blocking*: in read, for space in the inbox, for its pace, and at the end until what is queued
/// was written.
pub(crate) fn serve(room: &Arc<Room>, peer: &Arc<Peer>, seat: Seat) {
    if let Some(reason) = keep_out(peer) {
        info!("{} kept out: {reason}", peer.addr);
        return close(&peer.stream);
    }
    let mut conversation = Conversation::new(Arc::clone(room), Arc::clone(peer));
    let done = match room.join(peer, conversation.form()) {
        Ok(done) => done,
        Err(reason) => return turn_away(peer, &reason),
    };
    let ending = catch_unwind(AssertUnwindSafe(|| listen(room, peer, &mut conversation)))
        .unwrap_or_else(|_| {
            error!("the thread of {} panicked; only this client is ended", peer.addr);
            let farewell = format!("*** you are disconnected: {}\n", Ending::Fault);
            room.inbox.append_at_once(|room| room.tell(peer.addr, farewell));
            Ending::Fault
        });
    room.leave(peer.addr, conversation.shown(), &ending);
    // Nothing is ever sent here: it ends when the row is dropped, with everything written.
    let _ = done.recv();
    close(&peer.stream);
    drop(seat);
}

/// Why a connection does not even enter: what it sends at once is no chat, and was answered, or it
/// hung up without a word, as port scanners and health checks do.
///
/// *Blocking*: up to [`DOOR_WAIT`], as long as nothing has arrived.
fn keep_out(peer: &Peer) -> Option<Ending> {
    if !sys::wait_for_input(&peer.stream, DOOR_WAIT) {
        return None;
    }
    let mut first = vec![0; FIRST_BYTES];
    match peer.stream.peek(&mut first) {
        Ok(0) => Some(Ending::HungUp),
        Ok(peeked) => {
            let stranger = Stranger::of_bytes(&first[..peeked])?;
            // The socket is empty, so the answer fits, unless the peer is gone already.
            let _ = sys::send_now(&peer.stream, stranger.answer(local_addr(peer)).as_bytes());
            Some(stranger.ending())
        }
        Err(error) => Some(Ending::Broken(error.kind())),
    }
}

/// Where the client has connected to; its own address when the connection is gone.
pub(crate) fn local_addr(peer: &Peer) -> SocketAddr {
    peer.stream.local_addr().map_or(peer.addr, sys::canonical)
}

/// Reads until the client ends, or is asked to.
fn listen(room: &Room, peer: &Peer, conversation: &mut Conversation) -> Ending {
    let mut decoder = Decoder::new(room.config.line_bytes_max);
    let mut idle = room.config.idle_timeout.map(Idle::new);
    let mut buffer = vec![0; READ_BYTES_MIN];
    let mut events = Vec::new();
    loop {
        if let Some(idle) = &idle {
            // It fails only on a connection that is gone, and then the read tells.
            let _ = peer.stream.set_read_timeout(Some(idle.next_wait()));
        }
        let read = (&peer.stream).read(&mut buffer);
        if let Some(ending) = peer.dismissed() {
            return ending.clone();
        }
        let ended = match read {
            Ok(0) => {
                decoder.finish(&mut events);
                Some(peer.ending().cloned().unwrap_or(Ending::HungUp))
            }
            Ok(read) => {
                if let Some(ending) = conversation.turn_away_stranger(&buffer[..read]) {
                    return ending;
                }
                decoder.feed(&buffer[..read], &mut events);
                let together =
                    read_on(peer, &mut buffer, read, |bytes| decoder.feed(bytes, &mut events));
                fit(&mut buffer, together);
                None
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) => match idle.as_mut().filter(|_| error.kind() == ErrorKind::WouldBlock) {
                Some(idle) => idle.waited(conversation),
                None => Some(Ending::Broken(error.kind())),
            },
        };
        if let Some(idle) = &mut idle
            && !events.is_empty()
        {
            idle.heard();
        }
        conversation.notice_form(decoder.wants_crlf(), decoder.speaks_telnet());
        if let Some(ending) = conversation.handle(events.drain(..)).or(ended) {
            return ending;
        }
        events.shrink_to(EVENTS_KEPT);
    }
}

/// How long a client has said nothing.
struct Idle {
    timeout: Duration,
    since: Instant,
    warned: bool,
}

impl Idle {
    fn new(timeout: Duration) -> Idle {
        Idle { timeout, since: Instant::now(), warned: false }
    }

    fn heard(&mut self) {
        self.since = Instant::now();
        self.warned = false;
    }

    /// How long before the end the client is warned.
    fn warning(&self) -> Duration {
        IDLE_WARNING.min(self.timeout / 2)
    }

    /// Until the warning, or after it until the end; never zero, which would mean for ever.
    fn next_wait(&self) -> Duration {
        let most = if self.warned { self.timeout } else { self.timeout - self.warning() };
        most.saturating_sub(self.since.elapsed()).max(Duration::from_millis(1))
    }

    /// A wait is over: warns the client, or gives its ending, when it is time.
    fn waited(&mut self, conversation: &mut Conversation) -> Option<Ending> {
        let silent = self.since.elapsed();
        if silent >= self.timeout {
            let ending = Ending::Idle(self.timeout);
            conversation.reply(&format!("you are disconnected: {ending}"));
            return Some(ending);
        }
        if !self.warned && silent >= self.timeout - self.warning() {
            self.warned = true;
            let left = (self.timeout - silent).as_secs_f64().ceil();
            conversation.reply(&format!("you will be disconnected in {left} s: say something"));
        }
        None
    }
}

/// Takes what else has arrived already, so that a paste is posted together; gives how much that
/// makes in all.
fn read_on(peer: &Peer, buffer: &mut [u8], mut read: usize, mut feed: impl FnMut(&[u8])) -> usize {
    let mut together = read;
    while read == buffer.len() && together < TOGETHER_BYTES_MAX {
        // An error, or the end, shows again in the next blocking read.
        read = sys::receive_now(&peer.stream, buffer).unwrap_or(0);
        feed(&buffer[..read]);
        together += read;
    }
    together
}

/// Makes the buffer one that would have held what arrived, so that a flood is read in few calls and
/// an idle client keeps little memory.
fn fit(buffer: &mut Vec<u8>, arrived: usize) {
    let bytes = arrived.next_power_of_two().clamp(READ_BYTES_MIN, READ_BYTES_MAX);
    if bytes > buffer.len() || bytes < buffer.len() / 4 {
        *buffer = vec![0; bytes];
    }
}

fn turn_away(peer: &Peer, reason: &NoPlace) {
    let text = match reason {
        NoPlace::AddressHeld => format!("*** {} is connected already\n", peer.addr),
        NoPlace::Stopping => "*** the server stops; goodbye\n".to_owned(),
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
    let mut buffer = vec![0; READ_BYTES_MIN];
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
