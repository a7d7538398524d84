//! Wire forms: how one client's lines are written, and a batch rendered for each form in use.

use std::ops::Range;
use std::sync::Arc;

/// How lines are written to a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WireForm {
    /// Lines end with CR LF, not LF alone: the client itself speaks so.
    pub(crate) crlf: bool,
}

impl WireForm {
    /// Appends one line, with its line end, in this form.
    pub(crate) fn write(self, line: &str, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(if self.crlf { b"\r\n" } else { b"\n" });
    }
}

/// The public lines of a batch in the room's own form, and in each other form that was asked for.
///
/// Every form is rendered at most once, and copied at most once more when a client cannot take all
/// of it: what waits in the backlogs is that one shared copy.
pub(crate) struct Lines {
    forms: Vec<(WireForm, Rendering)>,
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
    range: Range<usize>,
}

impl Piece<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.rendering.bytes[self.range.clone()]
    }

    /// The same bytes, but for the first `sent`, to keep for later.
    pub(crate) fn rest(&mut self, sent: usize) -> (Arc<[u8]>, Range<usize>) {
        let rendering = &mut *self.rendering;
        let shared = rendering.shared.get_or_insert_with(|| Arc::from(&rendering.bytes[..]));
        (Arc::clone(shared), self.range.start + sent..self.range.end)
    }
}

impl Lines {
    pub(crate) fn new() -> Lines {
        Lines { forms: vec![(WireForm::default(), Rendering::new())] }
    }

    /// Appends one line, given in parts, without its line end.
    pub(crate) fn push(&mut self, parts: &[&str]) {
        let plain = &mut self.forms[0].1;
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

    /// Each line in the room's own form, without its line end.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let plain = &self.forms[0].1;
        let mut start = 0;
        plain.ends.iter().map(move |&end| {
            let line = &plain.bytes[start..end - 1];
            start = end;
            std::str::from_utf8(line).expect("lines are pushed as text")
        })
    }

    /// The lines in `range`, in this form.
    pub(crate) fn piece(&mut self, form: WireForm, range: Range<usize>) -> Piece<'_> {
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
        let range = start(range.start)..start(range.end);
        Piece { rendering, range }
    }

    fn render(&mut self, form: WireForm) {
        let mut rendering = Rendering::new();
        for line in self.iter() {
            form.write(line, &mut rendering.bytes);
            rendering.ends.push(rendering.bytes.len());
        }
        self.forms.push((form, rendering));
    }

    /// Forgets the lines and keeps the memory for the next batch.
    pub(crate) fn clear(&mut self) {
        self.forms.truncate(1);
        let plain = &mut self.forms[0].1;
        plain.bytes.clear();
        plain.ends.clear();
        plain.shared = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRLF: WireForm = WireForm { crlf: true };

    #[test]
    fn pieces_are_whole_lines_in_the_form_asked_for() {
        let mut lines = Lines::new();
        lines.push(&["one"]);
        lines.push(&["t", "wo"]);
        lines.push(&["three"]);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines.piece(WireForm::default(), 1..3).bytes(), b"two\nthree\n");
        assert_eq!(lines.piece(CRLF, 1..3).bytes(), b"two\r\nthree\r\n");
        assert_eq!(lines.piece(CRLF, 3..3).bytes(), b"");
        assert_eq!(lines.iter().collect::<Vec<_>>(), ["one", "two", "three"]);

        let (shared, range) = lines.piece(CRLF, 1..3).rest(1);
        assert_eq!(&shared[range], b"wo\r\nthree\r\n");
        let (again, _) = lines.piece(CRLF, 0..1).rest(0);
        assert!(Arc::ptr_eq(&shared, &again), "one copy for all");

        lines.clear();
        lines.push(&["four"]);
        assert_eq!(lines.piece(CRLF, 0..1).bytes(), b"four\r\n");
        assert_eq!(lines.piece(WireForm::default(), 0..1).bytes(), b"four\n");
    }
}
