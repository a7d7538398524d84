//! Run `cargo run --example line_echo`, then `nc 127.0.0.1 9999` in as many terminals as you like; `quit` leaves.
//!
//! Step 4 of 6: a thread for each client, so that nobody waits for anybody, and lines instead of
//! reads: each line is answered `Return your msg: …` until the client says `quit`.
//!
//! A thread that waits costs the processor nothing and some kilobytes of memory, so a thousand of
//! them are no trouble. The main thread does nothing but accept. Ctrl-C ends the server.

#![allow(clippy::print_stdout, clippy::print_stderr)] // It talks at a terminal, as examples do.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let addr = wanted.as_deref().unwrap_or("127.0.0.1:9999");
    match serve(addr) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("line_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(addr: &str) -> Result<(), Box<dyn Error>> {
    let listener =
        TcpListener::bind(addr).map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);

    loop {
        if let Err(error) = accept(&listener) {
            eprintln!("line_echo: {error}");
            // Out of descriptors or threads, accept would fail a million times a second; a short
            // wait leaves time for somebody to leave.
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Takes the next client and starts its thread.
fn accept(listener: &TcpListener) -> io::Result<()> {
    let (client, client_addr) = listener.accept()?;
    // A Builder reports that the system allows no more threads; `thread::spawn` would panic.
    thread::Builder::new().name(format!("client {client_addr}")).spawn(move || {
        println!("{client_addr} connected");
        match echo(&client) {
            Ok(()) => println!("{client_addr} left"),
            Err(error) => println!("{client_addr} lost: {error}"),
        }
    })?;
    Ok(())
}

/// Answers each line until `quit`, or until the client has sent its last.
fn echo(mut client: &TcpStream) -> io::Result<()> {
    // The reader keeps what has arrived until a line is whole, however the bytes were cut.
    for line in BufReader::new(client).split(b'\n') {
        // Bytes, not `lines()`: that would end the talk at the first byte that is not UTF-8.
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches('\r'); // telnet ends a line with CR LF, nc with LF
        if text == "quit" {
            break;
        }
        // One write for the whole line: text and line end in two writes may be sent in two packets.
        client.write_all(format!("Return your msg: {text}\n").as_bytes())?;
    }
    Ok(())
}
