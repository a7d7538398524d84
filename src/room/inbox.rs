//! The inbox: what was said and not yet delivered, in the order in which everybody will see it.
//!
//! Whoever appends decides the order of the room; the one delivery thread takes what has gathered.
//! Bounded: when it is full, those who talk wait, and nobody else.

use std::net::SocketAddr;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::backlog::SliceKind;
use super::wire::{Lines, WireForm};
use crate::connection::Connection;
use crate::limits::{INBOX_BYTES_MAX, NOTICED_CLIENTS_MAX};
use crate::stamp::Stamper;
use crate::sys::Waker;

/// What was gathered since the delivery thread last came: public lines, and what concerns one
/// client only, each with its place among them.
pub(crate) struct Batch {
    pub(crate) lines: Lines,
    pub(crate) asides: Vec<Aside>,
    aside_bytes: usize,
}

/// Something for one client, between two public lines.
pub(crate) struct Aside {
    /// How many lines of the batch stand before it.
    pub(crate) after: usize,
    pub(crate) to: SocketAddr,
    pub(crate) what: What,
}

/// What an [`Aside`] is. Bytes are whole lines in the client's own form.
pub(crate) enum What {
    /// From here on the client gets every public line. It is greeted with these bytes first, and with
    /// the last lines of the history.
    Join { greeting: Vec<u8>, history: HistoryShown },
    /// From here on the client is written to in this form.
    Form(WireForm),
    /// Something for this client alone.
    Own(SliceKind, Vec<u8>),
    /// All earlier lines were shown: what waited behind them follows.
    Release,
    /// It is to be tried whether the client takes more of what waits for it.
    Flush,
    /// The client gets nothing that comes later.
    Leave,
}

/// How a newcomer is shown the last lines of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistoryShown {
    /// They are few, and written as they stand: the delivery thread copies them.
    AtOnce,
    /// The newcomer's reader renders them, and everything else waits for that.
    ByReader,
}

impl What {
    fn bytes(&self) -> usize {
        size_of::<Aside>()
            + match self {
                What::Join { greeting: bytes, .. } | What::Own(_, bytes) => bytes.len(),
                What::Form(_) | What::Release | What::Flush | What::Leave => 0,
            }
    }
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch { lines: Lines::new(), asides: Vec::new(), aside_bytes: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.asides.clear();
        self.aside_bytes = 0;
    }

    fn is_empty(&self) -> bool {
        self.lines.len() == 0 && self.asides.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines.bytes() + self.aside_bytes
    }
}

/// What is gathering, under the inbox's lock: the pen that writes the room's next lines.
pub(crate) struct Gathering {
    batch: Batch,
    stamper: Stamper,
    /// How many are here, in the order of joins and leaves that everybody sees.
    here: usize,
    /// The delivery thread found nothing and waits; whoever appends next wakes it.
    asleep: bool,
    /// Somebody waits for space.
    crowded: bool,
    closed: bool,
}

impl Gathering {
    /// `[stamp] speaker: text` to everybody.
    pub(crate) fn say(&mut self, speaker: &str, text: &str) {
        self.batch.lines.push(self.stamper.moment(), true, &[speaker, ": ", text]);
    }

    /// `[stamp] * actor text` to everybody.
    pub(crate) fn act(&mut self, actor: &str, text: &str) {
        self.batch.lines.push(self.stamper.moment(), true, &["* ", actor, " ", text]);
    }

    /// `[stamp] *** text` to everybody.
    pub(crate) fn notice(&mut self, text: &str) {
        self.batch.lines.push(self.stamper.moment(), true, &["*** ", text]);
    }

    /// The stamp of what is written now, as it stands before a line.
    pub(crate) fn stamp(&self) -> &str {
        self.stamper.moment().0
    }

    /// Whole lines for one client alone, in its form.
    pub(crate) fn tell(&mut self, to: SocketAddr, kind: SliceKind, bytes: Vec<u8>) {
        self.aside(to, What::Own(kind, bytes));
    }

    /// From here on a client is written to in another form.
    pub(crate) fn set_form(&mut self, of: SocketAddr, form: WireForm) {
        self.aside(of, What::Form(form));
    }

    /// A client was shown all earlier lines.
    pub(crate) fn release(&mut self, addr: SocketAddr) {
        self.aside(addr, What::Release);
    }

    /// It is to be tried whether a client takes more of what waits for it.
    pub(crate) fn flush(&mut self, addr: SocketAddr) {
        self.aside(addr, What::Flush);
    }

    /// A newcomer: greeted alone, then announced to everybody, itself included.
    pub(crate) fn join(&mut self, peer: &Connection, history: HistoryShown) {
        self.here += 1;
        let (addr, here) = (peer.addr, self.here);
        // ASCII, and a newcomer has sent no CR yet: so it is written in whatever form.
        let greeting =
            format!("*** welcome; you are {addr}; {here} here; /help lists the commands\n");
        if history == HistoryShown::ByReader {
            peer.owe(greeting.len());
        }
        self.aside(addr, What::Join { greeting: greeting.into_bytes(), history });
        self.notice_of_presence(&format!("{addr} joined ({here} here)"));
    }

