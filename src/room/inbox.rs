//! The inbox: what was said and not yet delivered, in the order in which everybody will see it.
//!
//! Whoever appends decides the order of the room; the one delivery thread takes what has gathered.
//! Bounded: when it is full, those who talk wait, and nobody else.

use std::net::SocketAddr;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::wire::Lines;
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

/// What an [`Aside`] is.
pub(crate) enum What {
    /// From here on the client gets every public line. It is greeted with these lines first.
    Join(String),
    /// Lines for this client alone, each with its LF.
    Text(String),
    /// Bytes that go out as they are: an answer to a telnet command, or to another protocol.
    Raw(Vec<u8>),
    /// The client gets nothing that comes later.
    Leave,
}

impl What {
    fn bytes(&self) -> usize {
        size_of::<Aside>()
            + match self {
                What::Join(text) | What::Text(text) => text.len(),
                What::Raw(bytes) => bytes.len(),
                What::Leave => 0,
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

    fn bytes(&self) -> usize {
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

    /// `[stamp] sender -> receiver: text` to both, once when they are one.
    pub(crate) fn whisper(
        &mut self,
        (sender, from): (&str, SocketAddr),
        (receiver, to): (&str, SocketAddr),
        text: &str,
    ) {
        let (stamp, _) = self.stamper.moment();
        let line = format!("{stamp}{sender} -> {receiver}: {text}\n");
        if from != to {
            self.tell(from, line.clone());
        }
        self.tell(to, line);
    }

    /// Lines for one client alone, each with its LF.
    pub(crate) fn tell(&mut self, to: SocketAddr, text: String) {
        self.aside(to, What::Text(text));
    }

    /// Bytes for one client alone, as they are.
    pub(crate) fn answer(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.aside(to, What::Raw(bytes));
    }

    /// A newcomer: greeted alone, then announced to everybody, itself included.
    pub(crate) fn join(&mut self, addr: SocketAddr) {
        self.here += 1;
        let here = self.here;
        let greeting =
            format!("*** welcome; you are {addr}; {here} here; /help lists the commands\n");
        self.aside(addr, What::Join(greeting));
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
        self.write(self.space(), (), write)
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
        drop(self.space());
    }

    fn space(&self) -> MutexGuard<'_, Gathering> {
        let mut gathering = self.gathering.lock();
        while gathering.batch.bytes() >= INBOX_BYTES_MAX && !gathering.closed {
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
