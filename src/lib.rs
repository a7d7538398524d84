//! A group chat server over plain TCP: everybody joins with `nc` or `telnet`.
//!
//! ```no_run
//! use chat_server::{Config, Server};
//!
//! let server = Server::bind(Config { addr: "127.0.0.1:0".parse()?, ..Config::default() })?;
//! println!("nc {} {}", server.local_addr().ip(), server.local_addr().port());
//! let stop = server.stop_handle(); // `stop.stop()` from any thread ends `run`
//! server.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The map
//!
//! | thread | does | where |
//! | --- | --- | --- |
//! | `accept` | takes connections, starts a reader for each or turns it away | `acceptor`, `door`, `seats`, `seldom` |
//! | `client ADDR` | reads one client, cuts lines, runs its commands, makes its answers, appends to the inbox | `reader`, and what it uses, below |
//! | `deliver` | takes batches from the inbox; writes them to transcript, history and all clients | `room::delivery` |
//! | the caller of [`Server::run`] | waits for the stop, then ends the others in order | `server`, `threads` |
//!
//! What flows, and through what:
//!
//! 1. what is no chat is turned away at the `door`; of all others the bytes come to the `reader`;
//! 2. the `decoder` takes telnet commands out and cuts lines; it does no I/O;
//! 3. the `conversation` reads them in the client's `encoding`, makes them harmless `text`, keeps the
//!    client's `pace` (a client that is `idle` too long goes), runs `commands` (a `name` is checked once,
//!    when it is parsed);
//! 4. the `room`'s `inbox` takes what is said, with its `stamp`: here the order of the room is decided;
//! 5. `room::delivery` writes each batch to `room::transcript` and `room::history`, then offers it to
//!    every client, rendered once for each wire form in use (`room::wire`). What a socket does not take
//!    waits in the client's backlog (`room::backlog`), as slices that all clients share which wait for
//!    the batch; `room::budget` bounds what waits for all together.
//!
//! Everything that anybody is shown goes this way, answers and private lines too, so that each client
//! sees it in its place. `config` says what can be set, [`limits`] what is bounded, and what happens
//! there; `sys` is all that is particular to the system.
//!
//! What one client asks for costs that client alone. An `answer` is a cursor (`room::recall` has those
//! of `/last` and `/find`), from which the client's own reader makes a slice, when it is its turn among
//! all that ask (`turns`); it posts the slice in the client's own form, and makes the next one when that
//! is sent. The delivery thread renders nothing but public lines: first in UTF-8, then, with no lock
//! held and nobody waiting for it, in the encodings of the late clients (`room::delivery::late`).
//!
//! Each client has a row in the table from its one join to its one leave; row and reader share its
//! `connection`. Its reader alone ends it; others ask it to, by shutting the socket's reading side
//! down. A leave passes through the inbox like a line; when the delivery thread comes to it, the row
//! leaves the table, and once what was queued is written the row is dropped, which tells the reader to
//! close the connection.
//!
//! # Locks
//!
//! - `Room::table`, then the inbox: joins, renames, private lines, kicks and the stop, whose place
//!   among the lines must agree with the table.
//! - `Room::table`, then the history: the delivery thread, when it shows a newcomer the last lines.
//! - The turns, then a connection: a turn passes to the next reader in line.
//! - A connection's own lock, for what its reader waits for, comes last, after any other.
//! - No thread holds two in any other way. Nobody blocks under one: sends do not wait, and a thread
//!   that waits for space in the inbox does so before it takes the table.
//!
//! # Deliberately absent
//!
//! - An async runtime: a reader that only waits costs some ten kilobytes, and one thread that
//!   writes beats a thousand.
//! - A write that waits. The delivery thread writes to all clients; the acceptor and the door write one
//!   line to a connection that does not enter.
//! - Name look-ups: addresses are shown as they are, since a resolver may take seconds to answer.
//! - Standard input and output, arguments and the environment: those are the program's, in `main`.

mod acceptor;
mod answer;
mod commands;
mod config;
mod connection;
mod conversation;
mod decoder;
mod door;
mod encoding;
mod idle;
pub mod limits;
mod name;
mod pace;
mod reader;
mod room;
mod seats;
mod seldom;
mod server;
mod stamp;
mod sys;
mod text;
mod threads;
mod turns;

pub use config::Config;
pub use encoding::{BadEncoding, EncodingChoice};
pub use room::{ClientInfo, Heard, NoSuchClient, Room, Stats, Watch};
pub use server::{RunError, Server, StartError, StopHandle};
pub use stamp::{BadTimeFormat, Clock, TimeFormat};
pub use sys::{raise_descriptor_limit, reachable};
