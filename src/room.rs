//! The room: who is here, what is said, and in which order everybody sees it.
//!
//! Every line, notice, reply, join and leave goes through the [`inbox`], and one thread, the
//! [`delivery`], writes it to the clients. The room knows no stdin, no argv and no environment, and
//! is handed the clock.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use log::info;
use parking_lot::{Condvar, Mutex};

pub(crate) mod backlog;
mod backwards;
pub(crate) mod budget;
mod client;
pub(crate) mod delivery;
mod history;
pub(crate) mod inbox;
mod names;
pub(crate) mod recall;
mod table;
pub(crate) mod transcript;
mod watch;
pub(crate) mod wire;

use names::Who;

pub use names::NoSuchClient;
pub use watch::{Heard, Watch};

use self::backlog::SliceKind;
use self::client::Client;
use self::history::History;
use self::inbox::{HistoryShown, Inbox};
use self::table::Table;
use self::wire::{Lines, WireForm};
use crate::config::Config;
use crate::connection::{Connection, EndReason};
use crate::limits::{ADDRESS_WAIT_MAX, ANSWER_SLICE_BYTES, REPLAY_LINES_MAX, STEP_ROWS};
use crate::seats::Seats;
use crate::stamp::Stamper;
use crate::sys::Waker;
use crate::text::{Line, clean};
use crate::threads::Threads;
use crate::turns::Turns;

/// The one room of a server, as its operator has it: see, say, send away.
pub struct Room {
    pub(crate) config: Config,
    pub(crate) table: Mutex<Table>,
    /// Waited on with the table: a row has left it.
    pub(crate) row_left: Condvar,
    pub(crate) inbox: Inbox,
    pub(crate) history: Mutex<History>,
    pub(crate) counters: Counters,
    pub(crate) threads: Threads,
    pub(crate) seats: Arc<Seats>,
    watchers: Mutex<Vec<watch::Sender>>,
    /// Turns at what clients ask for.
    pub(crate) turns: Turns,
    started: Instant,
    stopping: OnceLock<Instant>,
}

/// What is counted since the start.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) lines: AtomicU64,
    pub(crate) deliveries: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) skipped_lines: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) lines_not_written: AtomicU64,
}

/// A connected client, as the operator sees it.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// Where it connects from.
    pub addr: SocketAddr,
    /// The name it took, if any.
    pub name: Option<String>,
    /// When it connected.
    pub since: SystemTime,
    /// Lines that it said to the room, commands not counted.
    pub lines_said: u64,
    /// Bytes that wait for it because it takes them slowly.
    pub bytes_waiting: usize,
}

/// What the server has done since it started.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Clients that are here now.
    pub clients: usize,
    /// Public lines, notices included.
    pub lines: u64,
    /// Public lines times the clients that each was delivered to, or kept for.
    pub deliveries: u64,
    /// Bytes of the public lines, each counted once.
    pub bytes: u64,
    /// Lines that slow clients missed.
    pub skipped_lines: u64,
    /// Connections refused.
    pub refusals: u64,
    /// Lines that could not be written to the transcript.
    pub lines_not_written: u64,
    /// Time since the start.
    pub uptime: Duration,
}

/// Why a connection could not join.
#[derive(Debug)]
pub(crate) enum NoPlace {
    /// A connection from the very same address and port is still here.
    AddressHeld,
    /// The server stops.
    Stopping,
}

impl Room {
    pub(crate) fn new(config: Config, waker: Waker) -> Room {
        let stamper = Stamper::new(config.time_format.clone(), config.clock);
        let history = Mutex::new(History::new(config.history_lines));
        let seats = Seats::new(config.clients_max, config.clients_per_host_max);
        Room {
            config,
            table: Mutex::default(),
            row_left: Condvar::new(),
            inbox: Inbox::new(stamper, waker),
            history,
            counters: Counters::default(),
            threads: Threads::default(),
            seats,
            watchers: Mutex::default(),
            turns: Turns::default(),
            started: Instant::now(),
            stopping: OnceLock::new(),
        }
    }

