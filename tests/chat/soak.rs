//! Everything at once, at random: clients that talk, stall, reset, trickle bytes and flood, against
//! the real program with a transcript. Afterwards everybody who stayed has seen one and the same
//! order, with no gap it was not told of, and the server is as it was before.

use std::env::{temp_dir, var};
use std::io::Read as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::harness::*;

const BEGIN: &str = "server: the soak begins";
const END: &str = "server: the soak ends";

/// How many are restless at a time.
const RESTLESS: u64 = 8;

/// How much more memory may be resident at the end: the history, and what the allocator keeps.
const BYTES_MORE: usize = 48 << 20;

/// Random numbers that a seed brings back (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    /// One of the range.
    fn of(&mut self, range: Range<u64>) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        range.start + self.0 % (range.end - range.start)
    }

    fn sleeps(&mut self, milliseconds: Range<u64>) {
        thread::sleep(Duration::from_millis(self.of(milliseconds)));
    }
}

/// One short life of a restless client.
fn live(addr: SocketAddr, random: &mut Random) {
    let mut client = addr.connect();
    match random.of(0..14) {
        0 => {
            client.says(&format!("/name r{}", random.of(0..20)));
            for number in 0..random.of(1..50) {
                client.tries_to_send(format!("talk {number}\n").as_bytes());
                random.sleeps(0..5);
            }
            client.tries_to_send(b"quit\n");
            client.is_cut_off();
        }
        1 => {
            client.tries_to_send(b"and now I read nothing\n");
            random.sleeps(0..1500);
        }
        2 => {
            client.tries_to_send(b"a line, and half of");
            client.resets();
        }
        3 => {
            for byte in b"\xff\xfd\x06drop by drop\r\nnext\r\0\xff\xfa" {
                client.tries_to_send(&[*byte]);
                random.sleeps(0..3);
            }
        }
        4 => {
            let line = "flood ".repeat(random.of(1..600) as usize);
            client.tries_to_send(format!("{line}\n").repeat(300).as_bytes());
            random.sleeps(0..100);
        }
        5 => {
            client.tries_to_send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            client.is_cut_off();
        }
        6 => {
            for command in [
                "/who",
                "/last 100",
                "/find talk",
                "/msg r1 psst",
                "/me waves",
                "/encoding gbk",
                "/no such",
                "//slash",
                "\u{1b}[2J\u{202e}",
                &"x".repeat(5000),
                "/quit",
            ] {
                client.tries_to_send(format!("{command}\r\n").as_bytes());
            }
            client.is_cut_off();
        }
        7 => drop(client),
        _ => abuse(client, random),
    }
}

/// One short life of a client that asks for more than is good for the others.
fn abuse(mut client: Client, random: &mut Random) {
    let questions = "/last 10000\n/find talk absent\n/who\n/help\n/no such\n/name quick\n";
    match random.of(0..6) {
        0 => {
            client.tries_to_send(questions.repeat(20).as_bytes());
            random.sleeps(0..1000);
            client.resets();
        }
        1 => {
            client.tries_to_send((questions.repeat(3) + "/quit\n").as_bytes());
            for _ in 0..random.of(1..200) {
                if client.line_unless_cut_off().is_none() {
                    return;
                }
                random.sleeps(0..10);
            }
        }
        2 => {
            for number in 0..random.of(1..100) {
                client.tries_to_send(format!("/find flood {number} absent\n").as_bytes());
                random.sleeps(0..5);
            }
        }
        3 => {
            client.tries_to_send(&b"\n".repeat(32 << 10));
            client.tries_to_send(&b"\xff\xf1".repeat(16 << 10));
            random.sleeps(0..300);
        }
        4 => {
            let mut listener = client.another_end().into_stream();
            for label in ["gbk", "koi8-r", "iso-2022-jp", "big5", "utf-8", "auto"].repeat(5) {
                client.tries_to_send(format!("/encoding {label}\n").as_bytes());
                // It reads what has come, whatever that is; the end shows when it sends.
                let _ = listener.read(&mut [0; 4096]);
                random.sleeps(0..20);
            }
        }
        _ => {
            // A witness has the name, and lives.
            for _ in 0..random.of(1..50) {
                client.tries_to_send(b"/name quick\n");
                random.sleeps(0..10);
            }
        }
    }
}

/// Hears everything between the first and the last word, with pauses in which it does not read.
fn witness(mut client: Client, mut pauses: Option<Random>) -> Vec<String> {
    client.hears_until(BEGIN);
    let mut heard = Vec::new();
    loop {
        let line = client.line();
        if unstamped(&line) == Some(END) {
            return heard;
        }
        if let Some(random) = &mut pauses
            && random.of(0..2000) == 0
        {
            random.sleeps(0..1500);
        }
        heard.push(line);
    }
}

