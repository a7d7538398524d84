//! The terminal that the process was started on: its modes and its foreground.
//!
//! It guarantees that the modes found at start can be restored from any thread without waiting, and
//! that a terminal which is another's by then is left alone. It does not know the line editor.

use rustix::process::getpgrp;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr};

/// Whether stdin is a terminal on which another process group is in the foreground.
///
/// Such a process cannot read from it and must not touch its modes. A terminal that does not control
/// this process (as in some containers) knows no background.
pub(crate) fn is_in_background() -> bool {
    isatty(stdin()) && tcgetpgrp(stdin()).is_ok_and(|foreground| foreground != getpgrp())
}

/// The modes of the terminal as they were found at start.
#[derive(Clone)]
pub(crate) struct Modes(Termios);

impl Modes {
    /// The present modes, if stdin and stdout are a terminal whose lines can be edited.
    pub(crate) fn of_terminal() -> Option<Self> {
        let editable = isatty(stdin()) && isatty(stdout()) && !is_in_background();
        if editable { tcgetattr(stdin()).map(Self).ok() } else { None }
    }

    /// Sets these modes again, unless the terminal has passed to another process group.
    pub(crate) fn restore(&self) {
        if !is_in_background() {
            // Without waiting for pending output, which a stopped terminal never takes. A failure
            // means that the terminal is gone.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
        }
    }
}
