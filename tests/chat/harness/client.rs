//! A client of the tests: it says and sends, and hears strictly.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use encoding_rs::{Encoding, UTF_8};
use rustix::net::sockopt;

use super::DEADLINE;

/// One end of a conversation.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    addr: SocketAddr,
    /// How the lines end that it sends and hears.
    pub(crate) line_end: &'static str,
    /// What it says and hears lines in.
    pub(crate) encoding: &'static Encoding,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Client {
        stream.set_nodelay(true).expect("an open socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("an open socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("an open socket");
        let addr = stream.local_addr().expect("an open socket");
        Client { stream: BufReader::new(stream), addr, line_end: "\n", encoding: UTF_8 }
    }

    /// The same connection once more, so that one thread can say while another one hears.
    pub(crate) fn another_end(&self) -> Client {
        Client::new(self.stream.get_ref().try_clone().expect("a descriptor"))
    }

    /// The bare connection, for a test that reads and writes by itself.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }

    /// What the server calls it until it has a name.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same client, once it has heard its own join.
    #[track_caller]
    pub(crate) fn joined(mut self) -> Client {
        let joined = format!("*** {} joined (", self.addr);
        while !self.line().contains(&joined) {}
        self
    }

    /// The same client, once it has heard its own join, and the history that it was shown before.
    #[track_caller]
    pub(crate) fn joined_after_history(mut self) -> (Client, Vec<String>) {
        let joined = format!("*** {} joined (", self.addr);
        assert!(self.line().starts_with("*** welcome"), "the greeting comes first");
        let mut history = Vec::new();
        loop {
            let line = self.line();
            if line.contains(&joined) {
                return (self, history);
            }
            history.push(line);
        }
    }

    #[track_caller]
    pub(crate) fn says(&mut self, line: &str) {
        let line = format!("{line}{}", self.line_end);
        let (bytes, _, lossy) = self.encoding.encode(&line);
        assert!(!lossy, "{} has no characters for {line:?}", self.encoding.name());
        self.sends(&bytes);
    }

    #[track_caller]
    pub(crate) fn sends(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server takes it");
    }

    /// Sends, and says whether the server still takes it.
    pub(crate) fn tries_to_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// Says `flood` over and over and reads nothing, until the server takes no more.
    pub(crate) fn floods(&mut self) {
        let started = Instant::now();
        let paste = "flood\n".repeat(1000);
        while started.elapsed() < DEADLINE && self.tries_to_send(paste.as_bytes()) {}
    }

    /// Says that it will send nothing more, and goes on hearing.
    pub(crate) fn half_closes(&mut self) {
        self.stream.get_mut().shutdown(Shutdown::Write).expect("an open socket");
    }

    /// Is gone at once, with a reset instead of an end.
    pub(crate) fn resets(self) {
        let now = Some(Duration::ZERO);
        sockopt::set_socket_linger(self.stream.get_ref(), now).expect("an open socket");
    }

    /// The next line, without its end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("a line in time");
        let text = self.encoding.decode_without_bom_handling_and_without_replacement(&line);
        let mut line = text.expect("a line in the client's encoding").into_owned();
        assert!(line.ends_with(self.line_end), "a whole line, not {line:?}");
        line.truncate(line.len() - self.line_end.len());
        line
    }

    /// The next line, or nothing once the connection has ended, in whatever way.
    pub(crate) fn line_unless_cut_off(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        line.strip_suffix(self.line_end).map(str::to_owned)
    }

    /// The next line is for everybody, or a private one: stamped, and then this.
    #[track_caller]
    pub(crate) fn hears(&mut self, text: &str) {
        let line = self.line();
        assert_eq!(unstamped(&line), Some(text), "{line:?}");
    }

    /// The next line is the server's, for this client alone.
    #[track_caller]
    pub(crate) fn is_told(&mut self, text: &str) {
        assert_eq!(self.line().strip_prefix("*** "), Some(text));
    }

    /// Hears one line after the other up to this one, and gives what came before it.
    #[track_caller]
    pub(crate) fn hears_until(&mut self, text: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let line = self.line();
            match unstamped(&line) {
                Some(heard) if heard == text => return before,
                _ => before.push(line),
            }
        }
    }

    /// Hears one line after the other up to one that ends so.
    #[track_caller]
    pub(crate) fn hears_until_end_of(&mut self, end: &str) {
        while !self.line().ends_with(end) {}
    }

    /// The next bytes are these.
    #[track_caller]
    pub(crate) fn receives(&mut self, bytes: &[u8]) {
        let mut received = vec![0; bytes.len()];
        self.stream.read_exact(&mut received).expect("bytes in time");
        assert_eq!(received.escape_ascii().to_string(), bytes.escape_ascii().to_string());
    }

    /// The server has ended the stream, in good order and with nothing more to hear.
    #[track_caller]
    pub(crate) fn hears_the_end(&mut self) {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).expect("an end, not a reset");
        assert_eq!(rest, "");
    }

    /// The connection ends sooner or later, in whatever way.
    #[track_caller]
    pub(crate) fn is_cut_off(&mut self) {
        match std::io::copy(&mut self.stream, &mut std::io::sink()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("still connected"),
            _ => {}
        }
    }
}

/// The line without its stamp, which has the default format; nothing when it has none.
pub(crate) fn unstamped(line: &str) -> Option<&str> {
    const SHAPE: &str = "[0000/00/00-00:00:00] ";
    let (stamp, text) = line.split_at_checked(SHAPE.len())?;
    let shape = stamp.replace(|character: char| character.is_ascii_digit(), "0");
    (shape == SHAPE).then_some(text)
}
