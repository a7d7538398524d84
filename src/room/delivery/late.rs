//! Late delivery: clients in other encodings than UTF-8 get each batch after all others have had it, and
//! after all batches that have gathered by then, since for them each character has to be looked up. So
//! they may be as slow as their encodings are, and nobody else waits for that.
//!
//! A client is late from its first line in such an encoding until it is written to in UTF-8 again and
//! nothing waits to be offered to the late ones. Each sees the one order of the room all the same.

use std::num::NonZeroU64;

use encoding_rs::Encoding;
use parking_lot::MutexGuard;

use super::{Delivery, restart};
use crate::room::client::Client;
use crate::room::inbox::Batch;

/// A batch that the late clients have not had yet.
pub(super) struct LateBatch {
    batch: Batch,
    /// The history's number of its first line.
    number: u64,
    /// Which of all batches it is. It is for those who have been late since then, or before.
    position: u64,
    /// The encodings in which it is still to be offered; `None` before it is its turn.
    encodings: Option<Vec<&'static Encoding>>,
}

impl LateBatch {
    fn is_for(&self, client: &Client) -> bool {
        client.late_since.is_some_and(|since| since.get() <= self.position)
    }
}

impl Delivery<'_> {
    /// From this batch on the client gets what it gets late.
    pub(super) fn make_late(&mut self, client: &mut Client) {
        client.late_since = NonZeroU64::new(self.batches);
        self.late_clients += 1;
    }

    /// Keeps the batch, which the others have had, for the late clients.
    pub(super) fn add_late(&mut self, batch: Batch, number: u64) {
        let position = self.batches;
        self.late.push_back(LateBatch { batch, number, position, encodings: None });
    }

    /// Bytes that wait to be offered to the late clients.
    pub(super) fn late_bytes(&self) -> usize {
        self.late.iter().map(|late| late.batch.bytes()).sum()
    }

    /// Takes a step with the first batch: offers it in one encoding, or ends with it.
    pub(super) fn offer_late(&mut self) {
        let Some(mut late) = self.late.pop_front() else { return };
        let encodings = late.encodings.get_or_insert_with(|| {
            let mut encodings = Vec::new();
            for (form, _) in self.forms.iter().filter(|(form, _)| !form.is_utf8()) {
                if !encodings.contains(&form.encoding) {
                    encodings.push(form.encoding);
                }
            }
            encodings
        });
        match encodings.pop() {
            Some(encoding) => {
                self.offer_in(encoding, &mut late);
                self.late.push_front(late);
            }
            None => self.end_late(late),
        }
        self.count_delivered();
    }

    /// Offers the batch to the late clients with this encoding.
    fn offer_in(&mut self, encoding: &'static Encoding, late: &mut LateBatch) {
        self.render(&mut late.batch, |form| form.encoding == encoding);
        let count = late.batch.lines.len();
        let mut rows = self.room.table.lock();
        for aside in std::mem::take(&mut late.batch.asides) {
            match rows.get(&aside.to) {
                Some(client) if client.form.encoding == encoding => {
                    self.offer_aside(&mut rows, &mut late.batch.lines, late.number, aside);
                }
                Some(_) => late.batch.asides.push(aside),
                None => {}
            }
        }
        for position in (0..rows.len()).filter(|_| count > 0) {
            let client = rows.row_at(position);
            if client.form.encoding == encoding && late.is_for(client) {
                self.catch_up(client, &mut late.batch.lines, count);
                if self.budget.is_exceeded() {
                    self.trim(&mut rows);
                }
            }
        }
        MutexGuard::unlock_fair(rows);
        late.batch.lines.forget_renderings();
    }

    /// Offers the rest of the batch: to late clients that are written to in UTF-8 by now, and to those
    /// whose encoding changed within it.
    fn end_late(&mut self, mut late: LateBatch) {
        let count = late.batch.lines.len();
        let mut rows = self.room.table.lock();
        for aside in std::mem::take(&mut late.batch.asides) {
            self.offer_aside(&mut rows, &mut late.batch.lines, late.number, aside);
        }
        for position in 0..rows.len() {
            let client = rows.row_at(position);
            if late.is_for(client) {
                self.catch_up(client, &mut late.batch.lines, count);
                restart(client);
                if client.form.is_utf8() && self.late.is_empty() {
                    client.late_since = None;
                    self.late_clients -= 1;
                }
                if self.budget.is_exceeded() {
                    self.trim(&mut rows);
                }
            }
        }
        MutexGuard::unlock_fair(rows);
    }
}
