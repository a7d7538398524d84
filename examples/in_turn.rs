//! Run `cargo run --example in_turn`, then `nc 127.0.0.1 9999` in two other terminals. Type in the second one first.
//!
//! Step 2 of 6: two clients, one after the other, answered `okay1` and `okay2`.
//!
//! The second client waits for as long as the first is silent, although it is connected: the
//! system completes connections by itself and keeps them in a queue until `accept` asks for the
//! next one. What the second client types is kept for it as well. Nothing is lost, but this
//! program has one thread, and that thread is inside `read`, waiting for the first client.

#![allow(clippy::print_stdout, clippy::print_stderr)] // It talks at a terminal, as examples do.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let addr = wanted.as_deref().unwrap_or("127.0.0.1:9999");
    match serve(addr) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("in_turn: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(addr: &str) -> Result<(), Box<dyn Error>> {
    let listener =
        TcpListener::bind(addr).map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);

    for turn in 1..=2 {
        let (client, client_addr) = listener.accept()?;
        println!("turn {turn}: {client_addr}");
        // No `?` here: the first client's fault must not cost the second its turn.
        if let Err(error) = answer(client, turn) {
            eprintln!("in_turn: {client_addr}: {error}");
        }
    }
    Ok(())
}

/// Waits until the client says something, and answers it; until then, nobody else is served.
fn answer(mut client: TcpStream, turn: u32) -> io::Result<()> {
    let mut buffer = [0; 1024];
    let length = client.read(&mut buffer)?;
    if length == 0 {
        println!("turn {turn}: left without a word");
        return Ok(());
    }
    println!("turn {turn}: {:?}", String::from_utf8_lossy(&buffer[..length]));
    writeln!(client, "okay{turn}")
}
