//! Wire forms: how one client's lines are written, and a batch rendered for each form in use.

use std::ops::Range;
use std::sync::Arc;

use encoding_rs::{Encoding, UTF_8};

use crate::encoding;

/// How lines are written to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WireForm {
    pub(crate) encoding: &'static Encoding,
    /// Lines end with CR LF, not LF alone: the client itself speaks so.
    pub(crate) crlf: bool,
    /// A byte 255 is doubled: to a telnet client it would begin a command (RFC 854).
    pub(crate) telnet: bool,
}

impl Default for WireForm {
    /// The room's own form.
    fn default() -> WireForm {
        WireForm { encoding: UTF_8, crlf: false, telnet: false }
    }
}

impl WireForm {
    /// Appends one line, with its line end, in this form.
    pub(crate) fn write(self, line: &str, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        encoding::write(self.encoding, line, bytes);
        if self.telnet && self.encoding != UTF_8 {
            double_iac(bytes, start);
        }
        bytes.extend_from_slice(if self.crlf { b"\r\n" } else { b"\n" });
    }
}

/// Doubles each byte 255 from `start` on.
fn double_iac(bytes: &mut Vec<u8>, start: usize) {
    const IAC: u8 = 255;
    if bytes[start..].contains(&IAC) {
        let line = bytes.split_off(start);
        bytes.extend(line.into_iter().flat_map(|byte| {
            let times = if byte == IAC { 2 } else { 1 };
            std::iter::repeat_n(byte, times)
        }));
    }
}

/// The public lines of a batch in the room's own form, and in each other form that was asked for.
///
/// Every form is rendered at most once, and copied at most once more when a client cannot take all
/// of it: what waits in the backlogs is that one shared copy.
pub(crate) struct Lines {
    forms: Vec<(WireForm, Rendering)>,
    marks: Vec<Mark>,
    recorded: usize,
}

/// What is known of a line beyond its text.
struct Mark {
    /// When it was said, in seconds since the epoch.
    second: u64,
    stamp_bytes: usize,
    recorded: bool,
    /// How many lines before it in the batch are recorded.
    recorded_before: usize,
}

/// One line of a batch in the room's own form, without its line end.
pub(crate) struct LineView<'a> {
    pub(crate) text: &'a str,
    /// The text without its stamp.
    pub(crate) body: &'a str,
    /// When it was said, in seconds since the epoch.
    pub(crate) second: u64,
    /// Whether it belongs to history and transcript.
    pub(crate) recorded: bool,
}

struct Rendering {
    bytes: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
    shared: Option<Arc<[u8]>>,
}

impl Rendering {
    fn new() -> Rendering {
        Rendering { bytes: Vec::new(), ends: Vec::new(), shared: None }
    }
}

/// Some lines of a batch, in one wire form.
pub(crate) struct Piece<'a> {
    rendering: &'a mut Rendering,
    lines: Range<usize>,
    range: Range<usize>,
}

/// What of a piece waits for a client, and how many lines it will miss.
pub(crate) struct Rest {
    pub(crate) shared: Arc<[u8]>,
    pub(crate) range: Range<usize>,
    pub(crate) missed: usize,
}

impl Piece<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.rendering.bytes[self.range.clone()]
    }

    /// What to keep of the piece after the first `sent` bytes: the whole lines that fit into
    /// `space` bytes. A line that was begun is always kept to its end.
    pub(crate) fn rest(&mut self, sent: usize, space: usize) -> Rest {
        let rendering = &mut *self.rendering;
        let ends = &rendering.ends[self.lines.clone()];
        let start = self.range.start + sent;
        let whole = ends.partition_point(|&end| end <= start);
        let line_start = if whole == 0 { self.range.start } else { ends[whole - 1] };
        let begun = if start > line_start { whole + 1 } else { whole };
        let kept = ends.partition_point(|&end| end <= start.saturating_add(space)).max(begun);
        let end = if kept == 0 { start } else { ends[kept - 1] };
        let shared = rendering.shared.get_or_insert_with(|| Arc::from(&rendering.bytes[..]));
        Rest { shared: Arc::clone(shared), range: start..end, missed: ends.len() - kept }
    }
}

impl Lines {
    pub(crate) fn new() -> Lines {
        Lines {
            forms: vec![(WireForm::default(), Rendering::new())],
            marks: Vec::new(),
            recorded: 0,
        }
    }

    /// Appends one line, given in parts, without its line end. It belongs to history and transcript
    /// if it is `recorded`.
    pub(crate) fn push(&mut self, (stamp, second): (&str, u64), recorded: bool, parts: &[&str]) {
        let recorded_before = self.recorded;
        self.recorded += usize::from(recorded);
        self.marks.push(Mark { second, stamp_bytes: stamp.len(), recorded, recorded_before });
        let plain = &mut self.forms[0].1;
        plain.bytes.extend_from_slice(stamp.as_bytes());
        for part in parts {
            plain.bytes.extend_from_slice(part.as_bytes());
        }
        plain.bytes.push(b'\n');
        plain.ends.push(plain.bytes.len());
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.forms[0].1.ends.len()
    }

