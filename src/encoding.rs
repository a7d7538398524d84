//! Encodings: what a client's bytes mean, and how text is written to it. Inside, text is UTF-8.
//!
//! Knows nothing of lines' ends or telnet: CR, LF and 255 are taken out before, and never stand
//! inside a character of the encodings that are allowed here.

mod table;
mod writer;

use std::fmt;
use std::str::FromStr;

use encoding_rs::{Encoding, GB18030, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE};

use crate::text::Line;

pub(crate) use writer::write;

/// Encodings that are named when an unknown one was asked for.
const COMMON: &str = "utf-8, gb18030, gbk, big5, shift_jis, euc-jp, euc-kr, windows-1252, koi8-r";

/// What is done about a client's encoding.
///
/// ```
/// use chat_server::EncodingChoice;
/// assert_eq!("auto".parse(), Ok(EncodingChoice::Auto));
/// assert_eq!("latin1".parse::<EncodingChoice>().map(|it| it.to_string()), Ok("windows-1252".into()));
/// assert!("utf-16".parse::<EncodingChoice>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodingChoice {
    /// UTF-8, until a line comes that is not valid UTF-8 but valid GB18030; from then on that.
    #[default]
    Auto,
    /// This one, by any label of the [WHATWG encoding standard](https://encoding.spec.whatwg.org/).
    Fixed(&'static Encoding),
}

/// An encoding that cannot be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadEncoding {
    /// No encoding has this label.
    Unknown(String),
    /// Its bytes for line ends stand inside other characters, so no lines could be cut.
    Utf16,
}

impl fmt::Display for BadEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadEncoding::Unknown(label) => {
                write!(f, "no such encoding: {label}; common ones: auto, {COMMON}")
            }
            BadEncoding::Utf16 => {
                f.write_str("UTF-16 cannot be used: its characters hold the bytes of line ends")
            }
        }
    }
}

impl std::error::Error for BadEncoding {}

impl FromStr for EncodingChoice {
    type Err = BadEncoding;

    fn from_str(label: &str) -> Result<EncodingChoice, BadEncoding> {
        if label.eq_ignore_ascii_case("auto") {
            return Ok(EncodingChoice::Auto);
        }
        match Encoding::for_label(label.as_bytes()) {
            Some(encoding) if encoding == UTF_16LE || encoding == UTF_16BE => {
                Err(BadEncoding::Utf16)
            }
            // The standard's name for encodings that are too dangerous to decode at all.
            Some(encoding) if encoding != REPLACEMENT => Ok(EncodingChoice::Fixed(encoding)),
            _ => Err(BadEncoding::Unknown(label.to_owned())),
        }
    }
}

impl fmt::Display for EncodingChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodingChoice::Auto => f.write_str("auto"),
            EncodingChoice::Fixed(encoding) => f.write_str(&encoding.name().to_lowercase()),
        }
    }
}

/// What one client's bytes mean, as far as it is known by now.
pub(crate) struct Script {
    choice: EncodingChoice,
    encoding: &'static Encoding,
}

impl Script {
    pub(crate) fn new(choice: EncodingChoice) -> Script {
        let encoding = match choice {
            EncodingChoice::Auto => UTF_8,
            EncodingChoice::Fixed(encoding) => encoding,
        };
        Script { choice, encoding }
    }

