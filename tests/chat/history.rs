//! History: what a newcomer is shown, the seam to live talk, `/last` and `/find`.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use chat_server::Config;

use super::harness::*;

/// Lines that the room keeps in memory for `/last` and `/find`.
const KEPT: usize = 10_000;

fn room_that_shows(history_lines: usize) -> Room {
    Room::with(Config { history_lines, rate_lines: None, ..config() })
}

/// What comes next for this client alone, up to the answer to a command that does not exist.
#[track_caller]
fn answer(client: &mut Client, command: &str) -> Vec<String> {
    client.says(command);
    client.says("/fence");
    let mut answer = Vec::new();
    loop {
        let line = client.line();
        if line.starts_with("*** no such command: /fence") {
            return answer;
        }
        answer.push(line);
    }
}

/// An answer of more lines than are made at once, without its first line, which says what follows, and
/// without its end.
#[track_caller]
fn long_answer(client: &mut Client, command: &str, title: &str) -> Vec<String> {
    let mut answer = answer(client, command);
    assert_eq!(answer.remove(0), format!("*** {title}"));
    assert_eq!(answer.pop().as_deref(), Some("*** end"));
    answer
}

/// Says all of it, and hears it; gives the lines as they were heard.
fn talk(client: &mut Client, lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let lines: Vec<String> = lines.into_iter().collect();
    let mut heard = Vec::new();
    for some in lines.chunks(100) {
        client.sends((some.join("\n") + "\n").as_bytes());
        heard.extend(some.iter().map(|_| client.line()));
    }
    heard
}

/// Compares two long lists without printing them.
#[track_caller]
fn assert_same(left: &[String], right: &[String], what: &str) {
    let pairs = left.iter().zip(right);
    if let Some((at, (left, right))) = pairs.enumerate().find(|(_, (left, right))| left != right) {
        panic!("{what}: line {at} is {left:?}, not {right:?}");
    }
    assert_eq!(left.len(), right.len(), "{what}");
}

#[test]
fn a_newcomer_is_shown_the_last_public_lines_exactly_as_the_others_heard_them() {
    let room = room_that_shows(5);
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    let mut heard = Vec::new();
    for line in ["one", "two \u{1b}[31mred\u{7}\u{9b}2J", "/me waves", "/name anna", "//quit"] {
        alice.says(line);
        heard.push(alice.line());
    }
    let texts: Vec<&str> = heard.iter().filter_map(|line| unstamped(line)).collect();
    let all = ["alice: one", "alice: two [31mred2J", "* alice waves", "*** alice is now anna"];
    assert_eq!(texts[..4], all);
    assert_eq!(texts[4], "anna: /quit");
    let mut visitor = room.client();
    visitor.says("/msg bob a secret");
    visitor.hears(&format!("{} -> bob: a secret", visitor.addr()));
    visitor.says("quit");
    visitor.hears_the_end();
    bob.hears_until(&format!("*** {} left (2 here)", visitor.addr()));
    let (mut carol, history) = room.connect().joined_after_history();
    assert_eq!(history, heard);
    carol.says("fence");
    carol.hears(&format!("{}: fence", carol.addr()));
}

#[test]
fn an_operator_s_line_is_part_of_it() {
    let room = room_that_shows(1);
    let mut alice = room.client();
    room.operator.say("welcome, all");
    let heard = alice.line();
    assert_eq!(unstamped(&heard), Some("server: welcome, all"));
    assert_eq!(room.connect().joined_after_history().1, [heard]);
}

#[test]
fn with_a_history_of_0_a_newcomer_is_shown_nothing_and_nothing_is_kept() {
    let room = room_that_shows(0);
    let [mut alice] = room.people(["alice"]);
    alice.says("hello");
    alice.hears("alice: hello");
    let (mut bob, history) = room.connect().joined_after_history();
    assert_eq!(history, [""; 0]);
    assert_eq!(answer(&mut bob, "/last"), ["*** nothing was said yet, or it is not kept"]);
    assert_eq!(answer(&mut bob, "/find hello"), ["*** nothing found: hello"]);
}

