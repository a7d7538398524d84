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
//! | thread | does | module |
//! | --- | --- | --- |
//! | `accept` | takes connections, starts a reader for each or refuses it | `acceptor` |
//! | `client ADDR` | reads one client, cuts lines, runs its commands, appends to the inbox | `reader`, `decoder`, `conversation`, `commands` |
//! | `deliver` | takes batches from the inbox and writes them to all clients | `room::delivery` |
//! | who calls [`Server::run`] | waits for the stop, then ends the others in order | `server` |
//!
//! What flows: bytes → `decoder` → a line of text → `conversation` → `room::inbox` (here the order
//! of the room is decided) → `room::delivery` → sockets. What a client's socket does not take waits
//! in its backlog (`room::client`), as slices shared by all who wait for the same batch. Everything
//! that anybody is shown goes this way, replies and private lines too, so each sees them in place.
//!
//! Each client has a row in the table from its one join to its one leave. Its reader alone ends it;
//! others ask it to, by shutting the socket's reading side down. A leave passes through the inbox
//! like a line; when the delivery thread comes to it, the row leaves the table, and once what was
//! queued is written the row is dropped, which tells the reader to close the connection.
//!
//! # Locks
//!
//! - `Room::table`, then `Inbox::gathering`: the one order in which two are held, by joins, renames,
//!   private lines, kicks and the stop, whose place among the lines must agree with the table.
//! - The delivery thread holds the inbox while it swaps buffers, and after that the table while it
//!   offers. Nobody blocks under either: sends do not wait, and who waits for space in the inbox
//!   does so before taking the table.
//! - `Threads`, `Stop` and the watchers have locks of their own, with no other taken inside.
//!
//! # Deliberately absent
//!
//! - An async runtime: a reader that only waits costs some ten kilobytes, and one thread that
//!   writes beats a thousand.
//! - A write by anybody but the delivery thread, and any write that waits.
//! - Name look-ups: addresses are shown as they are, since a resolver may take seconds to answer.
//! - Standard input and output, arguments and the environment: those are the program's, in `main`.

mod acceptor;
mod commands;
mod config;
mod conversation;
mod decoder;
mod door;
mod encoding;
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

pub use config::Config;
pub use encoding::{BadEncoding, EncodingChoice};
pub use room::{ClientInfo, NoSuchClient, Room, Stats, Watch};
pub use server::{RunError, Server, StartError, StopHandle};
pub use stamp::{BadTimeFormat, Clock, TimeFormat};
pub use sys::{raise_descriptor_limit, reachable};
