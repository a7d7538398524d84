//! Writes text in a legacy encoding, at a cost that depends on the length of the text alone.
//!
//! Runs of ASCII are copied. Every other character is looked up in the table of its encoding.

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8};

use super::table::{Code, Table};

/// Appends `text` in this encoding. A character that the encoding lacks, or whose byte could be a
/// control character of the client's terminal (see `table::is_c1`), becomes `?`.
///
/// The encoding must not be UTF-16, in which ASCII is not written as itself.
pub(crate) fn write(encoding: &'static Encoding, text: &str, bytes: &mut Vec<u8>) {
    if encoding == UTF_8 {
        return bytes.extend_from_slice(text.as_bytes());
    }
    bytes.reserve(text.len());
    let ascii_run: fn(&[u8]) -> usize = if encoding == ISO_2022_JP {
        Encoding::iso_2022_jp_ascii_valid_up_to
    } else {
        Encoding::ascii_valid_up_to
    };
    let rest = copy_ascii(text, ascii_run, bytes);
    if rest.is_empty() {
        return;
    }
    let table = Table::of(encoding);
    if encoding == ISO_2022_JP {
        write_iso_2022_jp(table, rest, bytes);
    } else {
        write_stateless(table, rest, bytes);
    }
}

/// Appends the ASCII characters that `text` begins with, and returns the text after them.
fn copy_ascii<'a>(text: &'a str, run: fn(&[u8]) -> usize, bytes: &mut Vec<u8>) -> &'a str {
    let (ascii, rest) = text.split_at(run(text.as_bytes()));
    bytes.extend_from_slice(ascii.as_bytes());
    rest
}

/// Appends `text` in an encoding in which a character has the same bytes wherever it stands.
fn write_stateless(table: &Table, text: &str, bytes: &mut Vec<u8>) {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character.is_ascii() {
            bytes.push(character as u8);
            characters =
                copy_ascii(characters.as_str(), Encoding::ascii_valid_up_to, bytes).chars();
        } else {
            table.code(character).append_to(bytes);
        }
    }
}

/// The character sets between which ISO-2022-JP switches by escape sequences.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CharacterSet {
    /// The set in which a line begins and ends.
    Ascii,
    /// JIS X 0201: ASCII, except that `\` is the yen sign and `~` the overline.
    Roman,
    /// JIS X 0208: kana and ideographs of two bytes each.
    Jis0208,
}

impl CharacterSet {
    /// Appends the escape sequence that switches to `next`, unless it is the current set.
    fn switch_to(&mut self, next: CharacterSet, bytes: &mut Vec<u8>) {
        if *self != next {
            *self = next;
            bytes.extend_from_slice(match next {
                CharacterSet::Ascii => b"\x1b(B",
                CharacterSet::Roman => b"\x1b(J",
                CharacterSet::Jis0208 => b"\x1b$B",
            });
        }
    }
}

/// Appends `text` in ISO-2022-JP, beginning and ending in ASCII.
///
/// The switches are those of the WHATWG standard: `Roman` is kept for ASCII that it can write.
fn write_iso_2022_jp(table: &Table, text: &str, bytes: &mut Vec<u8>) {
    use CharacterSet::{Ascii, Jis0208, Roman};

    let mut set = Ascii;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{A5}' | '\u{203E}' => {
                set.switch_to(Roman, bytes);
                table.code(character).append_to(bytes);
            }
            '\0'..='\x7F' => {
                if set == Jis0208 || matches!(character, '\\' | '~') {
                    set.switch_to(Ascii, bytes);
                }
                // Of these the encoding's own escape sequences are made.
                let is_reserved = matches!(character, '\x0E' | '\x0F' | '\x1B');
                bytes.push(if is_reserved { b'?' } else { character as u8 });
                if set == Ascii {
                    let run = Encoding::iso_2022_jp_ascii_valid_up_to;
                    characters = copy_ascii(characters.as_str(), run, bytes).chars();
                }
            }
            _ => {
                let code = table.code(character);
                if code != Code::UNMAPPABLE {
                    set.switch_to(Jis0208, bytes);
                } else if set == Jis0208 {
                    set.switch_to(Ascii, bytes);
                }
                code.append_to(bytes);
            }
        }
    }
    set.switch_to(Ascii, bytes);
}

