//! Runs each example as its reader would, and talks to it over TCP.
//!
//! Cargo builds the examples for `cargo test`, though not for `cargo test --test ladder`, which
//! runs whatever `cargo build --examples` last made.

#![allow(clippy::unwrap_used)] // A test that cannot go on should panic where it stands.

#[path = "ladder/harness.rs"]
mod harness;

use harness::{Example, Tmux, UTF_8, accept, client_with_server, unused_addr};
use std::net::TcpListener;

// The ladder.

#[test]
fn one_exchange_answers_one_client_and_ends() {
    let mut server = Example::serve("one_exchange", &[]);
    let mut client = server.connect();
    client.send("hello\n");
    assert_eq!(client.rest(), "okay\n");
    server.expect_line_with("said \"hello\\n\"");
    assert!(server.status().success());
}

#[test]
fn one_exchange_shows_control_characters_as_text() {
    let mut server = Example::serve("one_exchange", &[]);
    let mut client = server.connect();
    client.send("\x1b[2Jhello");
    server.expect_line_with("said \"\\u{1b}[2Jhello\"");
}

#[test]
fn one_exchange_says_when_the_client_left_without_a_word() {
    let mut server = Example::serve("one_exchange", &[]);
    drop(server.connect());
    server.expect_line_with("left without a word");
    assert!(server.status().success());
}

#[test]
fn in_turn_keeps_the_second_client_waiting_while_the_first_is_silent() {
    let mut server = Example::serve("in_turn", &[]);
    let mut first = server.connect();
    let mut second = server.connect();
    second.send("I spoke first\n");
    first.send("but I came first\n");
    assert_eq!(first.rest(), "okay1\n");
    // Had the second not waited, it would have been answered okay1.
    assert_eq!(second.rest(), "okay2\n");
    assert!(server.status().success());
}

#[test]
fn in_turn_gives_the_second_its_turn_when_the_first_leaves() {
    let mut server = Example::serve("in_turn", &[]);
    drop(server.connect());
    let mut second = server.connect();
    second.send("hello\n");
    assert_eq!(second.rest(), "okay2\n");
    assert!(server.status().success());
}

#[test]
fn two_way_talks_in_turn_until_the_client_says_exit() {
    let mut server = Example::serve("two_way", &[]);
    let mut client = server.connect();
    client.send("how are you?\n");
    server.expect_line_with("how are you?");
    server.type_bytes(b"well\n");
    assert_eq!(client.line(), "well\n");
    client.send("exit\n");
    assert!(server.status().success());
}

#[test]
fn two_way_says_that_a_connection_was_reset_and_serves_the_next_client() {
    let mut server = Example::serve("two_way", &[]);
    let mut client = server.connect();
    client.send("hello\n");
    server.expect_line_with("hello");
    server.type_bytes(b"unread\n");
    client.reset();
    server.expect_line_with("lost: ");
    let mut next = server.connect();
    next.send("exit\n");
    assert!(server.status().success());
}

#[test]
fn two_way_speaks_gbk_to_a_gbk_client() {
    let mut server = Example::serve("two_way", &["--encoding", "gbk"]);
    let mut client = server.connect();
    client.send_bytes(b"\xc4\xe3\xba\xc3\n");
    server.expect_line_with("你好");
    server.type_bytes("再见\n".as_bytes());
    assert_eq!(client.line_bytes(), b"\xd4\xd9\xbc\xfb\n");
}

#[test]
fn two_way_names_an_encoding_that_it_does_not_know() {
    let mut server = Example::start("two_way", &["127.0.0.1:0", "--encoding", "klingon"]);
    assert_eq!(server.status().code(), Some(1));
    assert!(server.complaint().contains("no such encoding: \"klingon\""));
}

#[test]
fn line_echo_answers_every_client_until_it_says_quit() {
    let server = Example::serve("line_echo", &[]);
    let _silent = server.connect();
    let mut first = server.connect();
    let mut second = server.connect();
    first.send("one\n");
    assert_eq!(first.line(), "Return your msg: one\n");
    second.send("two\n");
    assert_eq!(second.line(), "Return your msg: two\n");
    first.send("quit\n");
    assert_eq!(first.rest(), "");
    second.send("still here\n");
    assert_eq!(second.line(), "Return your msg: still here\n");
}

