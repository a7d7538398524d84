//! The console's input: lines of bounded length from a byte stream.
//!
//! It guarantees that memory stays bounded whatever arrives, and that a line that is too long costs
//! nobody the next one. It does not know what a line means or whether it is text.

use std::io::{self, BufRead, ErrorKind};

/// Longest line of the console, in bytes without its end; the same as a client has by default.
pub(super) const LINE_BYTES_MAX: usize = 4096;

/// What came from the operator.
pub(super) enum Input {
    /// A line, or several that were pasted together.
    Text(String),
    /// A line that was too long; it is lost.
    TooLong,
    /// Bytes that are no UTF-8, typed at the line editor; they are lost.
    Garbage,
    /// Ctrl-C at the line editor.
    Interrupt,
    /// The end of stdin, or Ctrl-D on an empty line.
    End,
    /// Stdin cannot be read, for this reason: the terminal has hung up or is another's by now.
    Lost(String),
}

/// Reads the next line of stdin as it is; what is no UTF-8 in it is replaced.
///
/// *Blocking*: until a line is complete or stdin ends.
pub(super) fn read_stdin() -> Input {
    let mut line = Vec::new();
    match read(&mut io::stdin().lock(), LINE_BYTES_MAX, &mut line) {
        Ok(Read::Line) => Input::Text(String::from_utf8_lossy(&line).into_owned()),
        Ok(Read::TooLong) => Input::TooLong,
        Ok(Read::End) => Input::End,
        Err(error) => Input::Lost(error.to_string()),
    }
}

/// What [`read`] has found.
#[derive(Debug, PartialEq)]
enum Read {
    /// A line, without its end; what stands before the end of the stream counts as one.
    Line,
    /// A line of more bytes than allowed, which has been skipped up to its end.
    TooLong,
    /// The end of the stream.
    End,
}

/// Reads the next line of at most `bytes_max` bytes, without LF or CR LF, into `line`.
///
/// *Blocking*: until a line is complete or the stream ends.
///
/// # Errors
/// Whatever reading from `input` fails with, an interruption excepted.
fn read(input: &mut impl BufRead, bytes_max: usize, line: &mut Vec<u8>) -> io::Result<Read> {
    // One byte more than a line may have, for the CR before its LF.
    let kept_max = bytes_max + 1;
    line.clear();
    let mut length = 0;
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() && length == 0 {
            return Ok(Read::End);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let found = &chunk[..end.unwrap_or(chunk.len())];
        length += found.len();
        line.extend_from_slice(&found[..found.len().min(kept_max - line.len())]);
        let (used, complete) =
            (found.len() + usize::from(end.is_some()), end.is_some() || chunk.is_empty());
        input.consume(used);
        if complete {
            if length <= kept_max && line.last() == Some(&b'\r') {
                line.pop();
                length -= 1;
            }
            return Ok(if length > bytes_max { Read::TooLong } else { Read::Line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    /// All lines of `input`, read with a buffer of `capacity` bytes; a long one is shown as `!`.
    fn all(input: &[u8], bytes_max: usize, capacity: usize) -> Vec<String> {
        let mut input = BufReader::with_capacity(capacity, input);
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        loop {
            lines.push(match read(&mut input, bytes_max, &mut line).unwrap() {
                Read::Line => String::from_utf8_lossy(&line).into_owned(),
                Read::TooLong => "!".to_owned(),
                Read::End => return lines,
            });
        }
    }

    #[test]
    fn lines_end_with_lf_or_cr_lf_or_the_stream_however_they_are_cut() {
        for capacity in 1..12 {
            assert_eq!(all(b"who\r\nstats\n\nhelp", 9, capacity), ["who", "stats", "", "help"]);
        }
        assert!(all(b"", 9, 1).is_empty());
    }

    #[test]
    fn a_line_at_the_limit_is_kept_and_a_longer_one_is_skipped_up_to_its_end() {
        for capacity in 1..12 {
            assert_eq!(all(b"123\n1234\n12345\nx\n", 4, capacity), ["123", "1234", "!", "x"]);
            assert_eq!(all(b"1234\r\n12345\r\nx\r\n", 4, capacity), ["1234", "!", "x"]);
            assert_eq!(all(b"1234567890123\r\nx", 4, capacity), ["!", "x"]);
            assert_eq!(all(b"1234567890123", 4, capacity), ["!"]);
        }
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut line = Vec::new();
        let mut input = BufReader::new(io::Read::take(io::repeat(b'x'), 1 << 20));
        assert_eq!(read(&mut input, 100, &mut line).unwrap(), Read::TooLong);
        assert!(line.capacity() < 1000);
    }

    #[test]
    fn bytes_that_are_no_text_are_a_line_like_any_other() {
        assert_eq!(all(b"\xff\0\x80\nwho\n", 9, 3), ["\u{fffd}\0\u{fffd}", "who"]);
    }
}
