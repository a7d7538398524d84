//! Those who talk too much: slowed, never cut, and no burden to others.

use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use chat_server::Config;

use super::harness::*;

/// What people take for at once, with patience for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

fn room_with_rate(lines: u32) -> Room {
    Room::with(Config { rate_lines: NonZeroU32::new(lines), ..config() })
}

/// So many numbered lines.
fn paste(lines: usize) -> String {
    (1..=lines).map(|number| format!("{number}\n")).collect()
}

/// Checks that the next lines are a paste of `who`, whole and in order; gives how often the client was
/// told in between that it is slowed.
#[track_caller]
fn hears_paste(client: &mut Client, who: &str, lines: usize) -> usize {
    let mut told = 0;
    for number in 1..=lines {
        let mut line = client.line();
        while line.starts_with("*** you say more than ") {
            told += 1;
            line = client.line();
        }
        assert_eq!(unstamped(&line), Some(&*format!("{who}: {number}")));
    }
    told
}

/// How long one takes to hear what the other says.
#[track_caller]
fn delay(talker: &mut Client, hearer: &mut Client, text: &str) -> Duration {
    let started = Instant::now();
    talker.says(text);
    hearer.hears_until_end_of(text);
    started.elapsed()
}

#[test]
fn who_says_more_than_the_rate_allows_is_slowed_and_nothing_is_lost() {
    const RATE: usize = 100;
    let room = room_with_rate(RATE as u32);
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    // The burst is what the rate allows in fifty seconds.
    let (burst, beyond) = (50 * RATE, RATE);
    let started = Instant::now();
    alice.sends(paste(burst + beyond).as_bytes());
    alice.says("last");
    for (person, times) in [(&mut alice, 1), (&mut bob, 0)] {
        assert_eq!(hears_paste(person, "alice", burst + beyond), times, "its sender is told once");
        person.hears("alice: last");
    }
    let took = started.elapsed();
    assert!(took > Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_long_line_counts_as_several() {
    let room = room_with_rate(2);
    let [mut alice] = room.people(["alice"]);
    // Seven times sixteen, and the name, are thirteen more than the burst of a hundred.
    let started = Instant::now();
    let fits = "x".repeat(15 * 256 + 1);
    alice.sends(format!("{fits}\n").repeat(7).as_bytes());
    let mut told = 0;
    for _ in 0..7 {
        let mut line = alice.line();
        while line.starts_with("*** ") {
            told += usize::from(line.starts_with("*** you say more than 2 lines a second"));
            line = alice.line();
        }
        assert!(line.ends_with("xxx"));
    }
    assert_eq!(told, 1);
    assert!(started.elapsed() > Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn nobody_else_is_slowed_with_the_one_who_floods() {
    let room = room_with_rate(20);
    let [mut alice, mut bob, mut carol] = room.people(["alice", "bob", "carol"]);
    alice.sends(paste(1000 + 20).as_bytes());
    // More than its burst: some of it is held back for a second.
    for number in 1..=20 {
        let text = format!("meanwhile {number}");
        assert!(delay(&mut bob, &mut carol, &text) < AT_ONCE);
        bob.hears_until(&format!("bob: {text}"));
    }
    alice.says("quit");
    alice.hears_until("alice: 1020");
}

#[test]
fn who_is_slowed_and_sent_away_says_no_more() {
    let room = room_with_rate(1);
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.says("first");
    bob.hears("alice: first");
    // More than may be said at once, so all of it is held back.
    alice.sends(paste(1000).as_bytes());
    bob.says("hold on");
    bob.hears("bob: hold on");
    room.operator.kick("alice", "").expect("alice is here");
    alice.hears_until("bob: hold on");
    while alice.line() != "*** you were kicked" {}
    alice.hears_the_end();
    bob.hears("*** alice left: kicked (1 here)");
}

#[test]
fn who_is_slowed_does_not_hold_up_the_stop() {
    let mut room = room_with_rate(1);
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    for person in [&mut alice, &mut bob] {
        person.sends(paste(1000).as_bytes());
    }
    alice.says("quit");
    let took = room.closes();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_paste_of_five_thousand_lines_arrives_whole_and_in_order() {
    const LINES: usize = 5000;
    // Its burst is less than the paste.
    let room = room_with_rate(96);
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    thread::scope(|scope| {
        let mut talker = alice.another_end();
        scope.spawn(move || talker.sends(paste(LINES).as_bytes()));
        scope.spawn(|| assert_eq!(hears_paste(&mut bob, "alice", LINES), 0));
        hears_paste(&mut alice, "alice", LINES);
    });
}

#[test]
fn while_some_flood_the_others_talk_without_a_delay() {
    let room = room_with_rate(100);
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut talker = room.client();
            // Its own lines are not read, so it gets stuck as well.
            scope.spawn(move || talker.floods());
        }
        alice.hears_until_end_of(": flood");
        for number in 1..=20 {
            let took = delay(&mut alice, &mut bob, &format!("meanwhile {number}"));
            assert!(took < AT_ONCE, "{took:?}");
            alice.hears_until(&format!("alice: meanwhile {number}"));
        }
        room.stops();
    });
}

#[test]
fn a_full_inbox_delays_no_newcomer_and_no_operator() {
    let room = Room::open();
    thread::scope(|scope| {
        for _ in 0..4 {
            let mut talker = room.client();
            // They say whatever the server takes, and it takes less than they could say.
            scope.spawn(move || talker.floods());
        }
        wait_until("the flood has come", || room.operator.stats().lines > 10_000);
        for _ in 0..5 {
            let came = Instant::now();
            let newcomer = room.client();
            let addr = newcomer.addr().to_string();
            assert_eq!(
                room.operator.kick(&addr, "").map_err(|it| it.to_string()),
                Ok(newcomer.addr())
            );
            assert!(came.elapsed() < AT_ONCE, "{:?}", came.elapsed());
        }
        room.stops();
    });
}

#[test]
fn long_answers_asked_for_again_and_again_delay_nobody() {
    let room = Room::with(Config { history_lines: 20, ..config() });
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    let line = "x".repeat(300);
    let paste = format!("{line}\n").repeat(500);
    for _ in 0..20 {
        alice.sends(paste.as_bytes());
        for person in [&mut alice, &mut bob] {
            (0..500).for_each(|_| person.hears_until_end_of("xxx"));
        }
    }
    let mut asker = room.client();
    asker.sends("/last 10000\n".repeat(500).as_bytes());
    asker.hears_until_end_of("xxx");
    for number in 1..=10 {
        let took = delay(&mut alice, &mut bob, &format!("meanwhile {number}"));
        assert!(took < AT_ONCE, "{took:?}");
        alice.hears_until(&format!("alice: meanwhile {number}"));
    }
}
