//! A client's reader thread: blocks in read, cuts bytes into lines, and hands them to the
//! conversation. It alone ends its client; others ask it to, by shutting the socket down.

use std::io::{ErrorKind, Read as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use log::{error, info};

use crate::connection::{Connection, EndReason};
use crate::conversation::Conversation;
use crate::decoder::{Decoder, Event};
use crate::door::Stranger;
use crate::idle::Idle;
use crate::limits::{
    EMPTY_READ_UNITS, LINGER_MAX, READ_BYTES_MAX, READ_BYTES_MIN, TOGETHER_BYTES_MAX,
    WASTED_BYTE_UNITS,
};
use crate::room::{NoPlace, Room};
use crate::seats::Seat;
use crate::sys;

/// Bytes whose lines and commands are handled at a time.
const HEARD_BYTES: usize = 4 << 10;

/// How many events are made room for once a flood is over.
const EVENTS_KEPT: usize = 16;

/// Serves one connection from its join to its close.
///
/// *Blocking*: in read, for space in the inbox, for its pace, and at the end until what is queued
/// was written.
pub(crate) fn serve(room: &Arc<Room>, peer: &Arc<Connection>, seat: Seat) {
    let mut conversation = Conversation::new(Arc::clone(room), Arc::clone(peer));
    let history = match room.join(peer) {
        Ok(history) => history,
        Err(reason) => return turn_away(peer, &reason),
    };
    let talk = AssertUnwindSafe(|| {
        conversation.show_earlier(history);
        listen(room, peer, &mut conversation)
    });
    let ending = catch_unwind(talk).unwrap_or_else(|_| {
        error!("the thread of {} panicked; only this client is ended", peer.addr);
        conversation.tell(&format!("*** you are disconnected: {}", EndReason::Fault));
        EndReason::Fault
    });
    room.leave(peer.addr, conversation.shown(), &ending);
    peer.wait_until_served();
    close(&peer.stream);
    drop(seat);
}

/// Closes a connection that does not enter, once it has read why.
///
/// *Blocking*: up to [`LINGER_MAX`].
pub(crate) fn see_off(_: &Arc<Room>, peer: &Arc<Connection>, seat: Seat) {
    close(&peer.stream);
    drop(seat);
}

/// Reads until the client ends, or is asked to.
fn listen(room: &Room, peer: &Connection, conversation: &mut Conversation) -> EndReason {
    let mut ear = Ear { decoder: Decoder::new(room.config.line_bytes_max), events: Vec::new() };
    let mut idle = room.config.idle_timeout.map(Idle::new);
    // On the heap, like every buffer here: a page of stack that was used once is kept as long as the
    // thread.
    let mut buffer = vec![0; READ_BYTES_MIN];
    let mut begun = false;
    loop {
        if let Some(idle) = &idle {
            // It fails only on a connection that is gone, and then the read tells.
            let _ = peer.stream.set_read_timeout(Some(idle.next_wait()));
        }
        let read = (&peer.stream).read(&mut buffer);
        if let Some(ending) = peer.dismissed() {
            return ending.clone();
        }
        let ending = match read {
            Ok(0) => {
                let ending = peer.ending().cloned().unwrap_or(EndReason::HungUp);
                ear.finish(conversation).or(Some(ending))
            }
            Ok(read) => {
                if let Some(idle) = &mut idle {
                    idle.heard();
                }
                let first = !std::mem::replace(&mut begun, true);
                match Stranger::of_bytes(&buffer[..read]).filter(|_| first) {
                    Some(stranger) => Some(conversation.turn_away(stranger)),
                    None => ear.hear_together(peer, &mut buffer, read, conversation),
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) => match idle.as_mut().filter(|_| error.kind() == ErrorKind::WouldBlock) {
                Some(idle) => idle.waited(conversation),
                None => Some(EndReason::Broken(error.kind())),
            },
        };
        if let Some(ending) = ending {
            return ending;
        }
    }
}

/// The way of a client's bytes to its conversation.
struct Ear {
    decoder: Decoder,
    events: Vec<Event>,
}

impl Ear {
    /// Hears the `read` bytes in the buffer and what else has arrived already, which is posted
    /// together, so that a paste is not interleaved.
    fn hear_together(
        &mut self,
        peer: &Connection,
        buffer: &mut Vec<u8>,
        mut read: usize,
        conversation: &mut Conversation,
    ) -> Option<EndReason> {
        let mut together = 0;
        let mut had_lines = false;
        loop {
            together += read;
            // In slices, so that a flood of tiny lines takes little memory while it is slowed.
            for slice in buffer[..read].chunks(HEARD_BYTES) {
                self.decoder.feed(slice, &mut self.events);
                had_lines |= self.events.iter().any(|event| matches!(event, Event::Line(_)));
                let ending = self.handle(conversation);
                if ending.is_some() {
                    return ending;
                }
            }
            if read < buffer.len() || together >= TOGETHER_BYTES_MAX {
                break;
            }
            // An error, or the end, shows again in the next blocking read.
            read = sys::receive_now(&peer.stream, buffer).unwrap_or(0);
        }
        conversation.post();
        let wasted = self.decoder.take_wasted();
        if !had_lines || wasted > 0 {
            let read_units = if had_lines { 0 } else { EMPTY_READ_UNITS };
            conversation.pay(read_units + WASTED_BYTE_UNITS * wasted as u64);
        }
        fit(buffer, together);
        self.events.shrink_to(EVENTS_KEPT);
        None
    }

    /// Hears what stood before the end of the stream.
    fn finish(&mut self, conversation: &mut Conversation) -> Option<EndReason> {
        self.decoder.finish(&mut self.events);
        let ending = self.handle(conversation);
        conversation.post();
        ending
    }

    fn handle(&mut self, conversation: &mut Conversation) -> Option<EndReason> {
        conversation.notice_form(self.decoder.wants_crlf(), self.decoder.speaks_telnet());
        conversation.handle(self.events.drain(..))
    }
}

/// Makes the buffer one that would have held what arrived, so that a flood is read in few calls and
/// an idle client keeps little memory.
fn fit(buffer: &mut Vec<u8>, arrived: usize) {
    let bytes = arrived.next_power_of_two().clamp(READ_BYTES_MIN, READ_BYTES_MAX);
    if bytes > buffer.len() || bytes < buffer.len() / 4 {
        *buffer = vec![0; bytes];
    }
}

fn turn_away(peer: &Connection, reason: &NoPlace) {
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};

    use std::time::Duration;

    use super::*;
    use crate::{Config, Server};

    /// Reads lines up to one that holds `text`; gives it, or nothing when the stream ends first.
    fn hear(client: &mut BufReader<TcpStream>, text: &str) -> Option<String> {
        client.lines().map_while(Result::ok).find(|line| line.contains(text))
    }

    #[test]
    fn a_fault_in_the_thread_of_one_client_ends_that_client_only() {
        let config = Config { addr: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
        let server = Server::bind(config).unwrap();
        let (addr, stop, room) = (server.local_addr(), server.stop_handle(), server.room());
        let running = std::thread::spawn(|| server.run());
        let join = |name: &str| {
            let mut client = BufReader::new(TcpStream::connect(addr).unwrap());
            client.get_ref().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            writeln!(client.get_mut(), "/name {name}").unwrap();
            hear(&mut client, &format!("is now {name}")).unwrap();
            client
        };
        let mut alice = join("alice");
        for _ in 0..3 {
            let mut bob = join("bob");
            writeln!(bob.get_mut(), "last words\n/panic\nnever said").unwrap();
            assert!(hear(&mut bob, "never said").is_none(), "its stream ends");
            let left = hear(&mut alice, "bob left").unwrap();
            assert!(left.ends_with("bob left: a fault of the server (1 here)"), "{left}");
        }
        writeln!(alice.get_mut(), "still here").unwrap();
        hear(&mut alice, "alice: still here").unwrap();
        assert_eq!(room.clients().len(), 1);
        stop.stop();
        running.join().unwrap().unwrap();
        assert!(hear(&mut alice, "goodbye").is_some());
    }
}
