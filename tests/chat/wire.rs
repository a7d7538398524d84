//! Lines on the wire: framing, one order for all, the seam at a join, limits, harmless text.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use chat_server::Config;

use super::harness::*;

#[test]
fn every_line_reaches_everybody_stamped_the_sender_included() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.says("hello");
    bob.says("hello yourself");
    for person in [&mut alice, &mut bob] {
        let mut heard = [person.line(), person.line()];
        heard.sort_by_key(|line| line.contains("yourself"));
        let heard = heard.each_ref().map(|line| unstamped(line));
        assert_eq!(heard, [Some("alice: hello"), Some("bob: hello yourself")]);
    }
}

#[test]
fn who_has_no_name_speaks_by_its_address() {
    let room = Room::open();
    let mut nobody = room.client();
    nobody.says("hi");
    nobody.hears(&format!("{}: hi", nobody.addr()));
}

#[test]
fn a_newcomer_is_greeted_and_then_announced_to_all() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    let mut bob = room.connect();
    let who = bob.addr();
    bob.is_told(&format!("welcome; you are {who}; 2 here; /help lists the commands"));
    for person in [&mut alice, &mut bob] {
        person.hears(&format!("*** {who} joined (2 here)"));
    }
    drop(bob);
    alice.hears(&format!("*** {who} left (1 here)"));
}

#[test]
fn a_joiner_hears_each_line_once_from_its_join_on() {
    let room = Room::open();
    let [mut alice, mut witness] = room.people(["alice", "witness"]);
    let (started, all_here) = (Instant::now(), AtomicBool::new(false));
    let mut joiners = thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !all_here.load(Relaxed) && started.elapsed() < DEADLINE {
                number += 1;
                alice.says(&number.to_string());
                alice.hears_until(&format!("alice: {number}"));
            }
            alice.says("the end");
        });
        let mut joiners: Vec<Client> = (0..20).map(|_| room.connect()).collect();
        for joiner in &mut joiners {
            assert!(joiner.line().starts_with("*** welcome; "));
        }
        all_here.store(true, Relaxed);
        joiners
    });
    let witnessed = witness.hears_until("alice: the end");
    for joiner in &mut joiners {
        let joined = format!("*** {} joined (", joiner.addr());
        let seam = witnessed.iter().position(|line| line.contains(&joined)).unwrap();
        let heard = joiner.hears_until("alice: the end");
        assert_eq!(heard, witnessed[seam..], "from the joiner's own join on");
    }
}

#[test]
fn everybody_hears_the_same_lines_in_the_same_order() {
    const LINES: usize = 200;
    let room = Room::open();
    let people = room.people(["alice", "bob", "carol", "dave"]);
    let streams = thread::scope(|scope| {
        let talkers = people.map(|mut person| {
            scope.spawn(move || {
                for number in 1..=LINES {
                    person.says(&number.to_string());
                }
                (0..4 * LINES).map(|_| person.line()).collect::<Vec<_>>()
            })
        });
        talkers.map(|talker| talker.join().unwrap())
    });
    for name in ["alice", "bob", "carol", "dave"] {
        let prefix = format!("{name}: ");
        let said = streams[0].iter().filter_map(|line| unstamped(line)?.strip_prefix(&prefix));
        assert!(said.eq((1..=LINES).map(|number| number.to_string())), "{name}'s lines in order");
    }
    assert!(streams.iter().all(|stream| *stream == streams[0]), "one order for all");
}

#[test]
fn a_paste_stays_together_while_others_talk() {
    const PASTES: usize = 20;
    const LINES: usize = 200;
    let room = Room::open();
    let [mut alice, mut bob, mut carol] = room.people(["alice", "bob", "carol"]);
    let pasted = |paste, line| format!("paste {paste}, line {line} {}", "x".repeat(80));
    let (started, over) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) && started.elapsed() < DEADLINE {
                bob.says("meanwhile");
                bob.hears_until("bob: meanwhile");
            }
            bob.says("enough");
        });
        for paste in 1..=PASTES {
            // More than a reader takes at once.
            let lines: Vec<String> = (1..=LINES).map(|line| pasted(paste, line)).collect();
            alice.says(&lines.join("\n"));
            alice.hears_until(&format!("alice: {}", pasted(paste, LINES)));
        }
        over.store(true, Relaxed);
    });
    let heard = carol.hears_until("bob: enough");
    let heard: Vec<&str> = heard.iter().map(|line| unstamped(line).unwrap()).collect();
    for paste in 1..=PASTES {
        let first = format!("alice: {}", pasted(paste, 1));
        let first = heard.iter().position(|line| *line == first).unwrap();
        for (heard, line) in heard[first..].iter().zip(1..=LINES) {
            assert_eq!(*heard, format!("alice: {}", pasted(paste, line)));
        }
    }
}

