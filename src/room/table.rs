//! The table of clients: who is here, by address, by name, and in the order in which they came.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use indexmap::IndexMap;

use super::client::Client;
use crate::connection::Connection;
use crate::name::Name;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Table {
    /// Join order, except that a removed row is replaced by the last one.
    rows: IndexMap<SocketAddr, Client>,
    /// Who holds a name with this key, for both of a name's keys: two names clash when they agree in
    /// either.
    by_folded: HashMap<Box<str>, SocketAddr>,
    by_drawn: HashMap<Box<str>, SocketAddr>,
    /// Everybody, by the number of their join.
    by_join: BTreeMap<u64, SocketAddr>,
    joins: u64,
}

/// Who is meant by a name.
pub(crate) enum Called<'a> {
    /// Nobody here.
    Nobody,
    /// This client.
    One(&'a Client),
    /// Either of two: the name looks like both of theirs, and is neither.
    Either(&'a Client, &'a Client),
}

impl Table {
    /// How many are here.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether somebody is here from this address and port.
    pub(crate) fn contains(&self, addr: &SocketAddr) -> bool {
        self.rows.contains_key(addr)
    }

    pub(crate) fn get(&self, addr: &SocketAddr) -> Option<&Client> {
        self.rows.get(addr)
    }

    pub(crate) fn get_mut(&mut self, addr: &SocketAddr) -> Option<&mut Client> {
        self.rows.get_mut(addr)
    }

    /// The row of this very connection.
    pub(crate) fn row_of(&mut self, peer: &Arc<Connection>) -> Option<&mut Client> {
        self.rows.get_mut(&peer.addr).filter(|client| Arc::ptr_eq(&client.peer, peer))
    }

    /// Everybody.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Client> {
        self.rows.values()
    }

    /// The row at this position, below [`Table::len`].
    pub(crate) fn row_at(&mut self, position: usize) -> &mut Client {
        &mut self.rows[position]
    }

    /// Enters a newcomer.
    pub(crate) fn insert(&mut self, mut client: Client) {
        let addr = client.peer.addr;
        self.joins += 1;
        client.join = self.joins;
        self.by_join.insert(self.joins, addr);
        self.rows.insert(addr, client);
    }

    /// Takes one who leaves out, and frees its name.
    pub(crate) fn remove(&mut self, addr: &SocketAddr) -> Option<Client> {
        let client = self.rows.swap_remove(addr)?;
        self.by_join.remove(&client.join);
        if let Some(name) = &client.name {
            self.forget(name);
        }
        Some(client)
    }

    /// Takes everybody out.
    pub(crate) fn clear(&mut self) {
        *self = Table { joins: self.joins, ..Table::default() };
    }

    /// At most `most` of those who came after the join with this number, in the order in which they
    /// came, each with the number of its join.
    pub(crate) fn after(&self, join: u64, most: usize) -> impl Iterator<Item = (u64, &Client)> {
        let later = self.by_join.range(join + 1..).take(most);
        later.filter_map(|(join, addr)| Some((*join, self.rows.get(addr)?)))
    }

    /// Somebody else than `addr` whose name clashes with this one; the one with just this name first.
    pub(crate) fn clash(&self, addr: &SocketAddr, name: &Name) -> Option<&Client> {
        let holders = [self.by_folded.get(name.folded()), self.by_drawn.get(name.drawn())];
        let other = holders.into_iter().flatten().find(|holder| *holder != addr)?;
        self.rows.get(other)
    }

    /// Who is called so. The very name comes first, then the only one that it looks like.
    pub(crate) fn called(&self, name: &Name) -> Called<'_> {
        let holder = |addr: Option<&SocketAddr>| self.rows.get(addr?);
        let folded = holder(self.by_folded.get(name.folded()));
        let drawn = holder(self.by_drawn.get(name.drawn()));
        match (folded, drawn) {
            (Some(one), Some(other)) if one.peer.addr != other.peer.addr => {
                let is_exact = |client: &Client| {
                    client.name.as_ref().is_some_and(|held| held.as_str() == name.as_str())
                };
                if is_exact(one) { Called::One(one) } else { Called::Either(one, other) }
            }
            (Some(one), _) | (None, Some(one)) => Called::One(one),
            (None, None) => Called::Nobody,
        }
    }

    /// Gives a client a name, which nobody else's may clash with, and frees the one that it had. False
    /// when it is not here.
    pub(crate) fn rename(&mut self, addr: &SocketAddr, name: &Name) -> bool {
        let Some(client) = self.rows.get_mut(addr) else { return false };
        let former = client.name.replace(Box::new(name.clone()));
        if let Some(former) = former {
            self.forget(&former);
        }
        self.by_folded.insert(name.folded().into(), *addr);
        self.by_drawn.insert(name.drawn().into(), *addr);
        true
    }

    fn forget(&mut self, name: &Name) {
        self.by_folded.remove(name.folded());
        self.by_drawn.remove(name.drawn());
    }
}
