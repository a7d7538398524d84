//! What is no chat: answered in its own words, closed, and never shown to the room.

use std::thread;
use std::time::Instant;

use super::harness::*;

const REQUEST: &str =
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:9999\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\r\n";

const STATUS: &str = "HTTP/1.1 400 Bad Request";

/// The beginning of what a TLS client says first, with a line end in it as often happens.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03ab\ncd\r\nef\n\x00 gh\n";

/// Checks that the answer is a whole HTTP response that says how to connect.
#[track_caller]
fn hears_a_response(client: &mut Client, room: &Room) {
    assert_eq!(client.line().trim_end(), STATUS);
    hears_the_rest_of_a_response(client, room);
}

#[track_caller]
fn hears_the_rest_of_a_response(client: &mut Client, room: &Room) {
    let mut bytes = None;
    loop {
        let header = client.line();
        let header = header.trim_end();
        if let Some(length) = header.strip_prefix("Content-Length: ") {
            bytes = length.parse().ok();
        } else if header.is_empty() {
            break;
        }
    }
    let body = client.line();
    assert_eq!(bytes, Some(body.trim_end().len() + 1), "{body}");
    assert!(body.contains(&nc(room)), "{body}");
    client.hears_the_end();
}

#[track_caller]
fn hears_a_hint(client: &mut Client, room: &Room) {
    let line = client.line();
    assert!(line.starts_with("*** ") && line.contains(&nc(room)), "{line}");
    client.hears_the_end();
}

fn nc(room: &Room) -> String {
    format!("nc {} {}", room.addr().ip(), room.addr().port())
}

/// Checks that the next thing they hear is what alice says.
#[track_caller]
fn hear_nothing_else(people: &mut [Client; 2]) {
    people[0].says("fence");
    people.iter_mut().for_each(|person| person.hears("alice: fence"));
}

#[test]
fn a_web_browser_gets_a_response_that_says_how_to_connect_and_the_room_hears_nothing() {
    let room = Room::open();
    let mut people = room.people(["alice", "bob"]);
    let long = format!("POST /form HTTP/1.1\r\nHost: x\r\n\r\n{}", "a=b&".repeat(5000));
    for request in [REQUEST, "HEAD / HTTP/1.0\r\n\r\n", "GET http://x/ HTTP/1.1\n\n", &long] {
        let mut browser = room.connect();
        browser.sends(request.as_bytes());
        hears_a_response(&mut browser, &room);
        hear_nothing_else(&mut people);
    }
    drop(people);
    room.is_deserted();
}

#[test]
fn browsers_that_send_a_lot_get_their_whole_response_and_no_reset() {
    let room = Room::open();
    let body = "x".repeat(6_000_000);
    let request = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut browser = room.connect();
                browser.sends(request.as_bytes());
                // On a busy machine it may send too late, and be greeted first.
                while browser.line().trim_end() != STATUS {}
                hears_the_rest_of_a_response(&mut browser, &room);
            });
        }
    });
}

#[test]
fn a_request_that_comes_after_the_greeting_is_answered_too_and_not_shown() {
    let room = Room::open();
    let mut people = room.people(["alice", "bob"]);
    let mut browser = room.connect().joined();
    let joined = format!("*** {} joined (3 here)", browser.addr());
    people.iter_mut().for_each(|person| person.hears(&joined));
    for piece in ["GE", "T /index.html HT", "TP/1.1\r", "\nHost: x\r\n\r\n"] {
        browser.sends(piece.as_bytes());
    }
    hears_a_response(&mut browser, &room);
    let left = format!("*** {} left: speaks HTTP (2 here)", browser.addr());
    people.iter_mut().for_each(|person| person.hears(&left));
    hear_nothing_else(&mut people);
}

#[test]
fn who_says_hello_in_tls_is_told_how_to_connect_and_the_room_hears_nothing() {
    let room = Room::open();
    let mut people = room.people(["alice", "bob"]);
    for hello in [HELLO, &HELLO[..6], &HELLO[..2]] {
        let mut client = room.connect();
        client.sends(hello);
        hears_a_hint(&mut client, &room);
        hear_nothing_else(&mut people);
    }
}

#[test]
fn a_hello_in_tls_that_comes_after_the_greeting_is_answered_too_and_not_shown() {
    let room = Room::open();
    let mut people = room.people(["alice", "bob"]);
    let mut client = room.connect().joined();
    let joined = format!("*** {} joined (3 here)", client.addr());
    people.iter_mut().for_each(|person| person.hears(&joined));
    client.sends(HELLO);
    hears_a_hint(&mut client, &room);
    let left = format!("*** {} left: speaks TLS (2 here)", client.addr());
    people.iter_mut().for_each(|person| person.hears(&left));
    hear_nothing_else(&mut people);
}

#[test]
fn nobody_is_told_of_who_connects_and_closes_at_once() {
    let room = Room::open();
    let mut people = room.people(["alice", "bob"]);
    for _ in 0..50 {
        let mut scanner = room.connect();
        scanner.half_closes();
        scanner.hears_the_end();
        room.connect().resets();
    }
    hear_nothing_else(&mut people);
    drop(people);
    room.is_deserted();
}

#[test]
fn a_storm_of_connections_that_close_at_once_is_told_of_in_a_few_lines_of_the_log() {
    let program = Program::start(&[]);
    let mut kept_out = Vec::new();
    let started = Instant::now();
    (0..200).for_each(|_| drop(program.connect()));
    wait_until("one line more tells how many were left out", || {
        drop(program.connect());
        kept_out.extend(program.logged().into_iter().filter(|line| line.contains("kept out")));
        let told = |line: &String| line.contains("times more since it was last said");
        kept_out.last().is_some_and(told)
    });
    let seconds = usize::try_from(started.elapsed().as_secs()).expect("a few");
    assert!(kept_out.len() <= seconds + 2, "{kept_out:#?}");
}

#[test]
fn people_who_talk_about_the_web_are_not_taken_for_it() {
    let room = Room::open();
    let mut people = room.people(["alice", "bob"]);
    for text in ["GET the milk", "GET / HTTP/1.1", "\u{16}\u{3}hello"] {
        people[0].says(text);
        let heard = text.trim_start_matches(char::is_control);
        people.iter_mut().for_each(|person| person.hears(&format!("alice: {heard}")));
    }
}