#[test]
fn line_echo_answers_lines_however_their_bytes_were_cut() {
    let mut server = Example::serve("line_echo", &[]);
    let mut client = server.connect();
    client.send("ha");
    // Another client's whole exchange, so that the half line has arrived by itself.
    let mut other = server.connect();
    other.send("fence\n");
    assert_eq!(other.line(), "Return your msg: fence\n");
    client.send_bytes(b"lf\r\ntwo\n\xff\nlast\n");
    assert_eq!(client.line(), "Return your msg: half\n");
    assert_eq!(client.line(), "Return your msg: two\n");
    assert_eq!(client.line(), "Return your msg: \u{fffd}\n");
    assert_eq!(client.line(), "Return your msg: last\n");
    drop(client);
    server.expect_line_with("left");
}

#[test]
fn broadcast_shows_every_line_to_everybody_and_says_whose_it_is() {
    let server = Example::serve("broadcast", &[]);
    let mut alice = server.connect();
    let hello = alice.say("hello\n");
    assert_eq!(hello, format!("{}: hello\n", alice.addr));
    let mut bob = server.connect();
    bob.say("hello, alice\n");
    assert_eq!(alice.line(), format!("{}: hello, alice\n", bob.addr));
}

#[test]
fn broadcast_goes_on_after_one_client_was_reset() {
    let mut server = Example::serve("broadcast", &[]);
    let mut alice = server.connect();
    alice.say("first\n");
    let mut gone = server.connect();
    gone.send("I leave my own line unread\n");
    alice.line();
    gone.reset();
    server.expect_complaint_with("reset");
    alice.say("still here\n");
}

#[test]
fn broadcast_closes_the_connection_of_a_client_that_has_said_its_last() {
    let server = Example::serve("broadcast", &[]);
    let mut alice = server.connect();
    alice.say("goodbye\n");
    alice.half_close();
    // Ends only because alice is out of the table, which held the other half open.
    assert_eq!(alice.rest(), "");
}

#[test]
fn embedded_has_a_bot_that_answers_whoever_asks() {
    let server = Example::serve("embedded", &[]);
    let mut alice = server.connect();
    alice.send("/name alice\n!who\n");
    alice.line_with("alice: !who\n");
    assert_eq!(alice.unstamped(), "server: alice: alice\n");
    let mut bob = server.connect();
    bob.send(" !time \n");
    let answer = bob.line_with(&format!("] server: {}: ", bob.addr));
    let time = answer.trim_end().rsplit_once(' ').unwrap().1;
    let (hour, minute) = time.split_once(':').unwrap();
    assert!(hour.parse::<u8>().unwrap() < 24 && minute.parse::<u8>().unwrap() < 60, "{time}");
    assert_eq!(alice.line_with(&answer), answer);
}

#[test]
fn embedded_has_a_bot_that_hears_questions_only_where_they_are_said() {
    let server = Example::serve("embedded", &[]);
    let mut alice = server.connect();
    alice.send("/name alice\n/me x: !who\nx: !who\nwho?\n!who\n");
    alice.line_with("alice: !who\n");
    assert_eq!(alice.unstamped(), "server: alice: alice\n");
}

#[test]
fn embedded_stops_in_good_order_on_exit_at_the_end_of_stdin_and_on_ctrl_c() {
    let stops: [fn(&mut Example); 3] =
        [|server| server.type_bytes(b"what?\nexit\n"), Example::end_stdin, Example::interrupt];
    for stop in stops {
        let mut server = Example::serve("embedded", &[]);
        let mut alice = server.connect();
        alice.line_with(" joined ");
        stop(&mut server);
        assert_eq!(alice.unstamped(), "*** the server stops; goodbye\n");
        assert_eq!(alice.rest(), "");
        server.expect_line_with("stopped");
        assert_eq!(server.status().code(), Some(0));
    }
}

#[test]
fn every_server_of_the_ladder_says_in_one_line_that_its_port_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for name in ["one_exchange", "in_turn", "two_way", "line_echo", "broadcast", "embedded"] {
        let mut server = Example::start(name, &[&addr]);
        assert_eq!(server.status().code(), Some(1), "{name}");
        let complaint = server.complaint();
        let beginning = format!("{name}: cannot listen on {addr}: ");
        assert!(complaint.starts_with(&beginning), "{complaint:?}");
        assert_eq!(complaint.lines().count(), 1, "{complaint:?}");
    }
}

// The client in a pipe.

