//! Slow readers: kept as long as they take anything, and told what they missed.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use chat_server::Config;

use super::harness::*;

/// What may wait for a slow client in most of these tests.
const BACKLOG: usize = 64 << 10;

/// Lines that are said in one go, so that what is too much comes soon.
const PASTE_LINES: usize = 50;

/// A room where little may wait for a slow client.
fn narrow_room() -> Room {
    Room::with(Config { backlog_bytes_max: BACKLOG, history_lines: 20, ..config() })
}

/// A client that is soon full and has heard its join, as the other one has.
fn slow_one(room: &Room, other: &mut Client) -> Client {
    let slow = room.connect_narrow().joined();
    other.hears_until_end_of(" joined (2 here)");
    slow
}

/// A line of many that can be told apart.
fn numbered(number: usize) -> String {
    format!("{number} {}", "x".repeat(500))
}

/// What a talker says to a room in which somebody does not read: numbered lines.
struct Talk {
    talker: Client,
    said: usize,
}

impl Talk {
    fn of(talker: Client) -> Talk {
        Talk { talker, said: 0 }
    }

    /// Says one line, and hears it.
    fn says_one(&mut self) {
        self.says_lines(1);
    }

    fn says_lines(&mut self, lines: usize) {
        let numbers = self.said + 1..=self.said + lines;
        let paste: String = numbers.clone().map(|number| numbered(number) + "\n").collect();
        self.talker.sends(paste.as_bytes());
        for number in numbers {
            assert!(
                unstamped(&self.talker.line()) == Some(&format!("alice: {}", numbered(number)))
            );
        }
        self.said += lines;
    }

    /// Talks until so many lines were skipped for those who do not read.
    fn says_until_missed(&mut self, room: &Room, missed: u64) {
        let started = Instant::now();
        while room.operator.stats().skipped_lines < missed {
            assert!(started.elapsed() < DEADLINE, "what waits for a client is unbounded");
            self.says_lines(PASTE_LINES);
        }
    }
}

/// How many lines the notice says were missed, if the line is one; what it says to do about it.
fn missed_by(line: &str) -> Option<(usize, &str)> {
    let (number, rest) = line.strip_prefix("*** you missed ")?.split_once(" line")?;
    Some((number.parse().expect("a number"), rest))
}

/// Hears the numbered lines after `heard` up to `last`, each whole, with the missed ones told in
/// their place; gives how many each notice told.
#[track_caller]
fn hears_or_is_told(client: &mut Client, mut heard: usize, last: usize) -> Vec<usize> {
    let mut gaps = Vec::new();
    while heard < last {
        let line = client.line();
        if let Some((missed, _)) = missed_by(&line) {
            gaps.push(missed);
            heard += missed;
        } else {
            heard += 1;
            let expected = format!("alice: {}", numbered(heard));
            let begin: String = line.chars().take(60).collect();
            assert!(unstamped(&line) == Some(&expected), "line {heard}, but: {begin}");
        }
    }
    assert_eq!(heard, last, "as many as were said");
    gaps
}

#[test]
fn a_slow_client_hears_whole_lines_and_is_told_in_their_place_how_many_it_missed() {
    for line_end in ["\n", "\r\n"] {
        let room = narrow_room();
        let [alice] = room.people(["alice"]);
        let mut talk = Talk::of(alice);
        // Its own line end is known, and used for what it hears, from its first line on.
        let mut slow = room.connect_narrow().joined();
        slow.line_end = line_end;
        slow.says("quiet");
        slow.hears_until_end_of(": quiet");
        talk.talker.hears_until_end_of(": quiet");
        talk.says_until_missed(&room, 100);
        let gaps = hears_or_is_told(&mut slow, 0, talk.said);
        assert_eq!(gaps.len(), 1, "one gap, told once: {gaps:?}");
        assert_eq!(room.operator.stats().skipped_lines, gaps[0] as u64);
        talk.says_one();
        assert!(hears_or_is_told(&mut slow, talk.said - 1, talk.said).is_empty(), "nothing more");
    }
}

