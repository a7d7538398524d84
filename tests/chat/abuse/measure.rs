//! Measures from outside how well the room serves two honest talkers: the delay of their lines, the
//! time that a newcomer takes to join, and the memory that the program and its sockets take.
//!
//! Alice and bob say short lines in turn, each at its due time, whatever became of the line before,
//! so a freeze delays all the lines that are said while it lasts. A line is timed from its write
//! until the other talker has read it. Each talker has a thread that reads, so nobody else's lines
//! wait in its socket. Talkers and newcomers come from addresses of their own, as if from other
//! hosts than the abusers: a limit for one host is then no burden to them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::*;

/// How often a newcomer joins while the talk is measured.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// How often memory is measured while the talk is.
const MEMORY_INTERVAL: Duration = Duration::from_millis(50);

/// How long the measurement waits for lines that have not arrived at its end. One that is later
/// counts as being on its way for the time since it was said.
const ARRIVAL_MAX: Duration = Duration::from_secs(5);

/// From this number of clients on the greeting counts as the join, since the server announces no
/// joins while more than 200 are here, and clients come and go between the two.
const GREETED_CLIENTS_MIN: usize = 150;

/// Bytes of the stamp, with its blank, before what a line says.
const STAMP_BYTES: usize = "[0000/00/00-00:00:00] ".len();

/// Bytes of a page, the unit of sockstat: 4 KiB wherever these tests run.
const PAGE_BYTES: usize = 4 << 10;

/// Two honest talkers, who say short lines to each other.
pub(super) struct Talk {
    talkers: [TcpStream; 2],
    /// Which line arrived at the other talker, and when.
    arrivals: Receiver<(usize, Instant)>,
    /// When each line was said, by its number.
    said: Vec<Instant>,
    /// Lines of anybody else that alice has read.
    others_lines: Arc<AtomicUsize>,
    /// The time from one line to the next one, whoever says it.
    interval: Duration,
    /// What stands after the number of each line.
    padding: String,
}

/// What a measurement found.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    /// The median delay of a line.
    pub(super) p50: Duration,
    /// The delay that one line of a hundred exceeds.
    pub(super) p99: Duration,
    /// The longest time that a newcomer took to join.
    pub(super) join: Duration,
    /// The most memory of the program that was resident.
    pub(super) resident: usize,
    /// The most memory that TCP took for all sockets of this machine.
    pub(super) tcp: usize,
}

impl Measured {
    /// The worse of the two in each respect.
    pub(super) fn or_worse(self, other: Measured) -> Measured {
        Measured {
            p50: self.p50.max(other.p50),
            p99: self.p99.max(other.p99),
            join: self.join.max(other.join),
            resident: self.resident.max(other.resident),
            tcp: self.tcp.max(other.tcp),
        }
    }
}

impl Talk {
    /// Lets alice and bob join. Together they say a line of so many bytes once in each interval.
    pub(super) fn begin(program: &Program, interval: Duration, line_bytes: usize) -> Talk {
        let (sender, arrivals) = channel();
        let others_lines = Arc::new(AtomicUsize::new(0));
        let talkers = [("alice", 2), ("bob", 3)].map(|(name, host)| {
            let mut talker = program.connect_from([127, 0, 0, host]);
            talker.says(&format!("/name {name}"));
            talker.hears_until_end_of(&format!(" is now {name}"));
            talker.into_stream()
        });
        for (reader, other) in talkers.iter().zip(["bob", "alice"]) {
            let reader = reader.try_clone().expect("a descriptor");
            let (sender, others) = (sender.clone(), Arc::clone(&others_lines));
            thread::spawn(move || {
                read_lines(reader, |line| match line_number(line, other) {
                    // The measurement may be over.
                    Some(number) => drop(sender.send((number, Instant::now()))),
                    None if other == "bob" && is_of_another(line) => {
                        others.fetch_add(1, Relaxed);
                    }
                    None => {}
                });
            });
        }
        let padding = " x".repeat(line_bytes / 2);
        Talk { talkers, arrivals, said: Vec::new(), others_lines, interval, padding }
    }

    /// Measures for a time.
    pub(super) fn measure(&mut self, program: &Program, time: Duration) -> Measured {
        let (addr, until) = (program.addr(), Instant::now() + time);
        let first = self.said.len();
        let (mut resident, mut tcp) = (0, 0);
        let join = thread::scope(|scope| {
            let join = scope.spawn(move || slowest_join(addr, until));
            let mut memory_due = Instant::now();
            let mut line_due = Instant::now();
            while Instant::now() < until {
                self.says_a_line();
                if memory_due <= Instant::now() {
                    resident = resident.max(program.resident_bytes());
                    tcp = tcp.max(tcp_bytes());
                    memory_due = Instant::now() + MEMORY_INTERVAL;
                }
                line_due += self.interval;
                thread::sleep(line_due.saturating_duration_since(Instant::now()));
            }
            join.join().expect("newcomers are let in")
        });
        let mut delays = self.delays(first);
        delays.sort_unstable();
        let [p50, p99] = [50, 99].map(|percent| delays[(delays.len() - 1) * percent / 100]);
        Measured { p50, p99, join, resident, tcp }
    }

