//! Everything the process prints after its start: replies, chat and the log.
//!
//! It guarantees that printing never blocks, fails or panics: a terminal that is stopped, a pipe
//! that nobody reads and a closed descriptor hold up the writer thread alone. What waits is bounded;
//! beyond the bound whole pieces are dropped and counted, and once there is room again the log says
//! how many. There is one queue for each place that is printed to, so that a blocked stdout does not
//! hold back the log, while stdout and stderr in one terminal keep their order. It does not know what
//! it prints.

use std::borrow::Cow;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::{fs, stdio};
use rustyline::ExternalPrinter;

/// How many bytes may wait in one queue; a piece that does not fit is dropped as a whole.
///
/// It holds what `who` prints about 10,000 clients (about 0.8 MB). As many again may be on their way
/// to the descriptor.
const OUTPUT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How much of a queue's buffer is kept when it has run empty; a burst's memory is given back.
const OUTPUT_BYTES_KEPT: usize = 64 * 1024;

/// Prints above the line that is being edited at the terminal.
pub(crate) type Printer = Box<dyn ExternalPrinter + Send>;

/// A handle to the process's output; clones print to the same places.
#[derive(Clone)]
pub(crate) struct Output {
    stdout: Arc<Queue>,
    /// The same queue as `stdout` when both lead to the same place.
    stderr: Arc<Queue>,
}

impl Output {
    /// Starts the writer threads: one for stdout, and one for stderr if that leads elsewhere.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let stdout = Queue::start("output", Stream::Stdout)?;
        let stderr = if same_place() {
            Arc::clone(&stdout)
        } else {
            Queue::start("log output", Stream::Stderr)?
        };
        Ok(Self { stdout, stderr })
    }

    /// Prints `text` on stdout, followed by a line end.
    pub(crate) fn print(&self, text: &str) {
        self.stdout.push(&[text, "\n"]);
    }

    /// Prints `line` on stderr, followed by a line end.
    pub(crate) fn print_error(&self, line: &str) {
        self.stderr.push(&[line, "\n"]);
    }

    /// A sink for the log: each write is one piece on stderr.
    pub(crate) fn log_sink(&self) -> impl Write + Send + 'static {
        LogSink(Arc::clone(&self.stderr))
    }

    /// Prints what goes to stdout through `printer` from now on, or directly with `None`.
    pub(crate) fn set_printer(&self, printer: Option<Printer>) {
        self.stdout.state.lock().printer = printer.map(|printer| Arc::new(Mutex::new(printer)));
    }

    /// Waits until all that was printed so far has been handed to the system.
    ///
    /// *Blocking*: until `deadline` at most; what is not taken by then stays in the queue.
    pub(crate) fn flush(&self, deadline: Instant) {
        self.stdout.wait_until_written(deadline);
        self.stderr.wait_until_written(deadline);
    }

    /// The names of the writer threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let mut names = vec![self.stdout.name.to_owned()];
        if !Arc::ptr_eq(&self.stdout, &self.stderr) {
            names.push(self.stderr.name.to_owned());
        }
        names
    }
}

/// Whether stdout and stderr lead to the same file, pipe or terminal.
fn same_place() -> bool {
    match (fs::fstat(stdio::stdout()), fs::fstat(stdio::stderr())) {
        (Ok(stdout), Ok(stderr)) => {
            (stdout.st_dev, stdout.st_ino) == (stderr.st_dev, stderr.st_ino)
        }
        _ => false,
    }
}

/// Turns what is logged into pieces of a queue; it never fails, as a log must not.
struct LogSink(Arc<Queue>);

impl Write for LogSink {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.0.push(&[&String::from_utf8_lossy(record)]);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn descriptor(self) -> BorrowedFd<'static> {
        match self {
            Self::Stdout => stdio::stdout(),
            Self::Stderr => stdio::stderr(),
        }
    }
}

/// What waits to be printed to one place. Its lock is never held while something is written.
struct Queue {
    /// The name of its writer thread.
    name: &'static str,
    stream: Stream,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The pieces that wait, one after the other.
    text: String,
    /// How many pieces were dropped since the last batch was taken.
    dropped: u64,
    /// A batch was taken and is not written yet.
    writing: bool,
    /// A lock of its own, taken by the writer thread only, lets the printer be replaced meanwhile.
    printer: Option<Arc<Mutex<Printer>>>,
}

/// What the writer thread takes at once.
struct Batch {
    text: String,
    dropped: u64,
    printer: Option<Arc<Mutex<Printer>>>,
}

impl Queue {
    fn new(name: &'static str, stream: Stream) -> Self {
        Self { name, stream, state: Mutex::default(), changed: Condvar::new() }
    }

    fn start(name: &'static str, stream: Stream) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self::new(name, stream));
        let writer = Arc::clone(&queue);
        thread::Builder::new().name(name.to_owned()).spawn(move || writer.write_for_ever())?;
        Ok(queue)
    }

    /// Appends one piece, or drops and counts it when it does not fit.
    fn push(&self, piece: &[&str]) {
        let mut state = self.state.lock();
        let bytes: usize = piece.iter().map(|part| part.len()).sum();
        if state.text.len() + bytes > OUTPUT_BYTES_MAX {
            state.dropped += 1;
            return;
        }
        state.text.extend(piece.iter().copied());
        drop(state);
        self.changed.notify_all();
    }