/// Checks that `heard` is `all`, but for the lines that it was told it missed (and the joins and
/// leaves among them, which are no loss); gives how many.
#[track_caller]
fn assert_same_order(all: &[String], heard: &[String]) -> usize {
    let (mut position, mut gaps) = (0, 0);
    for line in heard {
        if let Some(rest) = line.strip_prefix("*** you missed ") {
            let missed = rest.split(' ').next().and_then(|it| it.parse::<usize>().ok());
            let missed = missed.expect("a number");
            let rest = all[position..].iter().enumerate();
            let mut lost = rest.filter(|(_, line)| recorded(line).is_some());
            position += lost.nth(missed - 1).expect("so many lines were said").0 + 1;
            gaps += missed;
        } else {
            let rest = &all[position..];
            let is_next = |next: &&String| *next == line || recorded(next).is_some();
            position += rest.iter().position(|next| is_next(&next)).unwrap_or(rest.len());
            let expected = all.get(position).map_or("nothing", String::as_str);
            assert!(line == expected, "line {position} is {line:.80}, not {expected:.80}");
            position += 1;
        }
    }
    let left = all[position..].iter().filter(|line| recorded(line).is_some()).count();
    assert_eq!(left, 0, "all lines are heard or told missed");
    gaps
}

/// What history and transcript hold of a line: all but joins and leaves.
fn recorded(line: &str) -> Option<&str> {
    let body = unstamped(line).expect("a stamp");
    let presence = body.starts_with("*** ") && body.ends_with(" here)");
    (!presence).then_some(body)
}

#[test]
#[ignore = "runs for 60 s; SOAK_SECONDS sets another time"]
fn whatever_clients_do_those_who_stay_see_one_order_and_the_server_is_as_it_was() {
    let seconds = var("SOAK_SECONDS").map_or(60, |it| it.parse().expect("SOAK_SECONDS in seconds"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_nanos();
    let seed = var("SOAK_SEED").map_or(now as u64, |it| it.parse().expect("SOAK_SEED, a number"));
    println!("SOAK_SEED={seed}");

    let transcript = temp_dir().join(format!("soak-{}-{seed}", std::process::id()));
    let path = transcript.to_str().expect("a path of UTF-8");
    let options = ["--transcript", path, "--max-backlog", "65536", "--stall-timeout", "5"];
    let mut program = Program::start(&options);
    let addr = program.addr();
    let [quick, slow, slower] = program.people(["quick", "slow", "slower"]);
    // What the first hundred make grow does not grow again.
    program.crowd(100);
    wait_until("the crowd has gone", || program.threads() < 12);
    let state = |program: &Program| (program.descriptors(), program.threads());
    let (before, bytes_before) = (state(&program), program.resident_bytes());

    let over = AtomicBool::new(false);
    let [quick, slow, slower] = thread::scope(|scope| {
        let pauses = |number: u64| Some(Random(seed.wrapping_add(number) | 1));
        let witnesses = [(quick, None), (slow, pauses(1)), (slower, pauses(2))]
            .map(|(client, pauses)| scope.spawn(|| witness(client, pauses)));
        program.types("say the soak begins");
        for number in 0..RESTLESS {
            let mut random = Random(seed.wrapping_mul(2 * number + 3) | 1);
            let over = &over;
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    live(addr, &mut random);
                }
            });
        }
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(Duration::from_millis(100));
            assert!(program.status().is_none(), "the server lives");
        }
        over.store(true, Relaxed);
        wait_until("the restless have gone", || {
            program.logged();
            state(&program) == before
        });
        // The last word must not be among those that somebody misses.
        wait_until("those who paused have caught up", || {
            program.types("who");
            program.types("stats");
            let printed = program.prints_until("uptime");
            let mut rows = printed.iter().filter(|line| line.starts_with("127.0.0.1:"));
            rows.all(|row| row.ends_with(" 0"))
        });
        program.types("say the soak ends");
        witnesses.map(|it| it.join().expect("a witness to the end"))
    });

    assert_eq!(assert_same_order(&quick, &quick), 0, "who always reads misses nothing");
    let gaps = [&slow, &slower].map(|heard| assert_same_order(&quick, heard));
    println!("{} lines; those who paused missed {gaps:?}", quick.len());
    let written = std::fs::read_to_string(&transcript).expect("the transcript");
    let written = written.lines().filter_map(|line| line.split_once(' ')).map(|(_, body)| body);
    let written = written.skip_while(|body| *body != BEGIN).skip(1).take_while(|body| *body != END);
    assert!(written.eq(quick.iter().filter_map(|line| recorded(line))), "the transcript differs");

    let more = program.resident_bytes().saturating_sub(bytes_before);
    assert!(more < BYTES_MORE, "{} MiB more are resident", more >> 20);
    program.types("exit");
    let (status, _, stderr) = program.exits();
    assert_eq!(status, Some(0));
    assert!(!stderr.contains("panic"), "a panic is in the log");
    std::fs::remove_file(transcript).expect("our own file");
}
