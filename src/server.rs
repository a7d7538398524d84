//! A server: binds first, then runs until it is asked to stop, and leaves no thread behind.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, Builder, ScopedJoinHandle};

use log::{debug, info, warn};
use parking_lot::{Condvar, Mutex};

use crate::acceptor;
use crate::config::Config;
use crate::limits::{
    DESCRIPTORS_RESERVED, MAPPINGS_PER_CLIENT, MAPPINGS_RESERVED, USER_TIMEOUT_BEYOND_STALL,
};
use crate::room::budget::send_buffer_bytes;
use crate::room::transcript::Transcript;
use crate::room::{Room, delivery};
use crate::sys::{self, Poller, Waker};

/// Bytes of the stacks of the acceptor and the delivery thread.
const STACK_BYTES: usize = 1 << 20;

/// A bound server that does not serve yet: connections wait until [`Server::run`].
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    room: Arc<Room>,
    /// What the delivery thread waits with.
    poller: Poller,
    transcript: Option<Transcript>,
    stop: StopHandle,
}

/// Stops its server, from any thread, as often as one likes.
#[derive(Clone)]
pub struct StopHandle(Arc<Stop>);

pub(crate) struct Stop {
    requested: Mutex<bool>,
    changed: Condvar,
    /// What ends the acceptor's wait.
    waker: Waker,
}

impl Stop {
    pub(crate) fn requested(&self) -> bool {
        *self.requested.lock()
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    fn wait(&self) {
        let mut requested = self.requested.lock();
        while !*requested {
            self.changed.wait(&mut requested);
        }
    }
}

impl StopHandle {
    /// Asks the server to stop. Does not wait for it, and may be called again.
    pub fn stop(&self) {
        *self.0.requested.lock() = true;
        self.0.changed.notify_all();
        self.0.waker.wake();
    }
}

/// Why a server cannot start. The text is a whole line for the operator.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The transcript cannot be written.
    Transcript {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something every server needs, such as a pipe.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen { addr, source } => {
                write!(f, "cannot listen on {addr}: ")?;
                match source.kind() {
                    ErrorKind::AddrInUse => f.write_str(
                        "the port is taken: only one program at a time can listen on a port, and \
                         another one does already (choose another with --port)",
                    ),
                    ErrorKind::PermissionDenied => f.write_str(
                        "permission denied: ports below 1024 are kept for the system's own \
                         services (choose another with --port)",
                    ),
                    ErrorKind::AddrNotAvailable => f.write_str(
                        "this machine does not have that address (choose one of its own with \
                         --host)",
                    ),
                    _ => write!(f, "{source} (choose another with --host or --port)"),
                }
            }
            StartError::Transcript { path, source } => write!(
                f,
                "cannot write the transcript {}: {source} (choose another with --transcript)",
                path.display()
            ),
            StartError::System(source) => write!(f, "cannot start: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Listen { source, .. }
            | StartError::Transcript { source, .. }
            | StartError::System(source) => Some(source),
        }
    }
}

/// Why a server ended otherwise than by being stopped.
#[derive(Debug)]
pub enum RunError {
    /// The system refused one of the threads that every server needs.
    Thread(io::Error),
    /// A thread that every server needs panicked; the log says where.
    Fault,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Thread(source) => write!(f, "cannot start a thread: {source}"),
            RunError::Fault => f.write_str("ended by a fault of its own; see the log"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RunError::Thread(source) => Some(source),
            RunError::Fault => None,
        }
    }
}

impl Server {
    /// Listens on the address of `config`. Nobody is served before [`Server::run`].
    ///
    /// # Errors
    /// [`StartError::Listen`] when the address cannot be had: taken, forbidden, not this machine's.
    /// [`StartError::Transcript`] when it cannot be written, or another server writes to it.
    /// [`StartError::System`] when the process is out of descriptors.
    pub fn bind(mut config: Config) -> Result<Server, StartError> {
        let asked = config.addr;
        config.clients_max = clients_max(config.clients_max);
        let listen_error = |source| StartError::Listen { addr: asked, source };
        let user_timeout = config.stall_timeout.saturating_add(USER_TIMEOUT_BEYOND_STALL);
        let send_buffer_bytes = send_buffer_bytes(config.waiting_bytes_max, config.clients_max);
        let listener = sys::listen(asked, user_timeout, send_buffer_bytes).map_err(listen_error)?;
        let addr = listener.local_addr().map_err(listen_error)?;
        let stop = Stop {
            requested: Mutex::new(false),
            changed: Condvar::new(),
            waker: Waker::new().map_err(StartError::System)?,
        };
        let room = Room::new(config, Waker::new().map_err(StartError::System)?);
        let poller = Poller::new(room.inbox.waker()).map_err(StartError::System)?;
        let transcript = open_transcript(&room)?;
        let (room, stop) = (Arc::new(room), StopHandle(Arc::new(stop)));
        Ok(Server { listener, addr, room, poller, transcript, stop })
    }

