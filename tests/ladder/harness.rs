//! What makes the ladder's tests read as stories: an example, a peer to talk to it, a terminal.
//!
//! Every wait has the one deadline below, every port is chosen by the system, and every process
//! is ended with its test.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Far beyond what any step takes: reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// The locale of a test that is not about locales.
pub(crate) const UTF_8: &str = "C.UTF-8";

/// One run of an example, ended when dropped.
pub(crate) struct Example {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Output,
    stderr: Output,
    /// Where a server listens.
    pub(crate) addr: String,
}

impl Example {
    /// Starts an example that serves, and waits until it says where.
    pub(crate) fn serve(name: &str, args: &[&str]) -> Example {
        let mut example = Example::start(name, &[&["127.0.0.1:0"], args].concat());
        let line = example.stdout.line_with("listening on ");
        example.addr = line.trim_end().replace("listening on ", "");
        example
    }

    pub(crate) fn start(name: &str, args: &[&str]) -> Example {
        Example::start_in(name, args, UTF_8)
    }

    pub(crate) fn start_in(name: &str, args: &[&str], locale: &str) -> Example {
        let mut child = Command::new(example_path(name))
            .args(args)
            .env("LC_ALL", locale)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error} (run `cargo build --examples`)"));
        Example {
            stdin: child.stdin.take(),
            stdout: Output::of(child.stdout.take().unwrap()),
            stderr: Output::of(child.stderr.take().unwrap()),
            child,
            addr: String::new(),
        }
    }

    pub(crate) fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect(&self.addr).unwrap())
    }

    pub(crate) fn type_bytes(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn end_stdin(&mut self) {
        self.stdin = None;
    }

    /// What Ctrl-C at its terminal does.
    pub(crate) fn interrupt(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    /// Waits for a line on stdout that holds `text`.
    pub(crate) fn expect_line_with(&mut self, text: &str) {
        self.stdout.line_with(text);
    }

    /// Waits for a line on stderr that holds `text`.
    pub(crate) fn expect_complaint_with(&mut self, text: &str) {
        self.stderr.line_with(text);
    }

    /// All that is still to come on stdout.
    pub(crate) fn output_bytes(&mut self) -> Vec<u8> {
        self.stdout.rest()
    }

    pub(crate) fn output(&mut self) -> String {
        String::from_utf8(self.output_bytes()).unwrap()
    }

    /// All that is still to come on stderr.
    pub(crate) fn complaint(&mut self) -> String {
        String::from_utf8(self.stderr.rest()).unwrap()
    }

    /// Waits until the example has ended by itself.
    pub(crate) fn status(&mut self) -> ExitStatus {
        let mut status = None;
        poll_until("the example's end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails when it has ended by itself
        let _ = self.child.wait();
    }
}

/// The lines of one output stream, read by a thread, so that each wait has a deadline.
struct Output(Receiver<Vec<u8>>);

impl Output {
    fn of(stream: impl Read + Send + 'static) -> Output {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).unwrap() > 0 {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Output(receiver)
    }

    fn line_with(&self, text: &str) -> String {
        loop {
            let line = self.0.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|error| panic!("no line with {text:?}: {error}"));
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains(text) {
                return line;
            }
        }
    }

    fn rest(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        loop {
            match self.0.recv_timeout(DEADLINE) {
                Ok(line) => rest.extend(line),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("the output does not end"),
            }
        }
    }
}

/// The test's end of a connection; reading fails at the deadline.
pub(crate) struct Peer {
    reader: BufReader<TcpStream>,
    /// Its own address, by which a server knows it.
    pub(crate) addr: SocketAddr,
}

impl Peer {
    fn new(stream: TcpStream) -> Peer {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let addr = stream.local_addr().unwrap();
        Peer { reader: BufReader::new(stream), addr }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    pub(crate) fn line_bytes(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).unwrap();
        line
    }

    pub(crate) fn line(&mut self) -> String {
        String::from_utf8(self.line_bytes()).unwrap()
    }

    /// Reads up to a line that holds `text`, and gives it.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the end, and no line with {text:?}");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The next line as the real server shows it, without its stamp.
    pub(crate) fn unstamped(&mut self) -> String {
        let line = self.line();
        let text = line.split_once("] ").unwrap_or_else(|| panic!("no stamp: {line:?}")).1;
        text.to_string()
    }

    /// Everything up to the peer's end of the stream.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).unwrap();
        rest
    }

    /// Says a line and returns it as the room shows it to its sender.
    pub(crate) fn say(&mut self, text: &str) -> String {
        self.send(text);
        let line = self.line();
        assert!(line.ends_with(text), "{line:?}");
        line
    }

    /// Says that nothing more will be said, and listens on.
    pub(crate) fn half_close(&mut self) {
        self.reader.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with a reset: that is what the system sends when what has arrived was
    /// not read, so this waits until something has.
    pub(crate) fn reset(self) {
        assert!(self.reader.buffer().is_empty());
        assert_eq!(self.reader.get_ref().peek(&mut [0]).unwrap(), 1);
    }
}

pub(crate) fn accept(listener: &TcpListener) -> Peer {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    poll_until("a connection", || match listener.accept() {
        Ok((stream, _)) => {
            accepted = Some(stream);
            true
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("accept: {error}"),
    });
    Peer::new(accepted.unwrap())
}

/// The client, run in a pipe, and the server's end of its connection.
pub(crate) fn client_with_server(args: &[&str], locale: &str) -> (Example, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let client = Example::start_in("client", &[&[addr.as_str()], args].concat(), locale);
    let server = accept(&listener);
    (client, server)
}

/// An address where nobody listens, and where no other test will: all of 127.0.0.0/8 is loopback
/// on Linux, and the other tests use 127.0.0.1.
pub(crate) fn unused_addr() -> String {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// `target/debug/examples/NAME`, seen from `target/debug/deps/ladder-…`.
fn example_path(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

/// Asks again and again until `is_so`, for what offers no way to wait with a deadline.
fn poll_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE, "still waiting for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A terminal in a tmux server of its own, ended when dropped.
pub(crate) struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// Runs an example there against `listener`, and its exit status after it.
    pub(crate) fn run(example: &str, listener: &TcpListener, args: &str, locale: &str) -> Tmux {
        let addr = listener.local_addr().unwrap();
        let socket = env::temp_dir().join(format!("ladder-{}.tmux", addr.port()));
        let path = example_path(example);
        let command = format!(
            "LC_ALL={locale} '{}' {addr} {args}; echo status $?; exec sleep {}",
            path.display(),
            DEADLINE.as_secs()
        );
        let tmux = Tmux { socket };
        tmux.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "160", "-y", "24", &command]);
        tmux
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").arg("-u").arg("-S").arg(&self.socket).args(args).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until the screen, whose lines come without trailing blanks, holds `text`.
    pub(crate) fn wait_for(&self, text: &str) {
        let begin = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if screen.contains(text) {
                return;
            }
            assert!(begin.elapsed() < DEADLINE, "still waiting for {text:?} on:\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // Both fail when the server has ended by itself; a panic here would hide the test's own.
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
        let _ = fs::remove_file(&self.socket); // tmux leaves it
    }
}
