//! What of that which arrives may be shown?
//!
//! Cuts what the server sends into lines of bounded length and removes from them whatever could
//! do more than print: a hostile server, or one that passes on what a hostile client said, must
//! not move the cursor, clear the screen or make one line look like two. Knows no terminal.

use std::io::{self, BufRead, Read};

/// The longest line that is shown whole, in bytes with its end, several times the server's own
/// limit; a longer one is shown in pieces, so that an endless line cannot fill the memory.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// The next line that is safe to show, without its end; `None` once the server has sent its last.
pub(crate) fn next_line(from_server: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    // Taken from a reference to the reader, which keeps what stands beyond this line.
    let mut bounded = from_server.by_ref().take(LINE_BYTES_MAX);
    if bounded.read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    Ok(Some(clean(&String::from_utf8_lossy(&bytes))))
}

fn clean(text: &str) -> String {
    text.chars().filter(|&c| is_harmless(c)).collect()
}

fn is_harmless(c: char) -> bool {
    match c {
        '\t' => true,
        // Line and paragraph separators.
        '\u{2028}' | '\u{2029}' => false,
        // Marks, overrides and isolates that turn the direction of writing.
        '\u{061c}' | '\u{200e}' | '\u{200f}' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        // The byte-order mark, annotations and tags: invisible, and so good only for deceit.
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => false,
        _ => !c.is_control(),
    }
}
