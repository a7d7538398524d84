//! The one order in which the room heard its lines, and the proof that every client heard it so.
//!
//! From a common point on (the fence, see `crowd`) a chat room sends every client the same bytes.
//! So whichever client is furthest ahead writes the stream down, and what any other client receives
//! must repeat it byte for byte from where that client stands. The stream itself is checked line by
//! line as it is written down: each line is one that was said, complete, and the next one of its
//! sender, so none is missing, doubled, torn or out of its sender's order. A client that has
//! repeated the stream to its end has therefore heard every line, once, and in the order of all
//! others. A comparison of memory for each read, and a parse for one client in all, prove it: much
//! cheaper than looking for lines in what each client receives.
//!
//! It knows no sockets and no clock.

use std::fmt;
use std::io::Write;

use memchr::memchr;

/// The fewest bytes a line may have: room for its number and the space behind it.
pub(crate) const LINE_BYTES_MIN: usize = 16;

/// What everybody is going to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// Lines in all.
    pub(crate) lines: u64,
    /// Who says them: line `n` is said by client `n % senders`.
    pub(crate) senders: u64,
    /// Bytes of each line, without its end.
    pub(crate) bytes: usize,
}

impl Script {
    /// Appends line `number`, its end included, to `out`.
    pub(crate) fn write_line(&self, number: u64, out: &mut Vec<u8>) {
        let start = out.len();
        write!(out, "{number} ").expect("a Vec takes every write");
        out.resize(start + self.bytes, b'x');
        out.push(b'\n');
    }
}

/// A line of the script, where it stands in the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Where the line ends in the stream: who has heard so many bytes has heard the line.
    pub(crate) end: usize,
    /// Its number in the script.
    pub(crate) number: u64,
}

/// The stream of the room since the fence.
pub(crate) struct Order {
    script: Script,
    bytes: Vec<u8>,
    /// Up to where `bytes` has been read as lines.
    parsed: usize,
    marks: Vec<Mark>,
    /// For each sender the number of its next line.
    next: Vec<u64>,
    expected: Vec<u8>,
}

impl Order {
    /// An order in which nothing has been heard yet.
    pub(crate) fn new(script: Script) -> Self {
        Self {
            script,
            bytes: Vec::new(),
            parsed: 0,
            marks: Vec::new(),
            next: (0..script.senders).collect(),
            expected: Vec::new(),
        }
    }

    /// Takes what a client received that had heard `heard` bytes before, and returns what it has
    /// heard now.
    ///
    /// # Errors
    /// `Differs` if others received something else at that place, and the faults of a line if this
    /// client is the first to receive it.
    pub(crate) fn hear(&mut self, heard: usize, chunk: &[u8]) -> Result<usize, Fault> {
        let known = &self.bytes[heard..];
        let (repeated, new) = chunk.split_at(chunk.len().min(known.len()));
        if *repeated != known[..repeated.len()] {
            return Err(self.difference(heard, repeated));
        }
        if !new.is_empty() {
            self.bytes.extend_from_slice(new);
            self.parse()?;
        }
        Ok(heard + chunk.len())
    }

    /// The lines heard so far by whoever is furthest ahead, in the order of the room.
    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The length of the stream up to its last line, once all have been heard by somebody.
    pub(crate) fn complete(&self) -> Option<usize> {
        let last = self.marks.last().filter(|_| self.marks.len() as u64 == self.script.lines);
        last.map(|mark| mark.end)
    }

    fn parse(&mut self) -> Result<(), Fault> {
        while let Some(length) = memchr(b'\n', &self.bytes[self.parsed..]) {
            let end = self.parsed + length + 1;
            let line = &self.bytes[self.parsed..end];
            if !is_notice(line) {
                let number = spoken_number(line, self.script.bytes)
                    .filter(|number| *number < self.script.lines)
                    .ok_or_else(|| Fault::Unspoken { line: excerpt(line) })?;
                self.expected.clear();
                self.script.write_line(number, &mut self.expected);
                if !line.ends_with(&self.expected) {
                    return Err(Fault::Unspoken { line: excerpt(line) });
                }
                let next = &mut self.next[(number % self.script.senders) as usize];
                if number != *next {
                    return Err(Fault::OutOfOrder { expected: *next, number });
                }
                *next += self.script.senders;
                self.marks.push(Mark { end, number });
            }
            self.parsed = end;
        }
        Ok(())
    }

    fn difference(&self, heard: usize, chunk: &[u8]) -> Fault {
        let known = &self.bytes[heard..];
        let same = chunk.iter().zip(known).take_while(|(a, b)| a == b).count();
        let at = heard + same;
        Fault::Differs { at, others: excerpt(&self.bytes[at..]), here: excerpt(&chunk[same..]) }
    }
}

/// Whether the server itself says `line` to all: `[stamp] *** bob joined (3 here)`.
fn is_notice(line: &[u8]) -> bool {
    let stamp = memchr(b']', line).map_or(0, |end| end + 2);
    line.get(stamp..).is_some_and(|text| text.starts_with(b"*** "))
}

