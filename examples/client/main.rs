//! Run `cargo run --example client -- 127.0.0.1:9999 --name alice`, and type; `/quit` or Ctrl-D leaves.
//!
//! A terminal client for people who want more than `nc`: what arrives stands above the line that
//! is being typed, typed lines can be edited and brought back, and a lost connection is made
//! again. When stdin or stdout is a pipe it is plain instead, for scripts. This file knows the
//! command line and the exit status; each other file answers the one question in its first line.

mod arriving;
mod charset;
mod dialer;
mod keyboard;
mod plain;
mod terminal;

use charset::Charset;
use clap::Parser;
use dialer::Dialer;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Talks to a chat server from a terminal, or from a script through pipes.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Exit status: 0 you left, or all of stdin was sent and the server has closed; 1 no connection, or
it was lost; 2 bad usage; 130 Ctrl-C.
A terminal that is not UTF-8 is served in the charmap of LC_ALL, LC_CTYPE or LANG (as zh_CN.GBK)."
)]
struct Options {
    /// The server, as HOST:PORT
    #[arg(default_value = "127.0.0.1:9999", value_parser = host_and_port)]
    server: String,
    /// Take this name, and take it again after a reconnect
    #[arg(long, value_parser = one_word)]
    name: Option<String>,
    /// Try so many times more, waiting longer each time, before giving up [default: 0; at a
    /// terminal, without end once there has been a connection]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(status) => status,
        Err(fault) => {
            complain(&fault);
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<ExitCode, String> {
    let charset = Charset::of_locale();
    // A first connection that fails is most likely a mistyped address, so the default is to say so.
    let mut dialer = Dialer::new(options.server, options.retries.unwrap_or(0));
    let stream = dialer.dial(&mut complain)?;
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        dialer.set_retries(options.retries.unwrap_or(u32::MAX));
        terminal::talk(stream, dialer, options.name, charset)
    } else {
        plain::talk(stream, options.name, charset).map(|()| ExitCode::SUCCESS)
    }
}

/// Says what is wrong in one line on stderr.
fn complain(fault: &str) {
    // Not `eprintln!`, which panics when stderr is closed; then nobody is there to be told.
    let _ = writeln!(io::stderr(), "client: {fault}");
}

/// Whether a line makes the server end the connection, so that its end is no loss.
fn is_quit(line: &str) -> bool {
    let word = line.split(char::is_whitespace).next().unwrap_or_default();
    line.trim() == "quit" || word.eq_ignore_ascii_case("/quit")
}

fn host_and_port(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(text.to_string())
        }
        _ => Err("a server is given as HOST:PORT, as in localhost:9999 or [::1]:9999".to_string()),
    }
}

fn one_word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("a name is one word".to_string());
    }
    Ok(text.to_string())
}
