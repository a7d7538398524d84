//! Abusers that have gone: what they asked for holds up nobody, and what they said ends soon.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use super::abusers::Stage;
use super::{before, kinds};
use crate::harness::*;

/// How long a search may take, and how long clients that have hung up may be listed.
const SOON: Duration = Duration::from_secs(5);

/// When the last line of a client that is gone must have come.
const FLOOD_MAX: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs 256 MB on the disk, for a transcript that takes long to search"]
fn a_search_whose_asker_has_gone_ends_and_holds_up_no_other() {
    const FINDERS: usize = 20;
    let folder = Folder::new();
    before::write_transcript(&folder.transcript(), before::LARGE_BYTES);
    let program = Program::start(&["--transcript", argument(&folder.transcript())]);
    let [mut alice] = program.people(["alice"]);
    let stage = Stage { addr: program.addr(), over: AtomicBool::new(false) };
    kinds::find_and_hang_up(&stage, FINDERS);
    let begun = Instant::now();
    alice.says("/find needle");
    for _ in 0..20 {
        while !alice.line().contains("needle") {}
    }
    assert!(begun.elapsed() < SOON, "20 lines were found after {:.1?}", begun.elapsed());
    let begun = Instant::now();
    while who_is_here(&mut alice) != "*** 1 here" {
        assert!(begun.elapsed() < SOON, "clients that have hung up are still here");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "takes 12 s: waits for the end of a flood"]
fn the_lines_of_a_flood_end_soon_after_its_sender_has_reset() {
    let program = Program::start(&["--rate", "20"]);
    let [mut alice] = program.people(["alice"]);
    let stage = Stage { addr: program.addr(), over: AtomicBool::new(false) };
    kinds::flood_once_and_reset(&stage);
    thread::sleep(FLOOD_MAX);
    // A slowed client may say nothing for some seconds and go on after that, if it is still here.
    assert_eq!(who_is_here(&mut alice), "*** 1 here");
    alice.says("fence");
    alice.hears_until("alice: fence");
    thread::sleep(Duration::from_secs(1));
    alice.says("last");
    alice.hears("alice: last");
}

/// What the answer to `/who` begins with.
fn who_is_here(asker: &mut Client) -> String {
    asker.says("/who");
    loop {
        let line = asker.line();
        if line.starts_with("*** ") && line.ends_with(" here") {
            return line;
        }
    }
}
