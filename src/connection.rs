//! One connection, as the client's reader and its row in the table share it: its address and stream,
//! why it ends, and what its reader waits for.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::limits::ALIVE_FOR;
use crate::room::wire::WireForm;
use crate::sys;

/// Why a client leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// It said so.
    Quit,
    /// Its stream ended.
    HungUp,
    /// Its connection broke.
    Broken(ErrorKind),
    /// The operator sent it away, for this reason (perhaps empty).
    Kicked(String),
    /// Lines waited for it, and it took none for so long.
    Stalled(Duration),
    /// It said nothing for so long.
    Idle(Duration),
    /// Its connection was dead, and somebody at its address took its name over.
    Replaced,
    /// It speaks another protocol.
    NotChat(&'static str),
    /// The server stops.
    Stopped,
    /// Its thread panicked.
    Fault,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndReason::Quit => f.write_str("quit"),
            EndReason::HungUp => f.write_str("hung up"),
            EndReason::Broken(kind) => write!(f, "{kind}"),
            EndReason::Kicked(reason) if reason.is_empty() => f.write_str("kicked"),
            EndReason::Kicked(reason) => write!(f, "kicked: {reason}"),
            EndReason::Stalled(time) => write!(f, "took nothing for {} s", time.as_secs()),
            EndReason::Idle(time) => write!(f, "said nothing for {} s", time.as_secs()),
            EndReason::Replaced => f.write_str("its connection was dead"),
            EndReason::NotChat(protocol) => write!(f, "speaks {protocol}"),
            EndReason::Stopped => f.write_str("the server stops"),
            EndReason::Fault => f.write_str("a fault of the server"),
        }
    }
}

/// See the module's documentation.
pub(crate) struct Connection {
    pub(crate) addr: SocketAddr,
    pub(crate) since: SystemTime,
    pub(crate) stream: TcpStream,
    pub(crate) lines_said: AtomicU64,
    /// Why somebody wants it to end.
    dismissed: OnceLock<EndReason>,
    /// How its connection broke, as who wrote to it has seen. It may have left last words.
    broken: OnceLock<EndReason>,
    /// Bytes of answers that its reader has posted, and that are neither sent nor dropped yet.
    owed_bytes: AtomicUsize,
    state: Mutex<State>,
    /// Waited on with `state`, and with `owed_bytes`: they have changed, or the client is asked to end.
    changed: Condvar,
}

/// What a reader may wait for, and what others need to know of its client.
struct State {
    /// Whether its row is gone, with everything for it written or given up.
    served: bool,
    /// Whether it is the reader's turn to do what was asked for.
    has_turn: bool,
    /// Which earlier lines a newcomer is to be shown, once the delivery thread has come to its join.
    earlier: Option<Range<u64>>,
    /// How the client is written to, as its reader has posted it last.
    form: WireForm,
    /// When it was last found to be alive.
    seen_alive: Option<Instant>,
}

