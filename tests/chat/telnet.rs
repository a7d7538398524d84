//! Telnet's commands: never chat, answered where telnet waits for an answer.

use super::harness::*;

const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;

/// What GNU telnet sends at Ctrl-C: IP, then DO TIMING-MARK, after which it shows nothing until it
/// is answered.
const CTRL_C: &[u8] = b"\xFF\xF4\xFF\xFD\x06";

#[test]
fn negotiation_is_never_chat_however_it_is_cut() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    let mut stream =
        b"a\xFF\xFB\x1Fb\xFF\xFA\x1F\0\x50\xFF\xFF\n\0\x18\xFF\xF0c\xFF\xF1d\r\n".to_vec();
    stream.extend(b"\xE4\xBD\xFF\xFD\x01\xA0\r\xFF\xFE\x01\nend\n");
    alice.sends(&stream);
    for byte in &stream {
        alice.sends(&[*byte]);
    }
    for _ in 0..2 {
        bob.hears("alice: abcd");
        bob.hears("alice: 你");
        bob.hears("alice: end");
    }
}

#[test]
fn each_offer_and_request_is_refused_once_and_refusals_are_not_answered() {
    let room = Room::open();
    let mut telnet = room.client();
    // WILL NAWS, DO ECHO, both again, then WONT and DONT.
    telnet.sends(b"\xFF\xFB\x1F\xFF\xFD\x01\xFF\xFB\x1F\xFF\xFD\x01\xFF\xFC\x1F\xFF\xFE\x01");
    telnet.receives(b"\xFF\xFE\x1F\xFF\xFC\x01");
    telnet.line_end = "\r\n";
    telnet.says("next");
    telnet.hears(&format!("{}: next", telnet.addr()));
}

#[test]
fn each_timing_mark_is_answered_so_that_telnet_hears_on_after_every_ctrl_c() {
    let room = Room::open();
    let [mut telnet, mut bob] = room.people(["telnet", "bob"]);
    telnet.line_end = "\r\n";
    for _ in 0..3 {
        telnet.sends(CTRL_C);
        telnet.receives(b"\xFF\xFC\x06");
        bob.says("do you hear me?");
        telnet.hears("bob: do you hear me?");
        bob.hears("bob: do you hear me?");
    }
}

#[test]
fn an_answer_comes_after_what_was_said_before_the_request() {
    let room = Room::open();
    let mut telnet = room.client();
    telnet.sends(&[b"before\r\n", CTRL_C, b"after\r\n"].concat());
    telnet.line_end = "\r\n";
    telnet.hears(&format!("{}: before", telnet.addr()));
    telnet.receives(b"\xFF\xFC\x06");
    telnet.hears(&format!("{}: after", telnet.addr()));
}

#[test]
fn a_doubled_iac_is_a_byte_of_text() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.sends(b"a\xFF\xFFb\xFF\xFF\xFF\xF1c\n");
    bob.hears("alice: a\u{FFFD}b\u{FFFD}c");
}

#[test]
fn an_endless_sub_negotiation_is_bounded_and_nobody_hears_of_it() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.sends(&[IAC, SB, 24]);
    for _ in 0..64 {
        alice.sends(&[b'x'; 16 << 10]);
    }
    alice.sends(&[IAC, SE]);
    alice.line_end = "\r\n";
    alice.says("");
    alice.is_told("your line was dropped: it is longer than 4096 bytes");
    alice.says("next");
    bob.hears("alice: next");
}

#[test]
fn who_sends_an_iac_hears_lines_that_end_with_cr_lf() {
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    alice.sends(b"\xFF\xF1\n");
    alice.sends(b"now\n");
    alice.line_end = "\r\n";
    alice.hears("alice: now");
    bob.hears("alice: now");
}

#[test]
fn the_server_never_starts_to_negotiate() {
    let room = Room::open();
    let mut plain = room.connect();
    plain.says("/help");
    plain.says("quit");
    // A command of telnet's would be no UTF-8, and fail here.
    while !plain.line().starts_with("*** //TEXT") {}
    plain.hears_the_end();
}
