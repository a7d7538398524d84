//! The transcript: what stands in it, and that whatever was seen survives the server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chat_server::Config;
use rustix::process::Signal;

use super::harness::*;

fn room_that_writes(transcript: &Path) -> Room {
    Room::with(Config { transcript: Some(transcript.to_owned()), history_lines: 20, ..config() })
}

#[test]
fn every_public_line_is_in_the_file_before_anybody_hears_it_and_no_other_line_is() {
    let folder = Folder::new();
    let room = room_that_writes(&folder.transcript());
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    let mut expected: Vec<String> = [(&alice, "alice"), (&bob, "bob")]
        .map(|(client, name)| format!("*** {} is now {name}", client.addr()))
        .into();
    assert_eq!(bodies(&folder.transcript()), expected);
    for (said, heard) in [
        ("hello\tagain", "alice: hello\tagain"),
        ("/me waves", "* alice waves"),
        ("/name anna", "*** alice is now anna"),
        ("你好 \u{1b}[31mgrüße\u{9b}\u{202e}", "anna: 你好 [31mgrüße"),
        ("//etc", "anna: /etc"),
    ] {
        alice.says(said);
        alice.hears(heard);
        expected.push(heard.to_owned());
        assert_eq!(bodies(&folder.transcript()), expected);
    }
    room.operator.say("from the operator");
    alice.hears("server: from the operator");
    expected.push("server: from the operator".to_owned());
    alice.says("/msg bob a secret");
    bob.hears_until("anna -> bob: a secret");
    alice.says("/who");
    bob.says("quit");
    alice.hears_until("*** bob left (1 here)");
    assert_eq!(bodies(&folder.transcript()), expected);
}

