//! What is there before the abuse: a history, an idle crowd, a transcript.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use crate::harness::*;

/// Clients that are idle while names and lists are asked for.
pub(super) const IDLE_CLIENTS: usize = 8000;

/// Lines that the server's default rate lets a client say at once, with a little left: 50 seconds
/// of 20 lines, where each started 256 bytes count as a line.
const BURST_LINES: usize = 900;

/// Bytes of a transcript that takes long to search.
pub(super) const LARGE_BYTES: usize = 256 << 20;

/// Bytes of a transcript that are alike.
const BLOCK_BYTES: usize = 1 << 20;

/// Lets visitors say so many lines before the abuse, each of them as many as it may say at once.
fn fill(venue: &impl Venue, lines: usize, text: &str) {
    let lines_each = BURST_LINES / text.len().div_ceil(256);
    let mut left = lines;
    for number in 0.. {
        let some = left.min(lines_each);
        if some == 0 {
            return;
        }
        // Visitors come from several hosts, as if no host had said too much.
        let host = [127, 0, 2, u8::try_from(number % 250 + 1).expect("a byte")];
        let mut visitor = venue.connect_from(host);
        visitor.sends(format!("{text}\n").repeat(some).as_bytes());
        visitor.says("/quit");
        visitor.is_cut_off();
        left -= some;
    }
}

/// Nothing is there before.
pub(super) fn nothing(_: &Program) -> Vec<Client> {
    Vec::new()
}

pub(super) fn chinese_history(program: &Program) -> Vec<Client> {
    fill(program, 950, &"好".repeat(1360));
    Vec::new()
}

pub(super) fn history_of_a_letter_beyond_big5(program: &Program) -> Vec<Client> {
    fill(program, 950, &"\u{18b}".repeat(2000));
    Vec::new()
}

/// As many lines as the server keeps in memory.
pub(super) fn whole_history(program: &Program) -> Vec<Client> {
    fill(program, 10_000, &format!("history {}", "lorem ipsum ".repeat(8)));
    Vec::new()
}

/// As whole_history, with lines that are so long that they come near to what is kept.
pub(super) fn whole_history_of_long_lines(program: &Program) -> Vec<Client> {
    fill(program, 10_000, &"x".repeat(1500));
    Vec::new()
}

/// An idle crowd, and carol, who holds a name and comes from the same host as the abusers.
pub(super) fn idle_crowd(program: &Program) -> Vec<Client> {
    let mut crowd = greeted(program, IDLE_CLIENTS);
    let mut carol = program.connect();
    carol.says("/name carol");
    carol.hears_until_end_of(" is now carol");
    crowd.push(carol);
    crowd
}

/// So many clients that have been greeted and read nothing more.
fn greeted(venue: &impl Venue, clients: usize) -> Vec<Client> {
    const AT_ONCE: usize = 200;
    let mut crowd = Vec::with_capacity(clients);
    while crowd.len() < clients {
        let mut some: Vec<Client> =
            (0..AT_ONCE.min(clients - crowd.len())).map(|_| venue.connect()).collect();
        some.iter_mut().for_each(|client| client.says(""));
        some.iter_mut().for_each(|client| assert!(client.line().starts_with("*** welcome")));
        crowd.append(&mut some);
    }
    crowd
}

/// Writes a transcript of so many bytes: each megabyte but the last eight holds 20 lines with the
/// word `needle`.
pub(super) fn write_transcript(path: &Path, bytes: usize) {
    let line = |text: &str| format!("2026-11-22T10:32:07+08:00 alice: {text} {}\n", "y".repeat(60));
    let hay = line("hay").repeat(BLOCK_BYTES / line("hay").len());
    let needles = line("needle").repeat(20) + &hay;
    let mut file = File::create(path).expect("a new file");
    let blocks = bytes / BLOCK_BYTES;
    for block in 0..blocks {
        let text = if block + 8 < blocks { &needles } else { &hay };
        file.write_all(text.as_bytes()).expect("space on the disk");
    }
}
