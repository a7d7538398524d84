//! One run: a server is started, a crowd connects and talks, and the cost is taken from outside.
//!
//! The server and the bare loop go through the very same steps.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::time::{ClockId, clock_gettime};

use crate::crowd::Crowd;
use crate::order::Script;
use crate::process::{Cores, Server};
use crate::report::{Figure, Run};
use crate::talk::{Heard, Pace, talk};

/// How long the room is left alone before its idle cost is taken.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The release server, started here.
    Server,
    /// The bare loop, started here.
    Bare,
    /// A server that runs already.
    Running { addr: SocketAddr, pid: Option<u32> },
}

/// How it is measured.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) clients: usize,
    pub(crate) script: Script,
    pub(crate) pace: Pace,
    /// How long the idle room is watched; zero for not at all.
    pub(crate) idle: Duration,
    /// The cores of a server that is started here, and of the load; none for all.
    pub(crate) cores: Option<Cores>,
    pub(crate) server_args: String,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Server | Self::Running { .. } => "server",
            Self::Bare => "bare loop",
        }
    }

    fn start(self, setting: &Setting) -> io::Result<Server> {
        match self {
            Self::Server => Server::start_release(&setting.server_args, setting.cores),
            Self::Bare => Server::start_bare(setting.cores),
            Self::Running { addr, pid } => Ok(Server::running(addr, pid)),
        }
    }
}

/// Measures `subject` once.
///
/// # Errors
/// When it cannot be started or stopped, and when a client did not hear what all were told.
pub(crate) fn measure(subject: Subject, setting: &Setting) -> io::Result<Run> {
    let server = subject.start(setting)?;
    let run = measure_server(&server, subject.name(), setting)?;
    server.stop()?;
    Ok(run)
}

/// Measures a server that listens.
pub(crate) fn measure_server(
    server: &Server,
    name: &'static str,
    setting: &Setting,
) -> io::Result<Run> {
    let Setting { clients, script, pace, .. } = *setting;
    let mut run = Run::new(name, described(setting));
    let resident_before = server.resident_kib();
    let start = Instant::now();
    let mut crowd = Crowd::connect(server.addr, clients)?;
    run.add(Figure::Connect, start.elapsed().as_secs_f64() * 1e3);
    let resident = server.resident_kib().zip(resident_before);
    let grown = resident.map(|(after, before)| after.saturating_sub(before) as f64);
    run.add(Figure::Resident, grown.map(|grown| grown / clients as f64));
    run.add(Figure::Threads, server.threads().map(|threads| threads as f64));
    if !setting.idle.is_zero() {
        run.add(Figure::Idle, idle_cost(server, setting.idle));
    }

    let bar = progress_bar(name, clients, script.lines);
    let before = (server.cpu(), own_cpu());
    let Heard { elapsed, latency } = talk(&mut crowd, script, pace, &bar)?;
    let after = (server.cpu(), own_cpu());
    bar.finish_and_clear();

    let lines = script.lines as f64;
    let deliveries = lines * clients as f64;
    let micros = |(after, before): (Duration, Duration)| (after - before).as_secs_f64() * 1e6;
    run.add(Figure::Elapsed, elapsed.as_secs_f64());
    run.add(Figure::Lines, lines / elapsed.as_secs_f64());
    run.add(Figure::Deliveries, deliveries / elapsed.as_secs_f64());
    run.add(Figure::Cpu, after.0.zip(before.0).map(|pair| micros(pair) / deliveries));
    run.add(Figure::LoadCpu, micros((after.1, before.1)) / deliveries);
    if let Some(latency) = latency {
        add_latency(&mut run, &latency);
    }
    Ok(run)
}

fn described(setting: &Setting) -> Vec<(&'static str, u64)> {
    let Setting { clients, script, pace, .. } = setting;
    vec![
        ("clients", *clients as u64),
        ("senders", script.senders),
        ("lines", script.lines),
        ("bytes", script.bytes as u64),
        ("rate", pace.rate.into()),
        ("churn", pace.churn.into()),
    ]
}

/// The server's CPU microseconds a second while nobody says anything.
fn idle_cost(server: &Server, time: Duration) -> Option<f64> {
    thread::sleep(SETTLE_TIME);
    let (before, start) = (server.cpu()?, Instant::now());
    thread::sleep(time);
    let used = server.cpu()? - before;
    Some(used.as_secs_f64() * 1e6 / start.elapsed().as_secs_f64())
}

fn add_latency(run: &mut Run, latency: &Histogram<u64>) {
    let quantiles =
        [(Figure::P50, 0.5), (Figure::P90, 0.9), (Figure::P99, 0.99), (Figure::P999, 0.999)];
    for (figure, quantile) in quantiles {
        run.add(figure, latency.value_at_quantile(quantile) as f64 / 1e3);
    }
    run.add(Figure::Slowest, latency.max() as f64 / 1e3);
}

/// The CPU time of this process.
fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// A bar on stderr, which stays hidden when that is no terminal.
fn progress_bar(name: &str, clients: usize, lines: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} lines, {eta} left")
        .expect("the template is valid");
    let message = format!("{name}, {clients} clients");
    ProgressBar::new(lines).with_style(style).with_message(message)
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};
    use std::net::TcpListener;

    use super::*;
    use crate::bare;

    /// A run against a bare loop in a thread of this process.
    fn measured(setting: &Setting) -> Run {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, mut stopper) = pipe().unwrap();
        let server = Server::running(addr, Some(std::process::id()));
        thread::scope(|scope| {
            let serving = scope.spawn(|| bare::serve(listener, stop));
            let run = measure_server(&server, "bare loop", setting).unwrap();
            stopper.write_all(b"exit\n").unwrap();
            serving.join().unwrap().unwrap();
            run
        })
    }

    fn setting() -> Setting {
        Setting {
            clients: 10,
            script: Script { lines: 200, senders: 4, bytes: 64 },
            pace: Pace { rate: 0, churn: 0 },
            idle: Duration::ZERO,
            cores: None,
            server_args: String::new(),
        }
    }

    #[test]
    fn ten_clients_hear_two_hundred_lines_of_the_bare_loop() {
        let run = measured(&setting());
        assert!(run.get(Figure::Deliveries) > Some(0.0));
        assert!(run.get(Figure::Cpu) > Some(0.0));
        assert_eq!(run.get(Figure::P50), None);
    }

    #[test]
    fn lines_longer_than_a_read_and_sockets_fuller_than_full_lose_nothing() {
        let script = Script { lines: 300, senders: 4, bytes: 100_000 };
        let run = measured(&Setting { script, ..setting() });
        assert!(run.get(Figure::Deliveries) > Some(0.0));
    }

    #[test]
    fn with_a_rate_latencies_are_known_while_visitors_come_and_go() {
        let pace = Pace { rate: 2000, churn: 500 };
        let run = measured(&Setting { pace, ..setting() });
        assert!(run.get(Figure::P50) > Some(0.0));
        assert!(run.get(Figure::Slowest) >= run.get(Figure::P99));
    }
}
