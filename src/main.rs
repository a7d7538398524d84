//! The process around the chat server: options, signals, output, console, exit status.
//!
//! `main` builds the pieces, hands over to the library, and turns the result into a status: 0 when
//! the server was asked to stop, 1 when it could not start or go on, 2 for bad usage, 130 when it was
//! ended at once by a second signal.

mod cli;
mod console;
mod logging;
mod output;
mod signals;

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_server::Server;
use clap::Parser;

use cli::Cli;
use console::terminal::Modes;
use output::Output;
use signals::Stop;

/// How long the process waits at its end for a terminal or pipe that takes nothing.
const END_TIME_MAX: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(status) => status,
        Err(error) => {
            // There is no output yet, and nobody else to tell.
            let _ = writeln!(io::stderr(), "chat-server: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the whole process; an error means that there was no way to print yet.
fn run(cli: Cli) -> Result<ExitCode, Box<dyn Error>> {
    signals::block_unwanted()?;
    chat_server::raise_descriptor_limit();
    let output = Output::start()?;
    logging::start(&output);
    let (result, console) = match start(cli, &output) {
        Ok((server, console)) => (server.run().map_err(Into::into), Some(console)),
        Err(error) => (Err(error), None),
    };
    if let Err(error) = &result {
        output.print_error(&format!("chat-server: {error}"));
    }
    let deadline = Instant::now() + END_TIME_MAX;
    if let Some(console) = console {
        console.close(deadline);
    }
    output.flush(deadline);
    Ok(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

/// Binds the server, and starts everything that is around it.
fn start(cli: Cli, output: &Output) -> Result<(Server, console::Handle), Box<dyn Error>> {
    let server = Server::bind(cli.into_config()?)?;
    let modes = Modes::of_terminal();
    let stop = Stop::new(server.stop_handle(), modes.clone());
    signals::stop_on_signals(Arc::clone(&stop))?;
    output.print(&invitation(server.local_addr()));
    let console = console::start(server.room(), stop, output.clone(), modes)?;
    Ok((server, console))
}

/// What the operator hands out: where the server listens, and a command line for each address that
/// others can reach.
fn invitation(addr: SocketAddr) -> String {
    let mut lines = vec![format!("listening on {addr}")];
    let reachable = chat_server::reachable(addr);
    lines.extend(reachable.iter().copied().map(nc));
    if addr.ip().is_loopback() {
        lines.push(nc(addr));
        lines.push(
            "only this machine can reach it; --host 0.0.0.0 or --host :: opens it to others".into(),
        );
    } else if reachable.is_empty() {
        lines.push("no address was found at which others can reach it".into());
    }
    lines.join("\n")
}

/// The command line that joins the chat at `addr`.
fn nc(addr: SocketAddr) -> String {
    match addr {
        // A link-local address means nothing without its interface.
        SocketAddr::V6(v6) if v6.scope_id() != 0 => {
            format!("nc {}%{} {}", v6.ip(), v6.scope_id(), v6.port())
        }
        _ => format!("nc {} {}", addr.ip(), addr.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, SocketAddrV6};

    #[test]
    fn bound_to_loopback_the_invitation_names_the_flag_that_opens_it() {
        let text = invitation("127.0.0.1:7777".parse().unwrap());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["listening on 127.0.0.1:7777", "nc 127.0.0.1 7777"]);
        assert!(lines[2].contains("--host 0.0.0.0") && lines[2].contains("--host ::"));
    }

    #[test]
    fn an_address_that_others_can_reach_is_a_ready_made_command_line() {
        let text = invitation("192.0.2.7:7777".parse().unwrap());
        assert_eq!(text, "listening on 192.0.2.7:7777\nnc 192.0.2.7 7777");
    }

    #[test]
    fn ipv6_addresses_are_given_to_nc_without_brackets_and_with_their_interface() {
        assert_eq!(nc("[::1]:7777".parse().unwrap()), "nc ::1 7777");
        let local = SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 7777, 0, 2);
        assert_eq!(nc(local.into()), "nc fe80::1%2 7777");
    }
}
