//! The acceptor thread: takes each connection and gives it a reader thread, or refuses it in one
//! line. It never ends before the server does, never spins, and waits for no client.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::limits::{
    ACCEPT_PAUSE_MAX, ACCEPT_PAUSE_MIN, LINGER_MAX, READER_STACK_BYTES, REFUSED_MAX,
};
use crate::reader::{self, Seat};
use crate::room::Room;
use crate::room::client::Peer;
use crate::server::Stop;
use crate::sys::{self, Interest};

/// Accepts until the server stops.
///
/// *Blocking*: in `poll`. *Locks*: the list of threads, to start a reader.
pub(crate) fn accept(room: &Arc<Room>, listener: TcpListener, stop: &Stop) {
    let mut refused = Refused::default();
    let mut pause = ACCEPT_PAUSE_MIN;
    while !stop.requested() {
        match listener.accept() {
            Ok((stream, addr)) => {
                pause = ACCEPT_PAUSE_MIN;
                admit(room, stream, sys::canonical(addr), &mut refused);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let listener = std::iter::once(listener.as_fd());
                sys::wait(stop.waker(), listener, Interest::Input, refused.timeout());
            }
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                if pause == ACCEPT_PAUSE_MIN {
                    warn!("cannot accept: {error}; trying again");
                }
                sys::wait(stop.waker(), std::iter::empty(), Interest::Input, Some(pause));
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
            }
        }
        refused.close_old();
    }
}

/// True when one connection failed before it was accepted; the next one may be well.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}

fn admit(room: &Arc<Room>, stream: TcpStream, addr: SocketAddr, refused: &mut Refused) {
    // Small lines go out at once. It fails only on a connection that is gone, and then its reader
    // finds out.
    let _ = stream.set_nodelay(true);
    let peer = Arc::new(Peer::new(addr, stream));
    let Some(seat) = Seat::take(room) else {
        info!("{addr} refused: {} clients are connected", room.config.clients_max);
        let full = format!("*** the room is full: {} are here", room.config.clients_max);
        return refused.tell(room, peer, &full);
    };
    let served = (Arc::clone(room), Arc::clone(&peer));
    let serve = move || reader::serve(&served.0, &served.1, seat);
    if let Err(error) = room.threads.start(reader::thread_name(addr), READER_STACK_BYTES, serve) {
        warn!("{addr} refused: cannot start a thread: {error}");
        refused.tell(room, peer, "*** the server cannot take anybody more; try again later");
    }
}

/// Connections that were told why and are held for a moment: closing one with unread input would
/// reset it, and it might never read its line.
#[derive(Default)]
struct Refused(VecDeque<(Instant, Arc<Peer>)>);

impl Refused {
    fn tell(&mut self, room: &Room, peer: Arc<Peer>, text: &str) {
        room.counters.refusals.fetch_add(1, Relaxed);
        // The socket is empty, so the line fits, unless the peer is gone already.
        let _ = sys::send_now(&peer.stream, format!("{text}\n").as_bytes());
        let _ = peer.stream.shutdown(Shutdown::Write);
        if self.0.len() == REFUSED_MAX {
            self.close_first();
        }
        self.0.push_back((Instant::now() + LINGER_MAX, peer));
    }

    fn close_old(&mut self) {
        while self.0.front().is_some_and(|(until, _)| *until <= Instant::now()) {
            self.close_first();
        }
    }

    fn close_first(&mut self) {
        if let Some((_, peer)) = self.0.pop_front() {
            let mut buffer = [0; 4096];
            // What it said in the meantime is taken, within reason; the rest would be a flood.
            for _ in 0..16 {
                match sys::receive_now(&peer.stream, &mut buffer) {
                    Ok(received) if received > 0 => {}
                    _ => break,
                }
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let (until, _) = self.0.front()?;
        Some(until.saturating_duration_since(Instant::now()))
    }
}