#[cfg(test)]
mod tests {
    use encoding_rs::EncoderResult;
    use proptest::prelude::*;

    use super::*;

    /// All encodings of the WHATWG standard except UTF-8, UTF-16 and `replacement`.
    const LEGACY: &str = "\
        big5 euc-jp euc-kr gb18030 gbk ibm866 iso-2022-jp iso-8859-2 iso-8859-3 iso-8859-4 \
        iso-8859-5 iso-8859-6 iso-8859-7 iso-8859-8 iso-8859-8-i iso-8859-10 iso-8859-13 \
        iso-8859-14 iso-8859-15 iso-8859-16 koi8-r koi8-u macintosh shift_jis windows-1250 \
        windows-1251 windows-1252 windows-1253 windows-1254 windows-1255 windows-1256 \
        windows-1257 windows-1258 windows-874 x-mac-cyrillic x-user-defined";

    /// Labels that a client at an ISO 8859 terminal may choose.
    const ISO_8859: &str = "\
        ascii us-ascii latin1 iso-8859-1 iso-8859-2 iso-8859-3 iso-8859-4 iso-8859-5 \
        iso-8859-6 iso-8859-7 iso-8859-8 iso-8859-8-i iso-8859-9 latin5 iso-8859-10 \
        iso-8859-11 tis-620 iso-8859-13 iso-8859-14 iso-8859-15 iso-8859-16 x-user-defined";

