//! The console in a pipe: its commands, and whatever else may stand at stdin and stdout.

use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::harness::*;

/// Checks that the server serves, and stops at a signal with status 0.
#[track_caller]
fn assert_serves_until_stopped(mut program: Program) {
    let mut alice = program.client();
    alice.says("hi");
    alice.hears(&format!("{}: hi", alice.addr()));
    program.is_sent(Signal::TERM);
    alice.hears("*** the server stops; goodbye");
    let (status, _, stderr) = program.exits();
    assert_eq!(status, Some(0), "{stderr}");
}

#[test]
fn exit_stops_the_server_and_everybody_is_told() {
    let mut program = Program::start(&[]);
    let [mut alice, mut bob] = program.people(["alice", "bob"]);
    program.types("exit");
    for person in [&mut alice, &mut bob] {
        person.hears("*** the server stops; goodbye");
        person.hears_the_end();
    }
    let (status, _, stderr) = program.exits();
    assert_eq!(status, Some(0), "{stderr}");
}

#[test]
fn what_was_typed_ahead_is_done_in_order_and_what_follows_exit_is_not() {
    let mut program = Program::start(&[]);
    let [mut alice] = program.people(["alice"]);
    program.types("say one\nsay two\r\n\n  \nexit\nsay three");
    alice.hears("server: one");
    alice.hears("server: two");
    alice.hears("*** the server stops; goodbye");
    alice.hears_the_end();
    assert_eq!(program.exits().0, Some(0));
}

#[test]
fn who_lists_the_clients() {
    let mut program = Program::start(&[]);
    program.types("who");
    program.prints("nobody is here");
    let [mut alice] = program.people(["alice"]);
    let bob = program.client();
    alice.says("one line\n/me is not silent\n/nosuch");
    alice.hears_until("* alice is not silent");
    assert!(alice.line().starts_with("*** no such command"));
    program.types("who");
    for (client, name, lines) in [(&alice, "alice", "2"), (&bob, "-", "0")] {
        let row = program.prints(&client.addr().to_string());
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words[1], name, "{row}");
        assert_eq!(words[words.len() - 2..], [lines, "0"], "lines said and bytes waiting: {row}");
    }
}

#[test]
fn say_is_a_public_line_from_the_server_without_what_could_do_harm() {
    let mut program = Program::start(&[]);
    let [mut alice, mut bob] = program.people(["alice", "bob"]);
    program.types("say hello \x1b[2Jall");
    program.types("say");
    program.prints("say TEXT");
    for person in [&mut alice, &mut bob] {
        person.hears("server: hello [2Jall");
    }
}

#[test]
fn kick_tells_its_victim_why_and_disconnects_it() {
    let mut program = Program::start(&[]);
    let [mut alice, mut bob] = program.people(["alice", "bob"]);
    let mut carol = program.client();
    let (bob_addr, carol_addr) = (bob.addr(), carol.addr());
    alice.hears(&format!("*** {carol_addr} joined (3 here)"));

    program.types("kick bob no shouting");
    program.prints(&format!("kicked {bob_addr}"));
    alice.hears("*** bob left: kicked: no shouting (2 here)");
    bob.hears(&format!("*** {carol_addr} joined (3 here)"));
    bob.is_told("you were kicked: no shouting");
    bob.hears_the_end();

    program.types(&format!("kick {carol_addr}"));
    program.prints(&format!("kicked {carol_addr}"));
    assert!(alice.line().contains(&format!("*** {carol_addr} left: kicked")));
    carol.hears("*** bob left: kicked: no shouting (2 here)");
    assert!(carol.line().starts_with("*** you were kicked"));
    carol.hears_the_end();

    for nobody in ["bob", "127.0.0.1:1", "*"] {
        program.types(&format!("kick {nobody}"));
        program.prints(&format!("no such name: {nobody}"));
    }
    program.types("kick");
    program.prints("kick NAME or ADDRESS [REASON]");
}

#[test]
fn threads_lists_the_servers_threads_by_name() {
    let mut program = Program::start(&[]);
    let alice = program.client();
    program.types("threads\nstats");
    let threads = program.prints_until("clients ");
    for name in ["main", "console", "accept", "deliver", &format!("client {}", alice.addr())] {
        assert!(threads.iter().any(|it| it == name), "{name} in {threads:?}");
    }
}

#[test]
fn stats_counts_what_was_done() {
    let mut program = Program::start(&["--max-clients", "1"]);
    let mut alice = program.client();
    program.connect().is_told("the room is full: 1 are here");
    alice.says("hi");
    alice.hears(&format!("{}: hi", alice.addr()));
    program.types("stats");
    for number in ["clients 1", "lines 2", "deliveries 2", "skipped lines 0", "refusals 1"] {
        let (name, number) = number.rsplit_once(' ').unwrap();
        let row = program.prints(name);
        assert_eq!(row[name.len()..].trim(), number, "{row}");
    }
    program.prints("uptime");
}

#[test]
fn help_lists_every_command() {
    let mut program = Program::start(&[]);
    program.types("help\nno such");
    let help = program.prints_until("no such command: no");
    for name in ["exit", "who", "say", "kick", "threads", "stats", "watch", "help"] {
        assert!(help.iter().any(|line| line.starts_with(name)), "{name} in {help:?}");
    }
}

