//! One client, as its two sides know it: the [`Peer`] that its reader shares with the room, and
//! the [`Client`], its row in the table, which only the delivery thread writes to.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::wire::{Piece, Rest, WireForm};
use crate::limits::SLICE_BYTES;
use crate::name::Name;
use crate::sys;

/// Why a client leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
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

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Quit => f.write_str("quit"),
            Ending::HungUp => f.write_str("hung up"),
            Ending::Broken(kind) => write!(f, "{kind}"),
            Ending::Kicked(reason) if reason.is_empty() => f.write_str("kicked"),
            Ending::Kicked(reason) => write!(f, "kicked: {reason}"),
            Ending::Stalled(time) => write!(f, "took nothing for {} s", time.as_secs()),
            Ending::Idle(time) => write!(f, "said nothing for {} s", time.as_secs()),
            Ending::Replaced => f.write_str("its connection was dead"),
            Ending::NotChat(protocol) => write!(f, "speaks {protocol}"),
            Ending::Stopped => f.write_str("the server stops"),
            Ending::Fault => f.write_str("a fault of the server"),
        }
    }
}

/// A connection, shared by the client's reader and its row.
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) since: SystemTime,
    pub(crate) stream: TcpStream,
    pub(crate) lines_said: AtomicU64,
    /// Why somebody wants it to end.
    dismissed: OnceLock<Ending>,
    /// How its connection broke, as who wrote to it has seen. It may have left last words.
    broken: OnceLock<Ending>,
    /// Whether its row is gone, with everything for it written or given up.
    served: Mutex<bool>,
    /// Waited on with `served`: it is, or the client is asked to end.
    changed: Condvar,
}

impl Peer {
    /// A connection that has come at this moment.
    pub(crate) fn new(addr: SocketAddr, stream: TcpStream, since: SystemTime) -> Peer {
        Peer {
            addr,
            since,
            stream,
            lines_said: AtomicU64::new(0),
            dismissed: OnceLock::new(),
            broken: OnceLock::new(),
            served: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    /// Where the client has connected to; its own address when the connection is gone.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().map_or(self.addr, sys::canonical)
    }

    /// Asks the client's reader to end it for `reason`; the first reason stays, but a connection that
    /// only broke can still be dismissed. What is queued can still be written. Never blocks.
    /// *Locks*: the peer.
    pub(crate) fn end(&self, reason: Ending) {
        let broke = matches!(reason, Ending::Broken(_));
        // A reason that comes second changes nothing.
        let _ = if broke { &self.broken } else { &self.dismissed }.set(reason);
        // Wakes the blocked read; a connection that is gone already has no reader in it.
        let _ = self.stream.shutdown(Shutdown::Read);
        // Held, so that a reader on its way into a pause is in it, and hears this.
        let _served = self.served.lock();
        self.changed.notify_all();
    }

    /// Why somebody wants it to end, last words or not.
    pub(crate) fn dismissed(&self) -> Option<&Ending> {
        self.dismissed.get()
    }

    /// Pauses the client's reader, which calls this. *Blocking*: until then, or until the client is
    /// asked to end. *Locks*: the peer.
    pub(crate) fn pause_until(&self, then: Instant) {
        if then <= Instant::now() {
            return;
        }
        let mut served = self.served.lock();
        while self.dismissed().is_none() {
            if self.changed.wait_until(&mut served, then).timed_out() {
                return;
            }
        }
    }

    /// *Blocking*: until the client's row is gone, with everything for it written or given up.
    /// *Locks*: the peer.
    pub(crate) fn wait_until_served(&self) {
        let mut served = self.served.lock();
        while !*served {
            self.changed.wait(&mut served);
        }
    }

    /// Why it was asked to end, if it was.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.dismissed().or(self.broken.get())
    }
}

