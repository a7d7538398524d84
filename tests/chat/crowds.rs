//! Too many: clients, clients from one host, and what the system itself has no more of.

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use chat_server::Config;
use rustix::process::{Resource, Signal, getuid};

use super::harness::*;

/// What people take for at once, with patience for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What a client is told whom the system leaves no descriptor or no thread for.
const NOBODY_MORE: &str = "the server cannot take anybody more; try again later";

/// A user that nobody else is, so that only the server's threads count for its limit.
const NOBODY: u32 = 61_234;

/// Checks that the two talk to each other without a delay.
#[track_caller]
fn assert_talk(alice: &mut Client, bob: &mut Client, text: &str) {
    let started = Instant::now();
    alice.says(text);
    for person in [alice, bob] {
        person.hears(&format!("alice: {text}"));
    }
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
}

/// Stops the server, and checks that it ends well and soon.
#[track_caller]
fn assert_stops(mut program: Program) {
    let started = Instant::now();
    program.is_sent(Signal::TERM);
    let (status, _, stderr) = program.exits();
    assert_eq!(status, Some(0), "{}", stderr.lines().last().unwrap_or_default());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn one_host_has_as_many_clients_as_it_may_and_others_are_not_concerned() {
    let room = Room::with(Config { clients_per_host_max: Some(2), ..config() });
    let (one, two) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    let mut first = room.connect_from(one).joined();
    let _second = room.connect_from(one).joined();
    for _ in 0..3 {
        let mut third = room.connect_from(one);
        third.is_told("2 are here from your address, and no more may be");
        third.hears_the_end();
    }
    let mut other = room.connect_from(two).joined();
    first.hears_until(&format!("*** {} joined (3 here)", other.addr()));
    first.says("quit");
    other.hears(&format!("*** {} left (2 here)", first.addr()));
    // The place is free when the connection is closed, a moment after the leave is told.
    wait_until("a free place", || room.connect_from(one).line().starts_with("*** welcome"));
}

#[test]
fn few_descriptors_are_enough_for_fewer_clients_and_who_comes_too_late_is_told_so() {
    for (descriptors, clients) in [(64, 32), (40, 8)] {
        let mut program = Program::start_under(&format!("ulimit -n {descriptors}"), &[]);
        let mut crowd = program.crowd(clients);
        for _ in 0..40 {
            let mut late = program.connect();
            late.is_told(&format!("the room is full: {clients} are here"));
            late.hears_the_end();
        }
        crowd[0].says("fence");
        let said = format!("{}: fence", crowd[0].addr());
        crowd.iter_mut().for_each(|client| drop(client.hears_until(&said)));
        crowd[0].says("quit");
        crowd[0].hears_the_end();
        wait_until("a free place", || program.connect().line().starts_with("*** welcome"));
        program.types("stats");
        let refusals = program.prints("refusals");
        let refusals = refusals.rsplit(' ').next().and_then(|it| it.parse().ok());
        assert!(refusals >= Some(40), "{refusals:?}");
        assert!(
            program.logged().len() < 3 * clients + 40,
            "a log line for each refusal is too many"
        );
        assert_stops(program);
    }
}

#[test]
fn the_limit_of_descriptors_is_raised_as_far_as_it_may_be_and_said() {
    let limit = "ulimit -n 200; ulimit -S -n 40";
    let mut command =
        command("sh", &["-c", &format!("{limit}; exec \"$0\" --port 0"), CHAT_SERVER]);
    let mut program = Program::spawn(&mut command);
    program.logs("at most 168 clients, not 10000: 200 descriptors may be open (ulimit -n)");
    let program = program.listening();
    drop(program.crowd(100));
    assert_stops(program);
}

#[test]
fn out_of_descriptors_it_tells_newcomers_so_costs_no_processor_time_and_goes_on_by_itself() {
    let mut program = Program::start(&[]);
    let [mut alice, mut bob] = program.people(["alice", "bob"]);
    let open = program.descriptors() as u64;
    program.logged();
    program.is_limited(Resource::Nofile, Some(open));
    // A number or two below the highest one may be free still.
    let mut last = Vec::new();
    while last.len() < 5 {
        let mut newcomer = program.connect();
        let line = newcomer.line();
        if line == format!("*** {NOBODY_MORE}") {
            newcomer.hears_the_end();
            break;
        }
        last.push(newcomer.joined());
    }
    assert!(last.len() < 5, "out of descriptors");
    for person in [&mut alice, &mut bob] {
        last.iter().for_each(|_| person.hears_until_end_of(" here)"));
    }
    program.logs("cannot accept: ");
    let (cpu, started) = (program.cpu_time(), Instant::now());
    let waiting: Vec<Client> = (0..3).map(|_| program.connect()).collect();
    assert_talk(&mut alice, &mut bob, "meanwhile");
    thread::sleep(Duration::from_millis(1000).saturating_sub(started.elapsed()));
    let spent = program.cpu_time() - cpu;
    assert!(spent < Duration::from_millis(200), "{spent:?}");
    let logged = program.logged();
    assert!(logged.len() <= 6, "{} lines: {:?}", logged.len(), logged.first());

    // Some of them may be in line still, and would come in now.
    drop(waiting);
    program.is_limited(Resource::Nofile, None);
    let mut carol = program.connect();
    carol.says("/name carol");
    carol.hears_until_end_of(" is now carol");
    carol.says("quit");
    carol.hears_the_end();
    let left = format!("*** carol left ({} here)", last.len() + 2);
    for person in [&mut alice, &mut bob] {
        person.hears_until(&left);
    }
    assert_talk(&mut alice, &mut bob, "afterwards");
    assert_stops(program);
}

/// The server as a user of its own, since no limit of processes holds for root.
fn as_nobody() -> (Program, Option<PathBuf>) {
    if !getuid().is_root() {
        return (Program::start(&[]), None);
    }
    // That user may not be allowed to where the program was built.
    let copy = std::env::temp_dir().join(format!("chat-server-{}", std::process::id()));
    std::fs::copy(CHAT_SERVER, &copy).expect("a folder for temporary files");
    let mut command = command(copy.to_str().expect("a path of UTF-8"), &["--port", "0"]);
    (Program::spawn(command.uid(NOBODY).gid(NOBODY)).listening(), Some(copy))
}

/// May have so many threads from now on; only its own user may say so.
fn is_limited_to(program: &Program, threads: &str) {
    let pid = program.pid().as_raw_nonzero();
    let mut command =
        command("prlimit", &["--pid", &pid.to_string(), &format!("--nproc={threads}:")]);
    if getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    assert!(command.status().expect("prlimit of util-linux").success());
}

#[test]
fn out_of_threads_it_tells_newcomers_so_and_nobody_else_notices() {
    let (program, copy) = as_nobody();
    let [mut alice, mut bob] = program.people(["alice", "bob"]);
    program.logged();
    is_limited_to(&program, "1");
    for _ in 0..20 {
        let mut late = program.connect();
        late.says("hello?");
        late.is_told(NOBODY_MORE);
        late.hears_the_end();
    }
    assert_talk(&mut alice, &mut bob, "meanwhile");
    let logged = program.logged();
    assert!((1..=6).contains(&logged.len()), "{} lines: {:?}", logged.len(), logged.first());

    // Its thread ends, and gives the place to nobody, for even that would be one too many.
    bob.says("quit");
    bob.hears_the_end();
    alice.hears("*** bob left (1 here)");
    program.connect().is_told(NOBODY_MORE);
    is_limited_to(&program, "1000");
    let mut bob = program.client();
    alice.hears(&format!("*** {} joined (2 here)", bob.addr()));
    assert_talk(&mut alice, &mut bob, "afterwards");
    is_limited_to(&program, "1");
    program.connect().is_told(NOBODY_MORE);
    assert_stops(program);
    if let Some(copy) = copy {
        std::fs::remove_file(copy).expect("the copy is ours");
    }
}

#[test]
fn out_of_address_space_it_tells_newcomers_so_and_nobody_else_notices() {
    let program = Program::start_under("ulimit -v 800000", &[]);
    let [mut alice, mut bob] = program.people(["alice", "bob"]);
    let mut crowd: Vec<Client> = Vec::new();
    loop {
        let mut newcomer = program.connect();
        let line = newcomer.line();
        if line == format!("*** {NOBODY_MORE}") {
            newcomer.hears_the_end();
            break;
        }
        crowd.push(newcomer);
        assert!(crowd.len() < 4000, "800 MB are not enough for 4000 threads");
    }
    for text in ["meanwhile", &"x".repeat(4000)] {
        alice.says(text);
        for person in [&mut alice, &mut bob] {
            person.hears_until(&format!("alice: {text}"));
        }
    }
    drop(crowd);
    wait_until("a free place", || program.connect().line().starts_with("*** welcome"));
    assert_stops(program);
}

#[test]
fn a_thousand_who_come_at_once_cost_no_million_notices_and_all_hear_afterwards() {
    const CROWD: usize = 1000;
    chat_server::raise_descriptor_limit();
    let program = Program::start(&[]);
    let mut alice = program.client();
    let addr = program.addr();
    let connect = || Client::new(TcpStream::connect(addr).expect("the server listens"));
    thread::scope(|scope| {
        let comers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut crowd: Vec<Client> = (0..CROWD / 4).map(|_| connect()).collect();
                    crowd.iter_mut().for_each(|it| assert!(it.line().starts_with("*** welcome")));
                    crowd
                })
            })
            .collect();
        let mut crowd: Vec<Client> =
            comers.into_iter().flat_map(|it| it.join().expect("all are greeted")).collect();
        alice.says("fence");
        let said = format!("{}: fence", alice.addr());
        let notices = alice.hears_until(&said).len();
        assert!(notices <= 200, "{notices} notices to one client");
        let notices: usize = crowd.iter_mut().map(|client| client.hears_until(&said).len()).sum();
        assert!(notices < CROWD * 200, "{notices} notices in all");
    });
    alice.says("quit");
    wait_until("all have gone", || program.threads() < 10);
    assert_stops(program);
}

