//! What does the client do in a script?
//!
//! Sends each line of stdin and writes each line that arrives to stdout, with no prompt and no
//! words of its own. The end of stdin half-closes the connection, and then it reads on until the
//! server closes, so that `echo hello | client | grep …` sees its own line come back. It never
//! connects again: nobody could say which lines the lost connection still delivered.

use crate::arriving;
use crate::charset::Charset;
use crate::is_quit;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// How long after the server's end the other thread may take to notice that stdin has ended too.
const STDIN_END_TIMEOUT: Duration = Duration::from_millis(200);

const CLOSED_EARLY: &str = "the server closed the connection before the end of stdin";

/// Sends stdin and writes what arrives to stdout, until the server closes.
///
/// # Errors
/// Says what went wrong, when the connection was lost or the server closed it with stdin unsent.
pub(crate) fn talk(
    stream: TcpStream,
    name: Option<String>,
    charset: Charset,
) -> Result<(), String> {
    let stream = Arc::new(stream);
    let to_server = Arc::clone(&stream);
    let (report, sent) = mpsc::channel();
    thread::Builder::new()
        .name("stdin".to_string())
        .spawn(move || {
            let _ = report.send(send_stdin(&to_server, name, charset)); // unread when all is over
            // Fails only when the connection is gone already.
            let _ = to_server.shutdown(Shutdown::Write);
        })
        .map_err(|error| format!("cannot start a thread: {error}"))?;

    let mut from_server = BufReader::new(&*stream);
    loop {
        match arriving::next_line(&mut from_server) {
            Ok(Some(line)) => match write_line(&line, charset) {
                Ok(()) => {}
                // `client | head -1` has seen enough.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(format!("cannot write to stdout: {error}")),
            },
            Ok(None) => return outcome(&sent),
            Err(error) => return Err(format!("the connection was lost: {error}")),
        }
    }
}

fn write_line(line: &str, charset: Charset) -> io::Result<()> {
    let mut bytes = charset.encode(line);
    bytes.push(b'\n');
    io::stdout().write_all(&bytes)
}

/// The server has closed: that is well once it was sent everything.
fn outcome(sent: &Receiver<Result<(), String>>) -> Result<(), String> {
    sent.recv_timeout(STDIN_END_TIMEOUT).unwrap_or_else(|_| Err(CLOSED_EARLY.to_string()))
}

/// Sends the name and then stdin, up to its end or a line that leaves.
fn send_stdin(
    mut to_server: &TcpStream,
    name: Option<String>,
    charset: Charset,
) -> Result<(), String> {
    let naming = name.map(|name| Ok(format!("/name {name}")));
    let typed = io::stdin().lock().split(b'\n').map(|line| line.map(|line| charset.decode(&line)));
    for line in naming.into_iter().chain(typed) {
        let line = line.map_err(|error| format!("cannot read stdin: {error}"))?;
        to_server
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|_| CLOSED_EARLY.to_string())?;
        if is_quit(&line) {
            break;
        }
    }
    Ok(())
}
