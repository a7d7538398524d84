//! Run `cargo run --example one_exchange`, then `nc 127.0.0.1 9999` in another terminal, and type a line.
//!
//! Step 1 of 6: the smallest server there is. It accepts one client, reads once, answers, and ends.
//!
//! Every server makes these four calls: `bind` asks the system for a port, `accept` waits for a
//! client, `read` waits for what it says, `write` answers. Two of the four wait, and that is
//! what the next steps are about.

#![allow(clippy::print_stdout, clippy::print_stderr)] // It talks at a terminal, as examples do.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let addr = wanted.as_deref().unwrap_or("127.0.0.1:9999");
    match serve(addr) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("one_exchange: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(addr: &str) -> Result<(), Box<dyn Error>> {
    let listener =
        TcpListener::bind(addr).map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    // Asked of the listener, because port 0 means "any free port": only the system knows which.
    println!("listening on {}", listener.local_addr()?);

    // A listener is not a connection. Each accept makes a new stream, which is the connection.
    let (mut client, client_addr) = listener.accept()?;
    println!("{client_addr} connected");

    // TCP carries bytes, not messages. One read takes what has arrived so far: often the whole
    // line, sometimes half of it. Step 4 reads lines properly.
    let mut buffer = [0; 1024];
    let length = client.read(&mut buffer)?;
    if length == 0 {
        // No bytes is how the system says that nothing more will ever come.
        println!("{client_addr} left without a word");
        return Ok(());
    }

    // The client may send any bytes: those that are not UTF-8 become U+FFFD. `{:?}` shows control
    // characters as `\n` or `\u{1b}`, so that no client can move our cursor or clear our screen.
    let text = String::from_utf8_lossy(&buffer[..length]);
    println!("{client_addr} said {text:?}");
    client.write_all(b"okay\n")?;

    // `client` and `listener` go out of scope here, which closes both.
    Ok(())
}
