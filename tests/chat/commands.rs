//! What a client can ask for with a slash, and what only looks like it.

use super::harness::*;

#[test]
fn help_lists_every_command_to_who_asks() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.says("/help");
    alice.says("fence");
    let help = alice.hears_until("alice: fence");
    for command in ["/help", "/name or /nick", "/who", "/msg", "/me", "/quit", "//"] {
        let line = format!("*** {command}");
        assert!(help.iter().any(|it| it.starts_with(&line)), "{command} in {help:#?}");
    }
    bob.hears("alice: fence");
}

#[test]
fn an_unknown_command_tells_its_sender_so_and_nobody_else() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    for command in ["frobnicate", "", "na", "names"] {
        alice.says(&format!("/{command} alice"));
        let told = alice.line();
        assert!(told.starts_with(&format!("*** no such command: /{command}; ")), "{told}");
    }
    alice.says("fence");
    alice.hears("alice: fence");
    bob.hears("alice: fence");
}

#[test]
fn two_slashes_say_a_line_that_begins_with_one() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.says("//quit is a command");
    alice.says("///");
    bob.hears("alice: /quit is a command");
    bob.hears("alice: //");
}

#[test]
fn me_says_what_one_does() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.says("/me");
    alice.is_told("say what you do: /me ACTION");
    alice.says("/me  waves ");
    alice.hears("* alice waves");
    bob.hears("* alice waves");
}

#[test]
fn a_private_line_is_shown_to_both_and_to_nobody_else() {
    let room = Room::open();
    let [mut alice, mut bob, mut carol] = room.people(["alice", "bob", "carol"]);
    alice.says("/msg bob a  secret");
    alice.hears("alice -> bob: a  secret");
    bob.hears("alice -> bob: a  secret");
    let address = bob.addr();
    alice.says(&format!("/msg {address} another"));
    alice.hears("alice -> bob: another");
    bob.hears("alice -> bob: another");
    alice.says("/msg alice note to self");
    alice.hears("alice -> alice: note to self");
    alice.says("fence");
    for person in [&mut alice, &mut bob, &mut carol] {
        person.hears("alice: fence");
    }
}

#[test]
fn a_private_line_to_nobody_or_with_nothing_is_not_sent() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    alice.says("/msg bob hi");
    alice.is_told("no such name: bob");
    alice.says("/msg 127.0.0.1:1 hi");
    alice.is_told("no such name: 127.0.0.1:1");
    for short in ["/msg", "/msg alice", "/msg alice  "] {
        alice.says(short);
        alice.is_told("say to whom, and what: /msg NAME TEXT");
    }
}

#[test]
fn who_tells_names_addresses_and_since_when_in_order_of_arrival() {
    let room = Room::open();
    let [mut alice, bob] = room.people(["alice", "bob"]);
    let mut nobody = room.client();
    nobody.says("/who");
    nobody.is_told("3 here");
    for (name, addr) in [("alice", alice.addr()), ("bob", bob.addr()), ("-", nobody.addr())] {
        let line = nobody.line();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..4], ["***", name, &addr.to_string(), "since"], "{line}");
        assert!(unstamped(&format!("[{}] ", words[4])).is_some(), "{line}");
    }
    nobody.says("fence");
    nobody.hears(&format!("{}: fence", nobody.addr()));
    alice.hears_until(&format!("{}: fence", nobody.addr()));
}

#[test]
fn quit_leaves_with_or_without_a_slash() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    for goodbye in ["quit", "/quit"] {
        let [mut bob] = room.people(["bob"]);
        alice.hears_until(&format!("*** {} is now bob", bob.addr()));
        bob.says("bye");
        bob.says(goodbye);
        bob.hears("bob: bye");
        bob.hears_the_end();
        alice.hears("bob: bye");
        alice.hears("*** bob left (1 here)");
    }
    room.people(["bob"]);
}

#[test]
fn what_follows_a_quit_is_not_said() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    bob.sends(b"before\nquit\nafter\n");
    bob.hears("bob: before");
    bob.hears_the_end();
    alice.hears("bob: before");
    alice.hears("*** bob left (1 here)");
}

#[test]
fn who_quits_while_still_sending_hears_a_clean_end() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    bob.sends(format!("bye\nquit\n{}", "too late\n".repeat(20_000)).as_bytes());
    bob.hears("bob: bye");
    bob.hears_the_end();
    alice.hears("bob: bye");
    alice.hears("*** bob left (1 here)");
}

#[test]
fn the_first_word_of_an_ordinary_sentence_is_no_command() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    let sentences = [
        "exit the building",
        "exit",
        "quit smoking",
        "QUITE",
        "who is here?",
        "help",
        " /quit",
        "name alice",
    ];
    for sentence in sentences {
        alice.says(sentence);
        alice.hears(&format!("alice: {sentence}"));
        bob.hears(&format!("alice: {sentence}"));
    }
}

#[test]
fn answers_come_in_their_place_among_the_lines() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.sends(b"one\n/nosuch\ntwo\n/me three\n/name alicia\nfour\n/msg nobody hi\nfive\n");
    alice.hears("alice: one");
    alice.is_told("no such command: /nosuch; /help lists them, and //nosuch says it");
    alice.hears("alice: two");
    alice.hears("* alice three");
    alice.hears("*** alice is now alicia");
    alice.hears("alicia: four");
    alice.is_told("no such name: nobody");
    alice.hears("alicia: five");
    for line in ["alice: one", "alice: two", "* alice three", "*** alice is now alicia"] {
        bob.hears(line);
    }
    bob.hears("alicia: four");
    bob.hears("alicia: five");
}