#[test]
fn each_gap_is_told_in_its_own_place() {
    let room = narrow_room();
    let [mut alice] = room.people(["alice"]);
    let mut slow = slow_one(&room, &mut alice);
    let mut talk = Talk::of(alice);
    let mut told = 0;
    let mut heard = 0;
    for round in 1..=3 {
        talk.says_until_missed(&room, told + round);
        let gaps = hears_or_is_told(&mut slow, heard, talk.said);
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        told += gaps[0] as u64;
        heard = talk.said;
        assert_eq!(room.operator.stats().skipped_lines, told);
    }
}

#[test]
fn what_was_missed_can_be_had_with_the_command_that_the_notice_names() {
    let room = narrow_room();
    let [mut alice] = room.people(["alice"]);
    let mut slow = slow_one(&room, &mut alice);
    let mut talk = Talk::of(alice);
    talk.says_until_missed(&room, 10);
    let (missed, hint) = loop {
        let line = slow.line();
        if let Some((missed, hint)) = missed_by(&line) {
            break (missed, hint.to_owned());
        }
    };
    assert_eq!(hint, format!("s; /last {missed} shows them"));
    slow.says(&format!("/last {missed}"));
    for number in talk.said - missed + 1..=talk.said {
        assert!(unstamped(&slow.line()) == Some(&format!("alice: {}", numbered(number))));
    }
    talk.says_one();
    hears_or_is_told(&mut slow, talk.said - 1, talk.said);
}

#[test]
fn nobody_else_misses_a_line_while_one_does() {
    let room = narrow_room();
    let [alice, mut bob] = room.people(["alice", "bob"]);
    let mut slow = room.connect_narrow().joined();
    bob.hears(&format!("*** {} joined (3 here)", slow.addr()));
    let mut talk = Talk::of(alice);
    talk.talker.hears(&format!("*** {} joined (3 here)", slow.addr()));
    let mut heard = 0;
    while room.operator.stats().skipped_lines < 100 {
        talk.says_lines(PASTE_LINES);
        assert!(hears_or_is_told(&mut bob, heard, talk.said).is_empty());
        heard = talk.said;
    }
    hears_or_is_told(&mut slow, 0, talk.said);
}

#[test]
fn who_takes_nothing_for_the_stall_time_is_disconnected_and_the_others_are_told_why() {
    let stall_timeout = Duration::from_secs(1);
    let room = Room::with(Config { stall_timeout, ..config() });
    let [mut alice] = room.people(["alice"]);
    let mut stuck = room.connect_narrow();
    alice.hears_until_end_of(" joined (2 here)");
    let line = "x".repeat(4000);
    while room.operator.clients().iter().all(|client| client.bytes_waiting < 500_000) {
        alice.says(&line);
        alice.hears_until_end_of("xxx");
    }
    // Whoever has nothing waiting may be silent and take nothing for as long as it likes.
    let silent = room.connect_narrow().joined();
    let joined = format!("*** {} joined (3 here)", silent.addr());
    alice.hears(&joined);
    alice.hears(&format!("*** {} left: took nothing for 1 s (2 here)", stuck.addr()));
    stuck.is_cut_off();
}

#[test]
fn who_takes_little_but_takes_it_is_kept() {
    // The kernel says that there is room only when a third of its buffer is free.
    let stall_timeout = Duration::from_millis(800);
    let room = Room::with(Config { stall_timeout, ..config() });
    let [mut alice] = room.people(["alice"]);
    let mut slow = room.connect_receiving(16 << 10).joined();
    alice.hears_until_end_of(" joined (2 here)");
    let line = "x".repeat(4000);
    while room.operator.clients().iter().all(|client| client.bytes_waiting < 500_000) {
        alice.says(&line);
        alice.hears_until_end_of("xxx");
    }
    let started = Instant::now();
    while started.elapsed() < 2 * stall_timeout {
        slow.hears_until_end_of("xxx");
        thread::sleep(Duration::from_millis(30));
    }
    alice.says("fence");
    alice.hears("alice: fence");
    assert_eq!(room.operator.clients().len(), 2, "it is still here");
}