    /// How many bytes they have in the room's own form.
    pub(crate) fn bytes(&self) -> usize {
        self.forms[0].1.bytes.len()
    }

    /// How many of the lines before this one are recorded.
    pub(crate) fn recorded_before(&self, line: usize) -> usize {
        self.marks.get(line).map_or(self.recorded, |mark| mark.recorded_before)
    }

    /// Each line.
    pub(crate) fn iter(&self) -> impl Iterator<Item = LineView<'_>> {
        let plain = &self.forms[0].1;
        let mut start = 0;
        plain.ends.iter().zip(&self.marks).map(move |(&end, mark)| {
            let text = &plain.bytes[start..end - 1];
            start = end;
            let text = str::from_utf8(text).expect("lines are pushed as text");
            let body = &text[mark.stamp_bytes..];
            LineView { text, body, second: mark.second, recorded: mark.recorded }
        })
    }

    /// These lines, by position, in this form.
    pub(crate) fn piece(&mut self, form: WireForm, lines: Range<usize>) -> Piece<'_> {
        let position = match self.forms.iter().position(|(known, _)| *known == form) {
            Some(position) => position,
            None => {
                self.render(form);
                self.forms.len() - 1
            }
        };
        let rendering = &mut self.forms[position].1;
        let start = |line: usize| {
            if line == 0 { 0 } else { rendering.ends[line - 1] }
        };
        let range = start(lines.start)..start(lines.end);
        Piece { rendering, lines, range }
    }

    fn render(&mut self, form: WireForm) {
        let mut rendering = Rendering::new();
        for line in self.iter() {
            form.write(line.text, &mut rendering.bytes);
            rendering.ends.push(rendering.bytes.len());
        }
        self.forms.push((form, rendering));
    }

    /// Forgets the lines and keeps the memory for the next batch.
    pub(crate) fn clear(&mut self) {
        self.forms.truncate(1);
        self.marks.clear();
        self.recorded = 0;
        let plain = &mut self.forms[0].1;
        plain.bytes.clear();
        plain.ends.clear();
        plain.shared = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: (&str, u64) = ("", 0);
    const CRLF: WireForm = WireForm { encoding: UTF_8, crlf: true, telnet: false };

    #[test]
    fn pieces_are_whole_lines_in_the_form_asked_for() {
        let mut lines = Lines::new();
        lines.push(NOW, true, &["one"]);
        lines.push(NOW, false, &["t", "wo"]);
        lines.push(NOW, true, &["three"]);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines.piece(WireForm::default(), 1..3).bytes(), b"two\nthree\n");
        assert_eq!(lines.piece(CRLF, 1..3).bytes(), b"two\r\nthree\r\n");
        assert_eq!(lines.piece(CRLF, 3..3).bytes(), b"");
        let texts: Vec<&str> = lines.iter().map(|line| line.text).collect();
        assert_eq!(texts, ["one", "two", "three"]);
        let before: Vec<usize> = (0..4).map(|line| lines.recorded_before(line)).collect();
        assert_eq!(before, [0, 1, 1, 2]);

        let rest = lines.piece(CRLF, 1..3).rest(1, usize::MAX);
        assert_eq!(&rest.shared[rest.range], b"wo\r\nthree\r\n");
        let again = lines.piece(CRLF, 0..1).rest(0, usize::MAX);
        assert!(Arc::ptr_eq(&rest.shared, &again.shared), "one copy for all");

        lines.clear();
        lines.push(NOW, true, &["four"]);
        assert_eq!(lines.piece(CRLF, 0..1).bytes(), b"four\r\n");
        assert_eq!(lines.piece(WireForm::default(), 0..1).bytes(), b"four\n");
    }
    #[test]
    fn what_is_kept_is_whole_lines_and_the_rest_of_one_that_was_begun() {
        let mut lines = Lines::new();
        for line in ["one", "two", "three"] {
            lines.push(NOW, true, &[line]);
        }
        // (sent, space) -> (kept, missed)
        for (sent, space, kept, missed) in [
            (0, 0, "", 3),
            (0, 3, "", 3),
            (0, 4, "one\n", 2),
            (0, 13, "one\ntwo\n", 1),
            (0, 14, "one\ntwo\nthree\n", 0),
            (1, 0, "ne\n", 2),
            (4, 0, "", 2),
            (4, 4, "two\n", 1),
            (5, 3, "wo\n", 1),
            (5, usize::MAX, "wo\nthree\n", 0),
            (14, 0, "", 0),
        ] {
            let rest = lines.piece(WireForm::default(), 0..3).rest(sent, space);
            let text = str::from_utf8(&rest.shared[rest.range]).unwrap();
            assert_eq!((text, rest.missed), (kept, missed), "sent {sent}, space {space}");
        }
        let rest = lines.piece(WireForm::default(), 1..3).rest(2, 0);
        assert_eq!(&rest.shared[rest.range], b"o\n");
        assert_eq!(rest.missed, 1);
    }
}
