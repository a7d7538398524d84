//! Run `cargo run --example broadcast`, then `nc 127.0.0.1 9999` in several terminals, and talk.
//!
//! Step 5 of 6: a group chat: a table of clients, a reader thread for each, every line to everybody.
//! This is the idea of the whole server. Each NOT says what the real one does besides, and why.

#![allow(clippy::print_stdout, clippy::print_stderr)] // It talks at a terminal, as examples do.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Who is here. Threads share it, so a lock guards it: one thread at a time reads or changes it.
type Table = Arc<Mutex<HashMap<SocketAddr, TcpStream>>>;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let addr = wanted.as_deref().unwrap_or("127.0.0.1:9999");
    // NOT here: a console and signals. Ctrl-C cuts everybody off; nobody is told that it was meant.
    match serve(addr) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broadcast: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(addr: &str) -> Result<(), Box<dyn Error>> {
    let listener =
        TcpListener::bind(addr).map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);
    let table = Table::default();
    loop {
        // NOT here: limits, and going on after an error. Here one `?` too many clients ends the room.
        let (client, addr) = listener.accept()?;
        // NOT here: one descriptor a client. A clone is a second one, so half as many clients fit.
        let reader = client.try_clone()?;
        // NOT here: a greeting, names, the history. A newcomer sees a blank screen and numbers.
        lock(&table).insert(addr, client);
        let table = Arc::clone(&table);
        thread::Builder::new().spawn(move || {
            // NOT here: keepalive. A client whose cable is cut stays in the table, perhaps for hours.
            if let Err(error) = read_lines(reader, addr, &table) {
                eprintln!("broadcast: {addr}: {error}");
            }
            lock(&table).remove(&addr);
        })?;
    }
}

fn read_lines(reader: TcpStream, addr: SocketAddr, table: &Table) -> io::Result<()> {
    // NOT here: a longest line and a pace. A client that sends no line end fills the memory.
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        // NOT here: other encodings, and telnet's commands, which would be shown as rubbish.
        let text = String::from_utf8_lossy(&line);
        // NOT here: removing control characters, with which a client can rewrite others' screens.
        broadcast(table, &format!("{addr}: {}\n", text.trim_end()));
    }
    Ok(())
}

fn broadcast(table: &Table, line: &str) {
    for client in lock(table).values_mut() {
        // NOT here: a queue for each client and a send that never waits. Here one who stops reading
        // stops this write, which holds the lock, which stops everybody. It is the great trap.
        let _ = client.write_all(line.as_bytes()); // its own reader sees the fault, and removes it
    }
}

/// The table, also after another thread panicked while it held the lock.
fn lock(table: &Table) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, TcpStream>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
