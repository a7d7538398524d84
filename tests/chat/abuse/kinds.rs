//! The kinds of abuse: what the abusers do until the abuse is over.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use super::abusers::{Script, Stage, perform, yield_to_others};

/// Bytes that are written at once of what is sent over and over.
const WRITE_BYTES: usize = 4 << 10;

/// Encodings that a client can choose, one label for each. They are all of the WHATWG encoding
/// standard but UTF-16, which no terminal speaks, and "replacement", which is none.
pub(super) const ENCODINGS: [&str; 37] = [
    "utf-8",
    "ibm866",
    "iso-8859-2",
    "iso-8859-3",
    "iso-8859-4",
    "iso-8859-5",
    "iso-8859-6",
    "iso-8859-7",
    "iso-8859-8",
    "iso-8859-8-i",
    "iso-8859-10",
    "iso-8859-13",
    "iso-8859-14",
    "iso-8859-15",
    "iso-8859-16",
    "koi8-r",
    "koi8-u",
    "macintosh",
    "windows-874",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "x-mac-cyrillic",
    "gbk",
    "gb18030",
    "big5",
    "euc-jp",
    "iso-2022-jp",
    "shift_jis",
    "euc-kr",
    "x-user-defined",
];

/// Text that is sent over and over, in writes that are not tiny.
fn refrain(text: impl AsRef<[u8]>) -> Vec<u8> {
    text.as_ref().repeat(WRITE_BYTES.div_ceil(text.as_ref().len()))
}

/// A search for eight words that nobody has said.
fn vain_search() -> Vec<u8> {
    let words: Vec<String> = (1..=8).map(|number| format!("absent{number}")).collect();
    format!("/find {}\n", words.join(" ")).into_bytes()
}

fn last_in(stage: &Stage, encoding: &str) {
    let opening = format!("/encoding {encoding}\n").into_bytes();
    perform(
        stage,
        [Script { opening, refrain: refrain("/last 10000\n"), reads: true, ..Script::default() }],
    );
}

pub(super) fn last_in_koi8_r(stage: &Stage) {
    last_in(stage, "koi8-r");
}

pub(super) fn last_in_big5(stage: &Stage) {
    last_in(stage, "big5");
}

/// Means no harm.
pub(super) fn last_once_in_latin1(stage: &Stage) {
    let opening = b"/encoding latin1\n/last 10000\n".to_vec();
    perform(stage, [Script { opening, reads: true, ..Script::default() }]);
}

pub(super) fn readers_in_all_encodings(stage: &Stage) {
    let mixed = "你好世界，Привет мир, Gruß aus Köln. ";
    let mixed = mixed.repeat(4090 / mixed.len()) + "\n";
    let talker = Script { refrain: mixed.into_bytes(), reads: true, ..Script::default() };
    let readers = ENCODINGS.iter().flat_map(|label| {
        let openings: [&[u8]; 3] = [b"", b"", b"\xff\xf1"];
        openings.into_iter().zip(["\n", "\r\n", "\r\n"]).map(move |(opening, line_end)| {
            let choice = format!("/encoding {label}{line_end}");
            let opening = [opening, choice.as_bytes()].concat();
            Script { opening, reads: true, ..Script::default() }
        })
    });
    perform(stage, readers.chain([talker.clone(), talker]));
}

fn last_thrice_unread(stage: &Stage, clients: usize) {
    let opening = b"/last 10000\n".repeat(3);
    perform(stage, vec![Script { opening, ..Script::default() }; clients]);
}

pub(super) fn five_hundred_ask_and_read_nothing(stage: &Stage) {
    last_thrice_unread(stage, 500);
}

pub(super) fn two_hundred_ask_and_read_nothing(stage: &Stage) {
    last_thrice_unread(stage, 200);
}

/// Each of 20 clients says this over and over, and reads.
fn twenty(refrain: Vec<u8>, bytewise: bool) -> Vec<Script> {
    vec![Script { refrain, reads: true, bytewise, ..Script::default() }; 20]
}

pub(super) fn twenty_find_in_loops(stage: &Stage) {
    perform(stage, twenty(refrain(vain_search()), false));
}

/// As twenty_find_in_loops, and one who looks for 1,360 words in each search.
pub(super) fn twenty_one_find_in_loops(stage: &Stage) {
    let mut scripts = twenty(refrain(vain_search()), false);
    scripts[0].refrain = format!("/find{}\n", many_words(1360)).into_bytes();
    scripts.push(scripts[1].clone());
    perform(stage, scripts);
}

/// So many different words of two letters, each after a blank; at most 26 times 26.
pub(super) fn many_words(words: usize) -> String {
    let letters = |number: usize| [number / 60, number % 60].map(|it| char::from(b'A' + it as u8));
    (0..words).flat_map(|number| [' '].into_iter().chain(letters(number))).collect()
}

