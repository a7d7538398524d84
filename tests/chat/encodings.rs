//! Encodings: each client reads and is read in its own.
//!
//! What matters is written as bytes; the rest is said and heard through the harness, which encodes
//! as the server does. That others agree is for `codecs`.

use std::fs;
use std::path::Path;

use chat_server::Config;
use encoding_rs::{BIG5, GB18030, GBK, UTF_8, WINDOWS_1252};

use super::harness::*;

/// `/encoding NAME` as a client says it that is to be read and written so from now on.
#[track_caller]
fn speaks(client: &mut Client, encoding: &'static encoding_rs::Encoding) {
    let name = encoding.name().to_lowercase();
    client.says(&format!("/encoding {name}"));
    client.is_told(&format!("from now on you are read and written in {name}"));
    client.encoding = encoding;
}

/// The next line that the client receives is this one of a UTF-8 client's, with these last bytes.
#[track_caller]
fn receives_line(client: &mut Client, heard: &str, text: &str, bytes: &[u8]) {
    let stamp_and_name = heard.strip_suffix(text).expect("a line with that text");
    client.receives(&[stamp_and_name.as_bytes(), bytes].concat());
}

#[test]
fn a_gbk_telnet_and_a_utf8_nc_read_each_other_without_setting_anything() {
    let room = Room::open();
    let [mut nc, mut telnet] = room.people(["nc", "telnet"]);
    telnet.sends(b"\xC4\xE3\xBA\xC3\r\n");
    nc.hears("telnet: 你好");
    (telnet.encoding, telnet.line_end) = (GBK, "\r\n");
    telnet.hears("telnet: 你好");
    nc.says("再见");
    let heard = nc.line();
    receives_line(&mut telnet, &heard, "再见", b"\xD4\xD9\xBC\xFB\r\n");
    nc.says("😀");
    let heard = nc.line();
    receives_line(&mut telnet, &heard, "😀", b"\x94\x39\xFC\x36\r\n");
    telnet.says("/me 走了");
    for person in [&mut nc, &mut telnet] {
        person.hears("* telnet 走了");
    }
    room.operator.say("大家好");
    for person in [&mut nc, &mut telnet] {
        person.hears("server: 大家好");
    }
}

#[test]
fn a_line_means_the_same_wherever_between_two_reads_it_is_cut() {
    let room = Room::open();
    let [mut alice, mut client] = room.people(["alice", "client"]);
    for (line, text) in [
        (&b"\xC4\xE3a\xBA\xC3\xD2\xBB"[..], "你a好一"),
        // Four bytes to a character, of which two are digits.
        (b"\x94\x39\xFC\x36x\x95\x32\x82\x36", "😀x𠀀"),
        // The second bytes are a backslash and a bar.
        (b"\x81\x5C\x81\x7C", "乗亅"),
        ("你é😀".as_bytes(), "你é😀"),
    ] {
        for at in 0..=line.len() {
            // In one write, so that the cut line's beginning was read once `fence` is heard.
            client.sends(&[b"/encoding auto\nfence\n", &line[..at]].concat());
            alice.hears("client: fence");
            client.sends(&[&line[at..], b"\n"].concat());
            let heard = alice.line();
            let expected = format!("client: {text}");
            assert_eq!(unstamped(&heard), Some(&*expected), "{} at {at}", line.escape_ascii());
        }
    }
}

#[test]
fn half_a_character_before_a_line_end_ends_with_the_line() {
    let room = Room::open();
    let [mut alice, mut client] = room.people(["alice", "client"]);
    for half in [&b"\xC4"[..], b"\x94", b"\x94\x39", b"\x94\x39\xFC"] {
        for end in ["\n", "\r\n", "\r\0"] {
            // Not valid GB18030, so the first is read as UTF-8, and switches nothing.
            let halved = [&b"a"[..], half, end.as_bytes()].concat();
            client.sends(&[b"/encoding auto\n", &halved[..], "你\n".as_bytes()].concat());
            assert!(alice.line().contains("client: a\u{FFFD}"));
            alice.hears("client: 你");
            client.sends(&[b"\xC4\xE3\n", &halved[..], b"\xBA\xC3", end.as_bytes()].concat());
            alice.hears("client: 你");
            assert!(alice.line().contains("client: a\u{FFFD}"));
            alice.hears("client: 好");
        }
    }
}

