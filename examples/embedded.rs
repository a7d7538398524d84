//! Run `cargo run --example embedded`, then `nc 127.0.0.1 9999` in another terminal, and say `!who` or `!time`.
//!
//! Step 6 of 6: this server as a library inside another program, here one with a bot that answers
//! in the room. `exit`, Ctrl-D and Ctrl-C stop it in good order.
//!
//! The library knows no keyboard, no signals and no command line: those are this program's. It
//! gives a room to listen to and to speak in, and a handle that stops the server.

#![allow(clippy::print_stdout, clippy::print_stderr)] // It talks at a terminal, as examples do.

use chat_server::{Config, Room, Server, StopHandle, Watch};
use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::thread;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let addr = wanted.as_deref().unwrap_or("127.0.0.1:9999");
    match serve(addr) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embedded: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(addr: &str) -> Result<(), Box<dyn Error>> {
    let addr = addr.parse().map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    let server = Server::bind(Config { addr, ..Config::default() })?;
    println!("listening on {}", server.local_addr());

    let (by_signal, by_keyboard) = (server.stop_handle(), server.stop_handle());
    ctrlc::set_handler(move || by_signal.stop())?;
    // Never joined: a read from the keyboard cannot be broken off. It ends with the process.
    thread::Builder::new().spawn(move || wait_for_exit(&by_keyboard))?;

    // Listening begins here, before anybody can speak.
    let (room, watch) = (server.room(), server.room().watch());
    let bot = thread::Builder::new().spawn(move || answer(&room, watch))?;
    server.run()?; // Until it is stopped; everybody has been told then, and is gone.
    bot.join().map_err(|_| "the bot panicked; the room went on without it")?;
    println!("stopped");
    Ok(())
}

/// Answers in the room until the server has stopped, which ends the watch.
///
/// A bot may take its time: the room never waits for it. What it hears too late it misses.
fn answer(room: &Room, watch: Watch) {
    for line in watch {
        // Notices are nobody's words. A bot that heard itself could talk to itself for ever.
        let Some((name, text)) = line.said().filter(|(name, _)| *name != "server") else {
            continue;
        };
        match text.trim() {
            "!time" => room.say(&format!("{name}: {}", chrono::Local::now().format("%H:%M"))),
            "!who" => {
                let clients = room.clients().into_iter();
                let names = clients.map(|it| it.name.unwrap_or_else(|| it.addr.to_string()));
                room.say(&format!("{name}: {}", names.collect::<Vec<_>>().join(", ")));
            }
            _ => {}
        }
    }
}

/// Stops the server when `exit` is typed, or nothing more can be.
fn wait_for_exit(stop: &StopHandle) {
    let mut lines = io::stdin().lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| line.trim() != "exit")) {}
    stop.stop();
}