/// Twenty who ask for a search of the whole file and hang up, every two seconds.
pub(super) fn twenty_find_and_hang_up(stage: &Stage) {
    yield_to_others();
    while !stage.is_over() {
        find_and_hang_up(stage, 20);
        stage.pauses(Duration::from_secs(2));
    }
}

/// Lets so many clients ask for a search of the whole file, and closes their connections.
pub(super) fn find_and_hang_up(stage: &Stage, clients: usize) {
    let mut finders: Vec<_> = (0..clients).filter_map(|_| stage.connect_hasty()).collect();
    for finder in &mut finders {
        // The program may have stopped.
        let _ = finder.write_all(&vain_search());
    }
}

pub(super) fn fifty_ask_for_a_held_name(stage: &Stage) {
    let refrain = refrain("/name carol\n");
    perform(stage, vec![Script { refrain, reads: true, ..Script::default() }; 50]);
}

pub(super) fn fifty_ask_who_is_here(stage: &Stage) {
    let refrain = refrain("/who\n");
    perform(stage, vec![Script { refrain, reads: true, ..Script::default() }; 50]);
}

pub(super) fn empty_lines(stage: &Stage) {
    perform(stage, twenty(b"\n".repeat(64 << 10), false));
}

pub(super) fn empty_lines_bytewise(stage: &Stage) {
    perform(stage, twenty(b"\n".to_vec(), true));
}

pub(super) fn telnet_nops(stage: &Stage) {
    perform(stage, twenty(b"\xff\xf1".repeat(32 << 10), false));
}

pub(super) fn endless_lines(stage: &Stage) {
    perform(stage, twenty(vec![b'x'; 64 << 10], false));
}

/// Each begins a sub-negotiation of telnet that goes on without an end.
pub(super) fn unfinished_subnegotiations(stage: &Stage) {
    let mut scripts = twenty(vec![b'x'; 64 << 10], false);
    scripts.iter_mut().for_each(|script| script.opening = b"\xff\xfa\x18".to_vec());
    scripts[..10].iter_mut().for_each(|script| script.refrain = refrain(b"\xff\xfa\x18abc"));
    perform(stage, scripts);
}

/// Lines of which nothing is left.
pub(super) fn control_characters(stage: &Stage) {
    perform(stage, twenty(refrain([&[7; 30][..], b"\n"].concat()), false));
}

fn ask_for_everything(stage: &Stage, reads: bool) {
    let scripts = (0..100).map(|number| {
        let questions: [&[u8]; 6] = [
            b"/last 10000\n",
            &vain_search(),
            b"/who\n",
            b"/name alice\n",
            b"/help\n",
            b"/nonsense\n",
        ];
        let (before, after) = questions.split_at(number % questions.len());
        let refrain = refrain([after.concat(), before.concat()].concat());
        Script { refrain, reads, ..Script::default() }
    });
    perform(stage, scripts);
}

pub(super) fn everything_unread(stage: &Stage) {
    ask_for_everything(stage, false);
}

pub(super) fn everything_read(stage: &Stage) {
    ask_for_everything(stage, true);
}

/// Connections that end at once, in turn with an end and with a reset, so that the ports last.
pub(super) fn connect_and_close(stage: &Stage) {
    yield_to_others();
    for number in 0_u32.. {
        if stage.is_over() {
            return;
        }
        match stage.connect_hasty() {
            Some(stream) if number % 4 > 0 => resets(&stream),
            Some(_) => {}
            None => stage.pauses(Duration::from_millis(10)),
        }
    }
}

/// Floods and resets, and comes again.
pub(super) fn flood_and_reset(stage: &Stage) {
    yield_to_others();
    while !stage.is_over() {
        flood_once_and_reset(stage);
    }
}

/// Sends lines for a second, a megabyte at the most, and resets.
pub(super) fn flood_once_and_reset(stage: &Stage) {
    let Some(mut stream) = stage.connect_hasty() else {
        return stage.pauses(Duration::from_millis(100));
    };
    let lines = b"flood\n".repeat((1 << 20) / 6);
    let (begun, mut left) = (Instant::now(), &lines[..]);
    while begun.elapsed() < Duration::from_secs(1) && !stage.is_over() {
        left = &left[stream.write(left).unwrap_or(0)..];
        // What comes is of no interest to it, but shall not keep the server from reading.
        let _ = stream.read(&mut [0; 4096]);
    }
    resets(&stream);
}

fn resets(stream: &std::net::TcpStream) {
    sockopt::set_socket_linger(stream, Some(Duration::ZERO)).expect("an open socket");
}
