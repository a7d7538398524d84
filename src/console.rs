//! The console: commands on stdin, replies on stdout, and the chat above the prompt.
//!
//! It guarantees that the end of stdin, binary input and a lost terminal end at most the console,
//! never the server, and that the terminal is left as it was found. It does not know sockets: all it
//! asks for it asks of the room.

mod commands;
mod editor;
mod lines;
mod report;
pub(crate) mod terminal;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use chat_server::Room;
use parking_lot::Mutex;

use crate::output::Output;
use crate::signals::{self, Stop};
use commands::Next;
use editor::Editor;
use lines::{Input, LINE_BYTES_MAX};
use terminal::Modes;

/// How often the line editor is asked to end, until it has.
const CLOSE_INTERVAL: Duration = Duration::from_millis(20);

/// The console's side of the conversation, as its commands see it.
struct Console {
    room: Arc<Room>,
    stop: Arc<Stop>,
    output: Output,
    chat: Chat,
}

/// The running console, as `main` sees it.
pub(crate) struct Handle {
    stop: Arc<Stop>,
    output: Output,
    modes: Option<Modes>,
    editing: Arc<AtomicBool>,
    console_ended: Ended,
    chat_token: ChatToken,
    chat_ended: Ended,
}

/// The token of the thread that shows the chat, until that thread starts.
///
/// Shared, because the console's thread, which starts the other one, may be blocked in a read for
/// ever: the end of the process cannot wait for what that thread holds.
type ChatToken = Arc<Mutex<Option<Sender<Infallible>>>>;

/// Starts the console's thread; with `modes`, which only a terminal has, lines can be edited.
///
/// # Errors
/// When the system refuses a thread.
pub(crate) fn start(
    room: Arc<Room>,
    stop: Arc<Stop>,
    output: Output,
    modes: Option<Modes>,
) -> io::Result<Handle> {
    let editing = Arc::new(AtomicBool::new(false));
    let (console_lives, console_ended) = life();
    let (chat_lives, chat_ended) = life();
    let chat_token: ChatToken = Arc::new(Mutex::new(Some(chat_lives)));
    let handle = Handle {
        stop: Arc::clone(&stop),
        output: output.clone(),
        modes,
        editing: Arc::clone(&editing),
        console_ended,
        chat_token: Arc::clone(&chat_token),
        chat_ended,
    };
    let at_terminal = handle.modes.is_some();
    let chat = Chat { shown: Arc::default(), token: chat_token };
    let mut console = Console { room, stop, output, chat };
    if at_terminal {
        console.chat.show(&console.room, &console.output)?;
    }
    let thread = thread::Builder::new().name("console".to_owned());
    thread.spawn(move || {
        if at_terminal {
            let editor = console.open_editor();
            console.converse(editor, &editing);
            drop(console_lives);
        } else {
            // Nobody waits for a read from stdin: it cannot be interrupted.
            drop(console_lives);
            console.converse(None, &editing);
        }
    })?;
    Ok(handle)
}

impl Handle {
    /// Ends the console and leaves the terminal as it was found; to be called when the server has
    /// stopped.
    ///
    /// *Blocking*: until the last lines of chat are printed and the line editor has ended, and until
    /// `deadline` at most.
    pub(crate) fn close(self, deadline: Instant) {
        self.stop.ignore_interrupts();
        // A thread that never started has nothing to print.
        drop(self.chat_token.lock().take());
        self.chat_ended.wait(deadline);
        if self.editing.load(Ordering::SeqCst) {
            self.output.flush(deadline);
            // The editor takes one text after the other, so it has shown what came before this one.
            // Shown itself, it moves the cursor up and down again.
            self.output.print("\x1b[A");
            self.output.flush(deadline);
        }
        while self.editing.load(Ordering::SeqCst) && Instant::now() < deadline {
            signals::interrupt_editor();
            if self.console_ended.wait(deadline.min(Instant::now() + CLOSE_INTERVAL)) {
                break;
            }
        }
        if let Some(modes) = self.modes {
            modes.restore();
        }
    }
}

impl Console {
    /// The line editor, if the terminal is capable of it.
    fn open_editor(&self) -> Option<Editor> {
        match Editor::open() {
            Ok((editor, printer)) => {
                self.output.set_printer(Some(printer));
                Some(editor)
            }
            Err(error) => {
                log::info!("lines cannot be edited at this terminal: {error}");
                None
            }
        }
    }