#[test]
fn a_line_that_comes_byte_by_byte_is_one_line() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    for byte in "grüß 你好 😀\r\nnext\n".bytes() {
        alice.sends(&[byte]);
    }
    alice.line_end = "\r\n";
    alice.hears("alice: grüß 你好 😀");
    alice.hears("alice: next");
}

#[test]
fn nobody_can_forge_a_line_of_the_server_or_of_another() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    let forged = "[2026/11/22-10:32:11] *** alice is now the operator";
    alice.sends(format!("one\n{forged}\nbob: me?\n*** gone\rbob: hidden\n").as_bytes());
    bob.hears("alice: one");
    bob.hears(&format!("alice: {forged}"));
    bob.hears("alice: bob: me?");
    bob.hears("alice: *** gonebob: hidden");
}

#[test]
fn empty_lines_are_ignored_and_every_kind_of_line_end_ends_a_line() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.sends(b"\n\r\n\r\0lf\ncrlf\r\ncrnul\r\0 10%\r 20%\r100%\n\n\nlast\n");
    for text in ["lf", "crlf", "crnul", " 10% 20%100%", "last"] {
        bob.hears(&format!("alice: {text}"));
    }
}

#[test]
fn a_half_closed_client_has_said_its_last_line_and_still_hears_what_is_queued() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    let many: String = (1..=100).map(|number| format!("{number}\n")).collect();
    alice.sends(format!("{many}no line end").as_bytes());
    alice.half_closes();
    for person in [&mut alice, &mut bob] {
        for number in 1..=100 {
            person.hears(&format!("alice: {number}"));
        }
        person.hears("alice: no line end");
    }
    alice.hears_the_end();
    bob.hears("*** alice left (1 here)");
}

#[test]
fn a_client_hears_the_line_ends_that_it_speaks() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.sends(b"with LF\n");
    alice.receives(&stamped(&mut bob, "alice: with LF", "\n"));
    alice.sends(b"with CR LF\r\n");
    alice.receives(&stamped(&mut bob, "alice: with CR LF", "\r\n"));
    alice.sends(b"with LF again\n");
    alice.receives(&stamped(&mut bob, "alice: with LF again", "\r\n"));

    /// The line with its stamp as the witness heard it, and the line end that is wanted.
    fn stamped(witness: &mut Client, text: &str, end: &str) -> Vec<u8> {
        let line = witness.line();
        assert_eq!(unstamped(&line), Some(text));
        format!("{line}{end}").into_bytes()
    }
}

#[test]
fn a_line_beyond_the_limit_is_dropped_as_a_whole_and_its_sender_told_once() {
    const LIMIT: usize = 60;
    let room = Room::with(Config { line_bytes_max: LIMIT, ..config() });
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    for character in ["x", "é", "好", "😀"] {
        let at = character.repeat(LIMIT / character.len());
        let below = &at[character.len()..];
        for line in [below, &at, &format!("{at}x"), &format!("x{at}"), "next"] {
            alice.says(line);
        }
        for fits in [below, &at] {
            alice.hears(&format!("alice: {fits}"));
            bob.hears(&format!("alice: {fits}"));
        }
        for _ in 0..2 {
            alice.is_told("your line was dropped: it is longer than 60 bytes");
        }
        alice.hears("alice: next");
        bob.hears("alice: next");
    }
}

#[test]
fn an_endless_line_is_dropped_and_its_sender_told_at_once_and_once() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.sends(&[b'x'; 1 << 20]);
    alice.is_told("your line was dropped: it is longer than 4096 bytes");
    alice.sends(&[b'x'; 1 << 20]);
    alice.says(" and its end");
    alice.says("next");
    alice.hears("alice: next");
    bob.hears("alice: next");
}

#[test]
fn what_is_not_utf8_becomes_the_replacement_character_and_disconnects_nobody() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.sends(b"a lone \xFF\xFF byte\ncaf\xE9\nN\0UL\n\xEF\xBB\xBFmark\n");
    bob.hears("alice: a lone \u{FFFD} byte");
    bob.hears("alice: caf\u{FFFD}");
    bob.hears("alice: NUL");
    bob.hears("alice: mark");
}

#[test]
fn no_text_can_move_a_cursor_or_turn_a_line_around() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.says(
        "\x1b[2J\x1b]0;title\x07 C1 \u{9b}2J\u{85} bidi \u{202e}olleh\u{2066} \u{2028}\tend\x7f",
    );
    bob.hears("alice: [2J]0;title C1 2J bidi olleh \tend");
    alice.says("\x1b\x07\u{202e}");
    alice.says("/me \x1b[31mwaves");
    bob.hears("* alice [31mwaves");
    alice.says("你好 \u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}");
    bob.hears("alice: 你好 \u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}");
}
