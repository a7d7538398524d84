//! The readers' threads: started by name, listed while they live, joined at the end.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::Mutex;

/// The live threads, in a table of their own.
#[derive(Clone, Default)]
pub(crate) struct Threads(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    started: u64,
    live: HashMap<u64, JoinHandle<()>>,
    /// How many lived at once at the most.
    most: usize,
}

/// Takes a thread off the list when it ends, also by a panic.
struct Entry {
    threads: Threads,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Dropping its own handle detaches the thread, which does nothing more.
        self.threads.0.lock().live.remove(&self.number);
    }
}

impl Threads {
    /// Starts a thread. *Locks*: the list, so that a thread cannot end before it is on it.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub(crate) fn start(
        &self,
        name: String,
        stack_bytes: usize,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let mut table = self.0.lock();
        table.started += 1;
        let (threads, number) = (self.clone(), table.started);
        let started = Builder::new().name(name).stack_size(stack_bytes).spawn(move || {
            // Made here: dropped by a thread that never started, it would wait for the lock above.
            let _entry = Entry { threads, number };
            run();
        });
        table.live.insert(number, started?);
        table.most = table.most.max(table.live.len());
        Ok(())
    }

    /// Whether there never were more at once than live now. *Locks*: the list.
    pub(crate) fn are_most(&self) -> bool {
        let table = self.0.lock();
        table.live.len() >= table.most
    }

    /// The names of those that live, in no order.
    pub(crate) fn names(&self) -> Vec<String> {
        let table = self.0.lock();
        let names = table.live.values().filter_map(|thread| thread.thread().name());
        names.map(str::to_owned).collect()
    }

    /// *Blocking*: until every thread started so far has ended.
    pub(crate) fn join(&self) {
        let live = std::mem::take(&mut self.0.lock().live);
        for thread in live.into_values() {
            // A thread that panicked said so in the log already.
            let _ = thread.join();
        }
    }
}
