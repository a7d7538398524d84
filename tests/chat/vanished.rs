//! Peers that vanish without a word, in a network of their own: dead, and found to be.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::harness::*;

/// A network in which what a client sends can be lost: its routing asks our rules first.
const NETWORK: &str = "ip link set lo up; ip rule add pref 100 lookup local; ip rule del pref 0";

/// Runs a test with a server in a network of their own.
fn in_a_network(options: &[&str], test: fn(Program)) {
    let script = format!("{NETWORK}; exec \"$0\" --port 0 \"$@\"");
    let mut unshare = command("unshare", &["--net", "sh", "-c", &script, CHAT_SERVER]);
    let program = Program::spawn(unshare.args(options)).listening();
    // Only this thread, and the programs that it starts, move.
    let moved = thread::spawn(move || {
        let network = format!("/proc/{}/ns/net", program.pid().as_raw_nonzero());
        let network = File::open(network).expect("the network of the server");
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may move");
        test(program);
    });
    if let Err(panic) = moved.join() {
        std::panic::resume_unwind(panic);
    }
}

/// From now on nothing that the client sends arrives, as if its cable had been pulled, or nothing
/// leaves for it, as if the server's had.
fn vanishes(client: &Client, lost: &str) {
    let port = client.addr().port().to_string();
    let rule = ["rule", "add", "pref", "50", "ipproto", "tcp", lost, &port, "blackhole"];
    assert!(command("ip", &rule).status().expect("ip of iproute2").success());
}

#[test]
#[ignore = "needs root and iproute2"]
fn who_comes_back_has_its_own_name_at_once_although_a_dead_connection_holds_it() {
    in_a_network(&[], |mut program| {
        let [mut alice, mut bob] = program.people(["alice", "bob"]);
        for lost in ["sport", "dport"] {
            vanishes(&alice, lost);
            let mut back = program.client();
            bob.hears(&format!("*** {} joined (3 here)", back.addr()));
            back.says("/name alice");
            bob.hears("*** alice left: its connection was dead (2 here)");
            bob.hears(&format!("*** {} is now alice", back.addr()));
            back.hears_until(&format!("*** {} is now alice", back.addr()));
            program.logs("(alice) left: its connection was dead");
            alice = back;
        }
        // Of a connection that lives nobody can take the name.
        let mut carol = program.client();
        carol.says("/name alice");
        carol.is_told("the name alice is taken");
    });
}

#[test]
#[ignore = "needs root and iproute2"]
fn the_stop_does_not_wait_for_one_that_asks_for_a_name_whose_bearer_may_be_dead() {
    in_a_network(&[], |program| {
        let [alice, mut bob] = program.people(["alice", "bob"]);
        vanishes(&alice, "sport");
        let mut back = program.client();
        bob.hears(&format!("*** {} joined (3 here)", back.addr()));
        back.says("/name alice");
        bob.says("fence");
        bob.hears("bob: fence");
        let stopped = Instant::now();
        program.is_sent(Signal::TERM);
        back.hears_until("*** the server stops; goodbye");
        back.hears_the_end();
        let took = stopped.elapsed();
        // TCP would take longer to find the bearer dead.
        assert!(took < Duration::from_millis(350), "{took:?}");
    });
}

#[test]
#[ignore = "needs root and iproute2, and takes 35 s: a stall timeout and 30 s more"]
fn who_vanishes_is_found_and_its_name_is_free_then() {
    in_a_network(&["--stall-timeout", "1"], |program| {
        let [alice, mut bob] = program.people(["alice", "bob"]);
        vanishes(&alice, "sport");
        bob.says("are you there?");
        bob.hears("bob: are you there?");
        thread::sleep(3 * DEADLINE);
        assert!(bob.line().contains("*** alice left: "));
        bob.says("/name alice");
        bob.hears("*** bob is now alice");
    });
}

#[test]
fn a_name_whose_bearer_lives_but_does_not_read_is_not_given_away() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    let mut stuck = room.connect_narrow();
    stuck.says("/name stuck");
    alice.hears_until_end_of(" is now stuck");
    let line = "x".repeat(4000);
    while room.operator.clients().iter().all(|client| client.bytes_waiting < 100_000) {
        alice.says(&line);
        alice.hears_until_end_of("xxx");
    }
    alice.says("/name stuck");
    alice.is_told("the name stuck is taken");
    assert_eq!(room.operator.clients().len(), 2);
}
