//! The acceptor thread: takes each connection, has it stand at the [`door`] for a moment, and gives it
//! a reader thread, or turns it away with a word. It never ends before the server does, never spins,
//! and waits for no client.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::connection::{Connection, EndReason};
use crate::door;
use crate::limits::{
    ACCEPT_PAUSE_MAX, ACCEPT_PAUSE_MIN, DOOR_WAIT, HEADROOM_BYTES, HEAP_BYTES, LINGER_MAX,
    READER_STACK_BYTES, TURNED_AWAY_MAX,
};
use crate::reader;
use crate::room::Room;
use crate::seats::Seat;
use crate::seldom::Seldom;
use crate::server::Stop;
use crate::sys::{self, Interest};
use crate::threads::Threads;

/// What a newcomer is told whom the system leaves no descriptor or no thread for.
const NOBODY_MORE: &str = "the server cannot take anybody more; try again later";

/// Accepts until the server stops.
///
/// *Blocking*: in `poll`. *Locks*: the list of threads, to start a reader.
pub(crate) fn accept(room: &Arc<Room>, listener: TcpListener, stop: &Stop) {
    let mut acceptor = Acceptor {
        room,
        spare: stop.waker().as_fd().try_clone_to_owned().ok(),
        listener,
        stop,
        arrivals: VecDeque::new(),
        turned_away: VecDeque::new(),
        refusals: Seldom::default(),
        kept_out: Seldom::default(),
        faults: Seldom::default(),
        pause: ACCEPT_PAUSE_MIN,
        paused_until: None,
    };
    while !stop.requested() {
        acceptor.close_old();
        // One goes in for each that comes: if all who are due went first, those who come meanwhile
        // would have their wait still before them.
        let came = acceptor.accept_one();
        let entered = acceptor.let_one_in();
        if !came && !entered {
            acceptor.wait();
        }
    }
    // Whoever stands at the door now hears of the stop, as those do who are in.
    for arrival in std::mem::take(&mut acceptor.arrivals) {
        acceptor.let_in(arrival);
    }
    while !acceptor.turned_away.is_empty() {
        acceptor.close_first();
    }
}

/// Whether there is memory for one client more and for those who are here. Where a limit of the
/// address space (`ulimit -v`) leaves none, a refusal is better than a thread whose first allocation
/// ends the process. Without such a limit there is nothing to be asked, which takes time.
fn has_headroom(threads: &Threads) -> io::Result<()> {
    if !sys::address_space_is_limited() {
        return Ok(());
    }
    // What glibc set aside for a thread that has ended, the next one takes over.
    let aside = if threads.are_most() { HEAP_BYTES } else { 0 };
    let mut headroom = Vec::<u8>::new();
    let reserved = headroom.try_reserve_exact(HEADROOM_BYTES + aside);
    // Never used, it would not even be asked for.
    std::hint::black_box(&headroom);
    reserved.map_err(|_| ErrorKind::OutOfMemory.into())
}

/// What a client's thread does.
type Serve = fn(&Arc<Room>, &Arc<Connection>, Seat);

/// A connection at the door.
struct Arrival {
    /// When it is looked at.
    due: Instant,
    peer: Arc<Connection>,
    seat: Seat,
}

struct Acceptor<'a> {
    room: &'a Arc<Room>,
    listener: TcpListener,
    stop: &'a Stop,
    /// Those at the door, in the order in which they came.
    arrivals: VecDeque<Arrival>,
    /// Given up for a moment when descriptors run out, so that the next one in line can be told.
    spare: Option<OwnedFd>,
    /// Connections that were turned away with a word and are held until then: closing one with unread
    /// input would reset it, and it might never read why.
    turned_away: VecDeque<(Instant, Arc<Connection>)>,
    refusals: Seldom,
    kept_out: Seldom,
    faults: Seldom,
    /// How long to pause after the next fault.
    pause: Duration,
    /// Nobody is accepted before.
    paused_until: Option<Instant>,
}

