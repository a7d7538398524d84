//! Peers that vanish, stop reading, or come in crowds.

use std::thread;
use std::time::{Duration, Instant};

use chat_server::Config;

use super::harness::*;

/// What people take for at once, with patience for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A line that soon fills what the sockets hold.
fn long_line() -> String {
    "x".repeat(4000)
}

/// Talks until everything that can wait for a client that reads nothing has filled up, and it is
/// disconnected; `hearer` hears every line of it.
fn floods_until_left(talker: &mut Client, hearer: &mut Client, stuck: &str) {
    let (line, left) = (long_line(), format!("*** {stuck} left"));
    let mut gone = false;
    let started = Instant::now();
    for number in 0.. {
        assert!(started.elapsed() < DEADLINE, "what waits for {stuck} is unbounded");
        talker.says(&line);
        let fence = format!("{number}");
        talker.says(&fence);
        for person in [&mut *talker, &mut *hearer] {
            let heard = person.hears_until(&format!("alice: {fence}"));
            gone |=
                heard.iter().any(|line| unstamped(line).is_some_and(|it| it.starts_with(&left)));
        }
        if gone {
            return;
        }
    }
}

#[test]
fn a_client_that_never_reads_delays_nobody_and_is_disconnected_in_the_end() {
    let stall_timeout = Duration::from_millis(300);
    let room = Room::with(Config { stall_timeout, ..config() });
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    let mut stuck = room.connect_narrow();
    stuck.says("/name stuck");
    floods_until_left(&mut alice, &mut bob, "stuck");
    stuck.is_cut_off();
    alice.says("fence");
    bob.hears_until("alice: fence");
}

#[test]
fn five_stuck_clients_delay_neither_talk_nor_a_join_nor_a_command() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    let stuck: Vec<Client> = (0..5).map(|_| room.connect_narrow()).collect();
    // Whoever is stuck has a backlog before the clock starts.
    let line = long_line();
    while room.operator.clients().iter().filter(|client| client.bytes_waiting > 0).count() < 5 {
        alice.says(&line);
        alice.hears_until(&format!("alice: {line}"));
        bob.hears_until(&format!("alice: {line}"));
    }
    let started = Instant::now();
    alice.says("still there?");
    bob.hears("alice: still there?");
    bob.says("/who");
    bob.is_told("7 here");
    let mut carol = room.client();
    carol.says("quit");
    carol.hears_the_end();
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    drop(stuck);
}

#[test]
fn a_client_that_was_stuck_hears_everything_in_order_once_it_reads() {
    const LINES: usize = 1500;
    let room = Room::with(Config { rate_lines: None, ..config() });
    let [mut alice] = room.people(["alice"]);
    let mut slow = room.connect_narrow().joined();
    let text = "x".repeat(500);
    for number in 1..=LINES {
        alice.says(&format!("{number} {text}"));
        alice.hears_until(&format!("alice: {number} {text}"));
    }
    for number in 1..=LINES {
        slow.hears(&format!("alice: {number} {text}"));
    }
}

#[test]
fn a_thousand_connections_that_reset_at_once_disturb_nobody() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    for number in 0..1000 {
        room.connect().resets();
        if number % 100 == 0 {
            alice.says(&format!("{number}"));
            bob.hears_until(&format!("alice: {number}"));
            alice.hears_until(&format!("alice: {number}"));
        }
    }
    let mut last = room.client();
    last.says("fence");
    for person in [&mut alice, &mut bob] {
        person.hears_until(&format!("{}: fence", last.addr()));
    }
    drop((alice, bob, last));
    room.is_deserted();
}

#[test]
fn a_peer_that_resets_while_it_is_written_to_leaves_and_gives_its_name_back() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    for _ in 0..20 {
        let [mut peer] = room.people(["peer"]);
        peer.says("here");
        alice.hears_until("peer: here");
        peer.resets();
        alice.says("gone?");
        bob.hears_until("alice: gone?");
        let left = |line: &str| unstamped(line).is_some_and(|it| it.starts_with("*** peer left"));
        while !left(&alice.line()) {}
    }
}

#[test]
fn a_client_that_has_gone_leaves_no_thread_and_no_row() {
    let room = Room::open();
    for leave in [drop, Client::resets, half_closed, quitting, mid_line, mid_command] {
        let [peer] = room.people(["peer"]);
        leave(peer);
        room.is_deserted();
        assert_eq!(room.operator.clients().len(), 0);
    }

    fn half_closed(mut peer: Client) {
        peer.half_closes();
        peer.hears_the_end();
    }
    fn quitting(mut peer: Client) {
        peer.says("quit");
        peer.hears_the_end();
    }
    fn mid_line(mut peer: Client) {
        peer.sends(b"half a line");
    }
    fn mid_command(mut peer: Client) {
        peer.sends(b"\xFF\xFA\x18");
        peer.half_closes();
    }
}

#[test]
fn a_client_that_stays_open_and_silent_is_still_here_and_hears_on() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    let mut silent = room.client();
    alice.hears(&format!("*** {} joined (2 here)", silent.addr()));
    for number in 1..=3 {
        alice.says(&number.to_string());
        silent.hears(&format!("alice: {number}"));
    }
    assert_eq!(room.operator.clients().len(), 2);
}

#[test]
fn who_comes_to_a_full_room_is_told_so_and_the_next_place_that_is_free_can_be_taken() {
    let room = Room::with(Config { clients_max: 2, ..config() });
    let [mut alice, bob] = room.people(["alice", "bob"]);
    for _ in 0..3 {
        let mut late = room.connect();
        late.says("hello?");
        late.is_told("the room is full: 2 are here");
        late.hears_the_end();
    }
    drop(bob);
    alice.hears("*** bob left (1 here)");
    // The place is free when the connection is closed, a moment after the leave is told.
    wait_until("a free place", || room.connect().line().starts_with("*** welcome"));
}

#[test]
fn joins_and_leaves_are_left_out_while_more_than_two_hundred_are_here() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    let mut crowd = room.crowd(198);
    crowd.push(room.client());
    let last = crowd[198].addr();
    alice.hears_until(&format!("*** {last} joined (200 here)"));
    let mut beyond = room.connect();
    assert!(beyond.line().contains("201 here"));
    beyond.says("fence");
    alice.hears(&format!("{}: fence", beyond.addr()));
    for (client, left) in [(&mut beyond, 200), (&mut crowd[0], 199)] {
        client.says("quit");
        alice.hears(&format!("*** {} left ({left} here)", client.addr()));
    }
}

#[test]
fn three_hundred_who_come_at_once_are_all_greeted() {
    let room = Room::open();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut crowd: Vec<Client> = (0..50).map(|_| room.connect()).collect();
                for client in &mut crowd {
                    assert!(client.line().starts_with("*** welcome; you are "));
                }
                crowd
            });
        }
    });
    room.is_deserted();
}
