//! What the tests are told with: a [`Room`] from the library, the real [`Program`], and [`Client`]s
//! of either.
//!
//! A client hears strictly: what it is said to hear must be the very next line, stamp and line end
//! included. So "nothing arrives" needs no waiting: say one more line and hear that it comes next.
//! Every wait ends at [`DEADLINE`] and fails the test then.

mod client;
mod folder;
mod program;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chat_server::{Config, RunError, Server, StopHandle};
use rustix::net::{AddressFamily, SocketType, sockopt};

pub(crate) use client::{Client, unstamped};
pub(crate) use folder::{Folder, argument, bodies, body};
pub(crate) use program::{CHAT_SERVER, Program, command};

/// How long anything may take before the test fails: far longer than it ever should.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// The smallest receive buffer that a client asks for; the kernel makes it a few kilobytes.
const RECEIVE_BYTES_MIN: usize = 1;

/// Where clients connect.
pub(crate) trait Venue {
    /// The address it listens on, as a client connects to it.
    fn addr(&self) -> SocketAddr;

    /// A connection that has heard nothing yet.
    fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.addr()).expect("the server listens"))
    }

    /// A connection of which the receive buffer is small, so that it is soon full when nobody reads.
    fn connect_narrow(&self) -> Client {
        self.connect_receiving(RECEIVE_BYTES_MIN)
    }

    /// A connection of which the receive buffer holds about so many bytes.
    fn connect_receiving(&self, bytes: usize) -> Client {
        let family = match self.addr() {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = rustix::net::socket(family, SocketType::STREAM, None).expect("a socket");
        sockopt::set_socket_recv_buffer_size(&socket, bytes).expect("a buffer");
        rustix::net::connect(&socket, &self.addr()).expect("the server listens");
        Client::new(TcpStream::from(socket))
    }

    /// A connection from another of this machine's addresses, as if from another host.
    fn connect_from(&self, host: [u8; 4]) -> Client {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        let socket = socket.expect("a socket");
        rustix::net::bind(&socket, &SocketAddr::from((host, 0))).expect("an address of ours");
        rustix::net::connect(&socket, &self.addr()).expect("the server listens");
        Client::new(TcpStream::from(socket))
    }

    /// A client that has just heard its own join.
    fn client(&self) -> Client {
        let mut client = self.connect();
        // An empty line is ignored, but shows at the door that this is no other protocol's client,
        // which would wait for the server to speak first.
        client.says("");
        client.joined()
    }

    /// So many clients who come all at once, and have each heard their own join.
    fn crowd(&self, clients: usize) -> Vec<Client> {
        let crowd: Vec<Client> = (0..clients).map(|_| self.connect()).collect();
        crowd.into_iter().map(Client::joined).collect()
    }

    /// Clients with these names, who come one after the other and have heard all who come later.
    fn people<const N: usize>(&self, names: [&str; N]) -> [Client; N] {
        let mut people = Vec::with_capacity(N);
        for name in names {
            let mut person = self.connect();
            person.says(&format!("/name {name}"));
            let named = format!("*** {} is now {name}", person.addr());
            people.push(person);
            people.iter_mut().for_each(|person| drop(person.hears_until(&named)));
        }
        people.try_into().ok().expect("a client for each name")
    }
}

/// An address is enough for a thread that only connects.
impl Venue for SocketAddr {
    fn addr(&self) -> SocketAddr {
        *self
    }
}

/// A configuration for tests: the defaults, on a free port of this machine, for people who may talk
/// as fast as a test does, and without a history, so that what a newcomer hears does not depend on
/// what was said before.
pub(crate) fn config() -> Config {
    let addr = "127.0.0.1:0".parse().expect("an address");
    Config { addr, rate_lines: None, history_lines: 0, ..Config::default() }
}

/// A running server of the library. Dropped, it stops, and fails the test if it cannot.
pub(crate) struct Room {
    addr: SocketAddr,
    stop: StopHandle,
    /// The thread that runs the server, until it was waited for.
    running: Option<JoinHandle<Result<(), RunError>>>,
    /// The room as its operator has it.
    pub(crate) operator: Arc<chat_server::Room>,
}

impl Venue for Room {
    fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Room {
    pub(crate) fn open() -> Room {
        Room::with(config())
    }

    pub(crate) fn with(config: Config) -> Room {
        let server = Server::bind(config).expect("the server starts");
        let (addr, stop, operator) = (server.local_addr(), server.stop_handle(), server.room());
        let running = Some(thread::spawn(|| server.run()));
        Room { addr, stop, running, operator }
    }

    /// Asks the server to stop, and does not wait for it.
    pub(crate) fn stops(&self) {
        self.stop.stop();
    }

    /// Stops the server, and gives how long that took.
    #[track_caller]
    pub(crate) fn closes(&mut self) -> Duration {
        let started = Instant::now();
        self.stops();
        let running = self.running.take().expect("a room closes once");
        wait_until("the server stops", || running.is_finished());
        running.join().expect("the server does not panic").expect("the server ends well");
        started.elapsed()
    }

    /// Waits until nobody is served any more, by no thread either.
    #[track_caller]
    pub(crate) fn is_deserted(&self) {
        wait_until("everybody has gone", || self.operator.threads() == ["accept", "deliver"]);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.running.is_some() && !thread::panicking() {
            self.closes();
        }
        self.stops();
    }
}

/// Waits for what no line on the wire tells of.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
