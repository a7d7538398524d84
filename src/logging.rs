//! The log: which records are kept, what a line of it looks like, and where panics go.
//!
//! Each line holds time, level, thread name and message, and is one line whatever the message holds.
//! It does not know where the lines end up: that is the output's part.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::thread;
use std::time::Instant;

use chrono::{DateTime, Local};
use env_logger::{Builder, Env, Target};
use log::{LevelFilter, Record};

use crate::END_TIME_MAX;
use crate::output::{Output, clean};

/// Sends all that is logged from now on to `output`, and panics as well.
///
/// `RUST_LOG` chooses what is kept; without it that is `info` and above. May be called once.
pub(crate) fn start(output: &Output) {
    Builder::from_env(Env::default().default_filter_or("info"))
        // The line editor logs each key, and each record would again be printed through it.
        .filter_module("rustyline", LevelFilter::Off)
        .target(Target::Pipe(Box::new(output.log_sink())))
        .format(|line, record| {
            let mut text = String::new();
            // Writing to a String cannot fail, and a message that fails to print itself is cut short.
            let _ = render(&mut text, Local::now(), thread::current().name(), record);
            line.write_all(text.as_bytes())
        })
        .init();
    log_panics(output.clone());
}

/// Appends one line of the log to `line`.
fn render(
    line: &mut String,
    time: DateTime<Local>,
    thread: Option<&str>,
    record: &Record<'_>,
) -> fmt::Result {
    let time = time.format("%Y-%m-%dT%H:%M:%S%.3f%:z");
    let thread = thread.unwrap_or("unnamed");
    let message = record.args().to_string();
    writeln!(line, "{time} {:<5} [{thread}] {}", record.level(), clean(&message))
}

/// Logs a panic instead of printing it, since printing could block or panic again.
fn log_panics(output: Output) {
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or("without a message");
        match panic.location() {
            Some(place) => log::error!("panic at {place}: {message}"),
            None => log::error!("panic: {message}"),
        }
        // A panic of the main thread ends the process, and nobody else would flush.
        if thread::current().name() == Some("main") {
            output.flush(Instant::now() + END_TIME_MAX);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn line(thread: Option<&str>, message: fmt::Arguments<'_>) -> String {
        let record = Record::builder().level(log::Level::Info).args(message).build();
        let time = Local.with_ymd_and_hms(2026, 11, 22, 10, 32, 0).unwrap();
        let mut line = String::new();
        render(&mut line, time, thread, &record).unwrap();
        line
    }

    #[test]
    fn a_line_holds_time_level_thread_and_message() {
        let line = line(Some("accept"), format_args!("hello"));
        assert!(line.starts_with("2026-11-22T10:32:00.000"), "{line}");
        assert!(line.ends_with(" INFO  [accept] hello\n"), "{line}");
    }

    #[test]
    fn a_message_cannot_forge_a_second_line_or_move_the_cursor() {
        let line = line(None, format_args!("a\r\nforged\x1b[2J"));
        assert!(line.ends_with("[unnamed] a  forged [2J\n"), "{line}");
    }
}