/// The number that a line of `bytes` bytes (without prefix and end) begins with.
fn spoken_number(line: &[u8], bytes: usize) -> Option<u64> {
    let text = &line[line.len().checked_sub(bytes + 1)?..];
    let digits = &text[..memchr(b' ', text)?];
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The beginning of what was received, for a person to read.
fn excerpt(bytes: &[u8]) -> String {
    /// Enough for a prefix and the number of a line.
    const EXCERPT_BYTES_MAX: usize = 80;
    bytes[..bytes.len().min(EXCERPT_BYTES_MAX)].escape_ascii().to_string()
}

/// Why a server failed the check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A client received something else than another did at the same place.
    Differs {
        /// Bytes since the fence.
        at: usize,
        /// What another client received there.
        others: String,
        /// What this one received.
        here: String,
    },
    /// A line that nobody said, or not so.
    Unspoken {
        /// The line as received.
        line: String,
    },
    /// A line of the script that is not the next one of its sender.
    OutOfOrder {
        /// The number that had to come.
        expected: u64,
        /// The number that came.
        number: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs { at, others, here } => write!(
                f,
                "received something else than others {at} bytes after the start: \
                 {here:?} where they have {others:?}"
            ),
            Self::Unspoken { line } => write!(f, "received what nobody said: {line:?}"),
            Self::OutOfOrder { expected, number } => {
                write!(f, "received line {number} where its sender's line {expected} had to come")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: Script = Script { lines: 4, senders: 2, bytes: 16 };

    /// What a server makes of the lines `numbers`.
    fn stream(numbers: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        for number in numbers {
            out.extend_from_slice(b"[2026/11/22-10:32:00] 127.0.0.1:52314: ");
            SCRIPT.write_line(*number, &mut out);
        }
        out
    }

    #[test]
    fn a_line_has_the_asked_length_and_begins_with_its_number() {
        let mut line = Vec::new();
        SCRIPT.write_line(3, &mut line);
        assert_eq!(line, b"3 xxxxxxxxxxxxxx\n");
    }

    #[test]
    fn clients_that_hear_the_same_stream_pass_however_it_is_cut() {
        let all = stream(&[1, 0, 2, 3]);
        for size in 1..all.len() {
            let mut order = Order::new(SCRIPT);
            let (mut first, mut second) = (0, 0);
            for chunk in all.chunks(size) {
                first = order.hear(first, chunk).unwrap();
            }
            for chunk in all.chunks(7) {
                second = order.hear(second, chunk).unwrap();
            }
            assert_eq!((Some(first), Some(second)), (order.complete(), order.complete()));
        }
    }

    #[test]
    fn the_order_is_complete_only_with_the_last_line() {
        let mut order = Order::new(SCRIPT);
        let heard = order.hear(0, &stream(&[0, 1, 2])).unwrap();
        assert_eq!(order.complete(), None);
        order.hear(heard, &stream(&[3])).unwrap();
        assert_eq!(order.complete(), Some(stream(&[0, 1, 2, 3]).len()));
    }

    #[test]
    fn a_client_that_hears_two_lines_swapped_is_found() {
        let mut order = Order::new(SCRIPT);
        order.hear(0, &stream(&[0, 1, 2, 3])).unwrap();
        let fault = order.hear(0, &stream(&[1, 0])).unwrap_err();
        assert!(matches!(fault, Fault::Differs { at: 39, .. }), "{fault}");
    }

    #[test]
    fn a_missing_and_a_doubled_line_are_found() {
        let missing = Order::new(SCRIPT).hear(0, &stream(&[0, 3]));
        assert_eq!(missing, Err(Fault::OutOfOrder { expected: 1, number: 3 }));
        let doubled = Order::new(SCRIPT).hear(0, &stream(&[0, 0]));
        assert_eq!(doubled, Err(Fault::OutOfOrder { expected: 2, number: 0 }));
    }

    #[test]
    fn a_line_with_one_byte_lost_or_changed_is_found() {
        let whole = stream(&[0]);
        let last = whole.len() - 2;
        let mut torn = whole.clone();
        torn.remove(last);
        let torn = Order::new(SCRIPT).hear(0, &torn);
        assert!(matches!(torn, Err(Fault::Unspoken { .. })), "{torn:?}");
        let mut changed = whole;
        changed[last] = b'y';
        let changed = Order::new(SCRIPT).hear(0, &changed);
        assert!(matches!(changed, Err(Fault::Unspoken { .. })), "{changed:?}");
    }

    #[test]
    fn notices_are_part_of_the_stream_but_no_lines_of_the_script() {
        let mut order = Order::new(SCRIPT);
        order.hear(0, b"[2026/11/22-10:32:11] *** bob joined (3 here)\n").unwrap();
        assert_eq!(order.marks().len(), 0);
        assert!(order.hear(0, b"[2026/11/22-10:32:11] *** eve").is_err());
    }

    #[test]
    fn a_line_that_nobody_said_is_found() {
        let said = Order::new(SCRIPT).hear(0, b"[2026/11/22-10:32:11] 127.0.0.1:5: hello\n");
        assert!(matches!(said, Err(Fault::Unspoken { .. })), "{said:?}");
        let beyond = Order::new(SCRIPT).hear(0, &stream(&[4]));
        assert!(matches!(beyond, Err(Fault::Unspoken { .. })), "{beyond:?}");
    }
}