    /// Says a public line from `server`. Nothing is said when nothing printable is left of `text`.
    ///
    /// *Blocking*: while the inbox is full. *Locks*: the inbox.
    pub fn say(&self, text: &str) {
        if let Some(line) = Line::new(text) {
            self.inbox.append(|room| room.say("server", line.as_str()));
        }
    }

    /// Tells the client with this name or address why, and disconnects it; `reason` may be empty.
    /// Gives its address.
    ///
    /// *Locks*: the table, then the inbox.
    ///
    /// # Errors
    /// [`NoSuchClient`] when nobody here is called so.
    pub fn kick(&self, who: &str, reason: &str) -> Result<SocketAddr, NoSuchClient> {
        let reason = clean(reason).trim().to_owned();
        let asked = Who::parse(who);
        let rows = self.table.lock();
        let peer = Arc::clone(&asked.find(&rows)?.peer);
        drop(rows);
        let reason = EndReason::Kicked(reason);
        self.tell(&peer, &format!("*** you were {reason}"));
        peer.end(reason);
        Ok(peer.addr)
    }

    /// Tells a client a line, unless it has left.
    ///
    /// *Locks*: the table, then the inbox, then the connection.
    fn tell(&self, peer: &Arc<Connection>, line: &str) {
        loop {
            // Rendered with no lock held; done again if its form changes meanwhile.
            let form = peer.form();
            let mut bytes = Vec::new();
            form.write(line, &mut bytes);
            let mut rows = self.table.lock();
            if rows.row_of(peer).is_none() {
                return;
            }
            let told = self.inbox.append_under(rows, |room| {
                let is_current = peer.form() == form;
                if is_current {
                    room.tell(peer.addr, SliceKind::Private, bytes);
                }
                is_current
            });
            if told {
                return;
            }
        }
    }

    /// Who is here, in the order in which they came. *Locks*: the table, for a few rows at a time.
    pub fn clients(&self) -> Vec<ClientInfo> {
        let mut clients = Vec::new();
        let mut join = 0;
        while let Some(last) = self.clients_after(join, &mut clients) {
            join = last;
        }
        clients
    }

    /// Appends some of those who came after the join with this number, in the order in which they came;
    /// gives the number of the last one's join, or `None` when there is nobody more.
    ///
    /// *Locks*: the table.
    pub(crate) fn clients_after(&self, join: u64, clients: &mut Vec<ClientInfo>) -> Option<u64> {
        let rows = self.table.lock();
        let mut last = None;
        for (join, client) in rows.after(join, STEP_ROWS) {
            last = Some(join);
            clients.push(ClientInfo {
                addr: client.peer.addr,
                name: client.name.as_ref().map(|name| name.as_str().to_owned()),
                since: client.peer.since,
                lines_said: client.peer.lines_said.load(Relaxed),
                bytes_waiting: client.bytes_waiting(),
            });
        }
        last
    }

    /// How many are here. *Locks*: the table.
    pub(crate) fn clients_count(&self) -> usize {
        self.table.lock().len()
    }

    /// What was done since the start. *Locks*: the table.
    pub fn stats(&self) -> Stats {
        let counters = &self.counters;
        Stats {
            clients: self.clients_count(),
            lines: counters.lines.load(Relaxed),
            deliveries: counters.deliveries.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            skipped_lines: counters.skipped_lines.load(Relaxed),
            refusals: counters.refusals.load(Relaxed),
            lines_not_written: counters.lines_not_written.load(Relaxed),
            uptime: self.started.elapsed(),
        }
    }

    /// The names of the server's threads, sorted.
    pub fn threads(&self) -> Vec<String> {
        let mut names = self.threads.names();
        names.extend(["accept", "deliver"].map(str::to_owned));
        names.sort();
        names
    }

    /// Every public line from now on, for a program that listens along.
    pub fn watch(&self) -> Watch {
        let (sender, watch) = watch::pair();
        self.watchers.lock().push(sender);
        watch
    }

    /// How many lines `/last` can go back for sure.
    pub(crate) fn recall_lines_max(&self) -> usize {
        match self.config.transcript {
            Some(_) => REPLAY_LINES_MAX,
            None => history::lines_max(self.config.history_lines).min(REPLAY_LINES_MAX),
        }
    }