    /// How many lines of anybody else have arrived so far.
    pub(super) fn others_lines(&self) -> usize {
        self.others_lines.load(Relaxed)
    }

    fn says_a_line(&mut self) {
        let number = self.said.len();
        let line = format!("{number}{}\n", self.padding);
        self.said.push(Instant::now());
        // The end of the program shows in the arrivals.
        let _ = self.talkers[number % 2].write_all(line.as_bytes());
    }

    /// The delays of all lines since the one with this number.
    fn delays(&self, first: usize) -> Vec<Duration> {
        let said = &self.said[first..];
        let mut delays = vec![None; said.len()];
        let deadline = Instant::now() + ARRIVAL_MAX;
        while delays.contains(&None)
            && let wait = deadline.saturating_duration_since(Instant::now())
            && let Ok((number, arrived)) = self.arrivals.recv_timeout(wait)
        {
            if let Some(index) = number.checked_sub(first) {
                delays[index] = Some(arrived - said[index]);
            }
        }
        let late = |(delay, said): (Option<Duration>, &Instant)| delay.unwrap_or(said.elapsed());
        delays.into_iter().zip(said).map(late).collect()
    }
}

/// Reads until the connection ends, and shows each line.
fn read_lines(stream: TcpStream, mut show: impl FnMut(&[u8])) {
    stream.set_read_timeout(None).expect("an open socket");
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        show(&line);
        line.clear();
    }
}

/// The number that the talker says in this line; nothing when the line is another one.
fn line_number(line: &[u8], talker: &str) -> Option<usize> {
    let text = line.get(STAMP_BYTES..)?.strip_prefix(talker.as_bytes())?.strip_prefix(b": ")?;
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// Whether somebody else than the talkers has said this line for all.
fn is_of_another(line: &[u8]) -> bool {
    let of_the_talk: [&[u8]; 3] = [b"*** ", b"alice: ", b"bob: "];
    let said = line.starts_with(b"[").then(|| line.get(STAMP_BYTES..)).flatten();
    said.is_some_and(|said| !of_the_talk.iter().any(|begin| said.starts_with(begin)))
}

/// Joins again and again until then, and gives the longest time from the first byte to the join.
fn slowest_join(addr: SocketAddr, until: Instant) -> Duration {
    let mut slowest = Duration::ZERO;
    // Hosts take turns, so that none of them is one that reconnects all the time.
    for host in (1..=250).cycle() {
        let due = Instant::now() + PROBE_INTERVAL;
        if due > until {
            break;
        }
        slowest = slowest.max(join_time(addr, [127, 0, 1, host]));
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    slowest
}

/// The time from the first byte that a newcomer sends to its join, or to the end of its connection
/// or of [`DEADLINE`], when it is not let in.
fn join_time(addr: SocketAddr, host: [u8; 4]) -> Duration {
    let mut newcomer = addr.connect_from(host);
    let local_addr = newcomer.addr();
    let joined = format!("*** {local_addr} joined (");
    let begun = Instant::now();
    newcomer.says("");
    while let Some(line) = newcomer.line_unless_cut_off() {
        if line.contains(&joined) || greeted_among(&line) > Some(GREETED_CLIENTS_MIN) {
            return begun.elapsed();
        }
    }
    DEADLINE.max(begun.elapsed())
}

/// How many are here, as the greeting says; nothing when the line is another one.
fn greeted_among(line: &str) -> Option<usize> {
    let here = line.strip_prefix("*** welcome; ")?.split("; ").nth(1)?;
    here.strip_suffix(" here")?.parse().ok()
}

/// The memory that TCP takes for all sockets of this machine (proc_net_sockstat, the line `TCP`).
pub(super) fn tcp_bytes() -> usize {
    let mut sockstat = String::new();
    let file = std::fs::File::open("/proc/net/sockstat");
    file.and_then(|mut file| file.read_to_string(&mut sockstat)).expect("proc is mounted");
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP: ")).expect("TCP");
    let mut words = line.split(' ').skip_while(|word| *word != "mem");
    let pages: usize = words.nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * PAGE_BYTES
}
