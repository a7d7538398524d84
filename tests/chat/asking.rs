//! What is asked for: an answer of many lines lets live talk pass between its lines, a search takes
//! few words, a client that does not read its answers gets no more of them, and all of it has a pace.

use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use chat_server::Config;

use super::harness::*;

/// What an answer of many lines ends with.
const END: &str = "*** end";

/// What a client is told that looks for more words at once.
const TOO_MANY_WORDS: &str = "at most 8 words can be looked for at once";

/// What a search says, before the words, that has found no line.
const NOTHING_FOUND: &str = "*** nothing found: ";

/// What the line says, in some place, that tells of answers which were not given.
const LEFT_OUT: &str = "left out";

/// What may wait for a client that reads none of its answers: one slice, and what is being sent.
const WAITING_MAX: usize = 128 << 10;

/// What an answer of that many lines begins with.
fn begin(lines: usize) -> String {
    format!("*** the last {lines} lines:")
}

/// A room whose history is read back with `/last`, and a client that has said and heard these lines.
fn room_after(lines: &[String]) -> (Room, Client) {
    room_with(Config { history_lines: 1, ..config() }, lines)
}

/// As [`room_after`], with a configuration of its own.
fn room_with(config: Config, lines: &[String]) -> (Room, Client) {
    let room = Room::with(config);
    let [mut alice] = room.people(["alice"]);
    for some in lines.chunks(500) {
        alice.sends((some.join("\n") + "\n").as_bytes());
        some.iter().for_each(|line| alice.hears(&format!("alice: {line}")));
    }
    (room, alice)
}

/// So many lines of about so many bytes, which can be told apart.
fn numbered(lines: usize, bytes: usize) -> Vec<String> {
    (1..=lines).map(|number| format!("{number} {}", "x".repeat(bytes))).collect()
}

/// The answers of the client, up to the one to a command that does not exist.
#[track_caller]
fn answers(client: &mut Client, questions: &str) -> Vec<String> {
    client.says(questions);
    client.says("/fence");
    let mut answers = Vec::new();
    loop {
        let line = client.line();
        if line.starts_with("*** no such command: /fence") {
            return answers;
        }
        answers.push(line);
    }
}

#[test]
fn live_lines_pass_between_the_lines_of_a_long_answer_and_never_within_one() {
    const LINES: usize = 3000;
    const LIVE: usize = 20;
    let said = numbered(LINES, 100);
    let (room, mut alice) = room_after(&said);
    let mut slow = room.connect_narrow().joined();
    alice.hears_until_end_of(" joined (2 here)");
    slow.says(&format!("/last {LINES}"));
    assert_eq!(slow.line(), begin(LINES));
    for number in 1..=LIVE {
        alice.says(&format!("live {number}"));
        alice.hears(&format!("alice: live {number}"));
    }
    let mut answer = Vec::new();
    loop {
        let line = slow.line();
        if line == END {
            break;
        }
        answer.push(unstamped(&line).expect(&line).to_owned());
    }
    let is_live = |line: &String| line.starts_with("alice: live ");
    let (live, answer): (Vec<String>, Vec<String>) = answer.into_iter().partition(is_live);
    assert!(!live.is_empty(), "no line of the talk has passed between those of the answer");
    assert!(live.iter().zip(1..).all(|(line, number)| *line == format!("alice: live {number}")));
    assert_eq!(answer.len(), LINES);
    assert!(answer.iter().zip(&said).all(|(line, said)| line[..] == format!("alice: {said}")));
}

#[test]
fn a_short_answer_has_no_line_before_it_and_none_after_it() {
    let (_room, mut alice) = room_after(&numbered(5, 10));
    let answer = answers(&mut alice, "/last 3");
    let answer: Vec<&str> = answer.iter().map(|line| unstamped(line).expect(line)).collect();
    let last = [3, 4, 5].map(|number| format!("alice: {number} xxxxxxxxxx"));
    assert_eq!(answer, last);
}

#[test]
fn a_search_takes_eight_different_words_and_refuses_more() {
    let (_room, mut alice) = room_after(&numbered(5, 10));
    let words = |words: usize| (1..=words).map(|it| format!(" absent{it}")).collect::<String>();
    for many in [9, 300] {
        let answer = answers(&mut alice, &format!("/find{}", words(many)));
        assert_eq!(answer, [format!("*** {TOO_MANY_WORDS}")], "{many} words");
    }
    for few in [words(8), words(1).repeat(20)] {
        let answer = answers(&mut alice, &format!("/find{few}"));
        assert!(answer.len() == 1 && answer[0].starts_with(NOTHING_FOUND), "{answer:?}");
    }
    let answer = answers(&mut alice, &format!("/find{}", " 4 X".repeat(10)));
    assert_eq!(answer.len(), 1, "line 4 is found: {answer:?}");
}

#[test]
fn a_client_that_does_not_read_its_answers_gets_no_more_and_is_told() {
    const LINES: usize = 3000;
    // A client that takes nothing of its answers for a quarter of this gets no more of them, once it was
    // tried whether the kernel takes a little more.
    let stall_timeout = Duration::from_millis(2400);
    let config = Config { history_lines: 1, stall_timeout, ..config() };
    let (room, mut alice) = room_with(config, &numbered(LINES, 100));
    let mut stuck = room.connect_narrow().joined();
    alice.hears_until_end_of(" joined (2 here)");
    stuck.says(&format!("/last {LINES}\n").repeat(10));
    let begun = Instant::now();
    while begun.elapsed() < stall_timeout * 5 / 6 {
        let waiting = room.operator.clients().iter().map(|it| it.bytes_waiting).max();
        assert!(waiting < Some(WAITING_MAX), "{waiting:?} bytes wait");
        std::thread::sleep(Duration::from_millis(5));
    }
    let heard = answers(&mut stuck, "");
    let is_said = |line: &String| {
        let said = unstamped(line).and_then(|said| said.strip_prefix("alice: "));
        said.is_some_and(|said| said.ends_with("xxx"))
    };
    let others: Vec<&String> = heard.iter().filter(|line| !is_said(line)).collect();
    assert!(others.iter().all(|line| line.starts_with("*** ")), "whole lines: {others:?}");
    assert!(others.iter().any(|line| line.contains(LEFT_OUT)), "it is told: {others:?}");
    assert!(heard.len() < 10 * LINES, "{} lines", heard.len());
    assert_eq!(answers(&mut stuck, "/last 1").len(), 1, "it is answered again");
}

#[test]
fn no_rate_for_what_is_said_lifts_the_pace_of_what_is_asked_for() {
    const LINES: usize = 10_000;
    const BYTES: usize = 200;
    const TIMES: usize = 100;
    let (room, _alice) = room_after(&numbered(LINES, BYTES));
    let mut asker = room.client();
    asker.sends(format!("/last {LINES}\n").repeat(TIMES).as_bytes());
    // All of it would take several seconds, which are not waited for.
    let begun = Instant::now();
    let mut stream = asker.into_stream();
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("an open socket");
    let (mut bytes, mut scratch) = (0, vec![0; 64 << 10]);
    while begun.elapsed() < Duration::from_millis(800) {
        match stream.read(&mut scratch) {
            Ok(0) => panic!("it is cut off"),
            Ok(read) => bytes += read,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }
    let all = TIMES * LINES * BYTES;
    assert!(bytes > 0 && bytes < all / 4, "{bytes} bytes of {all} after {:?}", begun.elapsed());
}