#[test]
fn last_shows_20_lines_or_as_many_as_it_is_asked_for() {
    let room = room_that_shows(2);
    let mut alice = room.client();
    assert_eq!(answer(&mut alice, "/last"), ["*** nothing was said yet, or it is not kept"]);
    let heard = talk(&mut alice, (1..=25).map(|number| number.to_string()));
    assert_eq!(answer(&mut alice, "/last"), heard[5..]);
    assert_eq!(answer(&mut alice, "/last 1"), heard[24..]);
    assert_eq!(answer(&mut alice, "/last   24  "), heard[1..]);
    assert_eq!(answer(&mut alice, "/last 25"), heard);
    assert_eq!(answer(&mut alice, "/LAST 26"), heard);
    assert_eq!(answer(&mut alice, "/last 18446744073709551615"), heard);
}

#[test]
fn last_with_anything_but_a_number_says_how_it_is_used() {
    let room = room_that_shows(2);
    let mut alice = room.client();
    talk(&mut alice, ["hello".to_owned()]);
    for nonsense in ["0", "-1", "many", "1 2", "1.5", "18446744073709551616", "٣"] {
        let told = answer(&mut alice, &format!("/last {nonsense}"));
        assert_eq!(told, ["*** say how many: /last N"], "{nonsense}");
    }
}

#[test]
fn what_is_kept_is_bounded_in_lines_and_the_oldest_go() {
    let room = room_that_shows(20);
    let mut alice = room.client();
    let heard = talk(&mut alice, (0..KEPT + 7).map(|number| number.to_string()));
    let last = long_answer(&mut alice, "/last 1000000", &format!("the last {KEPT} lines:"));
    assert_same(&last, &heard[7..], "what is kept");
    assert_eq!(answer(&mut alice, "/find 10000"), heard[10_000..=10_000]);
}

#[test]
fn find_shows_the_last_20_lines_that_hold_every_word_in_whatever_case() {
    let room = room_that_shows(2);
    let [mut alice] = room.people(["alice"]);
    let said = ["Ein Gruß aus KÖLN", "köln und Gruß", "Köln", "ПРИВЕТ, мир", "grünkohl"];
    let heard = talk(&mut alice, said.map(str::to_owned));
    assert_eq!(answer(&mut alice, "/find gruß köln"), heard[..2]);
    assert_eq!(answer(&mut alice, "/find KÖLN"), heard[..3]);
    assert_eq!(answer(&mut alice, "/find  привет   МИР "), heard[3..4]);
    assert_eq!(answer(&mut alice, "/find ALICE grün"), heard[4..], "who said it counts, too");
    assert_eq!(answer(&mut alice, "/find köln привет"), ["*** nothing found: köln привет"]);
    assert_eq!(answer(&mut alice, "/find /find"), ["*** nothing found: /find"]);
    assert_eq!(answer(&mut alice, "/find"), ["*** say what to find: /find WORDS"]);
    let many = talk(&mut alice, (0..50).map(|number| format!("needle {number}")));
    assert_eq!(answer(&mut alice, "/find needle"), many[30..]);
}

