//! Names: taken, refused, freed.

use std::thread;

use super::harness::*;

#[test]
fn a_name_is_announced_and_used_from_then_on() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    let mut bob = room.client();
    let address = bob.addr();
    alice.hears(&format!("*** {address} joined (2 here)"));
    bob.says("/name bob");
    bob.says("hi");
    bob.says("/nick Robert_2-日本");
    bob.says("/me bows");
    bob.half_closes();
    for line in [
        &format!("*** {address} is now bob"),
        "bob: hi",
        "*** bob is now Robert_2-日本",
        "* Robert_2-日本 bows",
        "*** Robert_2-日本 left (1 here)",
    ] {
        alice.hears(line);
    }
}

#[test]
fn a_name_that_is_taken_or_looks_like_a_taken_one_is_refused_to_its_sender_alone() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    bob.says("/name alice");
    bob.is_told("the name alice is taken");
    // Another case, a Cyrillic а, a capital I for l, full width, a one for l.
    for same in ["ALICE", "\u{430}lice", "aIice", "ａｌｉｃｅ", "a1ice"] {
        bob.says(&format!("/name {same}"));
        let told = bob.line();
        assert!(told.starts_with("*** the name "), "{same}: {told}");
        assert!(told.contains("alice"), "{same}: {told}");
    }
    bob.says("still bob");
    bob.hears("bob: still bob");
    alice.hears("bob: still bob");
}

#[test]
fn a_name_has_1_to_24_letters_digits_underscores_and_hyphens() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    let longest = "å".repeat(24);
    let mut shown = "alice".to_owned();
    for good in ["x", "-rf", "42nd", "Δέλτα", "李雷", &longest] {
        alice.says(&format!("/name  {good} "));
        alice.hears(&format!("*** {shown} is now {good}"));
        shown = good.to_owned();
    }
    let too_long = "å".repeat(25);
    let endless = "a".repeat(4000);
    for bad in [
        "",
        "two words",
        "a.b",
        "a:b",
        "a,b",
        "*",
        "***",
        "a\tb",
        "a\u{200D}b",
        "a\u{200B}b",
        "\u{200B}",
        "\u{3164}",
        "\u{13441}",
        "_-",
        "ǃǃǃ",
        "bobː",
        "a\u{AD}b",
        "[31m",
        "😀",
        "\u{301}",
        "\u{5b0}",
        "a/b",
        &too_long,
        &endless,
    ] {
        alice.says(&format!("/name {bad}"));
        let told = alice.line();
        assert!(told.starts_with("*** ") && told.contains("name"), "{bad:?}: {told}");
    }
    alice.says("fence");
    alice.hears(&format!("{shown}: fence"));
}

#[test]
fn the_servers_names_and_what_looks_like_an_address_are_reserved() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    for server in ["server", "SERVER", "Sеrvеr", "ｓｅｒｖｅｒ", "-server_", "System", "console"]
    {
        alice.says(&format!("/name {server}"));
        alice.is_told("that name is the server's");
    }
    for address in ["127.0.0.1", "127.0.0.1:9999", "::1", "[::1]:80", "10-0-0-1", "127ꓸ0ꓸ0ꓸ1ꓽ9"]
    {
        alice.says(&format!("/name {address}"));
        assert!(alice.line().starts_with("*** a name "), "{address}");
    }
}

#[test]
fn one_may_change_the_case_of_ones_own_name_and_taking_it_again_changes_nothing() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    alice.says("/name Alice");
    alice.hears("*** alice is now Alice");
    alice.says("/name Alice");
    alice.is_told("you are Alice already");
}

#[test]
fn a_name_is_free_again_once_its_bearer_has_left_or_taken_another() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.says("/name carol");
    bob.hears("*** alice is now carol");
    bob.says("/name alice");
    bob.hears("*** bob is now alice");
    alice.resets();
    bob.line();
    bob.says("/name carol");
    bob.hears("*** alice is now carol");
}

#[test]
fn of_all_who_want_a_name_at_once_exactly_one_gets_it() {
    let room = Room::open();
    let [mut starter] = room.people(["starter"]);
    let rivals: [Client; 8] = std::array::from_fn(|_| room.client());
    starter.says("go");
    let rivals = thread::scope(|scope| {
        let contests = rivals.map(|mut rival| {
            scope.spawn(move || {
                let crowned = format!("*** {} is now king", rival.addr());
                rival.hears_until("starter: go");
                rival.says("/name king");
                let mut line = rival.line();
                while unstamped(&line) != Some(&crowned) && line != "*** the name king is taken" {
                    line = rival.line();
                }
                (unstamped(&line).is_some(), rival)
            })
        });
        contests.map(|contest| contest.join().unwrap())
    });
    assert_eq!(rivals.iter().filter(|(crowned, _)| *crowned).count(), 1);
}

#[test]
fn a_name_that_looks_like_two_others_reaches_neither_and_the_very_name_reaches_its_own() {
    let room = Room::open();
    let [mut alice, mut aiice, mut bob] = room.people(["alice", "aiice", "bob"]);
    // With a capital I it is aiice in small letters, and alice to the eye.
    bob.says("/msg AIice psst");
    bob.is_told("AIice looks like aiice and like alice: say which");
    let refused = room.operator.kick("AIice", "").unwrap_err();
    assert_eq!(refused.to_string(), "AIice looks like aiice and like alice: say which");
    for (name, person) in [("alice", &mut alice), ("aiice", &mut aiice)] {
        bob.says(&format!("/msg {name} psst"));
        bob.hears(&format!("bob -> {name}: psst"));
        person.hears(&format!("bob -> {name}: psst"));
    }
    aiice.says("quit");
    bob.hears_until("*** aiice left (2 here)");
    bob.says("/msg AIice psst");
    bob.hears("bob -> alice: psst");
}

#[test]
fn a_name_is_found_by_whatever_looks_like_it_after_many_have_come_gone_and_changed_theirs() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    for _ in 0..3 {
        alice.says("/name carol");
        alice.hears_until("*** alice is now carol");
        bob.says("/msg alice psst");
        bob.hears_until("*** alice is now carol");
        bob.is_told("no such name: alice");
        alice.says("/name ALICE");
        alice.hears_until("*** carol is now ALICE");
        bob.hears_until("*** carol is now ALICE");
        bob.says("/msg alice psst");
        bob.hears("bob -> ALICE: psst");
        alice.hears("bob -> ALICE: psst");
        alice.says("/name alice");
        alice.hears("*** ALICE is now alice");
        bob.hears("*** ALICE is now alice");
    }
}
