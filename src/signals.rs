//! Signals: which ones stop the server, which ones it must not hear, and what a second one does.
//!
//! It guarantees that the first SIGINT, SIGTERM or SIGHUP stops the server in good order and a
//! second one ends the process at once with status 130, that a server started under `nohup` survives
//! the hang-up, and that no thread of the room has a system call interrupted. It does not know what
//! stopping means.

use std::process;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chat_server::StopHandle;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::console::terminal::Modes;

/// The exit status after a second signal: the shell's number for "ended by SIGINT".
const STATUS_INTERRUPTED: i32 = 130;

/// Signals that follow the first request within this time are the same request.
///
/// When a terminal goes away, both the system and the shell send SIGHUP; a service manager may send
/// SIGTERM and SIGHUP together. Nobody presses Ctrl-C twice on purpose so fast.
const SAME_REQUEST_TIME: Duration = Duration::from_millis(100);

/// Blocks the signals that no thread of this process is to hear.
///
/// To be called before the first thread starts, since threads inherit it. A blocked SIGTTIN turns a
/// read from the terminal by a background process into an error instead of stopping the process, a
/// blocked SIGTTOU lets such a process print, and a blocked SIGXFSZ turns a file that has grown too
/// large into an error. SIGWINCH is for the line editor alone, which asks for it. SIGHUP is blocked
/// when it was ignored at start, because the handler installed later would undo what `nohup` did.
///
/// # Errors
/// When the system refuses, which Linux never does for these signals.
pub(crate) fn block_unwanted() -> nix::Result<()> {
    let mut unwanted =
        SigSet::from_iter([Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGXFSZ, Signal::SIGWINCH]);
    // Systems without this file have no such protection: there the hang-up stops the server.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if ignores_hang_up(&status) {
        unwanted.add(Signal::SIGHUP);
    }
    unwanted.thread_block()
}

/// Lets the calling thread hear that the terminal's size has changed.
///
/// # Errors
/// When the system refuses, which Linux never does for this signal.
pub(crate) fn unblock_resize() -> nix::Result<()> {
    SigSet::from(Signal::SIGWINCH).thread_unblock()
}

/// Makes the line editor, on whatever thread it reads, return as if Ctrl-C were typed.
///
/// The editor's own handler for SIGINT, which is in force while it reads, is the only way to reach
/// it. At other times the process's handler gets the signal; it should be told to ignore it first.
pub(crate) fn interrupt_editor() {
    // A process may always signal itself.
    let _ = kill(Pid::this(), Signal::SIGINT);
}

/// Whether a text in the form of `/proc/self/status` says that SIGHUP is ignored.
fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit n of the mask stands for signal n + 1.
    mask.is_some_and(|mask| mask & 1 << (Signal::SIGHUP as u32 - 1) != 0)
}

/// Where everybody asks the server to stop who may: signals, and the console.
pub(crate) struct Stop {
    handle: StopHandle,
    /// The terminal's modes at start, to be restored when the process ends at once.
    modes: Option<Modes>,
    asked: OnceLock<Instant>,
    over: OnceLock<()>,
}

impl Stop {
    /// Stops the server behind `handle`; `modes` are restored if it must end at once.
    pub(crate) fn new(handle: StopHandle, modes: Option<Modes>) -> Arc<Self> {
        Arc::new(Self { handle, modes, asked: OnceLock::new(), over: OnceLock::new() })
    }

    /// Stops the server in good order, `because` of what; asked again, it does nothing.
    pub(crate) fn ask(&self, because: &str) {
        if self.asked.set(Instant::now()).is_ok() {
            log::info!("stopping: {because}");
            self.handle.stop();
        }
    }

    /// Stops the server, or ends the process at once with status 130 if it is being stopped already.
    ///
    /// Signals end here, and Ctrl-C at the console's prompt, which is no signal.
    pub(crate) fn interrupt(&self, because: &str) {
        match self.asked.get() {
            _ if self.over.get().is_some() => {}
            None => self.ask(because),
            Some(asked) if asked.elapsed() < SAME_REQUEST_TIME => {}
            Some(_) => {
                if let Some(modes) = &self.modes {
                    modes.restore();
                }
                process::exit(STATUS_INTERRUPTED);
            }
        }
    }

    /// Whether the server was asked to stop.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.get().is_some()
    }

    /// Ignores all interrupts from now on: the server has stopped, and the process is about to end.
    pub(crate) fn ignore_interrupts(&self) {
        self.over.get_or_init(|| ());
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP stop the server; only the thread named `ctrl-c` hears them.
///
/// # Errors
/// When the handler or its thread cannot be installed.
pub(crate) fn stop_on_signals(stop: Arc<Stop>) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || stop.interrupt("signal"))?;
    let heard = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Only a comfort: without it, a signal may interrupt a system call of any thread.
    if let Err(error) = heard.thread_block() {
        log::debug!("cannot keep signals from other threads: {error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hang_up_is_seen_in_the_mask_of_ignored_signals() {
        assert!(ignores_hang_up("Name:\tx\nSigIgn:\t0000000000000001\n"));
        assert!(ignores_hang_up("SigIgn:\t0000000000001007\n"));
    }

    #[test]
    fn other_ignored_signals_or_no_mask_at_all_are_no_ignored_hang_up() {
        assert!(!ignores_hang_up("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001006\n"));
        assert!(!ignores_hang_up("SigIgn:\tnonsense\n"));
        assert!(!ignores_hang_up(""));
    }
}