impl Acceptor<'_> {
    /// Takes the next one in line, if there is one; whether there was, or a fault.
    fn accept_one(&mut self) -> bool {
        if self.paused_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        self.paused_until = None;
        match self.next() {
            Ok(peer) => {
                self.pause = ACCEPT_PAUSE_MIN;
                match self.room.seats.take(peer.addr.ip()) {
                    Ok(seat) => {
                        let due = Instant::now() + DOOR_WAIT;
                        self.arrivals.push_back(Arrival { due, peer, seat });
                    }
                    Err(full) => self.refuse(peer, &full.to_string()),
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            // That one connection failed before it was accepted; the next one may be well.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) => {}
            Err(error) => self.back_off(&error),
        }
        true
    }

    /// Lets the first of those at the door in, or keeps it out, if it is due; whether it was.
    fn let_one_in(&mut self) -> bool {
        let due = |first: &mut Arrival| first.due <= Instant::now();
        let first = self.arrivals.pop_front_if(due);
        first.map(|arrival| self.let_in(arrival)).is_some()
    }

    fn let_in(&mut self, Arrival { peer, seat, .. }: Arrival) {
        match door::keep_out(&peer) {
            None => self.admit(peer, seat),
            Some(reason) => {
                if let Some(left_out) = self.kept_out.due() {
                    info!("{} kept out: {reason}{left_out}", peer.addr);
                }
                // Any other has hung up, and reads nothing.
                if let EndReason::NotChat(_) = reason
                    && !self.start_thread(&peer, seat, reader::see_off)
                {
                    self.hold(peer);
                }
            }
        }
    }

    fn next(&self) -> io::Result<Arc<Connection>> {
        let (stream, addr) = self.listener.accept()?;
        // Elsewhere it inherits this from the listener, and readers would spin.
        #[cfg(not(target_os = "linux"))]
        stream.set_nonblocking(false)?;
        Ok(Arc::new(Connection::new(sys::canonical(addr), stream, (self.room.config.clock)())))
    }

    fn admit(&mut self, peer: Arc<Connection>, seat: Seat) {
        if self.start_thread(&peer, seat, reader::serve) {
            info!("{} connected", peer.addr);
        } else {
            self.refuse(peer, NOBODY_MORE);
        }
    }

    /// Starts a client's thread; false when the system refuses one.
    fn start_thread(&mut self, peer: &Arc<Connection>, seat: Seat, run: Serve) -> bool {
        let name = reader::thread_name(peer.addr);
        let (room, served) = (Arc::clone(self.room), Arc::clone(peer));
        let serve = move || run(&room, &served, seat);
        // Even the builder panics when a mapping is refused at the wrong moment (rust-lang/rust
        // issue 78497).
        let threads = &self.room.threads;
        let start = AssertUnwindSafe(|| {
            has_headroom(threads)?;
            threads.start(name, READER_STACK_BYTES, serve)
        });
        let started = catch_unwind(start).unwrap_or_else(|_| Err(ErrorKind::OutOfMemory.into()));
        if let Err(error) = &started
            && let Some(left_out) = self.faults.due()
        {
            warn!("cannot start a thread for a client: {error}{left_out}");
        }
        started.is_ok()
    }

    fn refuse(&mut self, peer: Arc<Connection>, why: &str) {
        self.room.counters.refusals.fetch_add(1, Relaxed);
        if let Some(left_out) = self.refusals.due() {
            info!("{} refused: {why}{left_out}", peer.addr);
        }
        // The socket is empty, so the line fits, unless the peer is gone already.
        let _ = sys::send_now(&peer.stream, format!("*** {why}\n").as_bytes());
        self.hold(peer);
    }

    /// Says the end to one who was told why, and holds it until it may be closed.
    fn hold(&mut self, peer: Arc<Connection>) {
        // It fails only on a connection that is gone already.
        let _ = peer.stream.shutdown(Shutdown::Write);
        if self.turned_away.len() == TURNED_AWAY_MAX {
            self.close_first();
        }
        self.turned_away.push_back((Instant::now() + LINGER_MAX, peer));
    }

    /// After a fault of the system, most likely no descriptors: tells the next one in line with the
    /// help of the spare descriptor, and pauses, longer each time.
    fn back_off(&mut self, error: &io::Error) {
        if let Some(left_out) = self.faults.due() {
            warn!("cannot accept: {error}; trying again{left_out}");
        }
        drop(self.spare.take());
        if let Ok(peer) = self.next() {
            self.refuse(peer, NOBODY_MORE);
            // Held like the others it would keep the descriptor that is wanted back.
            self.turned_away.rotate_right(1);
            self.close_first();
        }
        self.spare = self.stop.waker().as_fd().try_clone_to_owned().ok();
        self.paused_until = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(ACCEPT_PAUSE_MAX);
    }

    fn close_old(&mut self) {
        while self.turned_away.front().is_some_and(|(until, _)| *until <= Instant::now()) {
            self.close_first();
        }
    }

    fn close_first(&mut self) {
        let Some((_, peer)) = self.turned_away.pop_front() else { return };
        let mut buffer = [0; 4096];
        // What it said in the meantime is taken, within reason; the rest would be a flood.
        for _ in 0..16 {
            match sys::receive_now(&peer.stream, &mut buffer) {
                Ok(received) if received > 0 => {}
                _ => break,
            }
        }
    }

    /// Waits until somebody comes, somebody at the door is due, or one who was turned away is.
    fn wait(&self) {
        let arrival = self.arrivals.front().map(|arrival| arrival.due);
        let turned_away = self.turned_away.front().map(|(until, _)| *until);
        let until = [arrival, turned_away, self.paused_until].into_iter().flatten().min();
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        let listener = self.paused_until.is_none().then(|| self.listener.as_fd());
        sys::wait(self.stop.waker(), listener.into_iter(), Interest::Input, timeout);
    }
}