#[test]
fn the_file_is_for_its_owner_alone_and_its_stamps_are_local_time_to_the_second() {
    let folder = Folder::new();
    let clock = || UNIX_EPOCH + Duration::from_millis(1_700_000_000_999);
    let transcript = Some(folder.transcript());
    let room = Room::with(Config { transcript, clock, ..config() });
    let mut alice = room.client();
    alice.says("hello");
    alice.hears(&format!("{}: hello", alice.addr()));
    let mode = fs::metadata(folder.transcript()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let text = fs::read_to_string(folder.transcript()).unwrap();
    let stamp = text.split(' ').next().unwrap();
    let time = chrono::DateTime::parse_from_rfc3339(stamp).unwrap();
    let local = chrono::DateTime::<chrono::Local>::from(clock());
    assert_eq!(time.timestamp(), 1_700_000_000);
    assert_eq!(stamp, local.format("%Y-%m-%dT%H:%M:%S%:z").to_string());
}

#[test]
fn what_a_slow_client_missed_stands_in_the_file_and_that_it_missed_it_does_not() {
    let folder = Folder::new();
    let transcript = Some(folder.transcript());
    let limits = Config { backlog_bytes_max: 8 << 10, rate_lines: None, ..config() };
    let room = Room::with(Config { transcript, ..limits });
    let mut alice = room.client();
    let mut slow = room.connect_narrow().joined();
    let mut said = 0;
    while room.operator.stats().skipped_lines == 0 {
        let line = format!("{said} {}", "x".repeat(4000));
        alice.says(&line);
        alice.hears_until(&format!("{}: {line}", alice.addr()));
        said += 1;
    }
    while !slow.line().starts_with("*** you missed ") {}
    let bodies = bodies(&folder.transcript());
    let starts = (0..said).map(|number| format!("{}: {number} x", alice.addr()));
    assert_eq!(bodies.len(), said);
    assert!(bodies.iter().zip(starts).all(|(body, start)| body.starts_with(&start)));
}

#[test]
fn a_restart_goes_on_in_the_same_file_and_shows_what_was_said_before() {
    let folder = Folder::new();
    let mut heard = Vec::new();
    for run in 0..3 {
        let mut program = Program::start(&["--transcript", argument(&folder.transcript())]);
        let (mut alice, history) = program.connect().joined_after_history();
        assert_eq!(history, heard);
        for line in ["one", "grüße", "/me waves"] {
            alice.says(&format!("{line} {run}"));
            heard.push(alice.line());
        }
        // The stop is a public line, too.
        program.types("exit");
        heard.push(alice.line());
        alice.hears_the_end();
        assert_eq!(program.exits().0, Some(0));
    }
    let texts: Vec<&str> = heard.iter().filter_map(|line| unstamped(line)).collect();
    assert_eq!(bodies(&folder.transcript()), texts);
}

#[test]
fn a_line_torn_at_any_place_is_closed_off_and_nothing_is_lost_or_overwritten() {
    let folder = Folder::new();
    let whole = "2020-01-02T03:04:05+00:00 alice: whole\n";
    let last = "2020-01-02T03:04:06+00:00 bob: ü 你 🐧\n";
    for cut in 0..=last.len() {
        let before = [whole.as_bytes(), &last.as_bytes()[..cut]].concat();
        let transcript = folder.path().join(cut.to_string());
        fs::write(&transcript, &before).unwrap();
        let room = room_that_writes(&transcript);
        let (mut carol, history) = room.connect().joined_after_history();
        assert_eq!(unstamped(&history[0]), Some("alice: whole"), "cut at {cut}");
        carol.says("after");
        carol.hears(&format!("{}: after", carol.addr()));
        drop(carol);
        drop(room);
        let after = fs::read(&transcript).unwrap();
        let added = after.strip_prefix(&before[..]).expect("nothing is overwritten");
        let added = str::from_utf8(added).unwrap();
        let added = if before.ends_with(b"\n") { added } else { added.strip_prefix('\n').unwrap() };
        assert!(added.starts_with("20") && added.lines().count() == 2, "cut at {cut}: {added}");
        let text = String::from_utf8_lossy(&after);
        let whole_lines = text.lines().filter(|line| line.ends_with(": after"));
        assert_eq!(whole_lines.count(), 1, "cut at {cut}");
    }
}

/// Talks in bursts, and hears everything, until the connection breaks; gives what was heard and is
/// no notice of a join or a leave.
fn talks_until_cut_off(mut client: Client, tag: &str) -> Vec<String> {
    let mut heard = Vec::new();
    for burst in 0.. {
        let lines: Vec<String> =
            (0..100).map(|line| format!("{tag} {burst} {line} {}", "ü".repeat(line))).collect();
        if !client.tries_to_send((lines.join("\n") + "\n").as_bytes()) {
            break;
        }
        let last = format!(": {}", lines[99]);
        loop {
            let Some(line) = client.line_unless_cut_off() else { return heard };
            let is_last = line.ends_with(&last);
            if !line.contains(" joined (") && !line.contains(" left") {
                heard.push(unstamped(&line).expect("nobody misses a line").to_owned());
            }
            if is_last {
                break;
            }
        }
    }
    heard
}

/// The last of the history that the server read back is what the file ends with.
#[track_caller]
fn assert_remembers(history: &[String], written: &[u8]) {
    let text = String::from_utf8_lossy(written);
    let last: Vec<&str> = text.lines().rev().filter_map(said).take(20).collect();
    let history = history.iter().rev().map(|line| unstamped(line).expect("a stamped line"));
    assert!(history.eq(last), "another history than what the file ends with");
}

/// Kills the server so often at random moments, always on the same file, and compares what every
/// client saw with the file. Gives how many lines were seen, and how often a line was torn.
fn kills(times: u32) -> (usize, u32) {
    const TALKERS: u32 = 8;
    let folder = Folder::new();
    let path = folder.transcript();
    let arguments = ["--transcript", argument(&path), "--rate", "0"];
    let (mut before, mut torn, mut seen) = (Vec::new(), 0, 0);
    for round in 0..times {
        let program = Program::start(&arguments);
        let (first, history) = program.connect().joined_after_history();
        assert_remembers(&history, &before);
        let mut clients = vec![first];
        clients.extend((1..TALKERS).map(|_| program.client()));
        let heard: Vec<Vec<String>> = thread::scope(|scope| {
            let talker = |(number, client)| {
                let tag = format!("{round}.{number}");
                scope.spawn(move || talks_until_cut_off(client, &tag))
            };
            let talkers: Vec<_> = (0..TALKERS).zip(clients).map(talker).collect();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
            thread::sleep(Duration::from_micros(u64::from(now.subsec_nanos()) % 60_000));
            program.is_sent(Signal::KILL);
            talkers.into_iter().map(|talker| talker.join().expect("no fault")).collect()
        });
        drop(program);
        let after = fs::read(&path).expect("the transcript");
        assert!(after.starts_with(&before), "round {round}: something was overwritten");
        let written = String::from_utf8_lossy(&after[before.len()..]);
        // The torn line of the round before is closed off first.
        let written = written.strip_prefix('\n').unwrap_or(&written);
        let whole = written.rfind('\n').map_or("", |end| &written[..end]);
        let bodies: Vec<&str> =
            whole.lines().map(|line| said(line).expect("a stamped line")).collect();
        heard.iter().for_each(|heard| assert_stands_in(heard, &bodies, round));
        seen += heard.iter().map(Vec::len).sum::<usize>();
        torn += u32::from(!after.ends_with(b"\n"));
        before = after;
    }
    (seen, torn)
}

/// What a line of the file says; nothing when it was torn before that.
fn said(line: &str) -> Option<&str> {
    body(line).filter(|body| !body.is_empty())
}

/// What one client heard stands in the file, in the same order and without a gap.
#[track_caller]
fn assert_stands_in(heard: &[String], bodies: &[&str], round: u32) {
    let Some(first) = heard.first() else { return };
    let start = bodies.iter().position(|body| body == first);
    let start = start.unwrap_or_else(|| panic!("round {round}: {first:?} is not in the file"));
    for (at, heard) in heard.iter().enumerate() {
        let written = bodies.get(start + at);
        assert_eq!(written, Some(&heard.as_str()), "round {round}, line {at} that was shown");
    }
}

#[test]
fn whatever_anybody_saw_is_in_the_file_after_kill_9() {
    let (seen, _) = kills(5);
    assert!(seen > 0);
}

#[test]
#[ignore = "kills fifty servers, one after the other"]
fn whatever_anybody_saw_is_in_the_file_after_fifty_times_kill_9() {
    let (seen, torn) = kills(50);
    println!("50 kills: all of {seen} lines that were seen are in the file; torn: {torn}");
    assert!(seen > 0);
}