#[test]
fn client_sends_stdin_half_closes_and_reads_until_the_server_closes() {
    let (mut client, mut server) = client_with_server(&["--name", "alice"], UTF_8);
    client.type_bytes("hello\n你好".as_bytes());
    client.end_stdin();
    // `rest` ends only because the client half-closed; it still hears what is said after that.
    assert_eq!(server.rest(), "/name alice\nhello\n你好\n");
    server.send("*** welcome\n[2026/11/22-10:32:00] alice: hello\nno end");
    drop(server);
    assert_eq!(client.output(), "*** welcome\n[2026/11/22-10:32:00] alice: hello\nno end\n");
    assert_eq!(client.status().code(), Some(0));
    assert_eq!(client.complaint(), "");
}

#[test]
fn client_removes_whatever_could_do_more_than_print() {
    let (mut client, mut server) = client_with_server(&[], UTF_8);
    server.send("a\x1b[2Jb\rc\x07d\u{9b}e\u{202e}f\u{2028}g\th\u{feff}\r\n");
    server.send_bytes(b"\xff\x9b\n");
    client.end_stdin();
    assert_eq!(server.rest(), "");
    drop(server);
    assert_eq!(client.output(), "a[2Jbcdefg\th\n\u{fffd}\u{fffd}\n");
    assert!(client.status().success());
}

#[test]
fn client_shows_an_endless_line_in_pieces() {
    const PIECE_BYTES: usize = 64 * 1024;
    let (mut client, mut server) = client_with_server(&[], UTF_8);
    client.end_stdin();
    server.send(&"x".repeat(2 * PIECE_BYTES + 1));
    drop(server);
    let pieces: Vec<usize> = client.output().lines().map(str::len).collect();
    assert_eq!(pieces, [PIECE_BYTES, PIECE_BYTES, 1]);
}

#[test]
fn client_leaves_with_status_0_after_quit_although_stdin_goes_on() {
    for quit in ["quit\n", " quit \n", "/quit\n", "/QUIT now\n"] {
        let (mut client, mut server) = client_with_server(&[], UTF_8);
        client.type_bytes(quit.as_bytes());
        assert_eq!(server.line(), quit);
        drop(server);
        assert_eq!(client.status().code(), Some(0), "{quit}");
    }
}

#[test]
fn client_says_with_status_1_that_the_server_closed_too_early() {
    let (mut client, server) = client_with_server(&[], UTF_8);
    drop(server);
    assert_eq!(client.status().code(), Some(1));
    assert!(client.complaint().contains("before the end of stdin"));
}

#[test]
fn client_speaks_utf_8_with_the_server_from_a_gbk_terminal() {
    let (mut client, mut server) = client_with_server(&[], "zh_CN.GBK");
    client.type_bytes(b"\xc4\xe3\xba\xc3\n");
    assert_eq!(server.line(), "你好\n");
    server.send("再见 🙂\n");
    drop(server);
    assert_eq!(client.output_bytes(), b"\xd4\xd9\xbc\xfb ?\n");
}