/// What waits for a client that cannot take it yet: shared slices, in order. Public lines and what
/// the client asked for itself are bounded apart, so that a long answer costs no line of the talk.
pub(crate) struct Backlog {
    slices: VecDeque<Slice>,
    /// When the client last took something of it, or it began.
    moved: Instant,
    public_bytes: usize,
    own_bytes: usize,
    /// Lines of the talk that were skipped since it was full, of which the client is told when it
    /// has taken the rest;
    missed: usize,
    /// and lines for it alone.
    missed_own: usize,
}

struct Slice {
    shared: Arc<[u8]>,
    range: Range<usize>,
    own: bool,
}

impl Slice {
    /// Some of a batch. A part is copied, for what is shared is kept as a whole: a few bytes that wait
    /// must not cost the memory of a batch.
    fn of(shared: Arc<[u8]>, range: Range<usize>) -> Slice {
        if range.len() == shared.len() {
            return Slice { shared, range, own: false };
        }
        let copied = Arc::from(&shared[range.clone()]);
        Slice { shared: copied, range: 0..range.len(), own: false }
    }
}

impl Backlog {
    fn new() -> Backlog {
        Backlog {
            slices: VecDeque::new(),
            moved: Instant::now(),
            public_bytes: 0,
            own_bytes: 0,
            missed: 0,
            missed_own: 0,
        }
    }

    /// Whether nothing waits, not even word of what was missed.
    fn is_empty(&self) -> bool {
        self.slices.is_empty() && self.missed == 0 && self.missed_own == 0
    }

    fn count(&mut self, own: bool) -> &mut usize {
        if own { &mut self.own_bytes } else { &mut self.public_bytes }
    }

    fn push(&mut self, slice: Slice) {
        if slice.range.start < slice.range.end {
            *self.count(slice.own) += slice.range.len() + SLICE_BYTES;
            self.slices.push_back(slice);
        }
    }

    fn advance(&mut self, sent: usize) {
        self.moved = Instant::now();
        let slice = self.slices.front_mut().expect("only what waits is sent");
        let own = slice.own;
        slice.range.start += sent;
        let done = slice.range.start == slice.range.end;
        *self.count(own) -= sent + if done { SLICE_BYTES } else { 0 };
        if done {
            self.slices.pop_front();
        }
    }
}

/// Where a row stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In the table, but the delivery thread has not come to its join.
    Arriving,
    /// It is owed the lines of the batch in hand from this one on.
    Here { next: usize },
    /// Nothing can be written to it any more; its reader is about to end it.
    Lost,
}

/// A row of the client table. Every line passes through all rows, so they are small: what most
/// clients have not, or is seldom asked for, is elsewhere.
pub(crate) struct Client {
    pub(crate) peer: Arc<Peer>,
    pub(crate) form: WireForm,
    pub(crate) standing: Standing,
    pub(crate) name: Option<Box<Name>>,
    /// What waits for it, if anything does, be it only word of what it missed.
    pub(crate) backlog: Option<Box<Backlog>>,
}

impl Drop for Client {
    /// Wakes its reader, which then closes the connection.
    fn drop(&mut self) {
        *self.peer.served.lock() = true;
        self.peer.changed.notify_all();
    }
}

impl Client {
    pub(crate) fn new(peer: Arc<Peer>, form: WireForm) -> Client {
        Client { peer, form, standing: Standing::Arriving, name: None, backlog: None }
    }

    /// What everybody calls it: its name, or its address until it has one.
    pub(crate) fn shown(&self) -> String {
        match &self.name {
            Some(name) => name.as_str().to_owned(),
            None => self.peer.addr.to_string(),
        }
    }