    fn encoding(label: &str) -> &'static Encoding {
        Encoding::for_label(label.as_bytes()).unwrap()
    }

    fn legacy() -> impl Iterator<Item = &'static Encoding> {
        LEGACY.split(' ').map(encoding)
    }

    fn written(encoding: &'static Encoding, text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(encoding, text, &mut bytes);
        bytes
    }

    /// What the encoder of `encoding_rs` writes, with `?` for what it lacks and for C1 controls.
    fn expected(encoding: &'static Encoding, text: &str) -> Vec<u8> {
        let mut bytes = vec![0; text.len() * 4 + 16];
        let mut encoder = encoding.new_encoder();
        let (mut read, mut len) = (0, 0);
        loop {
            let (text, space) = (&text[read..], &mut bytes[len..]);
            let (result, more_read, written) =
                encoder.encode_from_utf8_without_replacement(text, space, true);
            (read, len) = (read + more_read, len + written);
            match result {
                EncoderResult::InputEmpty => break,
                EncoderResult::Unmappable(_) => bytes[len] = b'?',
                EncoderResult::OutputFull => panic!("the buffer is too small"),
            }
            len += 1;
        }
        bytes.truncate(len);
        let unwritten = match encoding.name() {
            "windows-1252" | "windows-1254" | "windows-874" => 0x81..=0x9F,
            "x-user-defined" => 0x80..=0x9F,
            _ => return bytes,
        };
        bytes.into_iter().map(|byte| if unwritten.contains(&byte) { b'?' } else { byte }).collect()
    }

    /// All characters up to U+FFFF except LF, which the tests use as a separator, and a sample of
    /// those beyond.
    fn characters() -> impl Iterator<Item = char> {
        let beyond = ('\u{10000}'..=char::MAX).step_by(251);
        ('\0'..='\u{FFFF}').filter(|&character| character != '\n').chain(beyond)
    }

    /// Each of [`characters`] in a line of its own.
    fn lines() -> String {
        characters().flat_map(|character| [character, '\n']).collect()
    }

    #[test]
    fn every_character_of_every_encoding_is_written_as_its_encoder_writes_it() {
        let lines = lines();
        for encoding in legacy() {
            let (written, expected) = (written(encoding, &lines), expected(encoding, &lines));
            if written != expected {
                let differ = |(_, (a, b)): &(&str, (&[u8], &[u8]))| a != b;
                let bytes = written.split(|&b| b == b'\n').zip(expected.split(|&b| b == b'\n'));
                let first = lines.lines().zip(bytes).find(differ);
                panic!("{}: {first:x?}", encoding.name());
            }
        }
    }

    #[test]
    fn every_character_beyond_u_ffff_is_written_where_an_encoding_has_any() {
        for (label, range) in
            [("gb18030", '\u{10000}'..=char::MAX), ("big5", '\u{1FF00}'..='\u{300FF}')]
        {
            let text: String = range.collect();
            assert!(written(encoding(label), &text) == expected(encoding(label), &text), "{label}");
        }
    }

    #[test]
    fn a_text_of_many_characters_is_written_as_its_encoder_writes_it() {
        let text: String = characters().step_by(5).collect();
        for encoding in legacy() {
            assert!(written(encoding, &text) == expected(encoding, &text), "{}", encoding.name());
        }
    }

    #[test]
    fn no_printable_character_is_written_as_a_control_character() {
        let lines = lines();
        for encoding in legacy() {
            let written = written(encoding, &lines);
            let mut printable = 0;
            for (character, bytes) in characters().zip(written.split(|&b| b == b'\n')) {
                let bytes = match bytes {
                    [0x1B, b'(' | b'$', b'B' | b'J', rest @ ..] if encoding == ISO_2022_JP => rest,
                    bytes => bytes,
                };
                let bytes = bytes.strip_suffix(b"\x1b(B").unwrap_or(bytes);
                let controls = bytes.iter().any(|byte| byte.is_ascii_control());
                let name = encoding.name();
                assert!(character.is_control() || !controls, "{character:?} in {name}: {bytes:x?}");
                printable += usize::from(bytes != b"?");
            }
            assert!(printable > 128, "{}", encoding.name());
        }
    }

    #[test]
    fn at_an_iso_8859_terminal_no_printable_character_is_a_c1_control_character() {
        for label in ISO_8859.split(' ') {
            let encoding = encoding(label);
            for character in ('\0'..='\u{FFFF}').filter(|character| !character.is_control()) {
                let written = written(encoding, character.encode_utf8(&mut [0; 4]));
                let c1 = matches!(written[..], [0x80..=0x9F]);
                assert!(!c1 || (character, written[0]) == ('€', 0x80), "{character:?} as {label}");
            }
        }
        assert_eq!(written(encoding("latin1"), "›2J €"), b"?2J \x80");
        assert_eq!(written(encoding("windows-1250"), "›"), b"\x9b");
    }

    #[test]
    fn threads_that_fill_the_same_pages_at_once_write_the_same() {
        let text: String = ('\u{80}'..='\u{2FFF}').collect();
        std::thread::scope(|scope| {
            for label in ["koi8-u", "euc-kr", "koi8-u", "euc-kr", "iso-8859-16", "iso-8859-16"] {
                let (encoding, text) = (encoding(label), &text);
                scope.spawn(move || {
                    assert!(written(encoding, text) == expected(encoding, text), "{label}");
                });
            }
        });
    }

    proptest! {
        #[test]
        fn a_mixed_text_is_written_as_its_encoder_writes_it(
            text in "[a\\\\~¥‾日本ｱéƋ€😀𠀀\u{E}\u{1B}\n]{0,40}",
        ) {
            for label in ["iso-2022-jp", "big5", "gb18030", "koi8-r"] {
                let encoding = encoding(label);
                prop_assert_eq!(written(encoding, &text), expected(encoding, &text), "{}", label);
            }
        }
    }
}
