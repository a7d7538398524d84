//! All clients together: what waits for ten thousand that ask for everything and read nothing is
//! bounded in sum, in the program and in the kernel.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::measure::{Talk, tcp_bytes};
use super::{DELAY_MORE_MAX, before, clients};
use crate::harness::*;

/// Clients that ask for everything and read nothing.
const STUCK: usize = 10_000;

/// What may be resident in the program and wait in the kernel for all clients together, beyond what
/// waited in the kernel before.
const MEMORY_MAX: usize = 512 << 20;

/// How long two people talk on.
const TIME: Duration = Duration::from_secs(20);

/// Bytes of their lines.
const LINE_BYTES: usize = 500;

/// The time between two lines: so short that not one or two of them decide the 99th percentile.
const INTERVAL: Duration = Duration::from_millis(25);

/// What a stuck client asks for, in an order of its own.
const QUESTIONS: [&str; 5] =
    ["/last 10000\n", "/find x absent\n", "/who\n", "/help\n", "/nonsense\n"];

/// How often a stuck client asks for all of that.
const ROUNDS: usize = 4;

#[test]
#[ignore = "takes a minute and 10,100 descriptors: ten thousand clients that read nothing"]
fn ten_thousand_stuck_clients_that_ask_for_everything_are_bounded_in_sum() {
    let descriptors = chat_server::raise_descriptor_limit().unwrap_or(u64::MAX);
    if descriptors < STUCK as u64 + 100 {
        println!("left out: it needs {STUCK} descriptors and some, and {descriptors} may be open");
        return;
    }
    let options = ["--max-waiting", "134217728", "--max-clients", "10100", "--rate", "0"];
    let mut program = Program::start(&options);
    let tcp_at_start = tcp_bytes();
    let in_kernel = |tcp: usize| tcp.saturating_sub(tcp_at_start);
    before::whole_history_of_long_lines(&program);
    let mut talk = Talk::begin(&program, INTERVAL, LINE_BYTES);
    let without = talk.measure(&program, TIME / 4);

    let mut stuck = Vec::with_capacity(STUCK);
    let mut most = 0;
    for number in 0..STUCK {
        stuck.push(stuck_client(&program, number));
        if number % 200 == 0 {
            most = most.max(program.resident_bytes() + in_kernel(tcp_bytes()));
        }
    }
    wait_until("all are here", || {
        most = most.max(program.resident_bytes() + in_kernel(tcp_bytes()));
        clients(&mut program, Instant::now() + DEADLINE) == Some(STUCK + 2)
    });
    let with = talk.measure(&program, TIME);
    most = most.max(with.resident + in_kernel(with.tcp));
    println!(
        "{} MiB resident and in the kernel, {} MiB of that resident",
        most >> 20,
        with.resident >> 20
    );
    println!("median delay {:.1?} without, {:.1?} with", without.p50, with.p50);
    println!("99 of 100 within {:.1?} without, {:.1?} with", without.p99, with.p99);
    let here = clients(&mut program, Instant::now() + DEADLINE);
    assert_eq!(here, Some(STUCK + 2), "all are here still");
    let p99_max = (2 * without.p99).max(without.p99 + DELAY_MORE_MAX);
    assert!(
        most < MEMORY_MAX && with.p99 <= p99_max,
        "{} MiB, at most {} MiB; p99 is {:.1?}, at most {p99_max:.1?}",
        most >> 20,
        MEMORY_MAX >> 20,
        with.p99
    );
}

/// A client that asks for everything, beginning with another question than the one before, and
/// reads nothing.
fn stuck_client(program: &Program, number: usize) -> TcpStream {
    let mut client = program.connect_narrow().into_stream();
    client.set_nonblocking(true).expect("an open socket");
    let (before, after) = QUESTIONS.split_at(number % QUESTIONS.len());
    let questions = [after, before].concat().concat().repeat(ROUNDS);
    // The socket takes this little.
    client.write_all(questions.as_bytes()).expect("the server reads");
    client
}