#[test]
#[ignore = "takes 10 s: ten thousand connections, as many at once as descriptors allow"]
fn ten_thousand_connections_come_and_go_and_leave_nothing_behind() {
    const COMERS: usize = 10_000;
    let descriptors = chat_server::raise_descriptor_limit().unwrap_or(u64::MAX);
    let at_once = COMERS.min(usize::try_from(descriptors).unwrap_or(COMERS).saturating_sub(200));
    // More than come at once, for those before them may still be leaving.
    let mut program = Program::start(&["--max-clients", "20000"]);
    let [mut alice, mut bob] = program.people(["alice", "bob"]);
    let mut crowd = program.crowd(100);
    drop(crowd);
    wait_until("the first hundred have gone", || program.threads() < 10);
    let before = (program.descriptors(), program.threads(), program.resident_bytes());
    let mut come = 0;
    while come < COMERS {
        let comers = (at_once / 2).min(COMERS - come);
        crowd = (0..comers)
            .map(|number| {
                let host = [127, 0, 1, u8::try_from(number % 200 + 1).expect("a byte")];
                program.connect_from(host)
            })
            .collect();
        crowd.iter_mut().for_each(|client| assert!(client.line().starts_with("*** welcome")));
        come += comers;
        alice.says(&format!("{come} have come"));
        let said = format!("alice: {come} have come");
        bob.hears_until(&said);
        crowd.iter_mut().for_each(|client| drop(client.hears_until(&said)));
        crowd.clear();
    }
    wait_until("all have gone", || {
        (program.descriptors(), program.threads()) == (before.0, before.1)
    });
    let more = program.resident_bytes().saturating_sub(before.2);
    assert!(more < 64 << 20, "{} MiB more", more >> 20);
    program.types("stats");
    assert!(program.prints("clients").ends_with(" 2"));
    // Some of the crowd have left with a notice, some too many for it.
    alice.says("afterwards");
    for person in [&mut alice, &mut bob] {
        person.hears_until("alice: afterwards");
    }
    assert_stops(program);
}

