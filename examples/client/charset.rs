//! Which encoding does the terminal speak?
//!
//! On the wire the client always speaks UTF-8; only what a person types and sees is converted.
//! So the server need not guess, and clients in different encodings understand each other.

use encoding_rs::{Encoding, UTF_8};
use std::env;

/// The encoding of the terminal, or of the pipes that stand in for it.
#[derive(Clone, Copy)]
pub(crate) struct Charset(&'static Encoding);

impl Charset {
    /// The charmap of the locale: `zh_CN.GBK` names GBK. UTF-8 where none is named, or an unknown one.
    pub(crate) fn of_locale() -> Charset {
        // The first that is set and not empty decides (POSIX, Base Definitions, section 8.2).
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(|variable| env::var(variable).ok())
            .find(|locale| !locale.is_empty())
            .unwrap_or_default();
        // language_TERRITORY.charmap@modifier
        let without_modifier = locale.split('@').next().unwrap_or_default();
        let charmap = without_modifier.split_once('.').map_or("", |(_, charmap)| charmap);
        Charset(Encoding::for_label(charmap.as_bytes()).unwrap_or(UTF_8))
    }

    /// Whether nothing needs to be converted.
    pub(crate) fn is_utf8(self) -> bool {
        self.0 == UTF_8
    }

    /// The text that `bytes` stand for, with U+FFFD for what is no text.
    pub(crate) fn decode(self, bytes: &[u8]) -> String {
        self.0.decode_without_bom_handling(bytes).0.into_owned()
    }

    /// The bytes that stand for `text`, with `?` for each character that the encoding lacks.
    pub(crate) fn encode(self, text: &str) -> Vec<u8> {
        let (bytes, _, lacks_some) = self.0.encode(text);
        if !lacks_some {
            return bytes.into_owned();
        }
        // `encode` would write a character that it lacks as `&#…;`, which people cannot read.
        text.chars()
            .flat_map(|c| match self.0.encode(c.encode_utf8(&mut [0; 4])) {
                (_, _, true) => vec![b'?'],
                (bytes, _, false) => bytes.into_owned(),
            })
            .collect()
    }
}
