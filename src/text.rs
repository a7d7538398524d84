//! Harmless text: what people say, without what could move a cursor, forge a
//! line or turn the text around it.
//!
//! Guarantees that a [`Line`], once it exists, can be shown at any terminal and
//! written to any log or transcript as it is. Knows nothing of bytes, encodings
//! or lengths: those are the decoder's.

use std::borrow::Cow;
use std::fmt;

/// The harmless, non-empty text of one line, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line(Box<str>);

impl Line {
    /// The line that is left of `text` after cleaning, or `None` when nothing is.
    pub(crate) fn new(text: &str) -> Option<Line> {
        let text = clean(text);
        (!text.is_empty()).then(|| Line(text.into()))
    }

    /// Like [`Line::new`], without a copy when nothing must go.
    pub(crate) fn from_string(text: String) -> Option<Line> {
        match clean(&text) {
            Cow::Owned(cleaned) => (!cleaned.is_empty()).then(|| Line(cleaned.into())),
            Cow::Borrowed(_) => (!text.is_empty()).then(|| Line(text.into())),
        }
    }

    /// The text itself.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `text` without its harmful characters, borrowed when it has none.
///
/// Characters go, bytes do not: an octet from 0x80 to 0x9F inside a character
/// of several bytes is no control character, so Chinese text stays whole.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    // Looking at every byte without leaving early lets the compiler test many
    // at once, which is what nearly every line needs and all it needs.
    if text.bytes().fold(true, |plain, b| plain & is_plain(b)) {
        return Cow::Borrowed(text);
    }
    match text.find(is_harmful) {
        None => Cow::Borrowed(text),
        Some(at) => {
            let (before, after) = text.split_at(at);
            let mut cleaned = String::with_capacity(text.len());
            cleaned.push_str(before);
            cleaned.extend(after.chars().filter(|&c| !is_harmful(c)));
            Cow::Owned(cleaned)
        }
    }
}

/// Whether `byte` is a whole character and a harmless one.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~')
}

/// Whether `c` could move a cursor, forge a line or turn text around.
///
/// The zero-width joiner is not among them, because it makes one emoji of
/// several; where it could deceive, in names, it is refused by the name.
fn is_harmful(c: char) -> bool {
    match c {
        '\t' => false,
        // The Arabic letter mark and its two elder sisters, which set the direction.
        '\u{061C}' | '\u{200E}' | '\u{200F}' => true,
        // Line and paragraph separators; embeddings and overrides of the direction.
        '\u{2028}'..='\u{202E}' => true,
        // Isolates.
        '\u{2066}'..='\u{2069}' => true,
        // The byte-order mark, and interlinear annotations, which hide text.
        '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' => true,
        // Tags, an invisible copy of ASCII.
        '\u{E0000}'..='\u{E007F}' => true,
        _ => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first and the last of each range that goes.
    const HARMFUL: [(char, char); 10] = [
        ('\0', '\u{08}'),
        ('\u{0A}', '\u{1F}'),
        ('\u{7F}', '\u{9F}'),
        ('\u{061C}', '\u{061C}'),
        ('\u{200E}', '\u{200F}'),
        ('\u{2028}', '\u{202E}'),
        ('\u{2066}', '\u{2069}'),
        ('\u{FEFF}', '\u{FEFF}'),
        ('\u{FFF9}', '\u{FFFB}'),
        ('\u{E0000}', '\u{E007F}'),
    ];

    #[test]
    fn of_all_characters_exactly_the_harmful_ones_go() {
        for c in '\0'..=char::MAX {
            let goes = HARMFUL.iter().any(|&(first, last)| first <= c && c <= last);
            let mut buffer = [0; 4];
            let cleaned = clean(c.encode_utf8(&mut buffer));
            assert_eq!(cleaned.is_empty(), goes, "{c:?}");
        }
    }

    #[test]
    fn what_surrounds_a_harmful_character_stays() {
        for (text, cleaned) in [
            ("\x1b[31mred\x1b[0m", "[31mred[0m"),
            ("a\tb", "a\tb"),
            ("\u{FEFF}first", "first"),
            ("last\r", "last"),
            ("user\u{202E}nimda", "usernimda"),
            ("你\u{85}好\u{9B}2J", "你好2J"),
            ("👨\u{200D}👩\u{200D}👧", "👨\u{200D}👩\u{200D}👧"),
            ("你好，世界", "你好，世界"),
        ] {
            assert_eq!(clean(text), cleaned);
        }
    }

    #[test]
    fn a_line_with_nothing_left_is_no_line() {
        assert_eq!(Line::new(""), None);
        assert_eq!(Line::new("\u{FEFF}\x1b\r\n"), None);
        let line = Line::new("h\u{7}i").unwrap();
        assert_eq!((line.as_str(), format!("<{line:>3}>")), ("hi", "< hi>".to_owned()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn cleaning_filters_and_copies_only_what_it_must(
            text in "([ -~\t]{0,40}|[\\PC]{0,9}|[\0-\u{A0}\u{2000}-\u{2070}]{0,4}){0,4}",
        ) {
            let expected: String = text.chars().filter(|&c| !is_harmful(c)).collect();
            let cleaned = clean(&text);
            prop_assert_eq!(&cleaned, &expected);
            prop_assert_eq!(matches!(cleaned, Cow::Borrowed(_)), expected.len() == text.len());
        }
    }
}
