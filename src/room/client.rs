//! A client's row in the table: what everybody calls it, and what waits for it. Only the delivery
//! thread writes to its connection.

use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backlog::{Backlog, Missed, SliceKind};
use super::budget::Budget;
use super::wire::{Piece, Rest, WireForm};
use crate::connection::{Connection, EndReason};
use crate::limits::SEND_BUFFER_BYTES_MAX;
use crate::name::Name;
use crate::sys;

/// What a row has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In the table, but the delivery thread has not come to its join.
    Arriving,
    /// It is owed the lines of the batch in hand from this one on.
    Here { next: u32 },
    /// Nothing can be written to it any more; its reader is about to end it.
    Lost,
}

/// A row of the client table. Every line passes through all rows, so they are small: what most
/// clients have not, or is seldom asked for, is elsewhere.
pub(crate) struct Client {
    pub(crate) peer: Arc<Connection>,
    /// The number of its join, which the table gives.
    pub(super) join: u64,
    pub(crate) form: WireForm,
    pub(crate) standing: Standing,
    /// From which batch on it gets what it gets late, if it does.
    pub(super) late_since: Option<NonZeroU64>,
    /// Whether its socket has the largest send buffer.
    pub(super) has_large_buffer: bool,
    /// The key under which the delivery thread waits for its socket, if it does.
    pub(super) stuck: Option<NonZeroU64>,
    pub(crate) name: Option<Box<Name>>,
    /// What waits for it, if anything does, be it only word of what it missed.
    pub(crate) backlog: Option<Box<Backlog>>,
}

impl Drop for Client {
    /// Wakes its reader, which then closes the connection.
    fn drop(&mut self) {
        self.peer.set_served();
    }
}

impl Client {
    pub(crate) fn new(peer: Arc<Connection>) -> Client {
        let form = peer.form();
        Client {
            peer,
            join: 0,
            form,
            standing: Standing::Arriving,
            late_since: None,
            has_large_buffer: false,
            stuck: None,
            name: None,
            backlog: None,
        }
    }

    /// What everybody calls it: its name, or its address until it has one.
    pub(crate) fn shown(&self) -> String {
        match &self.name {
            Some(name) => name.as_str().to_owned(),
            None => self.peer.addr.to_string(),
        }
    }