    /// The address it really listens on: port 0 has become the chosen port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The room, for whoever operates it.
    pub fn room(&self) -> Arc<Room> {
        Arc::clone(&self.room)
    }

    /// What stops it.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Serves until it is stopped: no new clients then, the room is told, what is queued is
    /// written for at most 2 s, connections are closed, threads are joined.
    ///
    /// *Blocking*: until then.
    ///
    /// # Errors
    /// [`RunError::Thread`] when the system refuses a thread at the start, [`RunError::Fault`] when
    /// the acceptor or the delivery thread panicked.
    pub fn run(self) -> Result<(), RunError> {
        let Server { listener, addr, room, poller, transcript, stop } = self;
        thread::scope(|scope| {
            let delivering = core_thread("deliver").spawn_scoped(scope, || {
                // However it ends, nobody waits for a delivery that will not come.
                let _stop = OnDrop(|| {
                    room.stop();
                    room.close();
                    stop.stop();
                });
                delivery::deliver(&room, poller, transcript);
            });
            let delivering = delivering.map_err(RunError::Thread)?;
            let accepting = core_thread("accept").spawn_scoped(scope, || {
                let _stop = OnDrop(|| stop.stop());
                acceptor::accept(&room, listener, &stop.0);
            });
            if accepting.is_ok() {
                info!("listening on {addr}");
                stop.0.wait();
                debug!("stopping");
            }
            let accepted = accepting.map(ScopedJoinHandle::join);
            room.stop();
            room.threads.join();
            room.inbox.close();
            let delivered = delivering.join();
            match (accepted, delivered) {
                (Ok(Ok(())), Ok(())) => Ok(()),
                (Err(source), _) => Err(RunError::Thread(source)),
                _ => Err(RunError::Fault),
            }
        })
    }
}

/// Opens the transcript, if there is to be one, and fills the history from it.
fn open_transcript(room: &Room) -> Result<Option<Transcript>, StartError> {
    let Some(path) = &room.config.transcript else { return Ok(None) };
    let error = |source| StartError::Transcript { path: path.clone(), source };
    let transcript = Transcript::open(path, room.config.sync).map_err(error)?;
    room.load_history(path);
    Ok(Some(transcript))
}

/// How many clients so many descriptors and mappings allow (none for any number), and which of the
/// two allows no more.
fn clients_allowed(descriptors: Option<u64>, mappings: Option<u64>) -> Option<(usize, String)> {
    let by_descriptors = descriptors.map(|limit| {
        let reason = format!("{limit} descriptors may be open (ulimit -n)");
        (limit.saturating_sub(DESCRIPTORS_RESERVED), reason)
    });
    let by_mappings = mappings.map(|limit| {
        let reason = format!("{limit} mappings of memory may be made (sysctl vm.max_map_count)");
        (limit.saturating_sub(MAPPINGS_RESERVED) / MAPPINGS_PER_CLIENT, reason)
    });
    let allowed = [by_descriptors, by_mappings].into_iter().flatten();
    let (clients, reason) = allowed.min_by_key(|(clients, _)| *clients)?;
    Some((usize::try_from(clients.max(1)).unwrap_or(usize::MAX), reason))
}

/// How many of the `wanted` clients the system allows.
fn clients_max(wanted: usize) -> usize {
    match clients_allowed(sys::descriptor_limit(), sys::mapping_limit()) {
        Some((allowed, reason)) if allowed < wanted => {
            warn!("at most {allowed} clients, not {wanted}: {reason}");
            allowed
        }
        _ => wanted,
    }
}

fn core_thread(name: &str) -> Builder {
    Builder::new().name(name.to_owned()).stack_size(STACK_BYTES)
}

/// Runs its function when it is dropped, also by a panic.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_clients_as_the_scarcer_of_descriptors_and_mappings_allows() {
        let allowed = |descriptors, mappings| {
            clients_allowed(descriptors, mappings).map(|(clients, reason)| {
                (clients, reason.split_whitespace().nth(1).map(str::to_owned))
            })
        };
        let by = |what: &str| Some(what.to_owned());
        assert_eq!(allowed(None, None), None);
        assert_eq!(allowed(Some(1024), None), Some((992, by("descriptors"))));
        assert_eq!(allowed(Some(1 << 20), Some(65530)), Some((15_870, by("mappings"))));
        assert_eq!(allowed(Some(1024), Some(65530)), Some((992, by("descriptors"))));
        assert_eq!(allowed(Some(3), Some(65530)), Some((1, by("descriptors"))));
        assert_eq!(allowed(None, Some(5)), Some((1, by("mappings"))));
    }
}
