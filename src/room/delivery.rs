//! The delivery thread: the only one that writes to clients.
//!
//! One thread gives one order. It takes what has gathered in the inbox, offers it to every client
//! with sends that never block, and writes on what waits when sockets have room again ([`stuck`]). It
//! holds the table's lock while it offers, never while it waits or renders. Clients in other encodings
//! than UTF-8 get the same later ([`late`]).

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use parking_lot::MutexGuard;

use super::Room;
use super::backlog::SliceKind;
use super::budget::Budget;
use super::client::{Client, Standing};
use super::inbox::{Aside, Batch, HistoryShown, Taken, What};
use super::table::Table;
use super::transcript::Transcript;
use super::wire::{Lines, WireForm};
use crate::connection::{Connection, EndReason};
use crate::limits::LATE_BYTES_MAX;
use crate::sys::Poller;

mod late;
mod stuck;

use self::late::LateBatch;

/// Delivers until the inbox is closed.
///
/// 1. *Blocking*: in `poll`, and on the disk while it writes the transcript, with no lock held.
/// 2. *Locks*: the inbox to take a batch, then, after letting go of it, the table.
/// 3. *Order*: lines reach every client in the order in which they were appended.
/// 4. *Cost*: it renders public lines only, once for each form in use, with no lock held. Clients in
///    UTF-8 wait for no other encoding.
pub(crate) fn deliver(room: &Room, poller: Poller, mut transcript: Option<Transcript>) {
    let mut delivery = Delivery {
        room,
        departing: IndexMap::new(),
        stuck: HashMap::new(),
        keys: 0,
        poller,
        forms: Vec::new(),
        late: VecDeque::new(),
        late_clients: 0,
        batches: 0,
        budget: Budget::new(room.config.waiting_bytes_max, room.config.clients_max),
        delivered: 0,
        due: None,
    };
    let mut batch = Batch::new();
    loop {
        while delivery.late_bytes() > LATE_BYTES_MAX {
            delivery.offer_late();
        }
        match room.inbox.take(&mut batch) {
            Taken::Batch => {
                let number = record(room, transcript.as_mut(), &batch.lines);
                delivery.offer(&mut batch, number);
                room.show_watchers(&batch.lines);
                if delivery.late_clients > 0 {
                    delivery.add_late(std::mem::replace(&mut batch, Batch::new()), number);
                } else {
                    batch.clear();
                }
                if !delivery.stuck.is_empty() {
                    delivery.wait(Some(Duration::ZERO));
                }
            }
            Taken::Nothing if !delivery.late.is_empty() => {
                delivery.offer_late();
                if delivery.late.is_empty() && !delivery.stuck.is_empty() {
                    delivery.wait(Some(Duration::ZERO));
                }
            }
            Taken::Nothing => delivery.wait(delivery.timeout()),
            Taken::Closed => {
                while !delivery.late.is_empty() {
                    delivery.offer_late();
                }
                return;
            }
        }
    }
}

/// Writes a batch to the transcript and then to the history, before anybody is shown it; gives the
/// history's number of its first line.
fn record(room: &Room, transcript: Option<&mut Transcript>, lines: &Lines) -> u64 {
    if let Some(transcript) = transcript {
        let lost = transcript.append(lines);
        room.counters.lines_not_written.fetch_add(lost, Relaxed);
    }
    let mut history = room.history.lock();
    let number = history.next();
    history.append(lines);
    number
}

struct Delivery<'a> {
    room: &'a Room,
    /// Clients that have left the table and are still owed what was queued.
    departing: IndexMap<SocketAddr, Client>,
    /// Clients whose sockets are waited for, in the table or departing, by a key of their own.
    stuck: HashMap<u64, Arc<Connection>>,
    /// How many times a client was stuck, which gives the keys.
    keys: u64,
    poller: Poller,
    /// The forms in use, with how many clients are written to in each.
    forms: Vec<(WireForm, usize)>,
    /// Batches that were offered to all but the late clients.
    late: VecDeque<LateBatch>,
    /// How many clients are late.
    late_clients: usize,
    /// How many batches there were.
    batches: u64,
    /// What waits for all clients together.
    budget: Budget,
    /// Lines times the clients that they were offered to, in the batch in hand.
    delivered: u64,
    /// When the first of the stuck has taken nothing for too long.
    due: Option<Instant>,
}

