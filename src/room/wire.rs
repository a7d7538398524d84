//! Wire forms: how one client's lines are written, and a batch rendered for each form in use.

use std::ops::Range;
use std::sync::Arc;

use encoding_rs::{Encoding, UTF_8};
use memchr::memchr;

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
    /// Whether text is written as it is, but for the line ends.
    pub(crate) fn is_utf8(self) -> bool {
        self.encoding == UTF_8
    }

    /// Appends one line, with its line end, in this form.
    pub(crate) fn write(self, line: &str, bytes: &mut Vec<u8>) {
        self.write_part(line, bytes);
        self.end_line(bytes);
    }

    /// Appends a part of a line, without a line end, in this form.
    pub(crate) fn write_part(self, text: &str, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        encoding::write(self.encoding, text, bytes);
        if self.telnet && !self.is_utf8() {
            double_iac(bytes, start);
        }
    }

    fn end_line(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(if self.crlf { b"\r\n" } else { b"\n" });
    }

    /// The form with the same encoding of which this one is derived line by line.
    fn base(self) -> WireForm {
        WireForm { encoding: self.encoding, ..WireForm::default() }
    }

    /// Appends a line that is encoded already, without its line end.
    fn write_encoded(self, line: &[u8], bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.extend_from_slice(line);
        if self.telnet && !self.is_utf8() {
            double_iac(bytes, start);
        }
        self.end_line(bytes);
    }
}

/// Doubles each byte 255 from `start` on.
fn double_iac(bytes: &mut Vec<u8>, start: usize) {
    const IAC: u8 = 255;
    if memchr(IAC, &bytes[start..]).is_some() {
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
    marks: &'a [Mark],
    lines: Range<usize>,
    range: Range<usize>,
}

/// What of a piece waits for a client, and how many lines it does not get.
pub(crate) struct Rest {
    pub(crate) shared: Arc<[u8]>,
    pub(crate) range: Range<usize>,
    /// Lines at its end that are not kept.
    pub(crate) skipped: usize,
    /// Those of them that are recorded, and so a loss.
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
        let skipped = ends.len() - kept;
        let missed = self.marks[self.lines.end - skipped..self.lines.end].iter();
        let missed = missed.filter(|mark| mark.recorded).count();
        Rest { shared: Arc::clone(shared), range: start..end, skipped, missed }
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

    /// These lines, by position, in this form, which is rendered now unless it was before.
    pub(crate) fn piece(&mut self, form: WireForm, lines: Range<usize>) -> Piece<'_> {
        let position = |lines: &Lines| lines.forms.iter().position(|(known, _)| *known == form);
        let position = position(self).unwrap_or_else(|| {
            self.render(&[form]);
            position(self).expect("it was rendered just now")
        });
        let rendering = &mut self.forms[position].1;
        let start = |line: usize| {
            if line == 0 { 0 } else { rendering.ends[line - 1] }
        };
        let range = start(lines.start)..start(lines.end);
        Piece { rendering, marks: &self.marks, lines, range }
    }

    /// Renders all lines in these forms, unless that was done before. An encoding is gone through once,
    /// whatever line ends are wanted with it.
    pub(crate) fn render(&mut self, forms: &[WireForm]) {
        let mut rendered = Vec::new();
        let mut texts = Vec::new();
        for form in forms.iter().flat_map(|form| [form.base(), *form]) {
            let known = |(known, _): &(WireForm, Rendering)| *known == form;
            if self.forms.iter().chain(&rendered).any(known) {
                continue;
            }
            let mut rendering = Rendering::new();
            if form == form.base() {
                if texts.is_empty() {
                    // Once for all forms: it checks the text.
                    texts.extend(self.iter().map(|line| line.text));
                }
                for text in &texts {
                    form.write(text, &mut rendering.bytes);
                    rendering.ends.push(rendering.bytes.len());
                }
            } else {
                let base = |(known, _): &&(WireForm, Rendering)| *known == form.base();
                let base = self.forms.iter().chain(&rendered).find(base);
                let (_, base) = base.expect("the base was rendered just before");
                let mut start = 0;
                for &end in &base.ends {
                    form.write_encoded(&base.bytes[start..end - 1], &mut rendering.bytes);
                    rendering.ends.push(rendering.bytes.len());
                    start = end;
                }
            }
            rendered.push((form, rendering));
        }
        self.forms.append(&mut rendered);
    }

    /// Forgets all forms but the room's own.
    pub(crate) fn forget_renderings(&mut self) {
        self.forms.truncate(1);
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
