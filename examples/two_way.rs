//! Run `cargo run --example two_way`, then `nc 127.0.0.1 9999` in another terminal; add `-- --encoding gbk` for a GBK one.
//!
//! Step 3 of 6: you, at the keyboard, and one client talk in turn, a line each, until the client
//! says `exit` or you press Ctrl-D.
//!
//! Turns are a rule that people must keep, because the one thread waits either for the client or
//! for the keyboard, never for both. Type twice, and the second line waits for the client's next.

#![allow(clippy::print_stdout, clippy::print_stderr)] // It talks at a terminal, as examples do.

use encoding_rs::Encoding;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut addr = "127.0.0.1:9999".to_string();
    let mut encoding = "utf-8".to_string();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--encoding" => encoding = args.next().unwrap_or_default(),
            _ => addr = arg,
        }
    }
    match serve(&addr, &encoding) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("two_way: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(addr: &str, encoding: &str) -> Result<(), Box<dyn Error>> {
    // The same Chinese text is other bytes in GBK than in UTF-8, and no byte says which it is.
    let encoding = Encoding::for_label(encoding.as_bytes())
        .ok_or_else(|| format!("no such encoding: {encoding:?} (try --encoding gbk)"))?;
    let listener =
        TcpListener::bind(addr).map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);

    loop {
        let (client, client_addr) = listener.accept()?;
        println!("{client_addr} connected; it speaks first");
        match talk(&client, encoding) {
            Ok(true) => return Ok(()),
            Ok(false) => println!("{client_addr} left; waiting for the next"),
            // A cable pulled or a program killed is an everyday event: say it, serve the next.
            Err(error) => println!("{client_addr} lost: {error}; waiting for the next"),
        }
    }
}

/// Talks until the client leaves (false), or until it says `exit` or the keyboard ends (true).
fn talk(mut client: &TcpStream, encoding: &'static Encoding) -> io::Result<bool> {
    let mut from_client = BufReader::new(client);
    loop {
        let mut bytes = Vec::new();
        if from_client.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(false);
        }
        let text = encoding.decode(&bytes).0;
        // A control character could move the cursor, and so forge what stands on our screen.
        println!("{}", text.trim_end().replace(char::is_control, "?"));
        if text.trim_end() == "exit" {
            return Ok(true);
        }
        let mut reply = String::new();
        if io::stdin().read_line(&mut reply)? == 0 {
            return Ok(true);
        }
        // A character that the encoding lacks is sent as `&#…;`, its number.
        client.write_all(&encoding.encode(&reply).0)?;
    }
}
