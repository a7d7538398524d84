//! What does the client do at a terminal?
//!
//! Two threads share one session: this one reads the keyboard and sends, the other shows what
//! arrives and makes the connection again when it is lost. A line typed while there is none is
//! not sent later, when the talk has moved on: it is said so, and stands in the typed history.

use crate::charset::Charset;
use crate::dialer::Dialer;
use crate::keyboard::{Keyboard, Show, Typed};
use crate::{arriving, is_quit};
use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// A server that takes nothing for so long is given up, so that typing is never held up longer.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server's last words are waited for after leaving.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// The exit status of a process that Ctrl-C ended, as shells count it.
const STATUS_INTERRUPTED: u8 = 130;

/// What the two threads share.
struct Session {
    link: Link,
    /// The name to take after a reconnect: the last one asked for.
    name: Option<String>,
}

enum Link {
    /// Lines can be sent.
    Up(Arc<TcpStream>),
    /// The connection was lost; the other thread is making a new one.
    Down,
    /// The tries are used up, for this reason.
    GivenUp(String),
    /// The person has left: the end of the connection is no loss.
    Left,
}

/// Lets a person talk until they leave, or until the connection stays lost.
///
/// # Errors
/// Says why the connection could not be made again.
pub(crate) fn talk(
    stream: TcpStream,
    dialer: Dialer,
    name: Option<String>,
    charset: Charset,
) -> Result<ExitCode, String> {
    let session = Arc::new(Mutex::new(Session { link: Link::Down, name }));
    let stream = connected(&session, stream);
    let (mut keyboard, show) = Keyboard::open(charset);

    // Dropped when the other thread ends, which is how the goodbye is waited for.
    let (running, other_thread) = mpsc::channel::<()>();
    let shared = Arc::clone(&session);
    thread::Builder::new()
        .name("arriving".to_string())
        .spawn(move || {
            follow(&shared, stream, dialer, show);
            drop(running);
        })
        .map_err(|error| format!("cannot start a thread: {error}"))?;

    loop {
        let typed = keyboard.read();
        if let Link::GivenUp(fault) = &lock(&session).link {
            return Err(fault.clone());
        }
        match typed {
            Typed::Interrupt => return Ok(ExitCode::from(STATUS_INTERRUPTED)),
            Typed::End => break,
            Typed::Line(text) => {
                if !send(&session, &text) {
                    crate::complain("not connected, so this was not sent");
                }
                if text.lines().any(is_quit) {
                    break;
                }
            }
        }
    }
    let link = std::mem::replace(&mut lock(&session).link, Link::Left);
    if let Link::Up(stream) = link
        && stream.shutdown(Shutdown::Write).is_ok()
    {
        // Closing at once could cost the server our last line: unread input makes a reset of it.
        let _ = other_thread.recv_timeout(GOODBYE_TIMEOUT);
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends what was typed, in one piece; false when there is no connection to send it on.
fn send(session: &Mutex<Session>, text: &str) -> bool {
    let stream = {
        let mut session = lock(session);
        let words = text.trim_end().split_once(' ');
        if let Some(("/name" | "/nick", name)) = words {
            session.name = Some(name.trim().to_string());
        }
        let Link::Up(stream) = &session.link else {
            return false;
        };
        Arc::clone(stream)
    };
    if (&*stream).write_all(format!("{text}\n").as_bytes()).is_ok() {
        return true;
    }
    // Half a line may be on its way, so nothing more can follow; the other thread connects anew.
    let _ = stream.shutdown(Shutdown::Both);
    false
}

/// Shows what arrives, and makes the connection again whenever it is lost, until the person leaves
/// or the tries are used up.
fn follow(session: &Mutex<Session>, first: Arc<TcpStream>, mut dialer: Dialer, mut show: Show) {
    let mut stream = first;
    loop {
        let began = Instant::now();
        let mut from_server = BufReader::new(&*stream);
        // A fault and a regular end call for the same: a new connection.
        while let Ok(Some(line)) = arriving::next_line(&mut from_server) {
            show(&line);
        }
        {
            let link = &mut lock(session).link;
            if matches!(link, Link::Left) {
                return;
            }
            *link = Link::Down;
        }
        match dialer.dial_again(began.elapsed(), &mut |fault: &str| show(&marked(fault))) {
            Ok(next) => {
                stream = connected(session, next);
                show(&marked("connected again"));
            }
            Err(fault) => {
                show(&marked(&format!("{fault}; press Enter to leave")));
                // Left to the thread that types: only it can give the terminal back in order.
                lock(session).link = Link::GivenUp(fault);
                return;
            }
        }
    }
}

/// Takes the name on a new connection, and lets lines be sent on it.
fn connected(session: &Mutex<Session>, stream: TcpStream) -> Arc<TcpStream> {
    // A failure here, or of the write, is seen by the next read or write on the stream.
    let _ = stream.set_write_timeout(Some(SEND_TIMEOUT));
    let stream = Arc::new(stream);
    let name = lock(session).name.clone();
    if let Some(name) = name {
        let _ = (&*stream).write_all(format!("/name {name}\n").as_bytes());
    }
    let link = &mut lock(session).link;
    if !matches!(link, Link::Left) {
        *link = Link::Up(Arc::clone(&stream));
    }
    stream
}

/// A line of the client's own, told apart from the server's, which begin with a stamp or `***`.
fn marked(line: &str) -> String {
    format!("client: {line}")
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}