    fn write_for_ever(&self) {
        let mut spare = String::new();
        loop {
            let batch = self.take(spare);
            self.write(&batch);
            self.written();
            if batch.dropped > 0 {
                let (dropped, name) = (batch.dropped, self.name);
                log::warn!("{dropped} pieces of {name} dropped: nothing took them in time");
            }
            spare = batch.text;
            spare.clear();
            spare.shrink_to(OUTPUT_BYTES_KEPT);
        }
    }

    /// Takes all that waits, leaving the empty buffer `spare` in its place.
    ///
    /// *Blocking*: until something waits.
    fn take(&self, spare: String) -> Batch {
        let mut state = self.state.lock();
        while state.text.is_empty() {
            self.changed.wait(&mut state);
        }
        state.writing = true;
        Batch {
            text: std::mem::replace(&mut state.text, spare),
            dropped: std::mem::take(&mut state.dropped),
            printer: state.printer.clone(),
        }
    }

    fn written(&self) {
        self.state.lock().writing = false;
        self.changed.notify_all();
    }

    fn wait_until_written(&self, deadline: Instant) {
        let mut state = self.state.lock();
        while state.writing || !state.text.is_empty() {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// Writes a batch for as long as it takes; a failure loses it, since there is nobody to tell.
    fn write(&self, batch: &Batch) {
        let printed = batch
            .printer
            .as_ref()
            .is_some_and(|printer| printer.lock().print(batch.text.clone()).is_ok());
        if !printed {
            write_all(self.stream.descriptor(), batch.text.as_bytes());
        }
    }
}

/// Writes `bytes` until they are taken or a write fails.
fn write_all(descriptor: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(descriptor, bytes) {
            Ok(taken) => bytes = &bytes[taken..],
            Err(Errno::INTR) => {}
            // Another process that shares this terminal or pipe has made it non-blocking.
            Err(Errno::AGAIN) => {
                let mut room = [PollFd::from_borrowed_fd(descriptor, PollFlags::OUT)];
                if !matches!(poll(&mut room, None), Ok(_) | Err(Errno::INTR)) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// `text` with each control character but the tab replaced by a space.
///
/// What clients send was cleaned by the room; this is the second line of defence, for what comes
/// from elsewhere: the console's input, a panic's message, a library's log record.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| c.is_control() && c != '\t';
    if text.contains(harmful) { text.replace(harmful, " ").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn queue() -> Queue {
        Queue::new("test output", Stream::Stdout)
    }

    fn piece(bytes: usize) -> String {
        "x".repeat(bytes)
    }

    #[test]
    fn pieces_are_taken_together_and_in_order() {
        let queue = queue();
        queue.push(&["one", "\n"]);
        queue.push(&["two", "\n"]);
        assert_eq!(queue.take(String::new()).text, "one\ntwo\n");
    }

    #[test]
    fn a_piece_that_just_fits_is_kept_and_the_next_one_is_dropped_and_counted() {
        let queue = queue();
        queue.push(&[&piece(OUTPUT_BYTES_MAX - 1)]);
        queue.push(&["a"]);
        queue.push(&["b"]);
        queue.push(&["c"]);
        let batch = queue.take(String::new());
        assert_eq!((batch.text.len(), batch.dropped), (OUTPUT_BYTES_MAX, 2));
        assert!(batch.text.ends_with('a'));
    }

    #[test]
    fn a_piece_is_dropped_as_a_whole_and_a_smaller_one_still_fits() {
        let queue = queue();
        queue.push(&[&piece(OUTPUT_BYTES_MAX - 2)]);
        queue.push(&["long", "\n"]);
        queue.push(&["s", "\n"]);
        let batch = queue.take(String::new());
        assert!(batch.text.ends_with("xs\n"));
        assert_eq!(batch.dropped, 1);
    }

    #[test]
    fn after_a_batch_was_taken_there_is_room_and_the_count_begins_anew() {
        let queue = queue();
        queue.push(&[&piece(OUTPUT_BYTES_MAX)]);
        queue.push(&["lost"]);
        assert_eq!(queue.take(String::new()).dropped, 1);
        queue.push(&["kept"]);
        let batch = queue.take(String::new());
        assert_eq!((batch.text.as_str(), batch.dropped), ("kept", 0));
    }

    #[test]
    fn a_flush_gives_up_on_an_output_that_is_not_taken() {
        let queue = queue();
        queue.push(&["nobody takes this"]);
        queue.wait_until_written(Instant::now() + Duration::from_millis(1));
        assert!(!queue.state.lock().text.is_empty());
    }

    #[test]
    fn a_flush_waits_for_the_batch_that_is_being_written() {
        let queue = Arc::new(queue());
        queue.push(&["text"]);
        let batch = queue.take(String::new());
        assert!(queue.state.lock().writing);
        let flush = thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.wait_until_written(Instant::now() + Duration::from_secs(60))
        });
        drop(batch);
        queue.written();
        flush.join().unwrap();
        assert!(!queue.state.lock().writing);
    }

    #[test]
    fn control_characters_are_replaced_and_everything_else_is_kept() {
        assert_eq!(clean("a\tb 你好"), "a\tb 你好");
        assert_eq!(clean("a\r\n\x1b[2Jb\u{9b}c\x7f\0"), "a   [2Jb c  ");
    }
}