    /// One who goes. With a `reason` the others are told; without one (the server stops) not.
    pub(crate) fn leave(&mut self, addr: SocketAddr, shown: &str, reason: Option<&str>) {
        self.aside(addr, What::Leave);
        self.here -= 1;
        let here = self.here;
        if let Some(reason) = reason {
            self.notice_of_presence(&format!("{shown} left{reason} ({here} here)"));
        }
    }

    /// A join or a leave: for everybody who is here now, and no part of history or transcript.
    fn notice_of_presence(&mut self, text: &str) {
        if self.here <= NOTICED_CLIENTS_MAX {
            self.batch.lines.push(self.stamper.moment(), false, &["*** ", text]);
        }
    }

    fn aside(&mut self, to: SocketAddr, what: What) {
        self.batch.aside_bytes += what.bytes();
        self.batch.asides.push(Aside { after: self.batch.lines.len(), to, what });
    }
}

/// See the module's documentation.
pub(crate) struct Inbox {
    gathering: Mutex<Gathering>,
    space: Condvar,
    waker: Waker,
}

/// What [`Inbox::take`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A batch with something in it.
    Batch,
    /// Nothing; the next one who appends wakes the inbox's waker.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

impl Inbox {
    pub(crate) fn new(stamper: Stamper, waker: Waker) -> Inbox {
        let gathering = Gathering {
            batch: Batch::new(),
            stamper,
            here: 0,
            asleep: false,
            crowded: false,
            closed: false,
        };
        Inbox { gathering: Mutex::new(gathering), space: Condvar::new(), waker }
    }

    /// Appends what `write` writes, as one piece that nobody interleaves.
    ///
    /// *Blocking*: while the inbox is full, which ends with the delivery thread's next round.
    /// *Locks*: the inbox; hold no other.
    pub(crate) fn append<T>(&self, write: impl FnOnce(&mut Gathering) -> T) -> T {
        self.write(self.space(INBOX_BYTES_MAX), (), write)
    }

    /// Like [`Inbox::append`], for answers: they leave half of the inbox to the talk.
    pub(crate) fn append_answer<T>(&self, write: impl FnOnce(&mut Gathering) -> T) -> T {
        self.write(self.space(INBOX_BYTES_MAX / 2), (), write)
    }

    /// Like [`Inbox::append`], but goes beyond a full inbox instead of waiting.
    ///
    /// *Locks*: the inbox; hold no other.
    pub(crate) fn append_at_once<T>(&self, write: impl FnOnce(&mut Gathering) -> T) -> T {
        self.write(self.gathering.lock(), (), write)
    }

    /// Like [`Inbox::append_at_once`], for what must agree with the table, whose lock is let go of.
    /// Whoever can do so often waits for space before taking it.
    ///
    /// *Locks*: the inbox, while the table is held: the one order in which both are.
    pub(crate) fn append_under<R, T>(
        &self,
        table: MutexGuard<'_, R>,
        write: impl FnOnce(&mut Gathering) -> T,
    ) -> T {
        self.write(self.gathering.lock(), table, write)
    }

    /// *Blocking*: while the inbox is full. *Locks*: the inbox; hold no other.
    pub(crate) fn wait_for_space(&self) {
        drop(self.space(INBOX_BYTES_MAX));
    }

    /// Waits until less than so many bytes wait.
    fn space(&self, bytes_max: usize) -> MutexGuard<'_, Gathering> {
        let mut gathering = self.gathering.lock();
        while gathering.batch.bytes() >= bytes_max && !gathering.closed {
            gathering.crowded = true;
            self.space.wait(&mut gathering);
        }
        gathering
    }

    /// Writes, then lets go of the inbox and of what else is `held`, and wakes the delivery thread,
    /// which would only run into those locks before.
    fn write<H, T>(
        &self,
        mut gathering: MutexGuard<'_, Gathering>,
        held: H,
        write: impl FnOnce(&mut Gathering) -> T,
    ) -> T {
        // Once for the piece, whose lines are said in one moment.
        gathering.stamper.advance();
        let written = write(&mut gathering);
        if gathering.closed {
            gathering.batch.clear();
        }
        let wake = std::mem::take(&mut gathering.asleep);
        drop(gathering);
        drop(held);
        if wake {
            self.waker.wake();
        }
        written
    }

    /// Swaps what has gathered with `batch`, which is empty. Only the delivery thread calls it.
    pub(crate) fn take(&self, batch: &mut Batch) -> Taken {
        let mut gathering = self.gathering.lock();
        if gathering.batch.is_empty() {
            if gathering.closed {
                return Taken::Closed;
            }
            gathering.asleep = true;
            return Taken::Nothing;
        }
        gathering.asleep = false;
        std::mem::swap(&mut gathering.batch, batch);
        if std::mem::take(&mut gathering.crowded) {
            self.space.notify_all();
        }
        Taken::Batch
    }

    /// Says that nothing more will be delivered: nobody waits for space any more.
    pub(crate) fn close(&self) {
        self.gathering.lock().closed = true;
        self.space.notify_all();
        self.waker.wake();
    }

    /// What ends the delivery thread's wait.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }
}