    /// What the client is read and written in by now.
    pub(crate) fn encoding(&self) -> &'static Encoding {
        self.encoding
    }

    /// The line that these bytes mean, if anything printable is left of it. What cannot be decoded
    /// becomes U+FFFD.
    pub(crate) fn read(&mut self, raw: Vec<u8>) -> Option<Line> {
        let raw = if self.encoding == UTF_8 {
            match String::from_utf8(raw) {
                Ok(text) => return Line::from_string(text),
                Err(error) => error.into_bytes(),
            }
        } else {
            raw
        };
        if self.choice == EncodingChoice::Auto
            && self.encoding == UTF_8
            && GB18030.decode_without_bom_handling_and_without_replacement(&raw).is_some()
        {
            self.encoding = GB18030;
        }
        Line::new(&self.encoding.decode_without_bom_handling(&raw).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(label: &str) -> EncodingChoice {
        label.parse().unwrap()
    }

    fn written(label: &str, text: &str) -> Vec<u8> {
        let EncodingChoice::Fixed(encoding) = fixed(label) else {
            panic!("{label} is no encoding")
        };
        let mut bytes = b"before ".to_vec();
        write(encoding, text, &mut bytes);
        bytes.split_off(b"before ".len())
    }

    fn read(choice: EncodingChoice, raw: &[u8]) -> String {
        let line = Script::new(choice).read(raw.to_vec());
        line.map_or(String::new(), |line| line.as_str().to_owned())
    }

    #[test]
    fn labels_are_those_of_the_standard_and_those_that_cannot_work_are_refused() {
        for (label, name) in [
            ("UTF8", "utf-8"),
            ("gb2312", "gbk"),
            ("latin1", "windows-1252"),
            ("sjis", "shift_jis"),
        ] {
            assert_eq!(fixed(label).to_string(), name);
        }
        assert_eq!(fixed("AUTO"), EncodingChoice::Auto);
        for label in ["utf-16", "utf-16le", "utf-16be", "unicode"] {
            assert_eq!(label.parse::<EncodingChoice>(), Err(BadEncoding::Utf16), "{label}");
        }
        for label in ["", "klingon", "iso-2022-kr", "replacement"] {
            let error = label.parse::<EncodingChoice>().unwrap_err();
            assert_eq!(error, BadEncoding::Unknown(label.to_owned()));
            assert!(error.to_string().contains("gb18030"), "{error}");
        }
    }

    #[test]
    fn what_an_encoding_has_no_character_for_becomes_a_question_mark() {
        for (label, text, bytes) in [
            ("utf-8", "你😀€", "你😀€".as_bytes()),
            ("gbk", "你好", b"\xc4\xe3\xba\xc3"),
            ("gbk", "a😀b", b"a?b"),
            ("gbk", "😀😀", b"??"),
            ("gbk", "€", b"\x80"),
            ("gb18030", "😀", b"\x94\x39\xfc\x36"),
            ("gb18030", "€", b"\xa2\xe3"),
            ("windows-1252", "é€你ÿ", b"\xe9\x80?\xff"),
            ("shift_jis", "日本é", b"\x93\xfa\x96\x7b?"),
            ("big5", "你é", b"\xa7\x41?"),
            ("iso-2022-jp", "a日b", b"a\x1b$BF|\x1b(Bb"),
            ("iso-2022-jp", "日😀本", b"\x1b$BF|\x1b(B?\x1b$BK\\\x1b(B"),
            ("koi8-r", "привет", b"\xd0\xd2\xc9\xd7\xc5\xd4"),
            ("gbk", "", b""),
        ] {
            assert_eq!(written(label, text), bytes, "{text} in {label}");
        }
        let long = "你".repeat(10_000);
        assert_eq!(written("gbk", &long), b"\xc4\xe3".repeat(10_000));
    }

    #[test]
    fn what_cannot_be_decoded_becomes_a_replacement_character() {
        for (label, raw, text) in [
            ("auto", &b"plain"[..], "plain"),
            ("auto", "你好😀".as_bytes(), "你好😀"),
            ("auto", b"\xc4\xe3\xba\xc3", "你好"),
            ("auto", b"\x94\x39\xfc\x36", "😀"),
            ("auto", b"caf\xe9", "caf\u{fffd}"),
            ("auto", b"\xff", "\u{fffd}"),
            ("utf-8", b"\xc4\xe3\xba\xc3", "\u{fffd}\u{fffd}\u{fffd}"),
            ("gbk", b"\xc4\xe3\xba", "你\u{fffd}"),
            ("gbk", b"a\x80", "a€"),
            ("windows-1252", b"caf\xe9\xff", "caféÿ"),
            ("windows-1252", b"\x1b\x9b", "›"),
            ("big5", b"\xa7\x41", "你"),
        ] {
            assert_eq!(read(fixed(label), raw), text, "{} in {label}", raw.escape_ascii());
        }
    }

    #[test]
    fn with_auto_a_client_stays_with_gb18030_once_it_has_sent_it() {
        let mut script = Script::new(EncodingChoice::Auto);
        let mut read = |raw: &[u8]| {
            let line = script.read(raw.to_vec()).unwrap();
            (line.as_str().to_owned(), script.encoding().name())
        };
        assert_eq!(read("é".as_bytes()), ("é".to_owned(), "UTF-8"));
        assert_eq!(read(b"caf\xe9"), ("caf\u{fffd}".to_owned(), "UTF-8"));
        assert_eq!(read(b"\xc4\xe3"), ("你".to_owned(), "gb18030"));
        assert_eq!(read("é".as_bytes()), ("茅".to_owned(), "gb18030"));
    }
}
