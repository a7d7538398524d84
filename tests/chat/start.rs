//! The program's start: what it says, its options, and how it ends.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::harness::*;

/// Runs the program to its end; gives its exit status, stdout and stderr.
#[track_caller]
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    Program::spawn(&mut command(CHAT_SERVER, arguments)).exits()
}

/// Checks that the program cannot start with these arguments, and says so in one line with `texts`.
#[track_caller]
fn assert_cannot_start(arguments: &[&str], texts: &[&str]) {
    let (status, stdout, stderr) = run(arguments);
    assert_eq!((status, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for text in texts {
        assert!(stderr.contains(text), "{text:?} in {stderr}");
    }
}

#[test]
fn on_loopback_it_says_how_to_join_and_how_to_let_others_in() {
    let mut program = Program::start(&[]);
    let (addr, port) = (program.addr(), program.addr().port());
    assert_eq!(program.prints("listening on"), format!("listening on {addr}"));
    program.prints(&format!("nc 127.0.0.1 {port}"));
    let hint = program.prints("--host 0.0.0.0");
    assert!(hint.contains("--host ::"), "{hint}");
}

#[test]
fn open_to_others_it_says_how_each_address_is_joined() {
    let mut program = Program::start(&["--host", "0.0.0.0"]);
    let port = program.addr().port();
    program.types("exit");
    let (status, stdout, stderr) = program.exits();
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.starts_with(&format!("listening on 0.0.0.0:{port}\n")), "{stdout}");
    let joins: Vec<&str> = stdout.lines().filter(|line| line.starts_with("nc ")).collect();
    for join in &joins {
        let (addr, its_port) = join["nc ".len()..].split_once(' ').unwrap();
        assert_eq!(its_port, port.to_string());
        // An address of this machine: it can be bound.
        assert!(TcpListener::bind((addr, 0)).is_ok(), "{join}");
    }
    assert!(!joins.is_empty() || stdout.contains("no address"), "{stdout}");
    assert!(!stdout.contains("nc 127.") && !stdout.contains("nc 0."), "{stdout}");
}

#[test]
fn on_all_of_ipv6_an_ipv4_client_is_shown_and_logged_by_its_plain_address() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // This machine has no IPv6.
    }
    let mut program = Program::start(&["--host", "::"]);
    let [mut alice] = program.people(["alice"]);
    let mut bob = program.connect();
    let addr = bob.addr();
    assert!(addr.is_ipv4());
    bob.is_told(&format!("welcome; you are {addr}; 2 here; /help lists the commands"));
    alice.hears(&format!("*** {addr} joined (2 here)"));
    program.types("who");
    program.prints(&addr.to_string());
    let sixth = TcpStream::connect(("::1", program.addr().port())).unwrap();
    let mut sixth = Client::new(sixth).joined();
    sixth.says(&format!("/msg {addr} hello"));
    bob.hears_until(&format!("{} -> {addr}: hello", sixth.addr()));
    program.types(&format!("kick {addr}"));
    program.prints(&format!("kicked {addr}"));
    program.types("exit");
    let (status, stdout, stderr) = program.exits();
    assert_eq!(status, Some(0));
    assert!(stderr.contains(&format!("{addr} connected")), "{stderr}");
    assert!(!stdout.contains("::ffff:") && !stderr.contains("::ffff:"), "{stdout}{stderr}");
}

#[test]
fn every_option_can_be_given_on_the_command_line_or_by_the_environment() {
    let options =
        [("TIME_FORMAT", "at %Y"), ("MAX_CLIENTS", "1"), ("MAX_LINE", "10"), ("PORT", "0")];
    let mut arguments = command(CHAT_SERVER, &[]);
    let mut environment = command(CHAT_SERVER, &[]);
    for (name, value) in options {
        arguments.arg(format!("--{}", name.to_lowercase().replace('_', "-"))).arg(value);
        environment.env(format!("CHAT_SERVER_{name}"), value);
    }
    // What the command line says comes first.
    arguments
        .env("CHAT_SERVER_MAX_CLIENTS", "7")
        .env("CHAT_SERVER_HOST", "::1")
        .args(["--host", "127.0.0.1"]);
    environment.env("CHAT_SERVER_HOST", "127.0.0.1");
    for mut command in [arguments, environment] {
        let program = Program::spawn(&mut command).listening();
        let mut alice = program.client();
        alice.says("0123456789");
        let line = alice.line();
        let (stamp, text) = line.split_once("] ").unwrap();
        assert!(stamp.starts_with("[at 20") && stamp.len() == "[at 2026".len(), "{line}");
        assert_eq!(text, format!("{}: 0123456789", alice.addr()));
        alice.says("0123456789x");
        alice.is_told("your line was dropped: it is longer than 10 bytes");
        program.connect().is_told("the room is full: 1 are here");
    }
}

