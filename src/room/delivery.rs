//! The delivery thread: the only one that writes to clients.
//!
//! One thread gives one order. It takes what has gathered in the inbox, offers it to every client
//! with sends that never block, and writes on what waits when sockets have room again. It holds
//! the table's lock while it offers, never while it waits.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::client::{Client, Ending, Peer, Standing};
use super::inbox::{Aside, Batch, Taken, What};
use super::transcript::Transcript;
use super::wire::Lines;
use super::{Room, Rows};
use crate::limits::FLUSH_MAX;
use crate::sys::{self, Interest};

/// Delivers until the inbox is closed.
///
/// 1. *Blocking*: only in `poll`, with no lock held.
/// 2. *Locks*: the inbox to take a batch, then, after letting go of it, the table.
/// 3. *Order*: lines reach every client in the order in which they were appended.
pub(crate) fn deliver(room: &Room, mut transcript: Option<Transcript>) {
    let mut delivery =
        Delivery { room, departing: Rows::new(), stuck: Vec::new(), delivered: 0, due: None };
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
    departing: Rows,
    /// Whoever something waits for, in the table or departing.
    stuck: Vec<Arc<Peer>>,
    /// Lines times the clients that they were offered to, in the batch in hand.
    delivered: u64,
    /// When the first of the stuck has taken nothing for too long.
    due: Option<Instant>,
}

