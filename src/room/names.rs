//! Who is called what: names taken, freed and looked up, in the table.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Room;
use super::backlog::SliceKind;
use super::client::Client;
use super::table::{Called, Table};
use crate::connection::{Connection, EndReason};
use crate::limits::{PROBE_INTERVAL_MIN, PROBE_MAX};
use crate::name::Name;
use crate::sys::{self, Liveness};
use crate::text::clean;

/// Nobody here is clearly meant by this name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchClient {
    wanted: String,
    /// Two whose names it looks like, if there are.
    either: Option<(String, String)>,
}

impl fmt::Display for NoSuchClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.either {
            None => write!(f, "no such name: {}", self.wanted),
            Some((one, other)) => {
                write!(f, "{} looks like {one} and like {other}: say which", self.wanted)
            }
        }
    }
}

impl std::error::Error for NoSuchClient {}

impl NoSuchClient {
    fn new(wanted: &str) -> NoSuchClient {
        NoSuchClient { wanted: clean(wanted).into_owned(), either: None }
    }
}

impl Room {
    /// Gives a client a name, and says so to everybody.
    ///
    /// *Blocking*: while the inbox is full.
    /// *Locks*: the table, then the inbox.
    ///
    /// # Errors
    /// What the name, or one that looks the same, is called by who has it.
    pub(crate) fn rename(&self, addr: SocketAddr, shown: &str, name: &Name) -> Result<(), String> {
        self.inbox.wait_for_space();
        let mut rows = self.table.lock();
        if let Some(taken) = rows.clash(&addr, name) {
            return Err(taken.shown());
        }
        if rows.rename(&addr, name) {
            let notice = format!("{shown} is now {}", name.as_str());
            self.inbox.append_under(rows, |room| room.notice(&notice));
        }
        Ok(())
    }

    /// The client on the asker's own host that holds this name, if it has to be looked whether it still
    /// lives: somebody has come back, and asks for the own name. *Locks*: the table, a connection.
    pub(crate) fn holder_in_doubt(
        &self,
        asker: &Connection,
        name: &Name,
    ) -> Option<Arc<Connection>> {
        let rows = self.table.lock();
        let holder = Arc::clone(&rows.clash(&asker.addr, name)?.peer);
        drop(rows);
        (holder.addr.ip() == asker.addr.ip() && !holder.was_just_alive()).then_some(holder)
    }

    /// Frees the name that a dead connection holds. True when it is free.
    ///
    /// *Blocking*: up to [`PROBE_MAX`], while TCP finds out, and until it is the asker's turn; no longer
    /// than the asker is wanted. *Locks*: the table.
    pub(crate) fn reclaim(&self, asker: &Arc<Connection>, holder: &Arc<Connection>) -> bool {
        let deadline = Instant::now() + PROBE_MAX;
        let Ok(local) = holder.stream.local_addr().map(sys::canonical) else { return false };
        // What was said since it died is on the way to it: the newcomer's own join, or in a large
        // room, where that is not announced, the talk.
        let mut interval = PROBE_INTERVAL_MIN;
        loop {
            let Some(turn) = self.turns.take(asker) else { return false };
            let liveness = sys::liveness(local, holder.addr);
            drop(turn);
            match liveness {
                Liveness::Dead => break,
                Liveness::Alive => {
                    holder.note_alive();
                    return false;
                }
                Liveness::Unknown => asker.pause_until(Instant::now() + interval),
            }
            if asker.ending().is_some() || Instant::now() >= deadline {
                return false;
            }
            interval *= 2;
        }
        self.replace(asker, holder, deadline)
    }

    /// Ends a dead connection, and waits until its row is gone.
    fn replace(&self, asker: &Connection, holder: &Arc<Connection>, deadline: Instant) -> bool {
        holder.end(EndReason::Replaced);
        let mut rows = self.table.lock();
        while rows.row_of(holder).is_some() {
            let timed_out = self.row_left.wait_until(&mut rows, deadline + PROBE_MAX).timed_out();
            if timed_out || asker.ending().is_some() {
                return false;
            }
        }
        true
    }

    /// A private line, to both.
    ///
    /// *Blocking*: while the inbox is full. *Locks*: the table, then the inbox, then a connection.
    ///
    /// # Errors
    /// [`NoSuchClient`] when nobody here is clearly meant.
    pub(crate) fn whisper(
        &self,
        (sender, from): (&str, &Connection),
        to: &str,
        text: &str,
    ) -> Result<(), NoSuchClient> {
        let who = Who::parse(to);
        loop {
            self.inbox.wait_for_space();
            let rows = self.table.lock();
            let client = who.find(&rows)?;
            let (receiver, peer) = (client.shown(), Arc::clone(&client.peer));
            drop(rows);
            // Rendered with no lock held, but for the stamp; done again if anything changes meanwhile.
            let line = format!("{sender} -> {receiver}: {text}");
            let forms = (from.form(), peer.form());
            let rendered = [forms.0, forms.1].map(|form| {
                let mut bytes = Vec::with_capacity(line.len() + 2);
                form.write(&line, &mut bytes);
                bytes
            });
            let rows = self.table.lock();
            if !who.find(&rows).is_ok_and(|found| Arc::ptr_eq(&found.peer, &peer)) {
                continue;
            }
            let posted = self.inbox.append_under(rows, |room| {
                if peer.form() != forms.1 {
                    return false;
                }
                let stamped = |form: super::wire::WireForm, line: &[u8]| {
                    let mut bytes = Vec::with_capacity(room.stamp().len() + line.len());
                    form.write_part(room.stamp(), &mut bytes);
                    bytes.extend_from_slice(line);
                    bytes
                };
                let (own, other) = (stamped(forms.0, &rendered[0]), stamped(forms.1, &rendered[1]));
                if from.addr != peer.addr {
                    room.tell(from.addr, SliceKind::Private, own);
                }
                room.tell(peer.addr, SliceKind::Private, other);
                true
            });
            if posted {
                return Ok(());
            }
        }
    }
}

/// Somebody asked for: by a name, or one that looks the same, or by address. Parsed before the table
/// is locked.
pub(super) struct Who<'a> {
    asked: &'a str,
    kind: WhoKind,
}

enum WhoKind {
    Addr(SocketAddr),
    Named(Name),
    Nobody,
}

impl Who<'_> {
    pub(super) fn parse(asked: &str) -> Who<'_> {
        let kind = match (asked.parse(), Name::parse(asked)) {
            (Ok(addr), _) => WhoKind::Addr(addr),
            (_, Ok(name)) => WhoKind::Named(name),
            _ => WhoKind::Nobody,
        };
        Who { asked, kind }
    }

    /// The one who is meant.
    ///
    /// # Errors
    /// [`NoSuchClient`] when nobody is, or either of two.
    pub(super) fn find<'a>(&self, rows: &'a Table) -> Result<&'a Client, NoSuchClient> {
        let nobody = || NoSuchClient::new(self.asked);
        match &self.kind {
            WhoKind::Addr(addr) => rows.get(addr).ok_or_else(nobody),
            WhoKind::Named(wanted) => match rows.called(wanted) {
                Called::One(client) => Ok(client),
                Called::Nobody => Err(nobody()),
                Called::Either(one, other) => {
                    let either = Some((one.shown(), other.shown()));
                    Err(NoSuchClient { either, ..nobody() })
                }
            },
            WhoKind::Nobody => Err(nobody()),
        }
    }
}
