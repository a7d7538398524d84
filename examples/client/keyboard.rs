//! How are lines typed, and how do others appear above them?
//!
//! On a UTF-8 terminal lines are edited with rustyline, which keeps what was typed (in memory
//! only: what people say is nobody's file) and prints arriving lines above the prompt. A terminal
//! in another encoding, or one that cannot move its cursor, keeps the system's own line editing,
//! since rustyline reads and writes only UTF-8; there an arriving line may break a typed one.

use crate::charset::Charset;
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor, ExternalPrinter};
use std::io::{self, BufRead, Write};

const PROMPT: &str = "> ";

/// What came from the keyboard.
pub(crate) enum Typed {
    /// One line, or several pasted together, without the last line end.
    Line(String),
    /// Ctrl-D, or the terminal is gone.
    End,
    /// Ctrl-C; where the system edits, that is a signal instead and ends the process.
    Interrupt,
}

/// Shows one line to the person, from any thread, whatever is being typed.
///
/// Blocking: while the terminal is stopped (Ctrl-S), so that the server's limits decide how much
/// may wait.
pub(crate) type Show = Box<dyn FnMut(&str) + Send>;

/// Where lines are typed.
pub(crate) enum Keyboard {
    /// Edited by rustyline.
    Edited(Box<DefaultEditor>),
    /// Edited by the system.
    Simple(Charset),
}

impl Keyboard {
    /// The keyboard, and the way to show lines above what is typed on it.
    pub(crate) fn open(charset: Charset) -> (Keyboard, Show) {
        if charset.is_utf8()
            && let Ok(edited) = open_editor()
        {
            return edited;
        }
        let show = move |line: &str| {
            let mut bytes = charset.encode(line);
            bytes.push(b'\n');
            // A terminal that is gone ends the typing too, and so the process.
            let _ = io::stdout().write_all(&bytes);
        };
        (Keyboard::Simple(charset), Box::new(show))
    }

    /// Waits for the next line.
    pub(crate) fn read(&mut self) -> Typed {
        match self {
            Keyboard::Edited(editor) => match editor.readline(PROMPT) {
                Ok(line) => Typed::Line(line),
                Err(ReadlineError::Interrupted) => Typed::Interrupt,
                // A terminal that cannot be read is gone: no more will come from it.
                Err(_) => Typed::End,
            },
            Keyboard::Simple(charset) => {
                let mut bytes = Vec::new();
                match io::stdin().lock().read_until(b'\n', &mut bytes) {
                    Ok(0) | Err(_) => Typed::End,
                    Ok(_) => Typed::Line(charset.decode(bytes.trim_ascii_end())),
                }
            }
        }
    }
}

fn open_editor() -> rustyline::Result<(Keyboard, Show)> {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor = DefaultEditor::with_config(config)?;
    // Fails on a terminal that cannot move its cursor (TERM=dumb).
    let mut printer = editor.create_external_printer()?;
    let show = move |line: &str| {
        // A terminal that is gone ends the typing too, and so the process.
        let _ = printer.print(format!("{line}\n"));
    };
    Ok((Keyboard::Edited(Box::new(editor)), Box::new(show)))
}
