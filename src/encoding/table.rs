//! The bytes of each character in a legacy encoding, looked up in tables.
//!
//! The encoder of `encoding_rs` searches linearly for some characters, and stops at each one that
//! the encoding lacks. So each encoding has a table, filled from that encoder on demand, a page of
//! 256 characters at a time; the encoder is asked once for each character.
//!
//! All threads share the tables, and read a page that is filled without a lock. A table takes 256
//! KiB at most (that of `big5` 768 KiB, see [`Table::planes`]). There is one only for an encoding
//! that was used, and it stays until the process ends: if all characters were written in all 36
//! encodings, the sum would be 9.5 MiB.

use std::sync::OnceLock;

use encoding_rs::{
    BIG5, EncoderResult, Encoding, GB18030, WINDOWS_874, WINDOWS_1252, WINDOWS_1254, X_USER_DEFINED,
};

/// Characters of a page, the unit in which a table is filled.
const PAGE_CHARS: usize = 256;

/// Pages of a Unicode plane.
const PLANE_PAGES: usize = 0x1_0000 / PAGE_CHARS;

/// The first byte of the escape sequences of ISO-2022-JP.
const ESCAPE: u8 = 0x1B;

/// The one to four bytes of a character that is not ASCII, padded with zeros, which no encoding has
/// in such a character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Code([u8; 4]);

impl Code {
    /// What is written for a character that the encoding lacks.
    pub(super) const UNMAPPABLE: Code = Code([b'?', 0, 0, 0]);

    /// The bytes that the encoder gives for `character`; of ISO-2022-JP without the escape
    /// sequences around them. *Cost*: up to a microsecond.
    fn of(encoding: &'static Encoding, character: char) -> Code {
        let mut utf8 = [0; 4];
        let mut encoded = [0; 16];
        let (result, _, len) = encoding.new_encoder().encode_from_utf8_without_replacement(
            character.encode_utf8(&mut utf8),
            &mut encoded,
            true,
        );
        if result != EncoderResult::InputEmpty {
            return Code::UNMAPPABLE;
        }
        match encoded[..len] {
            [byte] if is_c1(encoding, byte) => Code::UNMAPPABLE,
            [a] | [ESCAPE, _, _, a, ESCAPE, _, _] => Code([a, 0, 0, 0]),
            [a, b] | [ESCAPE, _, _, a, b, ESCAPE, _, _] => Code([a, b, 0, 0]),
            [a, b, c] => Code([a, b, c, 0]),
            [a, b, c, d] => Code([a, b, c, d]),
            _ => Code::UNMAPPABLE,
        }
    }

    /// The code of a character beyond U+FFFF in `gb18030`: its number, counted on from that of 0x90
    /// 0x30 0x81 0x30, which is U+10000.
    fn of_gb18030_astral(character: char) -> Code {
        let number = u32::from(character) - 0x1_0000;
        let digits = [
            number / 12_600 + 0x90,
            number / 1260 % 10 + 0x30,
            number / 10 % 126 + 0x81,
            number % 10 + 0x30,
        ];
        Code(digits.map(|digit| digit as u8))
    }

    /// Appends the bytes, without the padding.
    pub(super) fn append_to(self, bytes: &mut Vec<u8>) {
        let padding = u32::from_le_bytes(self.0).leading_zeros() / u8::BITS;
        // One copy of constant length costs less than one of one to four bytes.
        bytes.extend_from_slice(&self.0);
        bytes.truncate(bytes.len() - padding as usize);
    }
}

/// Whether this character of one byte could be a C1 control character (ISO/IEC 6429) at the
/// client's terminal, where for example 0x9B begins a control sequence as ESC `[` does.
///
/// In ISO 8859 the bytes 0x80 to 0x9F are C1 control characters. The WHATWG standard gives the
/// labels `latin1`, `iso-8859-1` and `ascii` to windows-1252, `iso-8859-9` and `latin5` to
/// windows-1254, and `iso-8859-11` and `tis-620` to windows-874, which have letters and punctuation
/// there. A client that chose one of these labels may have a terminal that is in ISO 8859: the line
/// `›2J` would clear its screen. x-user-defined has characters for private use there. So these four
/// do not write those bytes, except 0x80, the euro sign of the first three, which is a padding
/// character in C1, on which no terminal acts.
///
/// No label of ISO 8859 leads to another encoding with characters there (windows-1250, KOI8,
/// IBM866, macintosh, and the encodings with several bytes a character), so that the terminal of a
/// client that chose one of those has no C1 control characters there, and they keep their
/// characters.
fn is_c1(encoding: &'static Encoding, byte: u8) -> bool {
    if encoding == X_USER_DEFINED {
        (0x80..=0x9F).contains(&byte)
    } else {
        [WINDOWS_1252, WINDOWS_1254, WINDOWS_874].contains(&encoding)
            && (0x81..=0x9F).contains(&byte)
    }
}

type Page = [Code; PAGE_CHARS];

/// The codes of one encoding's characters, as far as they were asked for.
pub(super) struct Table {
    encoding: &'static Encoding,
    /// The planes from U+0000 on, so that the index of a page is a character's number above its
    /// last 8 bits.
    pages: Box<[OnceLock<Box<Page>>]>,
    /// The table of the encoding that came into use next.
    next: OnceLock<Box<Table>>,
}

impl Table {
    /// The table of `encoding`, made at the first call.
    ///
    /// The tables are a list, since a server rarely has more than a handful of encodings in use.
    pub(super) fn of(encoding: &'static Encoding) -> &'static Table {
        static FIRST: OnceLock<Box<Table>> = OnceLock::new();

        let mut slot = &FIRST;
        loop {
            let table = slot.get_or_init(|| Box::new(Table::new(encoding)));
            if table.encoding == encoding {
                return table;
            }
            slot = &table.next;
        }
    }

    fn new(encoding: &'static Encoding) -> Table {
        let pages = Table::planes(encoding) * PLANE_PAGES;
        let pages = (0..pages).map(|_| OnceLock::new()).collect();
        Table { encoding, pages, next: OnceLock::new() }
    }

    /// Planes for which the table has pages.
    ///
    /// Beyond U+FFFF only `big5` and `gb18030` have characters. Those of `gb18030` are computed.
    /// Those of `big5` are in plane 2, and the encoder searches linearly for them.
    fn planes(encoding: &'static Encoding) -> usize {
        if encoding == BIG5 { 3 } else { 1 }
    }

    /// The code of a character that is not ASCII.
    ///
    /// *Blocking*: while the page is filled, by this thread or another, which takes about 0.1 ms.
    pub(super) fn code(&self, character: char) -> Code {
        let number = character as usize;
        match self.pages.get(number / PAGE_CHARS) {
            Some(page) => {
                let page = page.get_or_init(|| self.filled(number / PAGE_CHARS));
                page[number % PAGE_CHARS]
            }
            None if self.encoding == GB18030 => Code::of_gb18030_astral(character),
            None => Code::UNMAPPABLE,
        }
    }

    #[cold]
    fn filled(&self, page: usize) -> Box<Page> {
        let characters = (page * PAGE_CHARS) as u32..;
        let mut codes = [Code::UNMAPPABLE; PAGE_CHARS];
        for (code, number) in codes.iter_mut().zip(characters) {
            // Surrogates are no characters, and are never asked for.
            if let Some(character) = char::from_u32(number) {
                *code = Code::of(self.encoding, character);
            }
        }
        Box::new(codes)
    }
}