    /// Shows the lines to the watchers, and forgets those who have gone. Never blocks.
    pub(crate) fn show_watchers(&self, lines: &Lines) {
        let mut watchers = self.watchers.lock();
        if !watchers.is_empty() {
            watchers.retain(|watcher| lines.iter().all(|line| watcher.show(&line)));
        }
    }

    /// Enters a newcomer, whose row stays until its leave. Gives who shows it the history.
    ///
    /// *Blocking*: up to [`ADDRESS_WAIT_MAX`] while a connection from the same address and port is
    /// being cleared away. *Locks*: the history; the table, then the inbox.
    pub(crate) fn join(&self, peer: &Arc<Connection>) -> Result<HistoryShown, NoPlace> {
        let lines = self.config.history_lines;
        let is_short = lines == 0 || self.history.lock().fits(lines, ANSWER_SLICE_BYTES);
        let history = if is_short && (lines == 0 || peer.form().is_utf8()) {
            HistoryShown::AtOnce
        } else {
            HistoryShown::ByReader
        };
        let deadline = Instant::now() + ADDRESS_WAIT_MAX;
        let mut rows = self.table.lock();
        while rows.contains(&peer.addr) && self.stopping().is_none() {
            if self.row_left.wait_until(&mut rows, deadline).timed_out() {
                return Err(NoPlace::AddressHeld);
            }
        }
        if self.stopping().is_some() {
            return Err(NoPlace::Stopping);
        }
        rows.insert(Client::new(Arc::clone(peer)));
        self.inbox.append_under(rows, |room| room.join(peer, history));
        Ok(history)
    }

    /// The end of a client. Its row goes when the delivery thread comes to this place.
    ///
    /// *Locks*: the inbox.
    pub(crate) fn leave(&self, addr: SocketAddr, shown: &str, ending: &EndReason) {
        let reason = match ending {
            EndReason::Quit | EndReason::HungUp => Some(String::new()),
            // Most resets are a terminal window that was closed: news for the log only.
            EndReason::Broken(kind) if *kind != ErrorKind::TimedOut => Some(String::new()),
            EndReason::Stopped => None,
            _ => Some(format!(": {ending}")),
        };
        self.inbox.append_at_once(|room| room.leave(addr, shown, reason.as_deref()));
        match shown.parse::<SocketAddr>() {
            Ok(_) => info!("{addr} left: {ending}"),
            Err(_) => info!("{addr} ({shown}) left: {ending}"),
        }
    }

    /// From what its reader posts next on, this client is written to in this form.
    ///
    /// *Blocking*: while the inbox is full. *Locks*: the inbox, then the connection.
    pub(crate) fn set_form(&self, peer: &Connection, form: WireForm) {
        self.inbox.append(|room| {
            peer.set_form(form);
            room.set_form(peer.addr, form);
        });
    }

    /// Tells everybody that the server stops, and asks every reader to end its client. From here on
    /// nobody joins, and what is queued is written for a bounded time only.
    ///
    /// *Locks*: the table, then the inbox.
    pub(crate) fn stop(&self) {
        let rows = self.table.lock();
        let peers: Vec<Arc<Connection>> =
            rows.rows().map(|client| Arc::clone(&client.peer)).collect();
        if self.stopping.set(Instant::now()).is_ok() {
            self.inbox.append_under(rows, |room| room.notice("the server stops; goodbye"));
        } else {
            drop(rows);
        }
        self.row_left.notify_all();
        for peer in peers {
            peer.end(EndReason::Stopped);
        }
    }

    /// Since when the server is stopping, if it is.
    pub(crate) fn stopping(&self) -> Option<Instant> {
        self.stopping.get().copied()
    }

    /// Nothing more is delivered: rows and watchers are let go of, so that nobody waits for them.
    pub(crate) fn close(&self) {
        self.inbox.close();
        self.table.lock().clear();
        self.row_left.notify_all();
        self.watchers.lock().clear();
    }
}