#[test]
fn each_of_many_joiners_in_a_flood_has_history_and_live_talk_without_gap_or_double() {
    const SHOWN: usize = 20;
    let room = room_that_shows(SHOWN);
    let done = AtomicBool::new(false);
    let talker = |mut client: Client| {
        let mut number = 0;
        while !done.load(Relaxed) {
            let burst: String = (number..number + 50).map(|it| format!("{it}\n")).collect();
            client.sends(burst.as_bytes());
            number += 50;
            client.hears_until(&format!("{}: {}", client.addr(), number - 1));
        }
    };
    // Each hears its own join and then some more lines, whatever they are.
    let joiners = || -> Vec<(String, Vec<String>, Vec<String>)> {
        (0..15)
            .map(|_| {
                let (mut client, history) = room.connect().joined_after_history();
                let live = (0..200).map(|_| client.line()).collect();
                (format!("*** {} joined (", client.addr()), history, live)
            })
            .collect()
    };
    let mut scribe = room.client();
    let talkers = [room.client(), room.client()];
    // A whole history before the first joiner comes.
    room.operator.say("begin");
    (0..SHOWN).for_each(|_| room.operator.say("something"));
    let begun = scribe.hears_until("server: begin").len();
    assert_eq!(begun, 2, "the talkers' joins");
    let (all, joined) = thread::scope(|scope| {
        let talkers = talkers.map(|client| scope.spawn(|| talker(client)));
        let scribe = scope.spawn(|| scribe.hears_until("server: end"));
        let joiners: Vec<_> = (0..4).map(|_| scope.spawn(joiners)).collect();
        let joined: Vec<_> = joiners.into_iter().flat_map(|it| it.join().unwrap()).collect();
        done.store(true, Relaxed);
        talkers.into_iter().for_each(|talker| talker.join().unwrap());
        room.operator.say("end");
        (scribe.join().unwrap(), joined)
    });
    assert_eq!(joined.len(), 60);
    // Nobody takes a name here, so all notices are of joins and leaves.
    let is_noise = |line: &&String| unstamped(line).is_none_or(|text| text.starts_with("***"));
    let said_before = |at: usize| -> Vec<String> {
        let said = all[..at].iter().rev().filter(|line| !is_noise(line)).take(SHOWN);
        said.cloned().collect::<Vec<_>>().into_iter().rev().collect()
    };
    for (join, history, live) in joined {
        // The system may give an address twice.
        let joins = all.iter().enumerate().filter(|(_, line)| line.contains(&join));
        let places: Vec<usize> = joins.map(|(at, _)| at).collect();
        let at = places.iter().copied().find(|&at| said_before(at) == history).unwrap_or(places[0]);
        assert_same(&history, &said_before(at), "the history");
        assert_same(&live, &all[at + 1..][..live.len()], "live talk");
    }
}

/// A transcript of so many lines, of which the first holds a needle.
fn generated(lines: usize) -> String {
    let needle = "2020-01-02T03:04:05+00:00 alice: a Needle in a haystack\n";
    let hay = (1..lines).map(|number| format!("2020-01-02T03:04:06+00:00 bob: hay {number}\n"));
    std::iter::once(needle.to_owned()).chain(hay).collect()
}

fn without_stamps(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| unstamped(line).expect("stamped")).collect()
}

#[test]
fn beyond_what_is_kept_last_and_find_answer_from_the_transcript() {
    let folder = Folder::new();
    fs::write(folder.transcript(), generated(KEPT + 100)).unwrap();
    let transcript = Some(folder.transcript());
    let room = Room::with(Config { history_lines: 2, transcript, ..config() });
    let (mut alice, history) = room.connect().joined_after_history();
    assert_eq!(without_stamps(&history), ["bob: hay 10098", "bob: hay 10099"]);
    let found = answer(&mut alice, "/find needle HAYSTACK");
    assert_eq!(without_stamps(&found), ["alice: a Needle in a haystack"]);
    assert_eq!(answer(&mut alice, "/find pin"), ["*** nothing found: pin"]);
    let last = long_answer(&mut alice, "/last 1000000", &format!("the last {KEPT} lines:"));
    assert_eq!(last.len(), KEPT);
    assert_eq!(unstamped(&last[0]), Some("bob: hay 100"));
}

#[test]
fn with_a_history_of_0_last_and_find_still_answer_from_the_transcript() {
    let folder = Folder::new();
    let room = Room::with(Config { transcript: Some(folder.transcript()), ..config() });
    let [mut alice] = room.people(["alice"]);
    let heard = talk(&mut alice, (1..=25).map(|number| format!("line {number}")));
    let (mut bob, history) = room.connect().joined_after_history();
    assert_eq!(history, [""; 0]);
    assert_eq!(answer(&mut bob, "/last"), heard[5..]);
    assert_eq!(answer(&mut bob, "/find line 17"), heard[16..17]);
}

