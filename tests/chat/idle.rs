//! `--idle-timeout`: who says nothing for too long is warned, and then disconnected.

use std::thread;
use std::time::{Duration, Instant};

use chat_server::Config;

use super::harness::*;

const TIMEOUT: Duration = Duration::from_secs(1);

/// What a client is told when half of its time is over.
const WARNING: &str = "you will be disconnected in 1 s: say something";

fn room() -> Room {
    Room::with(Config { idle_timeout: Some(TIMEOUT), ..config() })
}

#[test]
fn who_says_nothing_is_warned_and_then_disconnected_and_the_others_are_told_why() {
    let room = room();
    let [mut alice] = room.people(["alice"]);
    let mut silent = room.client();
    let since = Instant::now();
    silent.is_told(WARNING);
    let warned = since.elapsed();
    // Whoever talks is not concerned.
    alice.says("fence");
    silent.hears("alice: fence");
    silent.is_told("you are disconnected: said nothing for 1 s");
    silent.hears_the_end();
    let ended = since.elapsed();
    assert!(warned >= TIMEOUT / 3 && ended > warned && ended >= 9 * TIMEOUT / 10, "{ended:?}");
    alice.hears_until("alice: fence");
    alice.hears_until(&format!("*** {} left: said nothing for 1 s (1 here)", silent.addr()));
}

#[test]
fn whoever_says_something_in_time_stays_and_is_not_warned() {
    let room = room();
    let mut talker = room.client();
    let since = Instant::now();
    while since.elapsed() < TIMEOUT + TIMEOUT / 4 {
        talker.says("still here");
        talker.hears(&format!("{}: still here", talker.addr()));
        thread::sleep(TIMEOUT / 20);
    }
}

#[test]
fn talk_after_the_warning_begins_the_time_anew() {
    let room = room();
    let mut client = room.client();
    for talk in ["/me is here", "back again"] {
        client.is_told(WARNING);
        client.says(talk);
        client.hears_until_end_of(talk.trim_start_matches("/me "));
    }
    client.is_told(WARNING);
    client.is_told("you are disconnected: said nothing for 1 s");
    client.hears_the_end();
}

#[test]
fn without_the_option_nobody_is_warned() {
    let room = Room::open();
    let mut silent = room.client();
    let [mut alice] = room.people(["alice"]);
    thread::sleep(TIMEOUT / 2);
    alice.says("fence");
    silent.hears_until_end_of(" is now alice");
    silent.hears("alice: fence");
}
