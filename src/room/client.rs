//! One client, as its two sides know it: the [`Peer`] that its reader shares with the room, and
//! the [`Client`], its row in the table, which only the delivery thread writes to.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use super::wire::{Piece, WireForm};
use crate::limits::BACKLOG_BYTES_MAX;
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
    /// More was waiting for it than a backlog holds.
    Overrun,
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
            Ending::Overrun => write!(f, "took too little: {BACKLOG_BYTES_MAX} bytes waited"),
            Ending::Stopped => f.write_str("the server stops"),
            Ending::Fault => f.write_str("a fault of the server"),
        }
    }
}

/// A connection, shared by the client's reader and its row.
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) stream: TcpStream,
    pub(crate) lines_said: AtomicU64,
    ending: OnceLock<Ending>,
}

impl Peer {
    pub(crate) fn new(addr: SocketAddr, stream: TcpStream) -> Peer {
        Peer { addr, stream, lines_said: AtomicU64::new(0), ending: OnceLock::new() }
    }

    /// Asks the client's reader to end it for `reason`; the first reason stays. What is queued can
    /// still be written. Never blocks.
    pub(crate) fn end(&self, reason: Ending) {
        // A reason that comes second changes nothing.
        let _ = self.ending.set(reason);
        // Wakes the blocked read; a connection that is gone already has no reader in it.
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    /// Why it was asked to end, if it was.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.get()
    }
}

/// What waits for a client that cannot take it yet: shared slices, in order.
#[derive(Default)]
pub(crate) struct Backlog {
    slices: VecDeque<(Arc<[u8]>, Range<usize>)>,
    bytes: usize,
}

impl Backlog {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    fn push(&mut self, shared: Arc<[u8]>, range: Range<usize>) {
        self.bytes += range.len();
        self.slices.push_back((shared, range));
    }

    fn advance(&mut self, sent: usize) {
        self.bytes -= sent;
        let (_, range) = self.slices.front_mut().expect("only what waits is sent");
        range.start += sent;
        if range.start == range.end {
            self.slices.pop_front();
        }
    }

    fn clear(&mut self) {
        *self = Backlog::default();
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

/// A row of the client table.
pub(crate) struct Client {
    pub(crate) peer: Arc<Peer>,
    pub(crate) name: Option<Name>,
    pub(crate) since: SystemTime,
    pub(crate) form: WireForm,
    pub(crate) standing: Standing,
    pub(crate) backlog: Backlog,
    /// When it last took something of its backlog, or the backlog began.
    pub(crate) moved: Instant,
    /// Dropped with the row: that wakes its reader, which then closes the connection.
    _served: SyncSender<()>,
}

impl Client {
    pub(crate) fn new(peer: Arc<Peer>, since: SystemTime, served: SyncSender<()>) -> Client {
        Client {
            peer,
            name: None,
            since,
            form: WireForm::default(),
            standing: Standing::Arriving,
            backlog: Backlog::default(),
            moved: Instant::now(),
            _served: served,
        }
    }

    /// What everybody calls it: its name, or its address until it has one.
    pub(crate) fn shown(&self) -> String {
        match &self.name {
            Some(name) => name.as_str().to_owned(),
            None => self.peer.addr.to_string(),
        }
    }

    /// Writes the piece, or keeps what the socket does not take. Never blocks.
    pub(crate) fn offer(&mut self, mut piece: Piece<'_>) {
        let sent = self.send_directly(piece.bytes());
        if let Some(sent) = sent {
            let (shared, range) = piece.rest(sent);
            self.keep(shared, range);
        }
    }

    /// Like [`Client::offer`], for what only this client gets.
    pub(crate) fn offer_own(&mut self, bytes: &[u8]) {
        if let Some(sent) = self.send_directly(bytes) {
            self.keep(Arc::from(&bytes[sent..]), 0..bytes.len() - sent);
        }
    }

    /// Sends past an empty backlog. Gives how much went out when something must be kept.
    fn send_directly(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.standing == Standing::Lost || bytes.is_empty() {
            return None;
        }
        if !self.backlog.is_empty() {
            return Some(0);
        }
        let sent = self.send(bytes)?;
        (sent < bytes.len()).then_some(sent)
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

    fn keep(&mut self, shared: Arc<[u8]>, range: Range<usize>) {
        if self.backlog.is_empty() {
            self.moved = Instant::now();
        }
        if self.backlog.bytes() + range.len() > BACKLOG_BYTES_MAX {
            self.lose(Ending::Overrun);
        } else {
            self.backlog.push(shared, range);
        }
    }

    /// Writes on what waits, as far as the socket takes it. Never blocks.
    pub(crate) fn flush(&mut self) {
        while let Some((shared, range)) = self.backlog.slices.front() {
            let (shared, range) = (Arc::clone(shared), range.clone());
            match self.send(&shared[range]) {
                None | Some(0) => return,
                Some(sent) => {
                    self.moved = Instant::now();
                    self.backlog.advance(sent);
                }
            }
        }
    }

    /// Nothing more is written to it; its reader is asked to end it.
    pub(crate) fn lose(&mut self, reason: Ending) {
        self.standing = Standing::Lost;
        self.backlog.clear();
        self.peer.end(reason);
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