impl Delivery<'_> {
    /// Offers a batch to all but the late clients: first what concerns one client, each bit in its
    /// place, then the lines that they have not had yet. Leaves in the batch what is for late clients.
    /// `number` is the history's of the first line.
    fn offer(&mut self, batch: &mut Batch, number: u64) {
        self.batches += 1;
        let count = batch.lines.len();
        self.render(batch, WireForm::is_utf8);
        let mut rows = self.room.table.lock();
        for aside in std::mem::take(&mut batch.asides) {
            // Its client may have left before it was written, and that is all right.
            let Some(client) = rows.get_mut(&aside.to) else { continue };
            if matches!(aside.what, What::Join { .. }) && !client.form.is_utf8() {
                self.make_late(client);
            }
            if client.late_since.is_some() {
                batch.asides.push(aside);
            } else {
                self.offer_aside(&mut rows, &mut batch.lines, number, aside);
            }
        }
        for position in (0..rows.len()).filter(|_| count > 0) {
            let client = rows.row_at(position);
            if client.late_since.is_none() {
                self.catch_up(client, &mut batch.lines, count);
                restart(client);
                if self.budget.is_exceeded() {
                    self.trim(&mut rows);
                }
            }
        }
        // A fair unlock hands the table to whoever waits for it. A plain one would let this thread,
        // which comes back at once while people talk, starve newcomers.
        MutexGuard::unlock_fair(rows);
        let counters = &self.room.counters;
        counters.lines.fetch_add(count as u64, Relaxed);
        counters.bytes.fetch_add(batch.lines.bytes() as u64, Relaxed);
        self.count_delivered();
    }

    fn count_delivered(&mut self) {
        let delivered = std::mem::take(&mut self.delivered);
        self.room.counters.deliveries.fetch_add(delivered, Relaxed);
    }

    /// Renders the lines in those forms that are in use, or come into use within this batch.
    fn render(&self, batch: &mut Batch, wanted: impl Fn(WireForm) -> bool) {
        if batch.lines.len() == 0 {
            return;
        }
        let coming = batch.asides.iter().filter_map(|aside| match aside.what {
            What::Form(form) => Some(form),
            _ => None,
        });
        let in_use = self.forms.iter().map(|(form, _)| *form);
        let forms: Vec<WireForm> = in_use.chain(coming).filter(|form| wanted(*form)).collect();
        batch.lines.render(&forms);
    }

    fn offer_aside(&mut self, rows: &mut Table, lines: &mut Lines, number: u64, aside: Aside) {
        let Aside { after, to, what } = aside;
        let Some(client) = rows.get_mut(&to) else { return };
        if let What::Join { .. } = what {
            client.standing = Standing::Here { next: after as u32 };
            self.use_form(client.form);
        }
        self.catch_up(client, lines, after);
        match what {
            What::Join { greeting, history } => {
                let number = number + lines.recorded_before(after) as u64;
                self.greet(client, greeting, history, number);
            }
            What::Form(form) => {
                self.disuse_form(client.form);
                self.use_form(form);
                client.form = form;
                if !form.is_utf8() && client.late_since.is_none() {
                    self.make_late(client);
                }
            }
            What::Own(kind, bytes) => self.offer_own(client, &bytes, kind),
            What::Release => {
                self.change(client, |client, _| client.release());
                self.flush(client);
                self.track(client);
            }
            What::Flush => {
                self.flush(client);
                self.track(client);
            }
            What::Leave => return self.depart(rows, &to),
        }
        if self.budget.is_exceeded() {
            self.trim(rows);
        }
    }

    /// Greets a newcomer, and shows it what stands in the history before the line with this number.
    fn greet(
        &mut self,
        client: &mut Client,
        mut bytes: Vec<u8>,
        history: HistoryShown,
        number: u64,
    ) {
        let shown = self.room.config.history_lines;
        match history {
            HistoryShown::AtOnce => {
                let history = self.room.history.lock();
                let earlier = history.before(number, shown);
                earlier.for_each(|said| client.form.write(said.text(), &mut bytes));
                drop(history);
                self.offer_own(client, &bytes, SliceKind::Private);
            }
            HistoryShown::ByReader => {
                self.change(client, |client, _| client.hold());
                self.offer_own(client, &bytes, SliceKind::Earlier);
                let first = number.saturating_sub(shown as u64);
                client.peer.show_earlier(first..number);
            }
        }
    }

    /// Takes a client that leaves out of the table; what was queued for it is still written.
    fn depart(&mut self, rows: &mut Table, addr: &SocketAddr) {
        let Some(mut client) = rows.remove(addr) else { return };
        self.disuse_form(client.form);
        self.late_clients -= usize::from(client.late_since.is_some());
        if client.has_large_buffer {
            self.budget.give_large_buffer_back();
        }
        self.room.row_left.notify_all();
        if let Some(reason @ EndReason::Replaced) = client.peer.dismissed().cloned() {
            // Nobody is there to take what waits.
            self.change(&mut client, |client, _| client.lose(reason));
        }
        self.change(&mut client, |client, _| client.release());
        self.flush(&mut client);
        self.track(&mut client);
        if client.backlog.is_some() {
            self.departing.insert(*addr, client);
        }
    }

    /// Offers the lines up to `until` that this client has not had yet.
    fn catch_up(&mut self, client: &mut Client, lines: &mut Lines, until: usize) {
        let Standing::Here { next } = client.standing else { return };
        let next = next as usize;
        if next == until {
            return;
        }
        client.standing = Standing::Here { next: until as u32 };
        let waited = client.bytes_waiting();
        let piece = lines.piece(client.form, next..until);
        let skipped = client.offer(piece, self.room.config.backlog_bytes_max, &mut self.budget);
        self.delivered += (until - next - skipped.lines) as u64;
        if client.backlog.is_some() {
            self.budget.changed(waited, client.bytes_waiting());
            self.count_missed(skipped.missed);
            self.track(client);
        } else {
            self.budget.changed(waited, 0);
        }
    }

    fn offer_own(&mut self, client: &mut Client, bytes: &[u8], kind: SliceKind) {
        let backlog_bytes_max = self.room.config.backlog_bytes_max;
        self.change(client, |client, budget| {
            client.offer_own(bytes, kind, backlog_bytes_max, budget);
        });
        self.track(client);
    }

    fn use_form(&mut self, form: WireForm) {
        match self.forms.iter_mut().find(|(known, _)| *known == form) {
            Some((_, clients)) => *clients += 1,
            None => self.forms.push((form, 1)),
        }
    }

    fn disuse_form(&mut self, form: WireForm) {
        if let Some(position) = self.forms.iter().position(|(known, _)| *known == form) {
            self.forms[position].1 -= 1;
            if self.forms[position].1 == 0 {
                self.forms.swap_remove(position);
            }
        }
    }
}

/// The next batch is offered to this client from its first line on.
fn restart(client: &mut Client) {
    if let Standing::Here { next } = &mut client.standing {
        *next = 0;
    }
}
