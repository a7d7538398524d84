//! Cuts what a client sends into lines: bytes in, events out.
//!
//! Guarantees the same events however the bytes were cut, memory bounded by
//! about the longest line allowed, and time linear in the bytes. Knows nothing
//! of sockets, of clients, of encodings or of what the lines mean.

mod telnet;

use memchr::memchr2;

use telnet::{Piece, Telnet};

const NUL: u8 = 0;
const LF: u8 = b'\n';
const CR: u8 = b'\r';

/// What the bytes of a client amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The client said a line: its bytes as received, without its end. Never empty.
    Line(Vec<u8>),
    /// The client is sending a line beyond the limit, which is dropped as a whole.
    TooLong,
    /// A telnet command that the client waits for; to be sent to it as it is.
    Answer([u8; 3]),
}

/// The state of one client's stream of bytes.
///
/// A line ends with LF, CR LF or CR NUL. A lone CR does not end it: like every
/// other control character it is merely taken out of the text.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Counted as received, without the line's end and without telnet commands.
    line_bytes_max: usize,
    telnet: Telnet,
    /// The beginning of a line of which the end has not arrived yet. It holds no
    /// memory between lines, so an idle client costs none.
    pending: Vec<u8>,
    /// Whether the current line was found too long, and its rest is dropped.
    dropping: bool,
    /// The last byte of data: a CR may be the first half of a line's end.
    previous: u8,
    /// Whether a line has ended with CR LF or CR NUL.
    crlf_seen: bool,
    /// Bytes so far that became no part of a line.
    wasted: usize,
}

impl Decoder {
    /// A decoder at the start of a stream, with the most bytes that a line may have.
    pub(crate) fn new(line_bytes_max: usize) -> Decoder {
        Decoder {
            line_bytes_max,
            telnet: Telnet::default(),
            pending: Vec::new(),
            dropping: false,
            previous: LF,
            crlf_seen: false,
            wasted: 0,
        }
    }

    /// How many bytes since the last call became no part of a line: commands, line ends of empty lines,
    /// and lines that were dropped.
    pub(crate) fn take_wasted(&mut self) -> usize {
        std::mem::take(&mut self.wasted)
    }

