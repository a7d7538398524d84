//! What waits: sockets that are full, clients that take too little, and the limit for all together.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use parking_lot::MutexGuard;

use super::Delivery;
use crate::connection::{Connection, EndReason};
use crate::limits::{FLUSH_MAX, STALL_LOOK_MAX};
use crate::room::budget::{Budget, level};
use crate::room::client::Client;
use crate::room::table::Table;

impl Delivery<'_> {
    /// Does something to a client that changes what waits for it.
    pub(super) fn change(
        &mut self,
        client: &mut Client,
        change: impl FnOnce(&mut Client, &mut Budget),
    ) {
        let before = client.bytes_waiting();
        change(client, &mut self.budget);
        self.budget.changed(before, client.bytes_waiting());
    }

    pub(super) fn count_missed(&self, lines: usize) {
        if lines > 0 {
            self.room.counters.skipped_lines.fetch_add(lines as u64, Relaxed);
        }
    }

    /// Waits for the client's socket as long as something could be sent to it, and no longer: `stuck`
    /// holds connections, and one that is left there would outlive its reader.
    pub(super) fn track(&mut self, client: &mut Client) {
        match (client.stalls_at(self.room.config.stall_timeout), client.stuck) {
            (Some(due), None) => {
                self.keys += 1;
                let peer = Arc::clone(&client.peer);
                match self.poller.add(&peer.stream, self.keys) {
                    Ok(()) => {
                        client.stuck = NonZeroU64::new(self.keys);
                        self.budget.count_full_buffer();
                        self.stuck.insert(self.keys, peer);
                        self.due = Some(self.due.map_or(due, |first| first.min(due)));
                    }
                    Err(error) => {
                        let reason = EndReason::Broken(error.kind());
                        self.change(client, |client, _| client.lose(reason));
                    }
                }
            }
            (None, Some(key)) => {
                client.stuck = None;
                self.budget.discount_full_buffer();
                self.poller.remove(&client.peer.stream, key.get());
                self.stuck.remove(&key.get());
            }
            _ => {}
        }
    }

    /// Writes on what waits for a client.
    pub(super) fn flush(&mut self, client: &mut Client) {
        let recall_lines_max = self.room.recall_lines_max();
        self.change(client, |client, budget| client.flush(recall_lines_max, budget));
    }

    /// More waits for all together than may: those with the most waiting lose lines first.
    #[cold]
    pub(super) fn trim(&mut self, rows: &mut Table) {
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
            self.track(client);
        }
    }

    /// Waits until something is gathered or a stuck socket has room, and writes on to those.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) {
        let ready = self.poller.wait(self.room.inbox.waker(), timeout);
        let now = Instant::now();
        let is_due = self.due.is_some_and(|due| due <= now);
        if ready.is_empty() && !is_due && self.departing.is_empty() {
            return;
        }
        let mut rows = self.room.table.lock();
        let mut departing = std::mem::take(&mut self.departing);
        for key in ready {
            let Some(peer) = self.stuck.get(&key).map(Arc::clone) else { continue };
            if let Some(client) = find(&mut rows, &mut departing, &peer) {
                self.flush(client);
                self.track(client);
            }
        }
        if is_due {
            self.end_stalled(&mut rows, &mut departing, now);
        }
        let flushed = self.room.stopping().is_some_and(|since| since + FLUSH_MAX <= now);
        departing.retain(|_, client| {
            if flushed {
                // Nobody waits for it any longer.
                self.change(client, |client, _| client.lose(EndReason::Stopped));
                self.track(client);
            }
            client.backlog.is_some()
        });
        self.departing = departing;
        MutexGuard::unlock_fair(rows);
    }

    /// Ends clients that take nothing for too long.
    fn end_stalled(
        &mut self,
        rows: &mut Table,
        departing: &mut IndexMap<SocketAddr, Client>,
        now: Instant,
    ) {
        let stall_timeout = self.room.config.stall_timeout;
        let mut first_due: Option<Instant> = None;
        let stuck: Vec<Arc<Connection>> = self.stuck.values().map(Arc::clone).collect();
        for peer in stuck {
            let Some(client) = find(rows, departing, &peer) else { continue };
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
            self.track(client);
            if let Some(due) = client.stalls_at(stall_timeout) {
                first_due = Some(first_due.map_or(due, |first| first.min(due)));
            }
        }
        // All of them are gone through, so not at each moment that is due for one.
        self.due = first_due.map(|due| due.max(now + (stall_timeout / 8).min(STALL_LOOK_MAX)));
    }

    /// How long the thread may wait: for ever, unless something waits for somebody.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let stop = self.room.stopping().map(|since| since + FLUSH_MAX);
        let stop = stop.filter(|_| !self.departing.is_empty());
        let until = [self.due, stop].into_iter().flatten().min()?;
        Some(until.saturating_duration_since(Instant::now()))
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
