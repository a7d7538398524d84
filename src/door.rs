//! The door: tells what is no chat by the first bytes, and what to answer it. It never enters the
//! room, or at least says nothing there.

use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::connection::{Connection, EndReason};
use crate::sys;

/// Bytes that are looked at to tell a stranger.
const FIRST_BYTES: usize = 512;

/// Why a newcomer does not enter: what it sent at once is no chat, and was answered, or it hung up
/// without a word, as port scanners and health checks do. Never blocks.
pub(crate) fn keep_out(peer: &Connection) -> Option<EndReason> {
    let mut first = [0; FIRST_BYTES];
    match sys::peek_now(&peer.stream, &mut first) {
        Ok(0) => Some(EndReason::HungUp),
        Ok(peeked) => {
            let stranger = Stranger::of_bytes(&first[..peeked])?;
            // The socket is empty, so the answer fits, unless the peer is gone already.
            let _ = sys::send_now(&peer.stream, stranger.answer(peer.local_addr()).as_bytes());
            Some(stranger.ending())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => Some(EndReason::Broken(error.kind())),
    }
}

/// A protocol that has come to the wrong door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// An HTTP request (RFC 9112, section 3).
    Http,
    /// A TLS handshake (RFC 8446, section 5.1).
    Tls,
}

const HTTP_METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"];

impl Stranger {
    /// Who speaks so, if it is no chat. `first` is what arrived first, perhaps not all of it.
    pub(crate) fn of_bytes(first: &[u8]) -> Option<Stranger> {
        // A handshake record, version 3.x: no text begins with a SYN character.
        if first.starts_with(&[0x16, 0x03]) || first == [0x16] {
            return Some(Stranger::Tls);
        }
        let line = first.split(|&byte| byte == b'\r' || byte == b'\n').next()?;
        let text = str::from_utf8(line).ok()?;
        if line.len() < first.len() {
            return Stranger::of_line(text);
        }
        // A target can be longer than what has arrived; then its beginning must do.
        let (method, target) = text.split_once(' ')?;
        let is_request = HTTP_METHODS.contains(&method) && target.starts_with('/');
        is_request.then_some(Stranger::Http)
    }

    /// Who begins with this line, if it is no chat.
    pub(crate) fn of_line(line: &str) -> Option<Stranger> {
        let (method, rest) = line.split_once(' ')?;
        let (_, version) = rest.rsplit_once(' ')?;
        let is_request = HTTP_METHODS.contains(&method) && version.starts_with("HTTP/");
        is_request.then_some(Stranger::Http)
    }

    /// What to send before closing: how to connect to `addr`.
    pub(crate) fn answer(self, addr: SocketAddr) -> String {
        let (host, port) = (addr.ip(), addr.port());
        let hint = format!("connect with: nc {host} {port} (or telnet {host} {port})\n");
        match self {
            Stranger::Tls => format!("*** this is a chat in plain text, without TLS; {hint}"),
            Stranger::Http => {
                let body = format!("This is a chat, not a web server; {hint}");
                format!(
                    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                )
            }
        }
    }

    /// Why it leaves, when it had entered.
    pub(crate) fn ending(self) -> EndReason {
        EndReason::NotChat(match self {
            Stranger::Http => "HTTP",
            Stranger::Tls => "TLS",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_handshakes_are_strangers_and_talk_is_not() {
        for (first, stranger) in [
            (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], Some(Stranger::Http)),
            (b"POST /a b HTTP/1.0\n", Some(Stranger::Http)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Stranger::Http)),
            (b"OPTIONS * HTTP/1.1\n", Some(Stranger::Http)),
            (b"\x16\x03\x01\x02\x00\x01", Some(Stranger::Tls)),
            (b"\x16", Some(Stranger::Tls)),
            (b"GET /a-target-that-goes-on-and-on", Some(Stranger::Http)),
            (b"GET the milk\n", None),
            (b"GET /tmp/x please\n", None),
            (b"get / HTTP/1.1\n", None),
            (b"hello\nGET / HTTP/1.1\n", None),
            (b"what is GET / HTTP/1.1\n", None),
            (b"\xff\xfd\x03", None),
            (b"", None),
        ] {
            assert_eq!(Stranger::of_bytes(first), stranger, "{}", first.escape_ascii());
        }
    }

    #[test]
    fn a_browser_gets_a_whole_response_that_says_how_to_connect() {
        let response = Stranger::Http.answer("192.0.2.7:9999".parse().unwrap());
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.contains("nc 192.0.2.7 9999"));
    }
}