impl Connection {
    /// A connection that has come at this moment.
    pub(crate) fn new(addr: SocketAddr, stream: TcpStream, since: SystemTime) -> Connection {
        let state = State {
            served: false,
            has_turn: false,
            earlier: None,
            form: WireForm::default(),
            seen_alive: None,
        };
        Connection {
            addr,
            since,
            stream,
            lines_said: AtomicU64::new(0),
            dismissed: OnceLock::new(),
            broken: OnceLock::new(),
            owed_bytes: AtomicUsize::new(0),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Where the client has connected to; its own address when the connection is gone.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().map_or(self.addr, sys::canonical)
    }

    /// Asks the client's reader to end it for `reason`; the first reason stays, but a connection that
    /// only broke can still be dismissed. What is queued can still be written. Never blocks.
    /// *Locks*: the connection.
    pub(crate) fn end(&self, reason: EndReason) {
        let broke = matches!(reason, EndReason::Broken(_));
        // A reason that comes second changes nothing.
        let _ = if broke { &self.broken } else { &self.dismissed }.set(reason);
        // Wakes the blocked read; a connection that is gone already has no reader in it.
        let _ = self.stream.shutdown(Shutdown::Read);
        // Held, so that a reader on its way into a pause is in it, and hears this.
        let _state = self.state.lock();
        self.changed.notify_all();
    }

    /// Why somebody wants it to end, last words or not.
    pub(crate) fn dismissed(&self) -> Option<&EndReason> {
        self.dismissed.get()
    }

    /// Why it was asked to end, if it was.
    pub(crate) fn ending(&self) -> Option<&EndReason> {
        self.dismissed().or(self.broken.get())
    }

    /// Notes that the connection broke, if the peer has reset it; asks the system.
    pub(crate) fn notice_reset(&self) {
        if self.broken.get().is_none() && sys::is_reset(&self.stream) {
            self.end(EndReason::Broken(ErrorKind::ConnectionReset));
        }
    }

    /// Pauses the client's reader, which calls this. *Blocking*: until then, or until the client is
    /// asked to end. *Locks*: the connection.
    pub(crate) fn pause_until(&self, then: Instant) {
        if then > Instant::now() {
            self.wait_for(Some(then), |_| false);
        }
    }

    /// Waits until `holds`, which is true in what it gives. *Blocking*: until `deadline`, or until the
    /// client is asked to end. *Locks*: the connection.
    fn wait_for(&self, deadline: Option<Instant>, holds: impl Fn(&State) -> bool) -> bool {
        let mut state = self.state.lock();
        loop {
            if holds(&state) {
                return true;
            }
            if self.ending().is_some() || state.served {
                return false;
            }
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        return holds(&state);
                    }
                }
            }
        }
    }

    /// *Blocking*: until the client's row is gone, with everything for it written or given up.
    /// *Locks*: the connection.
    pub(crate) fn wait_until_served(&self) {
        let mut state = self.state.lock();
        while !state.served {
            self.changed.wait(&mut state);
        }
    }

    /// Counts bytes of an answer that is about to be posted.
    pub(crate) fn owe(&self, bytes: usize) {
        self.owed_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts bytes of answers that were sent or dropped. *Locks*: the connection.
    pub(crate) fn settle(&self, bytes: usize) {
        if bytes > 0 {
            self.owed_bytes.fetch_sub(bytes, Relaxed);
            let _state = self.state.lock();
            self.changed.notify_all();
        }
    }

    /// Bytes of answers that wait.
    pub(crate) fn owed_bytes(&self) -> usize {
        self.owed_bytes.load(Relaxed)
    }

    /// Waits until at most so many bytes of answers wait; false when the client has taken none of them
    /// for `patience`, or is asked to end.
    ///
    /// *Blocking*: as long as the client takes some. *Locks*: the connection.
    pub(crate) fn wait_until_owed(&self, bytes_max: usize, patience: Duration) -> bool {
        loop {
            let before = self.owed_bytes.load(Relaxed);
            if before <= bytes_max {
                return self.ending().is_none();
            }
            let deadline = Instant::now().checked_add(patience);
            let moved = self.wait_for(deadline, |_| self.owed_bytes.load(Relaxed) < before);
            if !moved {
                return false;
            }
        }
    }

    /// Says which earlier lines its reader is to show. *Locks*: the connection.
    pub(crate) fn show_earlier(&self, numbers: Range<u64>) {
        self.state.lock().earlier = Some(numbers);
        self.changed.notify_all();
    }

    /// Which earlier lines are to be shown; `None` when the client is asked to end before that is known.
    ///
    /// *Blocking*: until the delivery thread has come to the join. *Locks*: the connection.
    pub(crate) fn wait_for_earlier(&self) -> Option<Range<u64>> {
        self.wait_for(None, |state| state.earlier.is_some());
        self.state.lock().earlier.take()
    }

    /// Gives the reader its turn. *Locks*: the connection.
    pub(crate) fn give_turn(&self) {
        self.state.lock().has_turn = true;
        self.changed.notify_all();
    }

    /// Waits for the reader's turn; false when the client is asked to end before.
    ///
    /// *Blocking*: until others had theirs. *Locks*: the connection.
    pub(crate) fn wait_for_turn(&self) -> bool {
        self.wait_for(None, |state| state.has_turn)
    }

    /// Takes a turn back that was given; whether there was one. *Locks*: the connection.
    pub(crate) fn take_turn(&self) -> bool {
        std::mem::take(&mut self.state.lock().has_turn)
    }

    /// How the client is written to. *Locks*: the connection.
    pub(crate) fn form(&self) -> WireForm {
        self.state.lock().form
    }

    /// Notes how the client is written to from now on. *Locks*: the connection.
    pub(crate) fn set_form(&self, form: WireForm) {
        self.state.lock().form = form;
    }

    /// Whether it was found to be alive within the last [`ALIVE_FOR`]. *Locks*: the connection.
    pub(crate) fn was_just_alive(&self) -> bool {
        self.state.lock().seen_alive.is_some_and(|seen| seen.elapsed() < ALIVE_FOR)
    }

    /// Notes that it is alive. *Locks*: the connection.
    pub(crate) fn note_alive(&self) {
        self.state.lock().seen_alive = Some(Instant::now());
    }

    /// Says that the client's row is gone, which its reader may wait for. *Locks*: the connection.
    pub(crate) fn set_served(&self) {
        self.state.lock().served = true;
        self.changed.notify_all();
    }
}
