//! Names: what a client may call itself, and when two names are the same to a reader's eye.
//!
//! Once a [`Name`] exists nobody checks it again. Whether it is free is the table's business.

mod look;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton;

use crate::limits::NAME_CHARS_MAX;

/// Names that nobody may bear, whatever `_` and `-` are put around them: the server speaks so.
const RESERVED: [&str; 3] = ["server", "system", "console"];

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

    /// The keys without hyphens, underscores and what looks like them at either end.
    fn trimmed(&self) -> Keys {
        // The prolonged sound mark of Japanese is the skeleton of every long dash that is a letter.
        let trim = |key: &str| {
            let is_line = |character: char| !character.is_alphanumeric() || character == 'ー';
            key.trim_matches(is_line).to_owned()
        };
        Keys { folded: trim(&self.folded), drawn: trim(&self.drawn) }
    }

    fn are_reserved(&self) -> bool {
        let trimmed = self.trimmed();
        RESERVED.iter().any(|reserved| trimmed.clash(&Keys::of(reserved)))
    }

    fn look_like_address(&self) -> bool {
        [&self.folded, &self.drawn].into_iter().any(|key| looks_like_address(&with_digits(key)))
    }
}

/// Why a name is refused; the text is for the client who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadName {
    Empty,
    TooLong { chars: usize },
    Char,
    NoLetter,
    LikePunctuation,
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
            BadName::NoLetter => f.write_str("a name holds at least one letter or digit"),
            BadName::LikePunctuation => f.write_str("a name may not look like punctuation"),
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
    /// `_` and `-`, none that is seen as a letter or digit, letters that pass for punctuation, a
    /// name of the server, or an address.
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
        let keys = Keys::of(&shown);
        if looks_like_address(&shown) || keys.look_like_address() {
            return Err(BadName::LikeAddress);
        }
        check_characters(&shown)?;
        let chars = shown.chars().count();
        if chars > NAME_CHARS_MAX {
            return Err(BadName::TooLong { chars });
        }
        if keys.are_reserved() {
            return Err(BadName::Reserved);
        }
        Ok(Name { shown, keys })
    }

    /// The name as everybody sees it.
    pub(crate) fn as_str(&self) -> &str {
        &self.shown
    }

    /// The key of the name whose case is folded before its look.
    pub(crate) fn folded(&self) -> &str {
        &self.keys.folded
    }

    /// The key of the name whose look is folded before its case.
    pub(crate) fn drawn(&self) -> &str {
        &self.keys.drawn
    }

    /// True when a reader could take one for the other: the names agree in either key.
    #[cfg(test)]
    pub(crate) fn clashes(&self, other: &Name) -> bool {
        self.keys.clash(&other.keys)
    }
}

/// Checks that the characters of a name in NFKC form are letters, digits, `_` and `-`, each seen as
/// what it is. A mark needs a letter or digit that it is written with.
fn check_characters(shown: &str) -> Result<(), BadName> {
    let mut base = None;
    for character in shown.chars() {
        let is_mark = is_combining_mark(character);
        let fits = if is_mark {
            base.is_some_and(|base| look::takes_mark(base, character))
        } else {
            look::is_letter_or_digit(character) || matches!(character, '_' | '-')
        };
        if !fits || look::is_invisible(character) {
            return Err(BadName::Char);
        }
        if !is_mark {
            base = look::is_letter_or_digit(character).then_some(character);
        }
    }
    let is_seen =
        |character| look::is_letter_or_digit(character) && !look::is_like_punctuation(character);
    if !shown.chars().any(is_seen) {
        return Err(BadName::NoLetter);
    }
    if shown.split(['_', '-']).any(look::misleads) {
        return Err(BadName::LikePunctuation);
    }
    Ok(())
}

/// The skeleton with its digits again: UTS 39 draws 0 as O and 1 as l, and leaves the other digits,
/// the hexadecimal letters, and `:`, `.`, `[` and `]` as they are. (`%`, which it takes apart, is
/// like no letter.)
fn with_digits(skeleton: &str) -> String {
    let digit = |character| match character {
        'O' | 'o' => '0',
        'l' => '1',
        other => other,
    };
    skeleton.chars().map(digit).collect()
}