impl Delivery<'_> {
    /// Offers a batch: first what concerns one client, each bit in its place, then, to all, the
    /// lines that they have not had yet. `number` is the history's of the first line.
    fn offer(&mut self, batch: &mut Batch, number: u64) {
        let mut rows = self.room.table.lock();
        for aside in std::mem::take(&mut batch.asides) {
            self.offer_aside(&mut rows, &mut batch.lines, number, aside);
        }
        let count = batch.lines.len();
        if count > 0 {
            for client in rows.values_mut() {
                self.catch_up(client, &mut batch.lines, count);
                if let Standing::Here { next } = &mut client.standing {
                    *next = 0;
                }
            }
        }
        // A fair unlock hands the table to whoever waits for it. A plain one would let this thread,
        // which comes back at once while people talk, starve newcomers.
        MutexGuard::unlock_fair(rows);
        let counters = &self.room.counters;
        counters.lines.fetch_add(count as u64, Relaxed);
        counters.deliveries.fetch_add(std::mem::take(&mut self.delivered), Relaxed);
        counters.bytes.fetch_add(batch.lines.bytes() as u64, Relaxed);
    }

    fn offer_aside(&mut self, rows: &mut Rows, lines: &mut Lines, number: u64, aside: Aside) {
        // Whom it was for may have left before it was written, and that is all right.
        let Some(client) = rows.get_mut(&aside.to) else {
            return;
        };
        if let What::Join(_) = aside.what {
            client.standing = Standing::Here { next: aside.after };
        }
        self.catch_up(client, lines, aside.after);
        match &aside.what {
            What::Join(greeting) => {
                let mut bytes = Vec::new();
                greeting.lines().for_each(|line| client.form.write(line, &mut bytes));
                let number = number + lines.recorded_before(aside.after) as u64;
                let history = self.room.history.lock();
                let earlier = history.before(number, self.room.config.history_lines);
                earlier.for_each(|said| client.form.write(said.text(), &mut bytes));
                drop(history);
                self.offer_own(client, &bytes);
            }
            What::Text(text) => {
                let mut bytes = Vec::with_capacity(text.len());
                text.lines().for_each(|line| client.form.write(line, &mut bytes));
                self.offer_own(client, &bytes);
            }
            What::Raw(bytes) => self.offer_own(client, bytes),
            What::Leave => {}
        }
        if let What::Leave = aside.what {
            let client = rows.swap_remove(&aside.to).expect("it was found above");
            self.room.row_left.notify_all();
            if client.backlog.is_some() {
                self.departing.insert(aside.to, client);
            }
        }
    }

    /// Offers the lines up to `until` that this client has not had yet.
    fn catch_up(&mut self, client: &mut Client, lines: &mut Lines, until: usize) {
        let Standing::Here { next } = client.standing else { return };
        if next == until {
            return;
        }
        client.standing = Standing::Here { next: until };
        let waited = client.backlog.is_some();
        let piece = lines.piece(client.form, next..until);
        let skipped = client.offer(piece, self.room.config.backlog_bytes_max);
        // Joins and leaves are no loss, and /last would not show them.
        let missed = lines.recorded_before(until) - lines.recorded_before(until - skipped);
        client.miss(missed);
        self.note(client, waited, missed);
        self.delivered += (until - next - skipped) as u64;
    }

    fn offer_own(&mut self, client: &mut Client, bytes: &[u8]) {
        let waited = client.backlog.is_some();
        let missed = client.offer_own(bytes, self.room.config.backlog_bytes_max);
        self.note(client, waited, missed);
    }

    /// Takes note of what an offer has left waiting, or made a client miss.
    fn note(&mut self, client: &Client, waited: bool, missed: usize) {
        if missed > 0 {
            self.room.counters.skipped_lines.fetch_add(missed as u64, Relaxed);
        }
        let stalls_at = client.stalls_at(self.room.config.stall_timeout);
        if let Some(due) = stalls_at.filter(|_| !waited) {
            self.stuck.push(Arc::clone(&client.peer));
            self.due = Some(self.due.map_or(due, |first| first.min(due)));
        }
    }

    /// Waits until something is gathered or a stuck socket has room, and writes on to those.
    fn wait(&mut self, timeout: Option<Duration>) {
        let sockets = self.stuck.iter().map(|peer| peer.stream.as_fd());
        let ready = sys::wait(self.room.inbox.waker(), sockets, Interest::Room, timeout);
        let mut rows = self.room.table.lock();
        let recall_lines_max = self.room.recall_lines_max();
        for &position in &ready {
            if let Some(client) = find(&mut rows, &mut self.departing, &self.stuck[position]) {
                client.flush(recall_lines_max);
            }
        }
        self.let_go(&mut rows);
        MutexGuard::unlock_fair(rows);
    }

    /// Lets go of clients that have everything, and of those that take nothing for too long.
    ///
    /// Nobody here may keep a connection open that its reader has closed, so whoever is no longer
    /// waited for is forgotten in every round.
    fn let_go(&mut self, rows: &mut Rows) {
        let now = Instant::now();
        let stall_timeout = self.room.config.stall_timeout;
        let recall_lines_max = self.room.recall_lines_max();
        let mut first_due: Option<Instant> = None;
        self.stuck.retain(|peer| {
            let Some(client) = find(rows, &mut self.departing, peer) else { return false };
            let is_due = |client: &Client| {
                client.stalls_at(stall_timeout).is_some_and(|stalls_at| stalls_at <= now)
            };
            if is_due(client) {
                // Asked for room, the system speaks up only when a third of the socket's buffer is
                // free. Who takes a little now and then is found out by trying.
                client.flush(recall_lines_max);
            }
            if is_due(client) {
                client.lose(Ending::Stalled(stall_timeout));
            }
            let Some(due) = client.stalls_at(stall_timeout) else { return false };
            first_due = Some(first_due.map_or(due, |first| first.min(due)));
            true
        });
        let flushed = self.room.stopping().is_some_and(|since| since + FLUSH_MAX <= now);
        self.departing.retain(|_, client| client.backlog.is_some() && !flushed);
        self.due = first_due;
    }

    /// How long the thread may wait: for ever, unless something waits for somebody.
    fn timeout(&self) -> Option<Duration> {
        let stop = self.room.stopping().map(|since| since + FLUSH_MAX);
        let stop = stop.filter(|_| !self.departing.is_empty());
        let until = [self.due, stop].into_iter().flatten().min()?;
        Some(until.saturating_duration_since(Instant::now()))
    }
}

/// The client that this connection belongs to, in the table or departing.
fn find<'a>(
    rows: &'a mut Rows,
    departing: &'a mut Rows,
    peer: &Arc<Peer>,
) -> Option<&'a mut Client> {
    [rows, departing]
        .into_iter()
        .filter_map(|clients| clients.get_mut(&peer.addr))
        .find(|client| Arc::ptr_eq(&client.peer, peer))
}