    /// Reads and runs commands until one ends the console, the input ends, or the server stops.
    fn converse(&mut self, mut editor: Option<Editor>, editing: &AtomicBool) {
        if terminal::is_in_background() {
            log::info!("in the background: no console; the server goes on");
            return;
        }
        loop {
            // Raised before the check: whoever ends the console is seen here, or sees this.
            editing.store(editor.is_some(), Ordering::SeqCst);
            if self.stop.is_asked() {
                break;
            }
            let input = match &mut editor {
                Some(editor) => editor.read_line(),
                None => lines::read_stdin(),
            };
            editing.store(false, Ordering::SeqCst);
            if self.take(input) == Next::End {
                break;
            }
        }
        // The printer first: it would wait for ever for an editor that is gone.
        self.output.set_printer(None);
        drop(editor);
        editing.store(false, Ordering::SeqCst);
    }

    /// Does what `input` asks for, and prints the reply.
    fn take(&mut self, input: Input) -> Next {
        match input {
            Input::Text(text) if text.len() > LINE_BYTES_MAX => return self.take(Input::TooLong),
            Input::Text(text) => {
                if text.lines().any(|line| commands::run(self, line) == Next::End) {
                    return Next::End;
                }
            }
            Input::TooLong => {
                self.output.print(&format!("ignored: longer than {LINE_BYTES_MAX} bytes"));
            }
            Input::Garbage => self.output.print("ignored: not UTF-8"),
            Input::Interrupt => {
                self.stop.interrupt("Ctrl-C");
                return Next::End;
            }
            Input::End => {
                log::info!("end of input: the console has ended, the server goes on");
                return Next::End;
            }
            Input::Lost(reason) => {
                log::info!("no more input: the console has ended, the server goes on: {reason}");
                return Next::End;
            }
        }
        Next::Continue
    }

    /// The names of all threads of the process.
    fn threads(&self) -> Vec<String> {
        let mut names = vec!["main".to_owned(), "ctrl-c".to_owned(), "console".to_owned()];
        names.extend(self.output.threads());
        if self.chat.has_thread() {
            names.push(Chat::THREAD.to_owned());
        }
        names.extend(self.room.threads());
        names
    }
}

/// The public lines of the room, as the console shows them.
struct Chat {
    shown: Arc<AtomicBool>,
    token: ChatToken,
}

impl Chat {
    const THREAD: &str = "watch";

    fn is_shown(&self) -> bool {
        self.shown.load(Ordering::SeqCst)
    }

    fn has_thread(&self) -> bool {
        self.token.lock().is_none()
    }

    /// Lets the chat be shown from now on.
    ///
    /// The thread that does it starts at first use and lives as long as the server: waiting for a
    /// line cannot be broken off, so [`hide`](Self::hide) only silences it.
    ///
    /// # Errors
    /// When the system refuses the thread.
    fn show(&mut self, room: &Room, output: &Output) -> io::Result<()> {
        self.shown.store(true, Ordering::SeqCst);
        let Some(token) = self.token.lock().take() else {
            return Ok(());
        };
        let (shown, output, mut watch) = (Arc::clone(&self.shown), output.clone(), room.watch());
        thread::Builder::new().name(Self::THREAD.to_owned()).spawn(move || {
            let mut missed_before = 0;
            while let Some(line) = watch.next() {
                let missed = watch.missed() - missed_before;
                missed_before += missed;
                if !shown.load(Ordering::SeqCst) {
                    continue;
                }
                if missed > 0 {
                    output.print(&format!("(the console missed {missed} lines)"));
                }
                output.print(&line.to_string());
            }
            drop(token);
        })?;
        Ok(())
    }

    fn hide(&self) {
        self.shown.store(false, Ordering::SeqCst);
    }
}

/// A token to be held by a thread, and the means to wait until it is dropped.
fn life() -> (Sender<Infallible>, Ended) {
    let (lives, ended) = mpsc::channel();
    (lives, Ended(ended))
}

struct Ended(Receiver<Infallible>);

impl Ended {
    /// Waits until `deadline` at most, and says whether the thread has ended.
    fn wait(&self, deadline: Instant) -> bool {
        let time = deadline.saturating_duration_since(Instant::now());
        matches!(self.0.recv_timeout(time), Err(RecvTimeoutError::Disconnected))
    }
}