#[test]
fn escapes_and_foreign_lines_in_a_transcript_reach_nobody() {
    let folder = Folder::new();
    let lines = "2020-01-02T03:04:05+00:00 eve: \u{1b}[2Jred\u{9b}\r\nno stamp\n\nStamp eve: x\n\
                 2020-01-02T03:04:06+00:00 \n";
    fs::write(folder.transcript(), lines).unwrap();
    let transcript = Some(folder.transcript());
    let room = Room::with(Config { history_lines: 9, transcript, ..config() });
    let (mut alice, history) = room.connect().joined_after_history();
    assert_eq!(without_stamps(&history), ["eve: [2Jred"]);
    assert_eq!(answer(&mut alice, "/find e"), history);
}

#[test]
#[ignore = "writes 300 MB"]
fn a_search_in_a_large_transcript_holds_up_nobody_and_ends_with_a_kick_and_with_the_stop() {
    let folder = Folder::new();
    let (good, foreign) = (
        "2020-01-02T03:04:06+00:00 bob: hay and more hay than anybody would want to see here\n",
        "a line of another program, which is none of ours, however long one may look for it\n",
    );
    for line in [good, foreign] {
        fs::write(folder.transcript(), line.repeat(300_000_000 / line.len())).unwrap();
        let transcript = Some(folder.transcript());
        let mut room = Room::with(Config { transcript, ..config() });
        let [mut alice, mut bob, mut first, mut second] =
            room.people(["alice", "bob", "first", "second"]);
        for asker in [&mut first, &mut second] {
            asker.says("/find needle");
        }
        let mut slowest = Duration::ZERO;
        for number in 0..20 {
            let started = Instant::now();
            alice.says(&format!("{number}"));
            bob.hears_until(&format!("alice: {number}"));
            slowest = slowest.max(started.elapsed());
        }
        let kicked = Instant::now();
        room.operator.kick("first", "").unwrap();
        bob.hears_until("*** first left: kicked (3 here)");
        let kicked = kicked.elapsed();
        let stopped = room.closes();
        eprintln!("slowest line {slowest:?}, a kick {kicked:?}, the stop {stopped:?}");
        assert!(slowest < Duration::from_millis(100), "{slowest:?}");
        assert!(kicked < Duration::from_millis(500), "{kicked:?}");
        assert!(stopped < Duration::from_millis(500), "{stopped:?}");
    }
}

#[test]
fn a_long_history_comes_before_the_join_and_live_talk_waits_behind_it() {
    const SHOWN: usize = 2000;
    let room = room_that_shows(SHOWN);
    let [mut alice] = room.people(["alice"]);
    let text = "x".repeat(150);
    let heard = talk(&mut alice, (0..SHOWN + 5).map(|number| format!("{number} {text}")));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut talker = room.client();
        alice.hears_until_end_of(" joined (2 here)");
        let over = &over;
        scope.spawn(move || {
            let mut number = 0;
            while !over.load(Relaxed) {
                talker.says(&format!("live {number}"));
                talker.hears_until_end_of(&format!(": live {number}"));
                number += 1;
            }
        });
        alice.hears_until_end_of(": live 0");
        for _ in 0..5 {
            // It takes the history slowly, and live lines are said meanwhile.
            let (mut bob, history) = room.connect_receiving(16 << 10).joined_after_history();
            assert_eq!(history.len(), SHOWN);
            let numbers: Vec<usize> = history.iter().filter_map(|line| live(line)).collect();
            assert!(numbers.is_sorted_by(|one, next| one + 1 == *next), "{numbers:?}");
            let old = SHOWN - numbers.len();
            assert_same(&history[..old], &heard[heard.len() - old..], "the history");
            let mut next = numbers.last().map_or(0, |last| last + 1);
            for _ in 0..20 {
                let line = bob.line();
                let number = live(&line).expect("live talk");
                assert!(numbers.is_empty() || number == next, "{line}, not {next}");
                next = number + 1;
            }
        }
        over.store(true, Relaxed);
    });
}

/// The number of a line of live talk.
fn live(line: &str) -> Option<usize> {
    line.rsplit_once(": live ")?.1.parse().ok()
}