    /// Bytes that wait for it, each slice counted with [`SLICE_BYTES`](crate::limits::SLICE_BYTES) more.
    pub(crate) fn bytes_waiting(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.bytes())
    }

    /// When it will have taken nothing for so long of what could be sent to it, if anything could.
    pub(crate) fn stalls_at(&self, stall_timeout: Duration) -> Option<Instant> {
        let backlog = self.backlog.as_ref().filter(|backlog| backlog.is_sendable())?;
        Some(backlog.moved + stall_timeout)
    }

    /// The backlog, to which something is added.
    fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_with(|| Box::new(Backlog::new()))
    }

    /// Has everything but earlier lines wait until they were shown.
    pub(crate) fn hold(&mut self) {
        self.backlog().held = true;
    }

    /// Has everything that waited behind earlier lines follow them.
    pub(crate) fn release(&mut self) {
        // Only one that was held back begins to take something now: nobody else's stall ends so.
        if let Some(backlog) = self.backlog.as_mut().filter(|backlog| backlog.held) {
            backlog.held = false;
            backlog.moved = Instant::now();
        }
    }

    /// Writes the piece, or keeps what the socket does not take. What is beyond the limit for one
    /// client, whole lines at the end of the piece, is skipped. Never blocks.
    pub(crate) fn offer(
        &mut self,
        mut piece: Piece<'_>,
        backlog_bytes_max: usize,
        budget: &mut Budget,
    ) -> Skipped {
        let Some(sent) = self.send_directly(piece.bytes(), budget) else {
            return Skipped::default();
        };
        let backlog = self.backlog();
        let Rest { shared, range, skipped, missed } =
            piece.rest(sent, backlog.space(backlog_bytes_max));
        backlog.push_public(shared, range, missed);
        if backlog.is_empty() {
            // All that was skipped are lines that are no loss, and nothing else waits.
            self.backlog = None;
        }
        Skipped { lines: skipped, missed }
    }

    /// Like [`Client::offer`], for whole lines that only this client gets: kept whole, or left out.
    pub(crate) fn offer_own(
        &mut self,
        bytes: &[u8],
        kind: SliceKind,
        backlog_bytes_max: usize,
        budget: &mut Budget,
    ) {
        let held = self.backlog.as_ref().is_some_and(|backlog| backlog.held);
        let direct = match kind {
            SliceKind::Earlier if held => {
                let is_lost = self.standing == Standing::Lost;
                let sent = if is_lost { None } else { self.send(bytes, budget) };
                sent.filter(|&sent| sent < bytes.len())
            }
            _ => self.send_directly(bytes, budget),
        };
        let waits = match direct {
            None => 0,
            Some(sent) => {
                self.backlog().push_own(bytes, sent, kind, backlog_bytes_max);
                bytes.len() - sent
            }
        };
        if kind.is_owed() {
            self.peer.settle(bytes.len() - waits);
        }
    }

    /// Sends past an empty backlog. Gives how much went out when something must be kept.
    fn send_directly(&mut self, bytes: &[u8], budget: &mut Budget) -> Option<usize> {
        if self.standing == Standing::Lost {
            return None;
        }
        if self.backlog.is_some() {
            return Some(0);
        }
        self.send(bytes, budget).filter(|&sent| sent < bytes.len())
    }

    /// How much the socket took, 0 when it is full; nothing when the client is lost. A socket that is
    /// full gets a larger send buffer, as far as the budget allows.
    fn send(&mut self, bytes: &[u8], budget: &mut Budget) -> Option<usize> {
        let mut sent = 0;
        loop {
            match sys::send_now(&self.peer.stream, &bytes[sent..]) {
                Ok(more) => sent += more,
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    self.lose(EndReason::Broken(error.kind()));
                    return None;
                }
            }
            if sent == bytes.len() || !self.grow(budget) {
                return Some(sent);
            }
        }
    }

    /// Writes on what waits, as far as the socket takes it, and then, if lines were skipped, how
    /// many, and how to see them if `/last` goes back so far. Never blocks.
    pub(crate) fn flush(&mut self, recall_lines_max: usize, budget: &mut Budget) {
        let Some(mut backlog) = self.backlog.take() else { return };
        while let Some(bytes) = backlog.next() {
            match self.send(bytes, budget) {
                None => return self.settle(&backlog),
                Some(0) => {
                    self.backlog = Some(backlog);
                    return;
                }
                Some(sent) => {
                    let paid = backlog.advance(sent);
                    self.peer.settle(paid);
                }
            }
        }
        if backlog.held {
            self.backlog = Some(backlog);
            return;
        }
        self.settle(&backlog);
        let notice = missed_notice(backlog.missed(), recall_lines_max);
        if !notice.is_empty() {
            let mut bytes = Vec::new();
            notice.lines().for_each(|line| self.form.write(line, &mut bytes));
            self.offer_own(&bytes, SliceKind::Private, usize::MAX, budget);
        }
    }

    /// Drops the newest lines that wait for it until about `bytes` do; gives how many of the talk.
    pub(crate) fn trim(&mut self, bytes: usize) -> usize {
        let Some(backlog) = &mut self.backlog else { return 0 };
        let before = backlog.missed().public;
        backlog.trim(bytes);
        backlog.missed().public - before
    }

    /// Gives it the largest send buffer, if it has it not yet and the budget allows it.
    fn grow(&mut self, budget: &mut Budget) -> bool {
        if self.has_large_buffer || !budget.grant_large_buffer() {
            return false;
        }
        self.has_large_buffer = true;
        sys::set_send_buffer(&self.peer.stream, SEND_BUFFER_BYTES_MAX);
        true
    }

    /// Nothing more is written to it; its reader is asked to end it.
    pub(crate) fn lose(&mut self, reason: EndReason) {
        self.standing = Standing::Lost;
        if let Some(backlog) = self.backlog.take() {
            self.settle(&backlog);
        }
        self.peer.end(reason);
    }

    fn settle(&self, backlog: &Backlog) {
        self.peer.settle(backlog.owed());
    }
}

/// Public lines that a client was not sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Skipped {
    /// All of them.
    pub(crate) lines: usize,
    /// Those that are a loss, of which the client will be told.
    pub(crate) missed: usize,
}

/// What a client is told about the lines that it missed.
fn missed_notice(missed: Missed, recall_lines_max: usize) -> String {
    let plural = |lines| if lines == 1 { "line" } else { "lines" };
    let mut notice = String::new();
    if missed.public > 0 {
        let lines = missed.public;
        notice += &format!("*** you missed {lines} {}", plural(lines));
        if lines <= recall_lines_max {
            notice += &format!("; /last {lines} shows them");
        }
        notice.push('\n');
    }
    if missed.own > 0 {
        let lines = missed.own;
        notice += &format!("*** you missed {lines} {} that were for you alone\n", plural(lines));
    }
    notice
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
