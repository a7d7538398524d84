//! Abuse: nothing that clients can ask for slows the talk of the others.
//!
//! For each [`Abuse`] of the table two honest talkers talk in one run of the program without the
//! abusers, with them, and without them again once they have gone; newcomers join meanwhile; and in
//! the end the program stops while the abuse goes on. `ABUSE=NAME` tries that one alone.

mod abusers;
mod before;
mod gone;
mod kinds;
mod measure;
mod stuck;
mod table;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::harness::*;
use abusers::Stage;
use measure::{Measured, Talk};
use table::{ABUSES, Abuse};

/// How long the talk is measured without abusers, before them and once more after them.
const WITHOUT: Duration = Duration::from_millis(2500);

/// How long the talk is measured with abusers.
const WITH: Duration = Duration::from_secs(5);

/// What abuse may add to the 99th percentile of delays that it does not double: nobody notices so
/// little, and the scheduler of a busy machine makes as much.
const DELAY_MORE_MAX: Duration = Duration::from_millis(5);

/// How long a newcomer may take to join, if it does not take half of that without abuse: in a crowd
/// of thousands each line of the talk alone takes the program tens of milliseconds.
const JOIN_MAX: Duration = Duration::from_millis(100);

/// How long the stop may take.
const STOP_MAX: Duration = Duration::from_millis(2500);

/// How long abusers that have hung up may still be listed, or their lines still come.
const GONE_MAX: Duration = Duration::from_secs(10);

/// How long the abuse goes on before the program is stopped.
const BEFORE_STOP: Duration = Duration::from_secs(1);

/// What a run with one kind of abuse has shown.
struct Outcome {
    without: Measured,
    with: Measured,
    stop: Duration,
    /// What is not as it should be.
    faults: Vec<String>,
}

#[test]
#[ignore = "takes six minutes: measures the talk without, with and after each kind of abuse"]
fn nothing_that_can_be_asked_for_slows_the_talk() {
    let chosen = std::env::var("ABUSE").ok();
    let mut table = "| what | clients | p99 without | p99 with | slowest join | stop | memory |\n\
                     | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    let mut faults = Vec::new();
    for abuse in ABUSES.iter().filter(|abuse| chosen.as_ref().is_none_or(|it| it == abuse.name)) {
        if let Some(reason) = abuse.impossible() {
            println!("{}: left out, {reason}", abuse.name);
            continue;
        }
        match catch_unwind(AssertUnwindSafe(|| try_out(abuse))) {
            Ok(outcome) => {
                let found = row(abuse, &outcome);
                println!("{}: {found} {}", abuse.name, details(&outcome));
                table.push_str(&(found + "\n"));
                faults.extend(outcome.faults.iter().map(|it| format!("{}: {it}", abuse.name)));
            }
            Err(panic) => {
                let reason = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
                faults.push(format!("{}: {reason:.200}", abuse.name));
            }
        }
    }
    println!("\n{table}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Measures the talk without, with and after the abuse, and the stop meanwhile.
fn try_out(abuse: &Abuse) -> Outcome {
    let folder = Folder::new();
    let mut program = abuse.start(&folder);
    let _idle = (abuse.prepare)(&program);
    let mut talk = Talk::begin(&program, abuse.interval, 0);
    let time = abuse.interval * abuse.lines_min;
    let before = talk.measure(&program, WITHOUT.max(time));
    let here = clients(&mut program, Instant::now() + DEADLINE).expect("a console in time");
    let with = while_abused(abuse, program.addr(), || talk.measure(&program, WITH.max(time)));
    let mut faults = Vec::new();
    let mut without = before;
    if has_gone(&mut program, here) {
        let others_lines = talk.others_lines();
        without = before.or_worse(talk.measure(&program, WITHOUT.max(time)));
        if talk.others_lines() > others_lines {
            faults.push("lines of abusers still come after they have gone".to_owned());
        }
    } else {
        faults.push(format!("abusers are still here {GONE_MAX:?} after they have hung up"));
    }
    assert_eq!(program.status(), None, "the program lives");
    let stop = while_abused(abuse, program.addr(), || stop_time(&mut program));
    let outcome = Outcome { without, with, stop, faults };
    judged(outcome, &mut program)
}

/// Adds what exceeds the limits to the faults.
fn judged(mut outcome: Outcome, program: &mut Program) -> Outcome {
    let (without, with) = (outcome.without.p99, outcome.with.p99);
    let p99_max = (2 * without).max(without + DELAY_MORE_MAX);
    let limits = [
        ("p99", with, p99_max),
        ("a join", outcome.with.join, JOIN_MAX.max(2 * outcome.without.join)),
        ("the stop", outcome.stop, STOP_MAX),
    ];
    for (what, took, most) in limits {
        if took > most {
            outcome.faults.push(format!("{what} took {took:.1?}, more than {most:.1?}"));
        }
    }
    if program.status().is_some() {
        let (status, _, stderr) = program.exits();
        if status != Some(0) || stderr.contains("panic") {
            outcome.faults.push(format!("exit status {status:?}"));
        }
    }
    outcome
}

/// Does something while the abuse goes on, and ends it.
fn while_abused<T>(abuse: &Abuse, addr: SocketAddr, something: impl FnOnce() -> T) -> T {
    let stage = Stage { addr, over: AtomicBool::new(false) };
    thread::scope(|scope| {
        scope.spawn(|| (abuse.run)(&stage));
        // A panic ends the abuse as well, or its thread would be waited for in vain.
        let something = catch_unwind(AssertUnwindSafe(something));
        stage.over.store(true, Relaxed);
        something.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// How long the program takes from SIGTERM to its end, or to [`DEADLINE`].
fn stop_time(program: &mut Program) -> Duration {
    thread::sleep(BEFORE_STOP);
    let begun = Instant::now();
    program.is_sent(Signal::TERM);
    while program.status().is_none() && begun.elapsed() < DEADLINE {
        thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed()
}

/// Waits until no more than so many clients are here, and gives whether that was so in time.
fn has_gone(program: &mut Program, here: usize) -> bool {
    let deadline = Instant::now() + GONE_MAX;
    while Instant::now() < deadline {
        if clients(program, deadline).is_some_and(|clients| clients <= here) {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}

/// How many clients are here, as the console says; nothing when it does not say so in time.
fn clients(program: &mut Program, deadline: Instant) -> Option<usize> {
    program.types("stats");
    let line = program.prints_before(deadline, "clients ")?;
    Some(line.rsplit(' ').next().and_then(|it| it.parse().ok()).expect("a number"))
}

fn row(abuse: &Abuse, outcome: &Outcome) -> String {
    let (without, with) = (&outcome.without, &outcome.with);
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let sockets = with.tcp.saturating_sub(without.tcp);
    format!(
        "| {} | {} | {} | {} | {} | {:.1} s | {} + {} MiB |",
        abuse.what,
        abuse.clients,
        milliseconds(without.p99),
        milliseconds(with.p99),
        milliseconds(with.join),
        outcome.stop.as_secs_f64(),
        with.resident >> 20,
        sockets >> 20,
    )
}

/// What the table leaves out: the median delays, and the slowest join without abusers.
fn details(outcome: &Outcome) -> String {
    let (without, with) = (&outcome.without, &outcome.with);
    format!(
        "median delay {:.1?} without, {:.1?} with; slowest join {:.1?} without",
        without.p50, with.p50, without.join
    )
}
