//! What a reader takes a character for: which letters look like punctuation, and which show nothing.
//!
//! The look of a character is its skeleton in
//! [Unicode UTS 39](https://www.unicode.org/reports/tr39/#Confusable_Detection).

use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript as _};
use unicode_security::confusable_detection::skeleton;

/// What the wire marks its lines with: the stamp, the colon after a name, the asterisks of the
/// server and of actions, the dots of an address, and the prompt.
const WIRE: [char; 7] = [':', '.', '*', '[', ']', '<', '>'];

/// Vowels of Thai and Lao that are drawn like a colon; the confusables of UTS 39 leave them out.
const COLON_VOWELS: [char; 2] = ['\u{e30}', '\u{eb0}'];

/// True for general categories L and N: `char::is_alphanumeric` also takes some marks, and symbols
/// that hold a letter (🅐).
pub(super) fn is_letter_or_digit(character: char) -> bool {
    let is_symbol = matches!(character, '\u{1f130}'..='\u{1f189}');
    character.is_alphanumeric() && !is_combining_mark(character) && !is_symbol
}

/// True for letters and marks that show nothing: a name of them would look empty, and a name with
/// one would look like the name without it.
///
/// These are the letters and marks among the default ignorable code points of DerivedCoreProperties,
/// the filler of the Khitan small script, and the blanks of the Egyptian hieroglyphs.
pub(super) fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{13441}' | '\u{13442}'
            | '\u{16fe4}' | '\u{e0100}'..='\u{e01ef}'
    )
}

/// True if `mark` is written with `base`. The vowels and signs of one script on a letter of another
/// spell nothing, but some look like punctuation: the visarga of Khmer makes `aliceះ` of `alice`.
pub(super) fn takes_mark(base: char, mark: char) -> bool {
    is_of_any_script(mark)
        || !base.script_extension().intersection(mark.script_extension()).is_empty()
}

/// True if a reader sees nothing but punctuation in `character`: `ǃ`, `ː`, `ʼ`, `ノ`.
pub(super) fn is_like_punctuation(character: char) -> bool {
    look(character)
        .all(|seen| seen.is_ascii_punctuation() || seen == '·' || is_combining_mark(seen))
}

/// True if `word` holds a letter or mark that a reader would take for punctuation of the wire.
///
/// Scripts have such letters: the visarga of Devanagari and the tones of Lisu look like colons, the
/// Arabic zero like a dot, the Inuktitut pu like `>`. To refuse them all would take their names from
/// those who write so. Within its own script a reader knows the letter for what it is, while `aliceː`
/// or a Lisu word that spells ALICE and a colon is meant to deceive. So such a letter may stand only
/// where the nearest other letter of the word before it (after it, at the beginning of the word) is
/// of its own script, and where one of those letters looks like no ASCII character, for the word may
/// not be readable as ASCII as a whole. Digits need only the first: no name is spelled with them. A
/// letter of no particular script (`ː`) is therefore always refused. The price is paid by Lisu names
/// with a tone whose letters all look Latin.
///
/// Letters that look like other punctuation (ノ like a slash, ʻ and ʼ like apostrophes, ǃ) mean
/// nothing on the wire and need no rule here.
pub(super) fn misleads(word: &str) -> bool {
    let word: Vec<char> = word.chars().collect();
    let mut places = (0..word.len()).filter(|place| is_like_wire(word[*place]));
    places.any(|place| !is_among_its_own(&word, place))
}

fn is_among_its_own(word: &[char], place: usize) -> bool {
    let character = word[place];
    let is_plain = |other: &char| !is_combining_mark(*other) && !is_like_wire(*other);
    let is_own = |other: char| {
        let common = other.script_extension().intersection(character.script_extension());
        !common.is_empty() && !is_of_any_script(other)
    };
    let mut others: Vec<char> = word[..place].iter().rev().copied().filter(is_plain).collect();
    if others.is_empty() {
        others = word[place..].iter().copied().filter(is_plain).collect();
    }
    let nearest_is_own = others.first().is_some_and(|nearest| is_own(*nearest));
    let is_known = |other: &char| is_own(*other) && !look(*other).all(|seen| seen.is_ascii());
    let is_at_home = !is_of_any_script(character) && nearest_is_own;
    is_at_home && (character.is_numeric() || others.iter().any(is_known))
}

fn is_like_wire(character: char) -> bool {
    COLON_VOWELS.contains(&character) || look(character).any(|seen| WIRE.contains(&seen))
}

/// True if `character` is used with more scripts than can be listed.
fn is_of_any_script(character: char) -> bool {
    let scripts = character.script_extension();
    scripts.is_common() || scripts.is_inherited() || character.script() == Script::Inherited
}

/// What a reader sees in `character`.
fn look(character: char) -> impl Iterator<Item = char> {
    skeleton(character.encode_utf8(&mut [0; 4])).collect::<Vec<_>>().into_iter()
}