#[test]
fn the_chat_is_shown_in_a_pipe_only_while_it_is_watched() {
    let mut program = Program::start(&[]);
    let [mut alice] = program.people(["alice"]);
    for (watched, text) in [(false, "before"), (true, "meanwhile"), (false, "after")] {
        program.types(if watched { "watch on" } else { "watch off" });
        program.types("who");
        program.prints(&alice.addr().to_string());
        alice.says(text);
        alice.hears(&format!("alice: {text}"));
        if watched {
            let line = program.prints(text);
            assert_eq!(unstamped(&line), Some("alice: meanwhile"));
        }
    }
    program.types("exit");
    let (_, rest, _) = program.exits();
    assert!(!rest.contains("alice: "), "{rest}");
}

#[test]
fn the_end_of_stdin_ends_the_console_and_not_the_server_and_costs_no_processor_time() {
    let mut program = Program::start(&[]);
    drop(program.stdin.take());
    program.logs("the server goes on");
    let before = program.cpu_time();
    thread::sleep(Duration::from_millis(300));
    let spent = program.cpu_time() - before;
    assert!(spent < Duration::from_millis(100), "{spent:?}");
    assert_serves_until_stopped(program);
}

#[test]
fn it_serves_with_dev_null_at_stdin() {
    let mut command = command(CHAT_SERVER, &["--port", "0"]);
    let program = Program::spawn(command.stdin(Stdio::null())).listening();
    assert_serves_until_stopped(program);
}

#[test]
fn it_serves_with_stdin_closed_altogether() {
    let mut command = command("sh", &["-c", "exec \"$0\" --port 0 <&-", CHAT_SERVER]);
    let program = Program::spawn(&mut command).listening();
    // Whoever became descriptor 0 would be read by the console.
    let mut client = program.client();
    client.says("exit");
    client.hears(&format!("{}: exit", client.addr()));
    client.says("quit");
    client.hears_the_end();
    assert_serves_until_stopped(program);
}

#[test]
fn garbage_and_an_endless_line_at_stdin_harm_nothing() {
    let mut program = Program::start(&[]);
    let stdin = program.stdin.as_mut().unwrap();
    let garbage: Vec<u8> = (0..=255).cycle().take(64 << 10).collect();
    stdin.write_all(&garbage).unwrap();
    stdin.write_all(&[b'x'; 1 << 20]).unwrap();
    program.types("\nsay still here");
    program.prints("longer than");
    program.types("who\nsay");
    program.prints("say TEXT");
    assert_serves_until_stopped(program);
}

#[test]
fn a_stdout_that_is_closed_or_not_read_holds_nothing_up() {
    for read in [false, true] {
        let (reader, writer) = std::io::pipe().unwrap();
        let reader = read.then_some(reader);
        let mut command = command(CHAT_SERVER, &["--port", "0", "--rate", "0"]);
        let mut program = Program::spawn(command.stdout(writer)).listening();
        drop(command); // With it the test's own end for writing.
        let [mut alice] = program.people(["alice"]);
        program.types("watch on\nhelp\nsay watched");
        alice.hears("server: watched");
        // More than a pipe holds.
        let line = "x".repeat(4000);
        for _ in 0..100 {
            alice.says(&line);
            alice.hears(&format!("alice: {line}"));
        }
        program.types("say heard");
        alice.hears("server: heard");
        program.types("exit");
        alice.hears("*** the server stops; goodbye");
        assert_eq!(program.exits().0, Some(0));
        drop(reader);
    }
}

/// The server with a stderr that nobody reads once it has said where it listens.
fn with_an_unread_log(command: &mut std::process::Command) -> (Program, BufReader<PipeReader>) {
    let (log, writer) = std::io::pipe().expect("a pipe");
    let program = Program::spawn(command.stderr(writer));
    let mut log = BufReader::new(log);
    let mut line = String::new();
    while !line.contains("listening on ") {
        line.clear();
        assert!(log.read_line(&mut line).is_ok_and(|read| read > 0), "it listens");
    }
    (program.listening_as(&line), log)
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up_and_says_later_what_was_dropped() {
    let mut command = command(CHAT_SERVER, &["--port", "0", "--rate", "0"]);
    let (mut program, log) = with_an_unread_log(command.env("RUST_LOG", "debug"));
    drop(command); // With it the test's own end for writing.
    let [mut alice, mut bob] = program.people(["alice", "bob"]);
    // What people say is logged at debug: more than the pipe holds and may wait.
    let line = "x".repeat(4000);
    for _ in 0..1200 {
        alice.says(&line);
        alice.hears_until_end_of("xxx");
        bob.hears_until_end_of("xxx");
    }
    program.types("stats");
    program.prints("uptime");
    let dropped = log.lines().map_while(Result::ok).find(|line| line.contains(" dropped: "));
    let dropped = dropped.expect("what was dropped is said");
    assert!(dropped.contains("pieces of log output"), "{dropped}");
    assert!(!dropped.contains(" 0 pieces"), "{dropped}");
    program.types("exit");
    assert_eq!(program.exits().0, Some(0));
}

#[test]
fn a_thousand_come_and_go_while_nobody_reads_stdout_or_stderr() {
    let (stdout, writer) = std::io::pipe().unwrap();
    let mut command = command(CHAT_SERVER, &["--port", "0"]);
    let (mut program, log) = with_an_unread_log(command.stdout(writer));
    drop(command); // With it the test's own ends for writing.
    program.types("watch on");
    for _ in 0..10 {
        program.crowd(100);
    }
    let mut alice = program.client();
    alice.says("fence");
    alice.hears_until(&format!("{}: fence", alice.addr()));
    program.types("exit");
    alice.hears_until("*** the server stops; goodbye");
    assert_eq!(program.exits().0, Some(0));
    drop((stdout, log));
}