#[test]
fn client_says_with_status_1_that_it_cannot_connect() {
    let addr = unused_addr();
    let mut client = Example::start("client", &[&addr]);
    assert_eq!(client.status().code(), Some(1));
    let complaint = client.complaint();
    assert!(complaint.starts_with(&format!("client: cannot connect to {addr}: ")), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}

#[test]
fn client_tries_again_as_often_as_it_is_told() {
    let mut client = Example::start("client", &[&unused_addr(), "--retries", "1"]);
    assert_eq!(client.status().code(), Some(1));
    let complaint = client.complaint();
    assert_eq!(complaint.matches("cannot connect").count(), 2, "{complaint}");
    assert_eq!(complaint.matches("trying again in 500ms").count(), 1, "{complaint}");
}

#[test]
fn client_finds_a_server_that_starts_later() {
    let addr = unused_addr();
    let mut client = Example::start("client", &[&addr, "--retries", "9"]);
    client.expect_complaint_with("trying again");
    let listener = TcpListener::bind(&addr).unwrap();
    let mut server = accept(&listener);
    client.end_stdin();
    assert_eq!(server.rest(), "");
    drop(server);
    assert_eq!(client.status().code(), Some(0));
}

#[test]
fn client_refuses_bad_usage_with_status_2() {
    for args in [
        &["localhost"] as &[&str],
        &["localhost:70000"],
        &[":9999"],
        &["--name", "two words"],
        &["--retries", "-1"],
        &["--frobnicate"],
    ] {
        assert_eq!(Example::start("client", args).status().code(), Some(2), "{args:?}");
    }
}

#[test]
fn client_talks_with_the_real_server_from_a_gbk_terminal() {
    let server = Example::serve("embedded", &[]);
    let mut bob = server.connect();
    bob.line_with(" joined ");
    let args = [server.addr.as_str(), "--name", "李雷"];
    let mut client = Example::start_in("client", &args, "zh_CN.GBK");
    client.type_bytes(b"\xc4\xe3\xba\xc3\n!who\n");
    bob.line_with("李雷: 你好\n");
    bob.line_with("] server: 李雷: ");
    bob.send(" 再见 🙂\n");
    bob.line_with("再见 🙂\n");
    client.end_stdin();
    bob.line_with("*** 李雷 left");
    let output = client.output_bytes();
    for line in [&b": \xc4\xe3\xba\xc3\n"[..], b"\xd4\xd9\xbc\xfb ?\n", b", \xc0\xee\xc0\xd7\n"] {
        assert!(output.windows(line.len()).any(|it| it == line), "{}", output.escape_ascii());
    }
    assert_eq!(client.status().code(), Some(0));
}

// The client at a terminal.

#[test]
#[ignore = "needs tmux"]
fn client_at_a_terminal_shows_lines_above_the_typing_and_connects_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let terminal = Tmux::run("client", &listener, "--name alice", UTF_8);
    let mut server = accept(&listener);
    assert_eq!(server.line(), "/name alice\n");
    terminal.wait_for(">\n");

    // A line arrives while another is being typed.
    terminal.keys(&["-l", "half ty"]);
    terminal.wait_for("> half ty");
    server.send("[2026/11/22-10:32:00] bob: \x1b[2Jhello\n");
    terminal.wait_for("[2026/11/22-10:32:00] bob: [2Jhello\n> half ty\n");
    terminal.keys(&["-l", "ped"]);
    terminal.keys(&["Enter"]);
    assert_eq!(server.line(), "half typed\n");
    terminal.keys(&["Up", "Home"]);
    terminal.keys(&["-l", "not "]);
    terminal.keys(&["Enter"]);
    assert_eq!(server.line(), "not half typed\n");

    // The connection is lost and made again, with the name asked for last.
    terminal.keys(&["-l", "/nick carol"]);
    terminal.keys(&["Enter"]);
    assert_eq!(server.line(), "/nick carol\n");
    drop(server);
    terminal.wait_for("trying again in 500ms");
    let mut server = accept(&listener);
    assert_eq!(server.line(), "/name carol\n");
    terminal.wait_for("client: connected again");

    // Ctrl-D leaves; what the server still has to say is shown.
    terminal.keys(&["C-d"]);
    assert_eq!(server.rest(), "");
    server.send("*** goodbye\n");
    drop(server);
    terminal.wait_for("*** goodbye\n");
    terminal.wait_for("status 0");
}

#[test]
#[ignore = "needs tmux"]
fn client_at_a_terminal_gives_up_after_the_tries_it_was_given() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let terminal = Tmux::run("client", &listener, "--retries 1", UTF_8);
    drop(accept(&listener));
    drop(listener);
    terminal.wait_for("press Enter to leave");
    terminal.keys(&["Enter"]);
    terminal.wait_for("status 1");
}

#[test]
#[ignore = "needs tmux"]
fn client_at_a_terminal_leaves_with_130_on_ctrl_c() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let terminal = Tmux::run("client", &listener, "", UTF_8);
    let _server = accept(&listener);
    terminal.wait_for(">\n");
    terminal.keys(&["C-c"]);
    terminal.wait_for("status 130");
}

#[test]
#[ignore = "needs tmux"]
fn client_at_a_gbk_terminal_speaks_utf_8_with_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let terminal = Tmux::run("client", &listener, "", "zh_CN.GBK");
    let mut server = accept(&listener);
    terminal.keys(&["-H", "c4", "e3", "ba", "c3", "0d"]);
    assert_eq!(server.line(), "你好\n");
    terminal.keys(&["-l", "/quit"]);
    terminal.keys(&["Enter"]);
    assert_eq!(server.line(), "/quit\n");
    drop(server);
    terminal.wait_for("status 0");
}
