//! Turns at the work that clients ask for: one reader at a time, in the order in which they came, so
//! that all of it together takes one processor at the most.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::connection::Connection;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    taken: bool,
    waiting: VecDeque<Arc<Connection>>,
}

/// A turn. Dropped, it passes to the next in line.
pub(crate) struct Turn<'a>(&'a Turns);

impl Turns {
    /// A turn for the reader of `peer`; `None` when its client is asked to end before.
    ///
    /// *Blocking*: until all who asked before had theirs. *Locks*: the turns, then a connection.
    pub(crate) fn take(&self, peer: &Arc<Connection>) -> Option<Turn<'_>> {
        let mut state = self.0.lock();
        if !state.taken {
            state.taken = true;
            return Some(Turn(self));
        }
        state.waiting.push_back(Arc::clone(peer));
        drop(state);
        let is_wanted = peer.wait_for_turn();
        // Turns are given under this lock, so that none is on the way from here on.
        let mut state = self.0.lock();
        let is_given = peer.take_turn();
        if !is_given {
            state.waiting.retain(|waiting| !Arc::ptr_eq(waiting, peer));
        }
        drop(state);
        let turn = is_given.then(|| Turn(self));
        turn.filter(|_| is_wanted)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        match state.waiting.pop_front() {
            Some(next) => next.give_turn(),
            None => state.taken = false,
        }
    }
}