#[test]
fn what_waits_for_all_together_is_bounded_and_those_with_the_most_waiting_are_told() {
    const WAITING: usize = 1 << 20;
    const STUCK: usize = 20;
    let room = Room::with(Config { waiting_bytes_max: WAITING, ..config() });
    let [mut alice, mut bob] = room.people(["alice", "bob"]);
    // More than all their backlogs may hold together, though not any one of them alone.
    let mut stuck: Vec<Client> =
        (0..STUCK).map(|_| room.connect_receiving(16 << 10).joined()).collect();
    let line = "x".repeat(1000);
    let waiting = || room.operator.clients().iter().map(|it| it.bytes_waiting).collect::<Vec<_>>();
    let mut most = 0;
    for _ in 0..20 {
        alice.sends(format!("{line}\n").repeat(10).as_bytes());
        for person in [&mut alice, &mut bob] {
            (0..10).for_each(|_| person.hears_until_end_of("xxx"));
        }
        most = most.max(waiting().iter().max().copied().unwrap_or(0));
        let sum: usize = waiting().iter().sum();
        assert!(sum <= WAITING, "{sum} bytes wait");
    }
    assert!(most < 200 * line.len(), "{most} bytes: each could have kept all of it");
    assert!(room.operator.stats().skipped_lines > 0);
    for client in &mut stuck {
        let mut heard = 0;
        while heard < 200 {
            let line = client.line();
            heard += match line.strip_prefix("*** you missed ") {
                Some(rest) => rest.split(' ').next().and_then(|it| it.parse().ok()).unwrap(),
                None => usize::from(line.ends_with("xxx")),
            };
        }
        assert_eq!(heard, 200, "each line is heard, or told missed");
    }
}