#[test]
fn what_a_clients_encoding_lacks_it_hears_as_a_question_mark() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    let said = "你好 € 😀 é ÿ";
    let expected: [(_, &[u8]); 5] = [
        (UTF_8, said.as_bytes()),
        (GBK, b"\xC4\xE3\xBA\xC3 \x80 ? \xA8\xA6 ?"),
        (GB18030, b"\xC4\xE3\xBA\xC3 \xA2\xE3 \x94\x39\xFC\x36 \xA8\xA6 \x81\x30\x8B\x37"),
        (BIG5, b"\xA7\x41\xA6\x6E \xA3\xE1 ? ? ?"),
        (WINDOWS_1252, b"?? \x80 ? \xE9 \xFF"),
    ];
    let mut clients = expected.map(|(encoding, bytes)| {
        let mut client = room.client();
        speaks(&mut client, encoding);
        (client, bytes)
    });
    alice.says("fence");
    alice.hears_until("alice: fence");
    alice.says(said);
    let heard = alice.line();
    for (client, bytes) in &mut clients {
        client.hears_until("alice: fence");
        receives_line(client, &heard, said, &[bytes, &b"\n"[..]].concat());
    }
}

#[test]
fn with_auto_latin_1_is_not_understood_until_it_is_chosen() {
    let room = Room::open();
    let [mut alice, mut client] = room.people(["alice", "client"]);
    client.sends(b"caf\xE9\n");
    for person in [&mut alice, &mut client] {
        person.hears("client: caf\u{FFFD}");
    }
    speaks(&mut client, WINDOWS_1252);
    client.sends(b"caf\xE9\n");
    for person in [&mut alice, &mut client] {
        person.hears("client: café");
    }
    client.sends(b"/encoding auto\n\xE9lan\n");
    // By chance this is valid GB18030, and nothing can tell.
    alice.hears("client: 閘an");
}

#[test]
fn the_longest_line_is_counted_in_bytes_as_received() {
    const LIMIT: usize = 60;
    let room = Room::with(Config { line_bytes_max: LIMIT, ..config() });
    let [mut alice, mut client] = room.people(["alice", "client"]);
    let at_limit = "你".repeat(LIMIT / 2);
    let below = format!("{}x", &at_limit["你".len()..]);
    client.sends(b"/encoding gbk\n");
    client.encoding = GBK;
    for line_end in ["\n", "\r\n"] {
        client.line_end = line_end;
        for line in [&below, &at_limit, &format!("{at_limit}x"), &format!("x{at_limit}")] {
            client.says(line);
        }
        client.says("next");
        for line in [&below, &at_limit, "next"] {
            alice.hears(&format!("client: {line}"));
        }
        // As many characters in UTF-8 are half as many bytes again.
        alice.says(&at_limit);
        alice.is_told("your line was dropped: it is longer than 60 bytes");
    }
}

#[test]
fn an_encoding_that_cannot_be_chosen_is_refused_with_the_reason_and_changes_nothing() {
    let room = Room::open();
    let [mut alice, mut client] = room.people(["alice", "client"]);
    speaks(&mut client, GBK);
    client.says("/encoding 火星文");
    client.is_told(
        "no such encoding: 火星文; common ones: auto, utf-8, gb18030, gbk, big5, shift_jis, \
         euc-jp, euc-kr, windows-1252, koi8-r",
    );
    for label in ["utf-16", "UTF-16LE", "utf-16be"] {
        client.says(&format!("/encoding {label}"));
        client.is_told("UTF-16 cannot be used: its characters hold the bytes of line ends");
    }
    client.says("/encoding");
    client.is_told("you are read and written in gbk");
    client.says("你");
    alice.hears("client: 你");
    client.hears("client: 你");
}

#[test]
fn an_encoding_holds_from_the_next_line_on_also_within_one_read() {
    let room = Room::open();
    let [mut alice, mut client] = room.people(["alice", "client"]);
    let lines = [
        &b"/encoding big5\n\xA7\x41\n"[..],
        b"/encoding LATIN1\n\xA7\x41\n",
        b"/encoding utf-8\n\xC4\xE3\n",
        b"/encoding auto\n\xC4\xE3\n",
    ];
    client.sends(&lines.concat());
    for text in ["你", "§A", "\u{FFFD}\u{FFFD}", "你"] {
        alice.hears(&format!("client: {text}"));
    }
}

#[test]
fn answers_come_in_the_encoding_that_was_just_chosen() {
    let room = Room::open();
    let [mut client] = room.people(["client"]);
    client.sends(b"/encoding gbk\n/msg \xC4\xE3 hi\n");
    client.is_told("from now on you are read and written in gbk");
    client.receives(b"*** no such name: \xC4\xE3\n");
}

