//! The delivery thread: the only one that writes to clients.
//!
//! One thread gives one order. It takes what has gathered in the inbox, offers it to every client
//! with sends that never block, and writes on what waits when sockets have room again. It holds
//! the table's lock while it offers, never while it waits or renders.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use parking_lot::MutexGuard;

use super::Room;
use super::backlog::SliceKind;
use super::budget::{Budget, level};
use super::client::{Client, Standing};
use super::inbox::{Aside, Batch, HistoryShown, Taken, What};
use super::table::Table;
use super::transcript::Transcript;
use super::wire::{Lines, WireForm};
use crate::connection::{Connection, EndReason};
use crate::limits::FLUSH_MAX;
use crate::sys::{self, Interest};

/// Delivers until the inbox is closed.
///
/// 1. *Blocking*: in `poll`, and on the disk while it writes the transcript, with no lock held.
/// 2. *Locks*: the inbox to take a batch, then, after letting go of it, the table.
/// 3. *Order*: lines reach every client in the order in which they were appended.
/// 4. *Cost*: it renders public lines only, once for each form in use, with no lock held; those who are
///    written to in UTF-8 wait for no other encoding of the same batch.
pub(crate) fn deliver(room: &Room, mut transcript: Option<Transcript>) {
    let mut delivery = Delivery {
        room,
        departing: IndexMap::new(),
        stuck: Vec::new(),
        forms: Vec::new(),
        budget: Budget::new(room.config.waiting_bytes_max),
        delivered: 0,
        due: None,
    };
    let mut batch = Batch::new();
    loop {
        match room.inbox.take(&mut batch) {
            Taken::Batch => {
                let number = record(room, transcript.as_mut(), &batch.lines);
                delivery.offer(&mut batch, number);
                room.show_watchers(&batch.lines);
                batch.clear();
                if !delivery.stuck.is_empty() {
                    delivery.wait(Some(Duration::ZERO));
                }
            }
            Taken::Nothing => delivery.wait(delivery.timeout()),
            Taken::Closed => return,
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
    /// Clients whose sockets are waited for, in the table or departing.
    stuck: Vec<Arc<Connection>>,
    /// The forms in use, with how many clients are written to in each.
    forms: Vec<(WireForm, usize)>,
    /// What waits for all clients together.
    budget: Budget,
    /// Lines times the clients that they were offered to, in the batch in hand.
    delivered: u64,
    /// When the first of the stuck has taken nothing for too long.
    due: Option<Instant>,
}

impl Delivery<'_> {
    /// Offers a batch: first what concerns one client, each bit in its place, then, to all, the
    /// lines that they have not had yet. Clients in UTF-8 come first, since for others each character
    /// has to be looked up. `number` is the history's of the first line.
    fn offer(&mut self, batch: &mut Batch, number: u64) {
        let count = batch.lines.len();
        self.render(batch, WireForm::is_utf8);
        let mut later = Vec::new();
        let mut rows = self.room.table.lock();
        for aside in std::mem::take(&mut batch.asides) {
            match rows.get(&aside.to) {
                Some(client) if client.form.is_utf8() => {
                    self.offer_aside(&mut rows, &mut batch.lines, number, aside);
                }
                Some(_) => later.push(aside),
                // Whom it was for may have left before it was written, and that is all right.
                None => {}
            }
        }
        self.offer_lines(&mut rows, &mut batch.lines, |form| form.is_utf8());
        // A fair unlock hands the table to whoever waits for it. A plain one would let this thread,
        // which comes back at once while people talk, starve newcomers.
        MutexGuard::unlock_fair(rows);
        if !later.is_empty() || self.forms.iter().any(|(form, _)| !form.is_utf8()) {
            batch.asides = later;
            self.render(batch, |form| !form.is_utf8());
            let mut rows = self.room.table.lock();
            let mut changed = Vec::new();
            for aside in std::mem::take(&mut batch.asides) {
                if let What::Form(_) = aside.what {
                    changed.push(aside.to);
                }
                self.offer_aside(&mut rows, &mut batch.lines, number, aside);
            }
            for addr in changed {
                if let Some(client) = rows.get_mut(&addr).filter(|it| it.form.is_utf8()) {
                    self.catch_up(client, &mut batch.lines, count);
                    restart(client);
                }
            }
            self.offer_lines(&mut rows, &mut batch.lines, |form| !form.is_utf8());
            MutexGuard::unlock_fair(rows);
        }
        let counters = &self.room.counters;
        counters.lines.fetch_add(count as u64, Relaxed);
        counters.deliveries.fetch_add(std::mem::take(&mut self.delivered), Relaxed);
        counters.bytes.fetch_add(batch.lines.bytes() as u64, Relaxed);
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
        for form in in_use.chain(coming).filter(|form| wanted(*form)) {
            batch.lines.render(form);
        }
    }

    /// Offers the lines that they have not had yet to all clients with one of the `wanted` forms.
    fn offer_lines(
        &mut self,
        rows: &mut Table,
        lines: &mut Lines,
        wanted: impl Fn(WireForm) -> bool,
    ) {
        let count = lines.len();
        if count == 0 {
            return;
        }
        for position in 0..rows.len() {
            let client = rows.row_at(position);
            if !wanted(client.form) {
                continue;
            }
            self.catch_up(client, lines, count);
            restart(client);
            if self.budget.is_exceeded() {
                self.trim(rows);
            }
        }
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
            }
            What::Own(kind, bytes) => self.offer_own(client, &bytes, kind),
            What::Release => {
                self.change(client, |client, _| client.release());
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
        self.budget.give_back(client.grown());
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

    /// Does something to a client that changes what waits for it.
    fn change(&mut self, client: &mut Client, change: impl FnOnce(&mut Client, &mut Budget)) {
        let before = client.bytes_waiting();
        change(client, &mut self.budget);
        self.budget.changed(before, client.bytes_waiting());
    }

    fn count_missed(&self, lines: usize) {
        if lines > 0 {
            self.room.counters.skipped_lines.fetch_add(lines as u64, Relaxed);
        }
    }

    /// Waits for the client's socket from now on, if something could be sent to it.
    fn track(&mut self, client: &mut Client) {
        let Some(due) = client.stalls_at(self.room.config.stall_timeout) else { return };
        if !std::mem::replace(&mut client.polled, true) {
            self.stuck.push(Arc::clone(&client.peer));
            self.due = Some(self.due.map_or(due, |first| first.min(due)));
        }
    }

    /// Writes on what waits for a client.
    fn flush(&mut self, client: &mut Client) {
        let recall_lines_max = self.room.recall_lines_max();
        self.change(client, |client, budget| client.flush(recall_lines_max, budget));
    }

    /// More waits for all together than may: those with the most waiting lose lines first.
    #[cold]
    fn trim(&mut self, rows: &mut Table) {
        let mut waiting: Vec<usize> = Vec::with_capacity(self.stuck.len());
        let found = rows.rows().chain(self.departing.values());
        waiting.extend(found.map(Client::bytes_waiting).filter(|&bytes| bytes > 0));
        let bytes_max = level(&mut waiting, self.budget.target());
        for position in 0..rows.len() {
            self.trim_client(rows.row_at(position), bytes_max);
        }
        let mut departing = std::mem::take(&mut self.departing);
        departing.values_mut().for_each(|client| self.trim_client(client, bytes_max));
        self.departing = departing;
        self.budget.trimmed();
    }

    fn trim_client(&mut self, client: &mut Client, bytes_max: usize) {
        if client.bytes_waiting() > bytes_max {
            let mut missed = 0;
            self.change(client, |client, _| missed = client.trim(bytes_max));
            self.count_missed(missed);
        }
    }

    /// Waits until something is gathered or a stuck socket has room, and writes on to those.
    fn wait(&mut self, timeout: Option<Duration>) {
        let sockets = self.stuck.iter().map(|peer| peer.stream.as_fd());
        let ready = sys::wait(self.room.inbox.waker(), sockets, Interest::Room, timeout);
        let mut rows = self.room.table.lock();
        let mut departing = std::mem::take(&mut self.departing);
        for &position in &ready {
            let peer = Arc::clone(&self.stuck[position]);
            if let Some(client) = find(&mut rows, &mut departing, &peer) {
                self.flush(client);
            }
        }
        self.departing = departing;
        self.reap(&mut rows);
        MutexGuard::unlock_fair(rows);
    }

    /// Lets go of clients that have everything, and of those that take nothing for too long.
    ///
    /// `stuck` holds connections: one that is not waited for any more is dropped in every round, or the
    /// socket would outlive its reader.
    fn reap(&mut self, rows: &mut Table) {
        let now = Instant::now();
        let stall_timeout = self.room.config.stall_timeout;
        let mut first_due: Option<Instant> = None;
        let mut departing = std::mem::take(&mut self.departing);
        let mut stuck = std::mem::take(&mut self.stuck);
        stuck.retain(|peer| {
            let Some(client) = find(rows, &mut departing, peer) else { return false };
            let is_due = |client: &Client| {
                client.stalls_at(stall_timeout).is_some_and(|stalls_at| stalls_at <= now)
            };
            if is_due(client) {
                // Asked for room, the system speaks up only when a third of the socket's buffer is
                // free. Who takes a little now and then is found out by trying.
                self.flush(client);
            }
            if is_due(client) {
                self.change(client, |client, _| client.lose(EndReason::Stalled(stall_timeout)));
            }
            let due = client.stalls_at(stall_timeout);
            client.polled = due.is_some();
            let Some(due) = due else { return false };
            first_due = Some(first_due.map_or(due, |first| first.min(due)));
            true
        });
        self.stuck = stuck;
        let flushed = self.room.stopping().is_some_and(|since| since + FLUSH_MAX <= now);
        departing.retain(|_, client| {
            let stays = client.backlog.is_some() && !flushed;
            if !stays {
                self.budget.changed(client.bytes_waiting(), 0);
            }
            stays
        });
        self.departing = departing;
        self.due = first_due;
    }

    /// How long the thread may wait: for ever, unless something waits for somebody.
    fn timeout(&self) -> Option<Duration> {
        let stop = self.room.stopping().map(|since| since + FLUSH_MAX);
        let stop = stop.filter(|_| !self.departing.is_empty());
        let until = [self.due, stop].into_iter().flatten().min()?;
        Some(until.saturating_duration_since(Instant::now()))
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

/// The client that this connection belongs to, in the table or departing.
fn find<'a>(
    rows: &'a mut Table,
    departing: &'a mut IndexMap<SocketAddr, Client>,
    peer: &Arc<Connection>,
) -> Option<&'a mut Client> {
    let departing = departing.get_mut(&peer.addr).filter(|it| Arc::ptr_eq(&it.peer, peer));
    rows.row_of(peer).or(departing)
}