    /// Appends to `events` what `bytes`, the next of the stream, amount to.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) {
        self.wasted += bytes.len();
        while let Some(piece) = self.telnet.next(&mut bytes) {
            match piece {
                Piece::Data(run) => self.cut(run, events),
                Piece::Answer(answer) => events.push(Event::Answer(answer)),
                Piece::GivenUp => self.drop_line(events),
            }
        }
    }

    /// Appends to `events` what the end of the stream makes of the bytes before
    /// it: without a line end they count as a line all the same.
    pub(crate) fn finish(&mut self, events: &mut Vec<Event>) {
        let stray = self.telnet.finish();
        self.end_line(stray, events);
    }

    /// Whether the client's lines should end with CR LF, as its own do or as
    /// telnet demands: true once it has sent CR LF, CR NUL or an IAC.
    pub(crate) fn wants_crlf(&self) -> bool {
        self.crlf_seen || self.telnet.spoken()
    }

    /// Whether the client has sent an IAC, which only telnet does.
    pub(crate) fn speaks_telnet(&self) -> bool {
        self.telnet.spoken()
    }

    /// Cuts a run of data into lines.
    fn cut(&mut self, mut run: &[u8], events: &mut Vec<Event>) {
        if self.pending.is_empty() && !self.dropping && self.previous == LF {
            run = self.skip_empty_lines(run);
        }
        while let Some((at, after_cr)) = self.find_end(run) {
            self.end_line(&run[..at], events);
            self.crlf_seen |= after_cr;
            run = self.skip_empty_lines(&run[at + 1..]);
        }
        if self.fits(run, events) {
            self.pending.extend_from_slice(run);
            self.wasted = self.wasted.saturating_sub(run.len());
        }
    }

    /// What follows the empty lines at the front of `run`, at the beginning of a line. Each could be cut
    /// like any other; a flood of them costs less so.
    fn skip_empty_lines<'a>(&mut self, mut run: &'a [u8]) -> &'a [u8] {
        loop {
            match run {
                [LF, rest @ ..] => run = rest,
                [CR, LF | NUL, rest @ ..] => {
                    self.crlf_seen = true;
                    run = rest;
                }
                _ => return run,
            }
        }
    }

    /// Where in `run` the current line ends, and whether a CR belongs to its end.
    fn find_end(&self, run: &[u8]) -> Option<(usize, bool)> {
        let mut from = 0;
        loop {
            let at = from + memchr2(LF, NUL, &run[from..])?;
            let before = at.checked_sub(1).map_or(self.previous, |at| run[at]);
            if run[at] == LF || before == CR {
                return Some((at, before == CR));
            }
            from = at + 1;
        }
    }

    /// Ends the current line, of which `last` are the last bytes before the LF
    /// or NUL. A line that stands there as a whole is read without copying it.
    fn end_line(&mut self, last: &[u8], events: &mut Vec<Event>) {
        if self.fits(last, events) {
            let mut gathered = std::mem::take(&mut self.pending);
            let raw = if gathered.is_empty() {
                last
            } else {
                gathered.extend_from_slice(last);
                &gathered
            };
            let raw = raw.strip_suffix(&[CR]).unwrap_or(raw);
            if !raw.is_empty() {
                // With its end, of two bytes at the most.
                self.wasted = self.wasted.saturating_sub(last.len() + 2);
                events.push(Event::Line(raw.to_vec()));
            }
        }
        self.dropping = false;
        self.previous = LF;
    }

    /// Whether the current line, with `more` bytes of it, is one to keep. One
    /// that is not is dropped from here on.
    fn fits(&mut self, more: &[u8], events: &mut Vec<Event>) -> bool {
        self.previous = more.last().copied().unwrap_or(self.previous);
        // Until the next byte tells, a CR may belong to the line's end.
        let uncounted = usize::from(self.previous == CR);
        let bytes = (self.pending.len() + more.len()).saturating_sub(uncounted);
        if bytes > self.line_bytes_max {
            self.drop_line(events);
        }
        !self.dropping
    }

    /// Drops the current line up to its end, and says so unless it was said.
    fn drop_line(&mut self, events: &mut Vec<Event>) {
        self.pending = Vec::new();
        if !self.dropping {
            self.dropping = true;
            events.push(Event::TooLong);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Line;
    use proptest::prelude::*;

    const LIMIT: usize = 12;
    const IAC: u8 = 255;
    const SB: u8 = 250;

    /// All events of a stream that arrives in these reads, and `wants_crlf` after it.
    fn decode<'a>(max: usize, reads: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, bool) {
        let (mut decoder, mut events) = (Decoder::new(max), Vec::new());
        for read in reads {
            decoder.feed(read, &mut events);
        }
        decoder.finish(&mut events);
        (events.into_iter().filter_map(as_text).collect(), decoder.wants_crlf())
    }

    /// The event with a line's bytes made harmless text, as a UTF-8 client's are.
    fn as_text(event: Event) -> Option<Event> {
        match event {
            Event::Line(raw) => {
                let text = Line::new(&String::from_utf8_lossy(&raw))?;
                Some(line(text.as_str()))
            }
            other => Some(other),
        }
    }

    fn line(text: &str) -> Event {
        Event::Line(text.as_bytes().to_vec())
    }

    /// The places at which to cut a stream in two: every one, except deep inside
    /// a long stream, where they are all alike.
    pub(super) fn cuts(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..=bytes.len()).filter(|&at| at.min(bytes.len() - at) <= 60).map(|at| bytes.split_at(at))
    }

    /// Checks the events of `bytes`: whole, byte by byte and cut at every place.
    #[track_caller]
    fn assert_events(bytes: &[u8], expected: &[Event]) {
        let (events, wants_crlf) = decode(LIMIT, [bytes]);
        assert_eq!(events, expected, "whole: {}", bytes.escape_ascii());
        let whole = (events, wants_crlf);
        assert_eq!(decode(LIMIT, bytes.chunks(1)), whole, "{}", bytes.escape_ascii());
        for (front, back) in cuts(bytes) {
            let cut = decode(LIMIT, [front, back]);
            assert_eq!(cut, whole, "{} | {}", front.escape_ascii(), back.escape_ascii());
        }
    }

    #[test]
    fn bytes_become_lines_of_harmless_text() {
        let cases: &[(&[u8], &[&str])] = &[
            // Line ends.
            (b"", &[]),
            (b"a\nb\n", &["a", "b"]),
            (b"a\r\nb\r\n", &["a", "b"]),
            (b"a\r\0b\r\0", &["a", "b"]),
            (b"a\rb\n", &["ab"]),
            (b"a\r\r\nb\r\r\0c", &["a", "b", "c"]),
            (b"a\n\rb\n", &["a", "b"]),
            (b"a\0b\n\0c\n", &["ab", "c"]),
            (b"a\r\n\0b\n", &["a", "b"]),
            (b"\n\r\n\r\0\n", &[]),
            (b"last", &["last"]),
            (b"a\nlast\r", &["a", "last"]),
            // Encodings.
            (b"\xEF\xBB\xBFbom\n", &["bom"]),
            ("你好\nĀр😀\n".as_bytes(), &["你好", "Āр😀"]),
            (b"a\xFFb\n", &["a\u{FFFD}b"]),
            (b"a\xFF\nb\xFF", &["a\u{FFFD}", "b\u{FFFD}"]),
            (b"\xC4\xE3\xBA\xC3\n", &["\u{FFFD}\u{FFFD}\u{FFFD}"]),
            (b"caf\xE9\n", &["caf\u{FFFD}"]),
            // Harmless text.
            ("a\u{85}b\u{9B}c\n".as_bytes(), &["abc"]),
            (b"\x1b[2Ja\tb\x7F\n", &["[2Ja\tb"]),
            (b"\x1b\n\x07\r\n\xEF\xBB\xBF\n", &[]),
        ];
        for (bytes, lines) in cases {
            let lines: Vec<Event> = lines.iter().map(|text| line(text)).collect();
            assert_events(bytes, &lines);
        }
    }

    #[test]
    fn telnet_commands_leave_no_trace_in_lines_and_their_ends() {
        assert_events(b"a\r\xFF\xF1\nb\n", &[line("a"), line("b")]);
        assert_events(b"a\r\xFF\xF1\0b\n", &[line("a"), line("b")]);
        assert_events(b"\xE4\xBD\xFF\xF1\xA0\n", &[line("你")]);
        assert_events(b"a\xFF\xFA\x18\0x\n\xFF\xF0b\n", &[line("ab")]);
        assert_events(b"a\xFF\xFFb\n", &[line("a\u{FFFD}b")]);
        assert_events(
            &[&b"a\xFF\xFB\n"[..], &[b'b'; LIMIT - 1], b"\n"].concat(),
            &[Event::Answer([255, 254, 10]), line("abbbbbbbbbbb")],
        );
        assert_events(
            b"a\n\xFF\xF4\xFF\xFD\x06b\n",
            &[line("a"), Event::Answer([255, 252, 6]), line("b")],
        );
    }

    #[test]
    fn a_client_wants_crlf_once_it_has_sent_one_or_an_iac() {
        let no: &[&[u8]] = &[b"", b"a\n", b"a\rb\n\0\n", b"a\r", b"a\xFF\n"];
        let yes: &[&[u8]] =
            &[b"a\r\n", b"a\r\nb\n", b"\r\0", b"\xFF\xF1", b"\xFF\xFF", b"a\xFF\xFD\x01\n"];
        let yes_too_long = [&[b'x'; LIMIT + 5][..], b"\r\0"].concat();
        for (streams, expected) in [(no, false), (yes, true), (&[&yes_too_long[..]], true)] {
            for bytes in streams {
                for (_, wants_crlf) in [decode(LIMIT, [*bytes]), decode(LIMIT, bytes.chunks(1))] {
                    assert_eq!(wants_crlf, expected, "{}", bytes.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn a_line_may_have_as_many_bytes_as_the_limit_and_no_more() {
        for character in ["x", "é", "好", "😀"] {
            let at_limit = character.repeat(LIMIT / character.len());
            let below =
                format!("{}{}", &at_limit[character.len()..], &"yyy"[..character.len() - 1]);
            let above = format!("{at_limit}y");
            for end in ["\n", "\r\n", "\r\0"] {
                let stream = format!("{below}{end}{at_limit}{end}{above}{end}next{end}{at_limit}");
                let lines =
                    [line(&below), line(&at_limit), Event::TooLong, line("next"), line(&at_limit)];
                assert_events(stream.as_bytes(), &lines);
            }
            assert_events(above.as_bytes(), &[Event::TooLong]);
            assert_events(format!("{at_limit}\r").as_bytes(), &[line(&at_limit)]);
            assert_events(format!("{at_limit}\r\r\n").as_bytes(), &[Event::TooLong]);
            assert_events(format!("{at_limit}\0\n").as_bytes(), &[Event::TooLong]);
        }
        // A NUL after CR LF is the first byte of the next line, and counts.
        let after_crlf = [b"a\r\n\0", &[b'x'; LIMIT][..], b"\n"].concat();
        assert_events(&after_crlf, &[line("a"), Event::TooLong]);
        assert_events(&[&[b'x'; LIMIT][..], &[IAC]].concat(), &[Event::TooLong]);
    }

    #[test]
    fn an_endless_line_is_reported_at_once_and_held_nowhere() {
        let (mut decoder, mut events) = (Decoder::new(LIMIT), Vec::new());
        decoder.feed(&[b'x'; LIMIT], &mut events);
        assert_eq!(events, []);
        decoder.feed(b"\r", &mut events);
        assert_eq!(events, []);
        decoder.feed(b"x", &mut events);
        assert_eq!(events, [Event::TooLong]);
        for _ in 0..1000 {
            decoder.feed(&[b'x'; 1000], &mut events);
            assert_eq!(decoder.pending.capacity(), 0);
        }
        decoder.feed(b"\nnext\n", &mut events);
        assert_eq!(events, [Event::TooLong, line("next")]);
    }

    #[test]
    fn an_endless_sub_negotiation_never_becomes_chat() {
        let garbage = [&[IAC, SB][..], &[b'x'; telnet::SUBNEGOTIATION_BYTES_MAX + 3]].concat();
        let cases: [(&[u8], &[Event]); 3] = [
            (b"said\na", &[line("said"), Event::TooLong, line("next")]),
            (b"a\r", &[Event::TooLong, line("next")]),
            (b"more than the limit ", &[Event::TooLong, line("next")]),
        ];
        for (before, expected) in cases {
            let stream = [before, &garbage, b"\xFF\xF0b\nnext"].concat();
            assert_events(&stream, expected);
        }
    }

    #[test]
    fn a_decoder_holds_no_memory_between_lines_and_about_a_line_within() {
        let (mut decoder, mut events) = (Decoder::new(1000), Vec::new());
        for byte in [b'x'; 1000] {
            decoder.feed(&[byte], &mut events);
        }
        assert!((1000..=2000).contains(&decoder.pending.capacity()));
        decoder.feed(b"\n", &mut events);
        assert_eq!((events.len(), decoder.pending.capacity()), (1, 0));
    }

    /// Bytes of which many mean something to the decoder.
    fn byte() -> impl Strategy<Value = u8> {
        let special =
            b"\n\n\n\r\r\0\t\x1b\x06\xF0\xF1\xFA\xFB\xFC\xFD\xFE\xFF\xFF\xFF\xE4\xBD\xA0\xC2\x85";
        prop_oneof![4 => prop::sample::select(&special[..]), 2 => b'a'..=b'd', 1 => any::<u8>()]
    }

    /// Reads of which a few hold a sub-negotiation about as long as it may be.
    fn reads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let max = telnet::SUBNEGOTIATION_BYTES_MAX;
        let long =
            (max - 2..max + 3).prop_map(|bytes| [&[IAC, SB][..], &vec![b'x'; bytes]].concat());
        let read = prop_oneof![40 => prop::collection::vec(byte(), 0..24), 1 => long];
        prop::collection::vec(read, 0..8)
    }

    /// The events of bytes without an IAC, the plain way: gather, then judge.
    fn reference(max: usize, bytes: &[u8]) -> Vec<Event> {
        let mut lines = vec![Vec::new()];
        for &byte in bytes {
            let last = lines.last_mut().unwrap();
            if byte == LF || byte == NUL && last.ends_with(&[CR]) {
                lines.push(Vec::new());
            } else {
                last.push(byte);
            }
        }
        let without_cr = lines.iter().map(|raw| raw.strip_suffix(&[CR]).unwrap_or(raw));
        without_cr
            .filter_map(|raw| match raw.len() > max {
                true => Some(Event::TooLong),
                false => as_text(Event::Line(raw.to_vec())),
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_reads_give_the_events_of_the_whole(max in 0..LIMIT, reads in reads()) {
            let whole = reads.concat();
            let expected = decode(max, [&whole[..]]);
            prop_assert_eq!(&decode(max, reads.iter().map(Vec::as_slice)), &expected);
            prop_assert_eq!(&decode(max, whole.chunks(1)), &expected);
        }

        #[test]
        fn every_line_is_harmless_and_within_the_limit(max in 0..LIMIT, reads in reads()) {
            for event in decode(max, reads.iter().map(Vec::as_slice)).0 {
                if let Event::Line(line) = event {
                    let text = String::from_utf8(line).unwrap();
                    prop_assert!(!text.is_empty());
                    prop_assert!(!text.contains(|c: char| c.is_control() && c != '\t'), "{:?}", text);
                    // Each character, a replacement too, was at least one byte.
                    prop_assert!(text.chars().count() <= max, "{:?}", text);
                }
            }
        }

        #[test]
        fn without_telnet_the_events_are_those_of_the_plain_way(max in 0..LIMIT, reads in reads()) {
            let mut bytes = reads.concat();
            bytes.retain(|&byte| byte != IAC);
            prop_assert_eq!(decode(max, [&bytes[..]]).0, reference(max, &bytes));
        }
    }
}
