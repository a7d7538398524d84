//! Who is called what: names taken, freed and looked up, in the table.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::client::{Client, Ending};
use super::{Room, Rows};
use crate::limits::{PROBE_INTERVAL_MIN, PROBE_MAX};
use crate::name::Name;
use crate::sys::{self, Liveness};
use crate::text::clean;

/// Nobody here has this name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchClient(String);

impl fmt::Display for NoSuchClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no such name: {}", self.0)
    }
}

impl std::error::Error for NoSuchClient {}

impl NoSuchClient {
    pub(super) fn new(who: &str) -> NoSuchClient {
        NoSuchClient(clean(who).into_owned())
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
        let taken = rows.values().filter(|client| client.peer.addr != addr).find_map(|client| {
            client.name.as_ref().filter(|taken| taken.clashes(name)).map(|taken| taken.as_str())
        });
        if let Some(taken) = taken {
            return Err(taken.to_owned());
        }
        let Some(client) = rows.get_mut(&addr) else {
            return Ok(());
        };
        client.name = Some(Box::new(name.clone()));
        let notice = format!("{shown} is now {}", name.as_str());
        self.inbox.append_under(rows, |room| room.notice(&notice));
        Ok(())
    }

    /// Frees a name that a dead connection from the same host holds: somebody has come back, and
    /// asks for the own name. True when it is free.
    ///
    /// *Blocking*: up to [`PROBE_MAX`], while TCP finds out. *Locks*: the table.
    pub(crate) fn reclaim(&self, addr: SocketAddr, name: &Name) -> bool {
        let holder = |rows: &Rows| {
            let mut clients = rows.values().filter(|client| client.peer.addr.ip() == addr.ip());
            let holds = |client: &&Client| client.name.as_ref().is_some_and(|it| it.clashes(name));
            clients.find(holds).map(|client| Arc::clone(&client.peer))
        };
        let rows = self.table.lock();
        let Some(peer) = holder(&rows) else { return false };
        drop(rows);
        let deadline = Instant::now() + PROBE_MAX;
        let Ok(local) = peer.stream.local_addr().map(sys::canonical) else { return false };
        // What was said since it died is on the way to it: the newcomer's own join, or in a large
        // room, where that is not announced, the talk.
        let mut interval = PROBE_INTERVAL_MIN;
        loop {
            match sys::liveness(local, peer.addr) {
                Liveness::Dead => break,
                Liveness::Unknown if Instant::now() < deadline => thread::sleep(interval),
                Liveness::Unknown | Liveness::Alive => return false,
            }
            interval *= 2;
        }
        let mut rows = self.table.lock();
        while let Some(client) = rows.get_mut(&peer.addr).filter(|it| Arc::ptr_eq(&it.peer, &peer))
        {
            client.lose(Ending::Replaced);
            if self.row_left.wait_until(&mut rows, deadline + PROBE_MAX).timed_out() {
                return false;
            }
        }
        true
    }

    /// A private line, to both.
    ///
    /// *Blocking*: while the inbox is full. *Locks*: the table, then the inbox.
    ///
    /// # Errors
    /// [`NoSuchClient`] when nobody here is called so.
    pub(crate) fn whisper(
        &self,
        from: (&str, SocketAddr),
        to: &str,
        text: &str,
    ) -> Result<(), NoSuchClient> {
        let who = Who::parse(to);
        self.inbox.wait_for_space();
        let rows = self.table.lock();
        let client = who.find(&rows).ok_or_else(|| NoSuchClient::new(to))?;
        let (shown, addr) = (client.shown(), client.peer.addr);
        self.inbox.append_under(rows, |room| room.whisper(from, (&shown, addr), text));
        Ok(())
    }
}

/// Somebody asked for: by a name, or one that looks the same, or by address. Parsed before the table
/// is locked.
pub(super) enum Who {
    Addr(SocketAddr),
    Named(Name),
    Nobody,
}

impl Who {
    pub(super) fn parse(who: &str) -> Who {
        match (who.parse(), Name::parse(who)) {
            (Ok(addr), _) => Who::Addr(addr),
            (_, Ok(name)) => Who::Named(name),
            _ => Who::Nobody,
        }
    }

    pub(super) fn find<'a>(&self, rows: &'a Rows) -> Option<&'a Client> {
        match self {
            Who::Addr(addr) => rows.get(addr),
            Who::Named(wanted) => {
                let is_called =
                    |client: &&Client| client.name.as_ref().is_some_and(|it| it.clashes(wanted));
                rows.values().find(is_called)
            }
            Who::Nobody => None,
        }
    }
}