    /// Bytes that wait for it, each slice counted with [`SLICE_BYTES`] more.
    pub(crate) fn bytes_waiting(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.public_bytes + backlog.own_bytes)
    }

    /// When it will have taken nothing for so long of what waits for it, if anything does.
    pub(crate) fn stalls_at(&self, stall_timeout: Duration) -> Option<Instant> {
        self.backlog.as_ref().map(|backlog| backlog.moved + stall_timeout)
    }

    /// The backlog, to which something is added.
    fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_with(|| Box::new(Backlog::new()))
    }

    /// Writes the piece, or keeps what the socket does not take; gives how many lines, the last ones
    /// of the piece, were skipped because too much waits already. Never blocks.
    pub(crate) fn offer(&mut self, mut piece: Piece<'_>, backlog_bytes_max: usize) -> usize {
        let Some(sent) = self.send_directly(piece.bytes()) else { return 0 };
        // Once a line was skipped, all are until the client has taken what waits: one gap, not many.
        let backlog = self.backlog();
        let waiting = backlog.public_bytes + SLICE_BYTES;
        let gap = backlog.missed > 0;
        let space = if gap { 0 } else { backlog_bytes_max.saturating_sub(waiting) };
        let Rest { shared, range, missed } = piece.rest(sent, space);
        backlog.push(Slice::of(shared, range));
        missed
    }

    /// Has the client told, when it reads again, that it missed so many lines of the talk that was
    /// offered last.
    pub(crate) fn miss(&mut self, lines: usize) {
        let Some(backlog) = &mut self.backlog else { return };
        backlog.missed += lines;
        if backlog.is_empty() {
            // All that was skipped are lines that are no loss, and nothing else waits.
            self.backlog = None;
        }
    }

    /// Like [`Client::offer`], for what only this client gets. One answer, however long, is kept
    /// whole unless others fill the backlog already.
    pub(crate) fn offer_own(&mut self, bytes: &[u8], backlog_bytes_max: usize) -> usize {
        let Some(sent) = self.send_directly(bytes) else { return 0 };
        let backlog = self.backlog();
        if backlog.own_bytes >= backlog_bytes_max.max(1) {
            let missed = bytes.iter().filter(|&&byte| byte == b'\n').count();
            backlog.missed_own += missed;
            return missed;
        }
        let rest = Arc::from(&bytes[sent..]);
        backlog.push(Slice { shared: rest, range: 0..bytes.len() - sent, own: true });
        0
    }

    /// Sends past an empty backlog. Gives how much went out when something must be kept.
    fn send_directly(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.standing == Standing::Lost {
            return None;
        }
        if self.backlog.is_some() {
            return Some(0);
        }
        self.send(bytes).filter(|&sent| sent < bytes.len())
    }

    /// How much the socket took, 0 when it is full; nothing when the client is lost.
    fn send(&mut self, bytes: &[u8]) -> Option<usize> {
        match sys::send_now(&self.peer.stream, bytes) {
            Ok(sent) => Some(sent),
            Err(error) if is_passing(&error) => Some(0),
            Err(error) => {
                self.lose(Ending::Broken(error.kind()));
                None
            }
        }
    }

    /// Writes on what waits, as far as the socket takes it, and then, if lines were skipped, how
    /// many, and how to see them if `/last` goes back so far. Never blocks.
    pub(crate) fn flush(&mut self, recall_lines_max: usize) {
        let Some(mut backlog) = self.backlog.take() else { return };
        while let Some(slice) = backlog.slices.front() {
            match self.send(&slice.shared[slice.range.clone()]) {
                None => return,
                Some(0) => {
                    self.backlog = Some(backlog);
                    return;
                }
                Some(sent) => backlog.advance(sent),
            }
        }
        let Backlog { missed, missed_own, .. } = *backlog;
        let plural = |lines| if lines == 1 { "line" } else { "lines" };
        let mut notice = Vec::new();
        if missed > 0 {
            let mut text = format!("*** you missed {missed} {}", plural(missed));
            if missed <= recall_lines_max {
                text += &format!("; /last {missed} shows them");
            }
            self.form.write(&text, &mut notice);
        }
        if missed_own > 0 {
            let lines = plural(missed_own);
            let text = format!("*** you missed {missed_own} {lines} that were for you alone");
            self.form.write(&text, &mut notice);
        }
        if !notice.is_empty() {
            self.offer_own(&notice, usize::MAX);
        }
    }

    /// Nothing more is written to it; its reader is asked to end it.
    pub(crate) fn lose(&mut self, reason: Ending) {
        self.standing = Standing::Lost;
        self.backlog = None;
        self.peer.end(reason);
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
