//! Names: what a client may call itself, and when two names are the same to a reader's eye.
//!
//! Once a [`Name`] exists nobody checks it again. Whether it is free is the table's business.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton;

use crate::limits::NAME_CHARS_MAX;

/// A name fit to be shown, with the keys that tell whether another looks the same.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    shown: String,
    keys: Keys,
}

/// Two foldings of one name; names clash when they agree in either.
///
/// Case before look-alikes makes ALICE and alice one, look-alikes before case makes AIice (with a
/// capital I) and Alice one; neither order does both. The skeleton is that of
/// [Unicode UTS 39](https://www.unicode.org/reports/tr39/#Confusable_Detection). Never shown.
#[derive(Clone, Debug)]
struct Keys {
    folded: String,
    drawn: String,
}

impl Keys {
    fn of(normal: &str) -> Keys {
        let lower = normal.to_lowercase();
        let drawn: String = skeleton(normal).collect();
        Keys { folded: skeleton(&lower).collect(), drawn: drawn.to_lowercase() }
    }

    fn clash(&self, other: &Keys) -> bool {
        self.folded == other.folded || self.drawn == other.drawn
    }
}

/// Why a name is refused; the text is for the client who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadName {
    Empty,
    TooLong { chars: usize },
    Char,
    Reserved,
    LikeAddress,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadName::Empty => f.write_str("say which name: /name NAME"),
            BadName::TooLong { chars } => {
                write!(f, "a name has at most {NAME_CHARS_MAX} characters, not {chars}")
            }
            BadName::Char => f.write_str("a name is made of letters, digits, _ and -"),
            BadName::Reserved => f.write_str("that name is the server's"),
            BadName::LikeAddress => f.write_str("a name may not look like an address"),
        }
    }
}

impl Name {
    /// The name that `text` asks for, in its NFKC form.
    ///
    /// # Errors
    /// [`BadName`]: empty, longer than [`NAME_CHARS_MAX`], other characters than letters, digits,
    /// `_` and `-`, the server's own name, or an address.
    pub(crate) fn parse(text: &str) -> Result<Name, BadName> {
        // One character can become 18 in NFKC, so what is far too long is not normalised first.
        let chars = text.chars().count();
        if chars > 4 * NAME_CHARS_MAX {
            return Err(BadName::TooLong { chars });
        }
        let shown: String = text.nfkc().collect();
        if shown.is_empty() {
            return Err(BadName::Empty);
        }
        if looks_like_address(&shown) {
            return Err(BadName::LikeAddress);
        }
        let mut before_mark = false;
        for character in shown.chars() {
            let mark = is_combining_mark(character);
            let fits = character.is_alphanumeric()
                || matches!(character, '_' | '-')
                || (mark && before_mark);
            if !fits || is_invisible(character) {
                return Err(BadName::Char);
            }
            before_mark = character.is_alphanumeric() || mark;
        }
        let chars = shown.chars().count();
        if chars > NAME_CHARS_MAX {
            return Err(BadName::TooLong { chars });
        }
        let keys = Keys::of(&shown);
        if keys.clash(&Keys::of("server")) {
            return Err(BadName::Reserved);
        }
        if looks_like_address(&keys.folded) || looks_like_address(&keys.drawn) {
            return Err(BadName::LikeAddress);
        }
        Ok(Name { shown, keys })
    }

    /// The name as everybody sees it.
    pub(crate) fn as_str(&self) -> &str {
        &self.shown
    }

    /// True when a reader could take one for the other.
    pub(crate) fn clashes(&self, other: &Name) -> bool {
        self.keys.clash(&other.keys)
    }
}

/// Letters and marks that show nothing: a name of them would look empty.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}'
    )
}

/// True for an address as it is, and for an IPv4 one with other separators (`127-0-0-1`).
fn looks_like_address(text: &str) -> bool {
    let groups: Vec<&str> = text.split(['.', '-', '_', ':']).collect();
    let dotted = groups.len() >= 4
        && groups.iter().all(|group| {
            (1..=5).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_digit())
        });
    dotted || text.parse::<SocketAddr>().is_ok() || text.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap_or_else(|why| panic!("{text:?}: {why}"))
    }

    #[test]
    fn letters_and_digits_of_any_script_make_names() {
        for text in ["alice", "Ærøskøbing", "小明", "हिन्दी", "أحمد", "under_score-7", "42", "a"]
        {
            assert_eq!(name(text).as_str(), text);
        }
        assert_eq!(name("ａｌｉｃｅ").as_str(), "alice", "full-width letters are normalised");
        assert_eq!(name("e\u{301}").as_str(), "é");
    }

    #[test]
    fn a_name_has_1_to_24_characters() {
        assert_eq!(Name::parse("").unwrap_err(), BadName::Empty);
        assert!(Name::parse(&"x".repeat(23)).is_ok());
        assert!(Name::parse(&"é".repeat(24)).is_ok(), "characters are counted, not bytes");
        assert_eq!(Name::parse(&"x".repeat(25)).unwrap_err(), BadName::TooLong { chars: 25 });
        let huge = "x".repeat(1 << 20);
        assert_eq!(Name::parse(&huge).unwrap_err(), BadName::TooLong { chars: 1 << 20 });
    }

    #[test]
    fn what_could_mislead_a_reader_is_no_name() {
        for text in [
            " ",
            "a b",
            "*",
            "***",
            "a:",
            "[x]",
            "a\u{200b}b",
            "a\u{200d}b",
            "\u{202e}a",
            "\u{3164}",
            "a\u{fe0f}",
            "\u{301}a",
            "-\u{301}",
            "\u{1b}[2J",
            "a\tb",
            "😀",
            "a/b",
            ">",
        ] {
            assert_eq!(Name::parse(text).unwrap_err(), BadName::Char, "{text:?}");
        }
    }

    #[test]
    fn the_servers_name_and_addresses_are_reserved() {
        for text in ["server", "SERVER", "ѕerver", "ｓｅｒｖｅｒ", "sеrvеr"] {
            assert_eq!(Name::parse(text).unwrap_err(), BadName::Reserved, "{text:?}");
        }
        for text in [
            "127.0.0.1",
            "127.0.0.1:52314",
            "::1",
            "[::1]:99",
            "127-0-0-1",
            "10_0_0_1_9999",
            "１.2.3.4",
        ] {
            assert_eq!(Name::parse(text).unwrap_err(), BadName::LikeAddress, "{text:?}");
        }
        for text in ["serverless", "observer", "2026-11-22", "a-b-c-d", "cafe--bad"] {
            name(text);
        }
    }

    #[test]
    fn names_that_look_alike_clash() {
        for (one, two) in [
            ("alice", "ALICE"),
            ("alice", "аlice"),
            ("Alice", "AIice"),
            ("alice", "ａlice"),
            ("ΑLICE", "alice"),
            ("straße", "STRAßE"),
            ("0scar", "Oscar"),
        ] {
            assert!(name(one).clashes(&name(two)), "{one} and {two}");
            assert!(name(two).clashes(&name(one)), "{two} and {one}");
        }
        for (one, two) in [("alice", "bob"), ("anna", "ann"), ("jan", "ian")] {
            assert!(!name(one).clashes(&name(two)), "{one} and {two}");
        }
    }
}