#[test]
fn help_names_every_option_with_its_variable_and_default() {
    let (status, help, stderr) = run(&["--help"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    for (option, default) in [
        ("host", "127.0.0.1"),
        ("port", "9999"),
        ("time-format", "%Y/%m/%d-%H:%M:%S"),
        ("max-clients", "10000"),
        ("max-line", "4096"),
    ] {
        let variable = format!("CHAT_SERVER_{}", option.to_uppercase().replace('-', "_"));
        for text in [&format!("--{option} "), &variable, default] {
            assert!(help.contains(text), "{text} in {help}");
        }
    }
}

#[test]
fn version_is_the_version_of_the_package() {
    let version = format!("chat-server {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]), (Some(0), version, String::new()));
}

#[test]
fn bad_usage_ends_with_status_2_and_names_the_option() {
    for (option, value) in [
        ("--port", "65536"),
        ("--port", "http"),
        ("--time-format", "%Q"),
        ("--time-format", "%n"),
        ("--max-clients", "0"),
        ("--max-line", "-1"),
        ("--no-such-option", "1"),
    ] {
        let (status, stdout, stderr) = run(&[&format!("{option}={value}")]);
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{option}={value}: {stderr}");
        assert!(stderr.contains(option), "{stderr}");
    }
}

#[test]
fn a_taken_port_is_explained_in_one_line() {
    let first = Program::start(&[]);
    let (addr, port) = (first.addr(), first.addr().port().to_string());
    let listening = format!("cannot listen on {addr}: ");
    assert_cannot_start(
        &["--port", &port],
        &[&listening, "only one program at a time can listen on a port", "--port"],
    );
    let mut alice = first.client();
    alice.says("not disturbed");
    alice.hears(&format!("{}: not disturbed", alice.addr()));
}

#[test]
fn a_host_that_is_no_address_or_not_this_machines_is_named_with_its_flag() {
    assert_cannot_start(&["--host", "no.such.host"], &["no.such.host", "not an address", "--host"]);
    assert_cannot_start(&["--host", ""], &["not an address", "--host"]);
    // TEST-NET-1 of RFC 5737: nobody's.
    let theirs = ["--host", "192.0.2.1", "--port", "0"];
    assert_cannot_start(&theirs, &["192.0.2.1:0", "does not have that address", "--host"]);
}

#[test]
fn a_forbidden_port_is_named_with_its_flag() {
    if TcpListener::bind("127.0.0.1:1").is_ok() {
        return; // Whoever runs this test may listen on any port.
    }
    let texts = ["127.0.0.1:1:", "permission denied", "--port"];
    assert_cannot_start(&["--port", "1"], &texts);
}

#[test]
fn sigint_and_sigterm_stop_it_with_status_0_and_everybody_is_told() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut program = Program::start(&[]);
        let [mut alice] = program.people(["alice"]);
        program.is_sent(signal);
        alice.hears("*** the server stops; goodbye");
        alice.hears_the_end();
        assert_eq!(program.exits().0, Some(0));
        let port = program.addr().port().to_string();
        let again = Program::spawn(&mut command(CHAT_SERVER, &["--port", &port])).listening();
        again.people(["alice"]);
    }
}

#[test]
fn a_second_ctrl_c_ends_it_at_once_with_status_130() {
    let mut program = Program::start(&["--rate", "0"]);
    let [mut alice] = program.people(["alice"]);
    let frozen = program.connect_narrow().joined();
    // Talk until something waits for it, so that the stop has to wait for it as well.
    let line = "x".repeat(4000);
    loop {
        alice.says(&line);
        alice.hears_until(&format!("alice: {line}"));
        program.types("who");
        let who = program.prints(&frozen.addr().to_string());
        if !who.ends_with(" 0") {
            break;
        }
    }
    let started = Instant::now();
    program.is_sent(Signal::INT);
    alice.hears("*** the server stops; goodbye");
    let mut status = None;
    wait_until("the second signal ends it", || {
        program.is_sent(Signal::INT);
        status = program.status();
        status.is_some()
    });
    assert_eq!(status, Some(Some(130)));
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
}

#[test]
fn joins_leaves_and_refusals_are_logged_and_what_people_say_only_at_debug() {
    for (level, says) in [("info", false), ("debug", true)] {
        let mut command = command(CHAT_SERVER, &["--port", "0", "--max-clients", "1"]);
        let mut program = Program::spawn(command.env("RUST_LOG", level)).listening();
        let mut alice = program.client();
        program.connect().is_told("the room is full: 1 are here");
        alice.says("between us");
        alice.says("quit");
        alice.hears(&format!("{}: between us", alice.addr()));
        alice.hears_the_end();
        program.types("exit");
        let (_, _, log) = program.exits();
        let addr = alice.addr();
        let connected =
            log.lines().find(|line| line.ends_with(&format!("] {addr} connected"))).unwrap();
        let words: Vec<&str> = connected.split_whitespace().collect();
        assert!(words[0].starts_with("20") && words[0].contains('T'), "a time: {connected}");
        assert_eq!(words[1..3], ["INFO", "[accept]"]);
        assert!(log.contains(&format!("{addr} left: quit")), "{log}");
        assert!(log.contains(" refused: "), "{log}");
        assert_eq!(log.contains("between us"), says, "{level}: {log}");
    }
}
