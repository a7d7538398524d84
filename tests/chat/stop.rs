//! The stop: everybody is told, nobody holds it up, the port is free at once.

use std::net::TcpStream;
use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use chat_server::Config;
use rustix::process::Signal;

use super::harness::*;

/// The longest that a frozen client may delay the end, with patience for a busy machine.
const FLUSHED: Duration = Duration::from_secs(4);

/// Talks until something waits for the client that does not read.
fn fills_a_backlog(room: &Room, talker: &mut Client) -> usize {
    let line = "x".repeat(4000);
    let mut lines = 0;
    while room.operator.clients().iter().all(|client| client.bytes_waiting < 300_000) {
        talker.says(&line);
        talker.hears_until(&format!("alice: {line}"));
        lines += 1;
    }
    lines
}

#[test]
fn everybody_is_told_of_the_stop_and_hears_a_clean_end() {
    let mut room = Room::open();
    let people = room.people(["alice", "bob"]);
    let nobody = room.client();
    let mut all = Vec::from(people);
    all.push(nobody);
    room.closes();
    for person in &mut all {
        person.hears_until("*** the server stops; goodbye");
        person.hears_the_end();
    }
}

#[test]
fn an_idle_room_stops_at_once() {
    let mut room = Room::open();
    let _people = room.people(["alice", "bob"]);
    assert!(room.closes() < Duration::from_secs(1));
}

#[test]
fn a_flood_that_is_slowed_and_whose_sender_has_gone_holds_up_nothing() {
    let mut room = Room::with(Config { rate_lines: NonZeroU32::new(1), ..config() });
    let [mut alice] = room.people(["alice"]);
    let mut flood = room.connect().joined();
    // Ten minutes of talk at that rate, of which a part was read when the name is told.
    flood.sends(["/name flood", &"\nx".repeat(600), "\n"].concat().as_bytes());
    alice.hears_until_end_of(" is now flood");
    flood.resets();
    // When the second one is heard, the first one has failed to reach it.
    for text in ["one", "two"] {
        alice.says(text);
        alice.hears_until(&format!("alice: {text}"));
    }
    assert!(room.closes() < Duration::from_secs(1));
}

#[test]
fn what_a_slow_client_is_owed_is_written_before_the_end() {
    let mut room = Room::open();
    let [mut alice] = room.people(["alice"]);
    let mut slow = room.connect_narrow().joined();
    let lines = fills_a_backlog(&room, &mut alice);
    room.stops();
    for _ in 0..lines {
        assert!(slow.line().ends_with("xxx"));
    }
    slow.hears("*** the server stops; goodbye");
    slow.hears_the_end();
    room.closes();
}

#[test]
fn a_frozen_client_delays_the_end_for_about_two_seconds_and_nobody_else() {
    let mut room = Room::open();
    let [mut alice] = room.people(["alice"]);
    let _frozen = room.connect_narrow();
    fills_a_backlog(&room, &mut alice);
    room.stops();
    alice.hears_until("*** the server stops; goodbye");
    alice.hears_the_end();
    assert!(room.closes() < FLUSHED);
}

#[test]
fn a_flood_and_a_storm_of_connections_do_not_hold_up_the_end() {
    let mut room = Room::open();
    let addr = room.addr();
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut talker = room.client();
            // Its own lines are not read, so the server writes to a full socket as well.
            scope.spawn(move || talker.floods());
        }
        scope.spawn(|| while started.elapsed() < DEADLINE && TcpStream::connect(addr).is_ok() {});
        let mut witness = room.client();
        witness.says("begun");
        witness.hears_until(&format!("{}: begun", witness.addr()));
        let took = room.closes();
        assert!(took < FLUSHED, "{took:?}");
    });
}

#[test]
fn the_port_can_be_bound_again_at_once() {
    let mut room = Room::open();
    let [mut alice, _bob] = room.people(["alice", "bob"]);
    let addr = room.addr();
    room.closes();
    let again = Room::with(Config { addr, ..config() });
    again.people(["alice", "bob"]);
    alice.hears_until("*** the server stops; goodbye");
}

#[test]
fn nobody_is_served_after_the_end() {
    let mut room = Room::open();
    let addr = room.addr();
    room.closes();
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn a_server_that_is_stopped_before_it_runs_ends_at_once() {
    let server = chat_server::Server::bind(config()).unwrap();
    let stop = server.stop_handle();
    stop.stop();
    stop.stop();
    server.run().unwrap();
}

#[test]
fn a_console_that_waits_for_input_does_not_hold_up_the_end() {
    let mut programs: [Program; 3] = std::array::from_fn(|_| Program::start(&[]));
    let times = programs.each_mut().map(|program| {
        let asked = Instant::now();
        program.is_sent(Signal::TERM);
        wait_until("the program ends", || program.status().is_some());
        let took = asked.elapsed();
        assert_eq!(program.status(), Some(Some(0)));
        took
    });
    // The fastest of three, for the machine may be busy with other tests.
    let took = times.into_iter().min().expect("three times");
    assert!(took < Duration::from_millis(300), "{took:?}");
}

#[test]
fn exit_ends_the_program_in_time_whatever_its_clients_do() {
    let mut program = Program::start(&["--rate", "0"]);
    let addr = program.addr();
    let started = Instant::now();
    // Each is stuck soon, with a full backlog.
    let _stuck: Vec<Client> = (0..10).map(|_| program.connect_narrow()).collect();
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut talker = program.client();
            let paste = format!("{}\n", "x".repeat(4000)).repeat(50);
            scope.spawn(move || {
                while started.elapsed() < DEADLINE && talker.tries_to_send(paste.as_bytes()) {}
            });
        }
        scope.spawn(|| while started.elapsed() < DEADLINE && TcpStream::connect(addr).is_ok() {});
        scope.spawn(|| while started.elapsed() < DEADLINE && TcpStream::connect(addr).is_ok() {});
        wait_until("all are stuck", || {
            program.types("stats");
            !program.prints("skipped lines").ends_with(" 0")
        });
        let asked = Instant::now();
        program.types("exit");
        wait_until("the program ends", || program.status().is_some());
        let took = asked.elapsed();
        assert_eq!(program.status(), Some(Some(0)));
        assert!(took < Duration::from_secs(3), "{took:?}");
    });
}