#[test]
fn byte_255_is_doubled_for_a_telnet_client_and_only_for_one() {
    let room = Room::open();
    let [mut alice, mut nc, mut telnet] = room.people(["alice", "nc", "telnet"]);
    telnet.sends(b"\xFF\xF1");
    telnet.line_end = "\r\n";
    for client in [&mut nc, &mut telnet] {
        speaks(client, WINDOWS_1252);
    }
    nc.sends(b"L'Ha\xFF\n");
    let heard = alice.line();
    receives_line(&mut telnet, &heard, "ÿ", b"\xFF\xFF\r\n");
    receives_line(&mut nc, &heard, "ÿ", b"\xFF\n");
    telnet.sends(b"\xFF\xFF\xFF\xFF!\r\n");
    let heard = alice.line();
    assert_eq!(unstamped(&heard), Some("telnet: ÿÿ!"));
    receives_line(&mut telnet, &heard, "ÿÿ!", b"\xFF\xFF\xFF\xFF!\r\n");
    receives_line(&mut nc, &heard, "ÿÿ!", b"\xFF\xFF!\n");
}

#[test]
fn names_lists_private_lines_and_the_history_are_read_and_written_so_too() {
    let room = Room::with(Config { history_lines: 20, ..config() });
    let [mut alice, mut client] = room.people(["alice", "client"]);
    speaks(&mut client, GBK);
    client.sends(b"/name \xC0\xEE\xC0\xD7\n");
    for person in [&mut alice, &mut client] {
        person.hears("*** client is now 李雷");
    }
    alice.says("/name 李雷");
    alice.is_told("the name 李雷 is taken");
    client.says("/who");
    client.is_told("2 here");
    for name in ["alice", "李雷"] {
        assert_eq!(client.line().split_whitespace().nth(1), Some(name));
    }
    alice.says("/msg 李雷 悄悄话");
    for person in [&mut alice, &mut client] {
        person.hears("alice -> 李雷: 悄悄话");
    }
    alice.says("你好 😀");
    client.hears("alice: 你好 ?");
    client.says("/last 1");
    client.hears("alice: 你好 ?");
    client.says("/find 你");
    client.hears("alice: 你好 ?");
    client.says("再见");
    client.says("/quit");
    client.hears("李雷: 再见");
    client.hears_the_end();
    alice.hears("alice: 你好 😀");
    alice.hears("李雷: 再见");
    alice.hears("*** 李雷 left (1 here)");
}

#[test]
fn with_an_encoding_for_everybody_each_is_greeted_in_it_and_the_transcript_is_utf_8() {
    let transcript = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("encodings-{}.transcript", std::process::id()));
    let transcript = transcript.to_str().expect("a path of UTF-8");
    let _ = fs::remove_file(transcript); // left by an earlier process with the same number
    for run in 1..=2 {
        let options = ["--encoding", "gbk", "--transcript", transcript];
        let program = Program::start(&options);
        let mut first = program.connect();
        first.encoding = GBK;
        assert!(first.line().starts_with("*** welcome; "));
        if run == 2 {
            // What the first server wrote, read back by the second.
            first.hears_until_end_of(": 你好");
        }
        first = first.joined();
        first.sends(b"\xC4\xE3\xBA\xC3\n");
        first.hears(&format!("{}: 你好", first.addr()));
        let mut second = program.connect();
        second.encoding = GBK;
        second.hears_until(&format!("{}: 你好", first.addr()));
        let written = fs::read_to_string(transcript).expect("a transcript of UTF-8");
        assert!(written.ends_with(&format!(" {}: 你好\n", first.addr())), "{written}");
    }
    fs::remove_file(transcript).expect("the transcript can be removed");
}

#[test]
fn an_encoding_for_everybody_that_cannot_be_is_bad_usage() {
    for (label, reason) in [("utf-16", "UTF-16 cannot be used"), ("klingon", "gb18030")] {
        let mut program = Program::spawn(&mut command(CHAT_SERVER, &["--encoding", label]));
        let (status, stdout, stderr) = program.exits();
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains("--encoding") && stderr.contains(reason), "{stderr}");
    }
}

#[test]
fn each_client_hears_the_one_order_while_encodings_change() {
    const LINES: usize = 300;
    let room = Room::open();
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    for encoding in [GB18030, BIG5, UTF_8, GBK, UTF_8] {
        bob.says(&format!("/encoding {}", encoding.name()));
        let (name, from) = (encoding.name().to_lowercase(), bob.encoding);
        bob.encoding = encoding;
        let told = bob.line();
        assert_eq!(told, format!("*** from now on you are read and written in {name}"), "{from:?}");
        let paste: String = (0..LINES).map(|number| format!("{number} 你好\n")).collect();
        alice.sends(paste.as_bytes());
        bob.says("/msg alice between");
        let mut expected = 0;
        while expected < LINES {
            let line = bob.line();
            match unstamped(&line).expect("stamped") {
                "bob -> alice: between" => {}
                text => {
                    assert_eq!(text, format!("alice: {expected} 你好"));
                    expected += 1;
                }
            }
        }
        alice.hears_until(&format!("alice: {} 你好", LINES - 1));
        alice.says("fence");
        alice.hears_until("alice: fence");
        bob.hears_until("alice: fence");
    }
}