#[test]
fn an_answer_arrives_whole_even_where_nothing_may_wait() {
    const LINES: usize = 1000;
    let room = Room::with(Config { backlog_bytes_max: 0, history_lines: 1, ..config() });
    let [mut alice] = room.people(["alice"]);
    let text = |number| format!("line {number} {}", "x".repeat(3900));
    for number in 1..=LINES {
        alice.says(&text(number));
        alice.hears(&format!("alice: {}", text(number)));
    }
    // More than its socket takes at once.
    let mut slow = slow_one(&room, &mut alice);
    slow.says(&format!("/last {LINES}"));
    slow.is_told(&format!("the last {LINES} lines:"));
    for number in 1..=LINES {
        slow.hears(&format!("alice: {}", text(number)));
    }
    slow.is_told("end");
}

#[test]
fn ten_thousand_lines_asked_for_arrive_whole_although_little_may_wait() {
    const LINES: usize = 10_000;
    let room = Room::with(Config { backlog_bytes_max: 1000, history_lines: 1, ..config() });
    let [mut alice] = room.people(["alice"]);
    // Through a tiny window the kernel's own buffer would take a minute.
    let mut slow = room.connect_receiving(64 << 10).joined();
    alice.hears_until_end_of(" joined (2 here)");
    let waiting = || room.operator.clients().iter().map(|client| client.bytes_waiting).max();
    // The kernel would take all of them, if it had not its hands full.
    while waiting() == Some(0) {
        alice.says(&"x".repeat(4000));
        alice.hears_until_end_of("xxx");
    }
    for numbers in (1..=LINES).collect::<Vec<_>>().chunks(500) {
        let paste: String = numbers.iter().map(|number| format!("line {number}\n")).collect();
        alice.sends(paste.as_bytes());
        alice.hears_until_end_of(&format!(": line {}", numbers[numbers.len() - 1]));
    }
    slow.says(&format!("/last {LINES}"));
    while slow.line() != format!("*** the last {LINES} lines:") {}
    for number in 1..=LINES {
        let mut line = slow.line();
        // What it missed before it asked is told once that has its place.
        while missed_by(&line).is_some() {
            line = slow.line();
        }
        assert_eq!(unstamped(&line), Some(&*format!("alice: line {number}")));
    }
    slow.is_told("end");
}

#[test]
fn a_long_greeting_arrives_whole_although_little_may_wait() {
    const LINES: usize = 2000;
    let long = |number: usize| format!("{number} {}", "y".repeat(2000));
    let room = Room::with(Config { backlog_bytes_max: 1000, history_lines: LINES, ..config() });
    let [mut alice] = room.people(["alice"]);
    for number in 1..LINES {
        alice.says(&long(number));
        alice.hears_until(&format!("alice: {}", long(number)));
    }
    let mut slow = room.connect_narrow();
    alice.hears_until_end_of(" joined (2 here)");
    assert!(slow.line().starts_with("*** welcome"));
    assert!(slow.line().ends_with(" is now alice"));
    for number in 1..LINES {
        assert!(unstamped(&slow.line()) == Some(&format!("alice: {}", long(number))), "{number}");
    }
    slow.hears_until_end_of(" joined (2 here)");
}

#[test]
fn an_answer_is_whole_although_more_waits_already_than_may() {
    let room = narrow_room();
    let _crowd = room.crowd(100);
    let [mut alice] = room.people(["alice"]);
    // What the kernel holds for it is taken quickly once it reads, other than through a tiny window.
    let mut slow = room.connect_receiving(64 << 10).joined();
    alice.hears_until_end_of(" joined (102 here)");
    let mut talk = Talk::of(alice);
    let addr = slow.addr();
    let waiting = || {
        let clients = room.operator.clients();
        clients.iter().find(|client| client.addr == addr).map_or(0, |client| client.bytes_waiting)
    };
    // The crowd does not read either, and gets stuck before.
    while waiting() < BACKLOG - 2000 {
        talk.says_lines(PASTE_LINES);
    }
    talk.says_lines(PASTE_LINES);
    slow.says("/who");
    slow.says("fence");
    talk.talker.hears_until_end_of(": fence");
    while slow.line() != "*** 102 here" {}
    (0..102).for_each(|_| assert!(slow.line().contains("  since ")));
    let line = slow.line();
    assert!(missed_by(&line).is_some(), "{line:.80}");
}

#[test]
fn stuck_clients_cost_the_server_no_more_than_their_backlogs() {
    stuck_clients_are_bounded(20, 64 << 10, 24 << 20);
}

