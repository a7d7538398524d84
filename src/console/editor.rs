//! The line editor on the terminal.
//!
//! It guarantees that a failure of the editor, a panic included, costs the editing of one line and
//! nothing else, and that the terminal's modes are restored whenever it is not reading. It does not
//! know what the lines mean.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use rustix::stdio::stdin;
use rustyline::error::ReadlineError;
use rustyline::{Cmd, Config, DefaultEditor, KeyEvent};

use super::lines::{self, Input};
use crate::output::Printer;
use crate::signals::unblock_resize;

const PROMPT: &str = ">>> ";

/// Reads edited lines, and remembers them.
pub(super) struct Editor {
    editor: DefaultEditor,
    spares: Spares,
}

impl Editor {
    /// The editor for the calling thread, and what prints above the line that is being edited.
    ///
    /// Between two lines the printer writes directly. A shortcut of the editor's: what is handed to
    /// it in the very moment in which a line is completed is shown with the next prompt, so possibly
    /// after what was printed later, and is lost if there is no next prompt.
    ///
    /// # Errors
    /// When the terminal is not capable of editing (`TERM=dumb`).
    pub(super) fn open() -> Result<(Self, Printer), ReadlineError> {
        let config = Config::builder().auto_add_history(true).build();
        let mut editor = DefaultEditor::with_config(config)?;
        // Suspended, the server would freeze everybody, and resumed in the background the editor would
        // spoil the shell's terminal. After Ctrl-D, Ctrl-Z does what it always does.
        editor.bind_sequence(KeyEvent::ctrl('Z'), Cmd::Noop);
        let printer = Box::new(editor.create_external_printer()?);
        if let Err(error) = unblock_resize() {
            log::debug!("the size of the terminal is not followed: {error}");
        }
        let mut spares = Spares::default();
        spares.take();
        Ok((Self { editor, spares }, printer))
    }

    /// Reads what is typed next.
    ///
    /// *Blocking*: until a line is complete, or the editor is interrupted.
    pub(super) fn read_line(&mut self) -> Input {
        match self.edit_line() {
            Ok(Ok(text)) => Input::Text(text),
            Ok(Err(ReadlineError::Interrupted)) => Input::Interrupt,
            Ok(Err(ReadlineError::Eof)) => Input::End,
            Ok(Err(ReadlineError::Io(error))) if error.kind() == ErrorKind::InvalidData => {
                Input::Garbage
            }
            Ok(Err(error)) if is_lost(&error) => Input::Lost(error.to_string()),
            Ok(Err(error)) => read_unedited(&error.to_string()),
            Err(reason) => read_unedited(reason),
        }
    }

    /// Lets the line be edited; the outer error says why that cannot be.
    fn edit_line(&mut self) -> Result<Result<String, ReadlineError>, &'static str> {
        if !self.spares.lend() {
            return Err("too many open files");
        }
        let editor = &mut self.editor;
        // The editor holds nothing across lines that a panic could leave half done.
        let result = catch_unwind(AssertUnwindSafe(|| editor.readline(PROMPT)));
        self.spares.take();
        result.map_err(|_| "the line editor panicked")
    }
}

/// Reads one line as the terminal itself lets it be typed.
fn read_unedited(reason: &str) -> Input {
    log::warn!("the next line cannot be edited: {reason}");
    lines::read_stdin()
}

/// Whether the system says that the terminal is not ours, or not there, any more.
fn is_lost(error: &ReadlineError) -> bool {
    match error {
        ReadlineError::Io(error) => error.raw_os_error() == Some(Errno::EIO as i32),
        ReadlineError::Errno(error) => *error == Errno::EIO,
        _ => false,
    }
}

/// The editor waits with `select`, which takes descriptors below this number only (select(2)).
const SELECT_DESCRIPTORS_MAX: RawFd = 1024;

/// How many descriptors the editor opens for each line.
const EDITOR_DESCRIPTORS: usize = 2;

/// How many low descriptors are kept: more than are needed, since between lending them and the
/// editor's taking them the acceptor may be faster.
const SPARE_DESCRIPTORS: usize = 8;

/// Low descriptors that are kept from the clients while the editor does not use them.
///
/// With more than a thousand clients the editor would otherwise get one above select's limit at
/// some line, and panic.
#[derive(Default)]
struct Spares(Vec<OwnedFd>);

impl Spares {
    fn take(&mut self) {
        while self.0.len() < SPARE_DESCRIPTORS {
            match stdin().try_clone_to_owned() {
                Ok(spare) if spare.as_raw_fd() < SELECT_DESCRIPTORS_MAX => self.0.push(spare),
                _ => return,
            }
        }
    }

    /// Frees as many as the editor needs, and says whether there were enough.
    fn lend(&mut self) -> bool {
        self.take();
        let kept = self.0.len().checked_sub(EDITOR_DESCRIPTORS);
        self.0.truncate(kept.unwrap_or_default());
        kept.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_descriptors_are_kept_and_as_many_as_needed_are_lent() {
        let mut spares = Spares::default();
        spares.take();
        assert_eq!(spares.0.len(), SPARE_DESCRIPTORS);
        assert!(spares.0.iter().all(|spare| spare.as_raw_fd() < SELECT_DESCRIPTORS_MAX));
        assert!(spares.lend());
        assert_eq!(spares.0.len(), SPARE_DESCRIPTORS - EDITOR_DESCRIPTORS);
    }

    #[test]
    fn a_terminal_that_hung_up_is_lost_and_garbage_is_not() {
        let error = |errno: Errno| std::io::Error::from_raw_os_error(errno as i32);
        assert!(is_lost(&ReadlineError::Io(error(Errno::EIO))));
        assert!(is_lost(&ReadlineError::Errno(Errno::EIO)));
        assert!(!is_lost(&ReadlineError::Io(error(Errno::EMFILE))));
        assert!(!is_lost(&ReadlineError::Eof));
    }
}