/// True for an address as it is, and for an IPv4 one with other separators (`127-0-0-1`).
fn looks_like_address(text: &str) -> bool {
    let groups: Vec<&str> = text.split(|it: char| !it.is_alphanumeric()).collect();
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
    fn letters_that_look_like_punctuation_make_names_among_letters_of_their_script() {
        for text in [
            "ノブ",
            "マサノリ",
            "ノブ_taro",
            "く",
            "Kaʻiulani",
            "Марʼяна",
            "一",
            "丨",
            "一丿",
            "יוסי",
            "ǃXóõ",
            "रामः",
            "ᐳᓪᓚ",
            "ᚲᚨᛏ",
            "ꓥꓡꓲꓢꓴꓽ",
            "ธนะ",
            "ນະ",
            "أحمد١٠",
            "١٠",
            "علی۲۰۰۰",
            "user٢٠٢٤",
            "សុខះ",
            "មុំ",
            "မောင်",
            "தமிழ்",
            "ð",
            "Fəridə",
            "ㄑ",
            "-rf",
        ] {
            assert_eq!(name(text).as_str(), text);
        }
        assert_eq!(name("น้ำ").as_str(), "น้\u{e4d}า", "NFKC takes this vowel apart");
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
            "a_\u{301}",
            // Marks alone, among them those that Unicode calls alphabetic.
            "\u{345}",
            "\u{5b0}",
            "ำ",
            // Signs of one script on a letter of another.
            "aliceः",
            "aliceះ",
            "aliceး",
            // Blanks.
            "\u{13441}",
            "\u{13442}a",
            "\u{16fe4}",
            "a\u{16fe4}",
            "\u{1160}",
            "\u{ffa0}",
            "🅐🅑",
            "🅰lice",
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
    fn what_is_seen_as_punctuation_alone_is_no_name() {
        for text in ["-", "--", "_", "_-", "ǃǃǃ", "ːːː", "ʼ", "ノ", "-丶_", "٠٠٠", "ᕯ", "ـ", "ˑ"]
        {
            assert_eq!(Name::parse(text).unwrap_err(), BadName::NoLetter, "{text:?}");
        }
    }

    #[test]
    fn what_looks_like_a_mark_of_the_wire_among_foreign_letters_is_no_name() {
        for text in [
            "aliceː",
            "serverː",
            "Иванː",
            "aliceꓽ",
            "ꓮꓡꓲꓚꓰꓽ",
            "ꓮꓡꓲꓚꓰꓽꓥ",
            "ꓥ_ꓮꓡꓲꓚꓰꓽ",
            "alice٠",
            "alice۰bob",
            "ᕯalice",
            "aliceᐳ",
            "ᐳalice",
            "aliceᚲ",
            "aliceะ",
            "a\u{1d16d}",
        ] {
            assert_eq!(Name::parse(text).unwrap_err(), BadName::LikePunctuation, "{text:?}");
        }
    }

    #[test]
    fn the_servers_names_are_reserved_however_they_are_spelt() {
        for text in [
            "server",
            "SERVER",
            "ѕerver",
            "ｓｅｒｖｅｒ",
            "sеrvеr",
            "server_",
            "-server-",
            "__system",
            "SYSTEM",
            "sуstem",
            "Console",
            "c0nsole",
            "conso1e-",
            "ーserver",
            "_ᅳserver",
            "serverʼ",
        ] {
            assert_eq!(Name::parse(text).unwrap_err(), BadName::Reserved, "{text:?}");
        }
        for text in ["serverless", "observer", "server2", "my-server", "systems", "consoles"] {
            name(text);
        }
    }

    #[test]
    fn what_looks_like_an_address_is_reserved() {
        for text in [
            "127.0.0.1",
            "127.0.0.1:52314",
            "::1",
            "[::1]:99",
            "127-0-0-1",
            "10_0_0_1_9999",
            "１.2.3.4",
            "127ꓸ0ꓸ0ꓸ1ꓽ54590",
            "l27-O-O-l",
            "127ꓹ0ꓹ0ꓹ1",
            "127ノ0ノ0ノ1",
            "127ᐧ0ᐧ0ᐧ1",
            "Ƽ6-7-8-9",
            "2001ꓽdb8ꓽꓽ1",
            "fe80ꓽꓽО",
        ] {
            assert_eq!(Name::parse(text).unwrap_err(), BadName::LikeAddress, "{text:?}");
        }
        for text in ["2026-11-22", "a-b-c-d", "cafe--bad", "lol-lol", "1-2-3-go"] {
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
            let agree = [name(one), name(two)];
            let [one, two] = &agree;
            assert!(one.folded() == two.folded() || one.drawn() == two.drawn());
        }
        for (one, two) in [("alice", "bob"), ("anna", "ann"), ("jan", "ian")] {
            assert!(!name(one).clashes(&name(two)), "{one} and {two}");
        }
    }
}