#[test]
#[ignore = "takes 30 s: a gigabyte goes past a hundred stuck clients"]
fn a_gigabyte_past_a_hundred_stuck_clients_costs_no_more_than_their_backlogs() {
    stuck_clients_are_bounded(100, 1 << 20, 1 << 30);
}

/// Lets so many bytes go past the stuck clients, who got stuck one after the other, and checks that
/// those who read hear every line and that the server's memory stays bounded.
#[track_caller]
fn stuck_clients_are_bounded(clients: usize, backlog: usize, bytes: usize) {
    // What the server takes for itself, its buffers and its history.
    const BESIDES: usize = 32 << 20;
    let options = ["--rate", "0", "--stall-timeout", "600", "--max-backlog", &backlog.to_string()];
    let program = Program::start(&options);
    let [mut alice, mut bob] = program.people(["alice", "bob"]);
    let paste = format!("{}\n", "x".repeat(4000)).repeat(PASTE_LINES);
    let pastes = bytes / paste.len();
    let heard = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let mut most = 0;
    thread::scope(|scope| {
        let mut talker = alice.another_end();
        for (client, heard) in [&mut alice, &mut bob].into_iter().zip(&heard) {
            scope.spawn(move || {
                let mut lines = 0;
                while lines < pastes * PASTE_LINES {
                    let line = client.line();
                    assert!(missed_by(&line).is_none(), "who reads misses nothing");
                    lines += usize::from(line.ends_with("xxx"));
                    heard.store(lines / PASTE_LINES, Relaxed);
                }
            });
        }
        let mut stuck = Vec::new();
        for said in 0..pastes {
            // The test's own readers are not to be outrun, or they would be slow ones too.
            let hears = |heard: &AtomicUsize| heard.load(Relaxed) + 3 > said;
            wait_until("those who read hear on", || heard.iter().all(hears));
            talker.sends(paste.as_bytes());
            // One after the other gets stuck, so that each holds on to something else.
            if stuck.len() < clients && said % (pastes / clients / 2).max(1) == 0 {
                stuck.push(program.connect_narrow());
            }
            most = most.max(program.resident_bytes());
        }
        assert_eq!(stuck.len(), clients);
    });
    let allowed = clients * backlog + BESIDES;
    assert!(most < allowed, "{} MiB, not {} MiB", most >> 20, allowed >> 20);
}

#[test]
#[ignore = "takes 20 s: measures delays while a hundred are stuck, and while none is"]
fn a_hundred_stuck_clients_make_nobody_wait() {
    const STUCK: usize = 100;
    let program = Program::start(&["--rate", "0", "--stall-timeout", "600"]);
    let [mut alice, mut bob] = program.people(["alice", "bob"]);
    let mut without = delay_p99(&mut alice, &mut bob);
    let stuck: Vec<Client> = (0..STUCK).map(|_| program.connect_narrow().joined()).collect();
    // More than the kernel and the backlogs hold, so that all of them miss lines by now.
    let line = "x".repeat(4000);
    for _ in 0..4000 {
        alice.says(&line);
        [&mut alice, &mut bob].into_iter().for_each(|it| it.hears_until_end_of("xxx"));
    }
    let with = delay_p99(&mut alice, &mut bob);
    drop(stuck);
    bob.hears_until_end_of(" left (2 here)");
    alice.hears_until_end_of(" left (2 here)");
    without = without.max(delay_p99(&mut alice, &mut bob));
    // Below this the scheduler of a busy machine is measured, and nobody notices anything.
    let least = Duration::from_millis(5);
    println!("99 of 100 lines within {with:?} with them, within {without:?} without");
    assert!(with < 2 * without.max(least), "{with:?} with them, {without:?} without");
}

/// How long a line takes from one to the other, but for one of a hundred.
fn delay_p99(talker: &mut Client, hearer: &mut Client) -> Duration {
    const TIMES: usize = 5000;
    let mut delays: Vec<Duration> = (0..TIMES)
        .map(|number| {
            let text = format!("{number} {}", "x".repeat(500));
            let started = Instant::now();
            talker.says(&text);
            hearer.hears_until_end_of(&text);
            let delay = started.elapsed();
            talker.hears_until_end_of(&text);
            thread::sleep(Duration::from_micros(200));
            delay
        })
        .collect();
    delays.sort_unstable();
    delays[TIMES * 99 / 100]
}
