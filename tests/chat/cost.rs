//! What a transcript costs: calls of the system, time, memory.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::num::NonZeroU32;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use chat_server::Config;

use super::harness::*;

/// Says lines in bursts, and waits after each until it hears the last of it.
fn talks(client: &mut Client, bursts: usize, burst_lines: usize) {
    let text = "x".repeat(40);
    for burst in 0..bursts {
        let lines: String =
            (0..burst_lines).map(|line| format!("{burst}.{line}. {text}\n")).collect();
        client.sends(lines.as_bytes());
        let last = format!("{}: {burst}.{}. {text}", client.addr(), burst_lines - 1);
        client.hears_until_end_of(&last);
    }
}

/// So many clients talk at once, each in bursts. Gives how long it took.
fn everybody_talks(venue: &impl Venue, talkers: usize, bursts: usize, lines: usize) -> Duration {
    let clients: Vec<Client> = (0..talkers).map(|_| venue.client()).collect();
    let started = Instant::now();
    thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || talks(&mut client, bursts, lines));
        }
    });
    started.elapsed()
}

/// The server under strace, on a transcript with --sync, with these calls of each thread in a file
/// of its own.
fn traced(folder: &Path, calls: &str) -> Program {
    let trace = folder.join("trace");
    let (trace, transcript) = (argument(&trace), folder.join("transcript"));
    let options = ["-ff", "-y", "--seccomp-bpf", "-s", "1000000", "-e", calls, "-o", trace];
    let mut command = command("strace", &options);
    command.args([CHAT_SERVER, "--port", "0", "--rate", "0", "--sync", "--transcript"]);
    Program::spawn(command.arg(transcript)).listening()
}

/// The calls of the thread that delivers: the one that calls fdatasync.
fn deliveries(folder: &Path) -> String {
    let traces =
        fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("a file").path());
    let mut traces = traces.filter(|path| argument(path).contains("/trace."));
    let traces = traces.find_map(|path| {
        let calls = fs::read_to_string(path).expect("a trace");
        calls.contains("fdatasync(").then_some(calls)
    });
    traces.expect("one thread calls fdatasync")
}

#[track_caller]
fn ends(mut program: Program) {
    program.types("exit");
    assert_eq!(program.exits().0, Some(0));
}

#[test]
#[ignore = "needs strace"]
fn with_sync_every_batch_is_written_and_on_the_disk_before_the_first_send_of_it() {
    let folder = Folder::new();
    let program = traced(folder.path(), "trace=write,fdatasync,sendto");
    everybody_talks(&program, 4, 50, 20);
    ends(program);
    let (mut synced, mut written) = (String::new(), None);
    let (mut batches, mut sends) = (0, 0);
    let calls = deliveries(folder.path());
    for call in calls.lines() {
        if call.starts_with("write(") && call.contains("/transcript>") {
            assert_eq!(written.replace(call), None, "two writes with no fdatasync between");
        } else if call.starts_with("fdatasync(") {
            synced.push_str(written.take().expect("an fdatasync for something written"));
            batches += 1;
        } else if call.starts_with("sendto(") {
            assert_eq!(written, None, "a send before the fdatasync");
            // Each line that goes out, by who says which, is on the disk.
            for said in call.split("\\n").filter_map(|line| line.split_once("] 127.0.0.1:")) {
                let number = said.1.split(" x").next().expect("a first part");
                let known = number.contains(" joined (") || number.contains(" left (");
                assert!(known || synced.contains(number), "sent before it was written: {number}");
            }
            sends += 1;
        }
    }
    assert_eq!(written, None);
    eprintln!("{batches} batches of 4000 lines, {sends} sends");
    assert!(batches > 1 && batches < 4000, "{batches} batches");
}

#[test]
#[ignore = "needs strace, and measures"]
fn with_sync_more_senders_share_one_fdatasync() {
    const LINES: usize = 4096;
    let mut shares = Vec::new();
    println!("| senders | lines per fdatasync | lines a second |\n| --- | --- | --- |");
    for senders in [1, 4, 16, 64, 128] {
        let folder = Folder::new();
        let program = traced(folder.path(), "trace=fdatasync");
        let time = everybody_talks(&program, senders, LINES / senders, 1);
        ends(program);
        let batches = deliveries(folder.path()).matches("fdatasync(").count();
        let share = LINES as f64 / batches as f64;
        println!("| {senders} | {share:.1} | {:.0} |", LINES as f64 / time.as_secs_f64());
        shares.push(share);
    }
    assert!(shares.is_sorted(), "{shares:?}");
    assert!(shares[4] > 8.0 * shares[0], "{shares:?}");
}

#[test]
#[ignore = "measures, and needs the machine for itself"]
fn a_transcript_costs_little_throughput() {
    const ROUNDS: usize = 15;
    const TALKERS: usize = 8;
    const BURSTS: usize = 100;
    const BURST_LINES: usize = 200;
    let folder = Folder::new();
    let unlimited = Config { rate_lines: None::<NonZeroU32>, history_lines: 20, ..config() };
    let transcript = Some(folder.transcript());
    let rooms = [Room::with(unlimited.clone()), Room::with(Config { transcript, ..unlimited })];
    let mut shares = Vec::new();
    for _ in 0..ROUNDS {
        let [without, with] =
            rooms.each_ref().map(|room| everybody_talks(room, TALKERS, BURSTS, BURST_LINES));
        shares.push(without.as_secs_f64() / with.as_secs_f64());
    }
    shares.sort_by(f64::total_cmp);
    let median = shares[ROUNDS / 2];
    println!(
        "throughput with a transcript, as a share of that without: {median:.2} ({shares:.2?})"
    );
    // The aim is nine tenths; whatever else the machine does blurs a single run.
    assert!(median > 0.75, "{shares:?}");
}

/// More than a server needs at its start, and far less than what stands in these files.
const START_BYTES_MAX: u64 = 16 << 20;

#[test]
#[ignore = "writes a gigabyte"]
fn a_transcript_of_a_gigabyte_costs_the_start_neither_time_nor_memory() {
    let folder = Folder::new();
    let line = "2020-01-02T03:04:05+00:00 alice: hello again, and some words to fill the line\n";
    let chunk = line.repeat((1 << 20) / line.len());
    let mut file = BufWriter::new(File::create(folder.transcript()).unwrap());
    (0..1024).for_each(|_| file.write_all(chunk.as_bytes()).unwrap());
    drop(file);
    let started = Instant::now();
    let program = Program::start(&["--transcript", argument(&folder.transcript())]);
    let (time, bytes) = (started.elapsed(), program.resident_bytes_max());
    println!("{time:?}, {} KiB", bytes >> 10);
    assert!(time < Duration::from_secs(1) && bytes < START_BYTES_MAX, "{time:?}, {bytes} bytes");
    assert_eq!(program.connect().joined_after_history().1.len(), 20);
}

#[test]
fn a_file_without_any_line_is_not_taken_into_memory_at_the_start() {
    let folder = Folder::new();
    // A hole, as a crash of the machine can leave one, and no line in it.
    File::create(folder.transcript()).unwrap().set_len(1 << 30).unwrap();
    let program = Program::start(&["--transcript", argument(&folder.transcript())]);
    assert!(program.resident_bytes_max() < START_BYTES_MAX);
    let (mut alice, history) = program.connect().joined_after_history();
    assert_eq!(history, [""; 0]);
    alice.says("hello");
    alice.hears(&format!("{}: hello", alice.addr()));
}
