//! The acceptor thread: takes each connection and gives it a reader thread, or refuses it in one
//! line. It never ends before the server does, never spins, and waits for no client.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::limits::{
    ACCEPT_PAUSE_MAX, ACCEPT_PAUSE_MIN, HEADROOM_BYTES, LINGER_MAX, READER_STACK_BYTES, REFUSED_MAX,
};
use crate::reader;
use crate::room::Room;
use crate::room::client::Peer;
use crate::seldom::Seldom;
use crate::server::Stop;
use crate::sys::{self, Interest};

/// Accepts until the server stops.
///
/// *Blocking*: in `poll`. *Locks*: the list of threads, to start a reader.
pub(crate) fn accept(room: &Arc<Room>, listener: TcpListener, stop: &Stop) {
    let mut acceptor = Acceptor {
        room,
        spare: stop.waker().as_fd().try_clone_to_owned().ok(),
        listener,
        stop,
        refused: VecDeque::new(),
        refusals: Seldom::default(),
        faults: Seldom::default(),
        pause: ACCEPT_PAUSE_MIN,
    };
    while !stop.requested() {
        acceptor.accept_one();
        acceptor.close_old();
    }
}

/// Whether there is memory for one client more and for those who are here. Where a limit of the
/// address space (`ulimit -v`) leaves none, a refusal is better than a thread whose first allocation
/// ends the process. Without such a limit there is nothing to be asked, which takes time.
fn has_headroom() -> io::Result<()> {
    if !sys::address_space_is_limited() {
        return Ok(());
    }
    let mut headroom = Vec::<u8>::new();
    let reserved = headroom.try_reserve_exact(HEADROOM_BYTES);
    // Never used, it would not even be asked for.
    std::hint::black_box(&headroom);
    reserved.map_err(|_| ErrorKind::OutOfMemory.into())
}

struct Acceptor<'a> {
    room: &'a Arc<Room>,
    listener: TcpListener,
    stop: &'a Stop,
    /// Given up for a moment when descriptors run out, so that the next one in line can be told.
    spare: Option<OwnedFd>,
    /// Connections that were told why and are held until then: closing one with unread input would
    /// reset it, and it might never read its line.
    refused: VecDeque<(Instant, Arc<Peer>)>,
    refusals: Seldom,
    faults: Seldom,
    /// How long to pause after the next fault.
    pause: Duration,
}

impl Acceptor<'_> {
    fn accept_one(&mut self) {
        match self.next() {
            Ok(peer) => {
                self.pause = ACCEPT_PAUSE_MIN;
                self.admit(peer);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let listener = std::iter::once(self.listener.as_fd());
                sys::wait(self.stop.waker(), listener, Interest::Input, self.timeout());
            }
            // That one connection failed before it was accepted; the next one may be well.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) => {}
            Err(error) => self.back_off(&error),
        }
    }

    fn next(&self) -> io::Result<Arc<Peer>> {
        let (stream, addr) = self.listener.accept()?;
        // Elsewhere it inherits this from the listener, and readers would spin.
        #[cfg(not(target_os = "linux"))]
        stream.set_nonblocking(false)?;
        Ok(Arc::new(Peer::new(sys::canonical(addr), stream)))
    }

    fn admit(&mut self, peer: Arc<Peer>) {
        let seat = match self.room.seats.take(peer.addr.ip()) {
            Ok(seat) => seat,
            Err(full) => return self.refuse(peer, &full.to_string()),
        };
        let name = reader::thread_name(peer.addr);
        let (room, served) = (Arc::clone(self.room), Arc::clone(&peer));
        let serve = move || reader::serve(&room, &served, seat);
        // Even the builder panics when a mapping is refused at the wrong moment (rust-lang/rust
        // issue 78497).
        let threads = &self.room.threads;
        let start = AssertUnwindSafe(|| {
            has_headroom()?;
            threads.start(name, READER_STACK_BYTES, serve)
        });
        let started = catch_unwind(start).unwrap_or_else(|_| Err(ErrorKind::OutOfMemory.into()));
        if let Err(error) = &started {
            if let Some(left_out) = self.faults.due() {
                warn!("cannot start a thread for a client: {error}{left_out}");
            }
            self.refuse(peer, "the server cannot take anybody more; try again later");
        } else {
            info!("{} connected", peer.addr);
        }
    }

    fn refuse(&mut self, peer: Arc<Peer>, why: &str) {
        self.room.counters.refusals.fetch_add(1, Relaxed);
        if let Some(left_out) = self.refusals.due() {
            info!("{} refused: {why}{left_out}", peer.addr);
        }
        // The socket is empty, so the line fits, unless the peer is gone already.
        let _ = sys::send_now(&peer.stream, format!("*** {why}\n").as_bytes());
        let _ = peer.stream.shutdown(Shutdown::Write);
        if self.refused.len() == REFUSED_MAX {
            self.close_first();
        }
        self.refused.push_back((Instant::now() + LINGER_MAX, peer));
    }

    /// After a fault of the system, most likely no descriptors: tells the next one in line with the
    /// help of the spare descriptor, and pauses, longer each time.
    fn back_off(&mut self, error: &io::Error) {
        if let Some(left_out) = self.faults.due() {
            warn!("cannot accept: {error}; trying again{left_out}");
        }
        drop(self.spare.take());
        if let Ok(peer) = self.next() {
            self.refuse(peer, "the server cannot take anybody more; try again later");
            // Held like the others it would keep the descriptor that is wanted back.
            self.refused.rotate_right(1);
            self.close_first();
        }
        self.spare = self.stop.waker().as_fd().try_clone_to_owned().ok();
        sys::wait(self.stop.waker(), std::iter::empty(), Interest::Input, Some(self.pause));
        self.pause = (self.pause * 2).min(ACCEPT_PAUSE_MAX);
    }

    fn close_old(&mut self) {
        while self.refused.front().is_some_and(|(until, _)| *until <= Instant::now()) {
            self.close_first();
        }
    }

    fn close_first(&mut self) {
        let Some((_, peer)) = self.refused.pop_front() else { return };
        let mut buffer = [0; 4096];
        // What it said in the meantime is taken, within reason; the rest would be a flood.
        for _ in 0..16 {
            match sys::receive_now(&peer.stream, &mut buffer) {
                Ok(received) if received > 0 => {}
                _ => break,
            }
        }
    }

    /// Until the first of the refused is to be closed.
    fn timeout(&self) -> Option<Duration> {
        let (until, _) = self.refused.front()?;
        Some(until.saturating_duration_since(Instant::now()))
    }
}
