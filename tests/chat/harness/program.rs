//! Programs with pipes: the server itself, and real clients.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::{DEADLINE, Venue, wait_until};

/// The program under test.
pub(crate) const CHAT_SERVER: &str = env!("CARGO_BIN_EXE_chat-server");

/// A program, ready to be spawned: with pipes, and without what the environment says of ours.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("RUST_LOG");
    for (variable, _) in std::env::vars().filter(|(it, _)| it.starts_with("CHAT_SERVER_")) {
        command.env_remove(variable);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running program, usually the server itself. Dropped, it is killed.
pub(crate) struct Program {
    child: Child,
    /// Its stdin, until the test closes it.
    pub(crate) stdin: Option<ChildStdin>,
    /// Lines of its stdout and of its stderr, with their ends.
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    addr: Option<SocketAddr>,
}

impl Venue for Program {
    fn addr(&self) -> SocketAddr {
        self.addr.expect("the server listens")
    }
}

impl Program {
    /// The server on a free port, once it listens.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Program {
        Program::spawn(command(CHAT_SERVER, arguments).args(["--port", "0"])).listening()
    }

    /// The server on a free port under the shell's `limit`, such as `ulimit -n 64`, once it listens.
    #[track_caller]
    pub(crate) fn start_under(limit: &str, arguments: &[&str]) -> Program {
        let script = format!("{limit}; exec \"$0\" --port 0 \"$@\"");
        let mut command = command("sh", &["-c", &script, CHAT_SERVER]);
        Program::spawn(command.args(arguments)).listening()
    }

    pub(crate) fn spawn(command: &mut Command) -> Program {
        let mut child = command.spawn().expect("the program starts");
        let stdin = child.stdin.take();
        let (stdout, stderr) = (lines(child.stdout.take()), lines(child.stderr.take()));
        Program { child, stdin, stdout, stderr, addr: None }
    }

    /// The same server, once it listens.
    #[track_caller]
    pub(crate) fn listening(mut self) -> Program {
        let line = self.logs("listening on ");
        self.listening_as(&line)
    }

    /// The same server, which listens where this line of it says.
    #[track_caller]
    pub(crate) fn listening_as(mut self, line: &str) -> Program {
        let (_, addr) = line.trim_end().rsplit_once(' ').expect("words");
        let mut addr: SocketAddr = addr.parse().expect("an address");
        if addr.ip().is_unspecified() {
            addr.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        self.addr = Some(addr);
        self
    }

    /// Types a line at the console.
    #[track_caller]
    pub(crate) fn types(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("an open stdin");
        writeln!(stdin, "{line}").expect("the console takes it");
    }

    /// Waits for a line of its stdout that holds `text`, and gives it.
    #[track_caller]
    pub(crate) fn prints(&mut self, text: &str) -> String {
        find(&self.stdout, text).1
    }

    /// A line of its stdout that holds `text`; nothing when none comes before the deadline.
    pub(crate) fn prints_before(&mut self, deadline: Instant, text: &str) -> Option<String> {
        find_before(deadline, &self.stdout, text).ok().map(|(_, line)| line)
    }

    /// Waits for a line of its stdout that holds `text`, and gives those before it.
    #[track_caller]
    pub(crate) fn prints_until(&mut self, text: &str) -> Vec<String> {
        find(&self.stdout, text).0
    }

    /// Waits for a line of its stderr that holds `text`, and gives it.
    #[track_caller]
    pub(crate) fn logs(&mut self, text: &str) -> String {
        find(&self.stderr, text).1
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn is_sent(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the program lives");
    }

    /// The lines of its stderr that have come and were not waited for yet.
    pub(crate) fn logged(&self) -> Vec<String> {
        self.stderr.try_iter().collect()
    }

    /// May have so many of this from now on, or as many as its hard limit allows.
    pub(crate) fn is_limited(&self, resource: Resource, current: Option<u64>) {
        let maximum = getrlimit(resource).maximum;
        let limit = Rlimit { current: current.or(maximum), maximum };
        prlimit(Some(self.pid()), resource, limit).expect("a process of ours");
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.expect("the program lives").count()
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        self.number_of("Threads:")
    }

    /// How much of its memory is resident.
    pub(crate) fn resident_bytes(&self) -> usize {
        self.number_of("VmRSS:") << 10
    }

    /// A number of proc_pid_status(5).
    fn number_of(&self, field: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the program lives");
        let number = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
        number.split_whitespace().next().and_then(|it| it.parse().ok()).expect("a number")
    }

    /// The processor time that it has used so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("the program lives");
        let (_, fields) = stat.rsplit_once(") ").expect("the format of proc(5)");
        let ticks = fields.split(' ').skip(11).take(2).map(|it| it.parse::<u64>().expect("ticks"));
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// The most memory that it has had resident so far.
    pub(crate) fn resident_bytes_max(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the program lives");
        let size = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("proc(5)");
        size.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// Its exit status once it has ended; none within when a signal killed it.
    pub(crate) fn status(&mut self) -> Option<Option<i32>> {
        let status = self.child.try_wait().expect("a child of ours")?;
        Some(status.code())
    }

    /// Waits for its end; gives its exit status, and what stdout and stderr still held.
    #[track_caller]
    pub(crate) fn exits(&mut self) -> (Option<i32>, String, String) {
        let mut status = None;
        wait_until("the program ends", || {
            status = self.status();
            status.is_some()
        });
        let code = status.flatten();
        (code, self.stdout.iter().collect(), self.stderr.iter().collect())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread of its own, so that the program never waits for the test.
fn lines(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, lines) = channel();
    if let Some(pipe) = pipe {
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                // Nobody may be left who wants it, and then it is read all the same.
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                line.clear();
            }
        });
    }
    lines
}

/// The first line that holds `text`, and those before it.
#[track_caller]
fn find(lines: &Receiver<String>, text: &str) -> (Vec<String>, String) {
    find_before(Instant::now() + DEADLINE, lines, text)
        .unwrap_or_else(|others| panic!("no {text:?} among {others:#?}"))
}

/// The first line that holds `text`, and those before it.
///
/// # Errors
///
/// The lines that came, when none of them holds it before the deadline.
fn find_before(
    deadline: Instant,
    lines: &Receiver<String>,
    text: &str,
) -> Result<(Vec<String>, String), Vec<String>> {
    let mut before = Vec::new();
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        let line = line.trim_end().to_owned();
        if line.contains(text) {
            return Ok((before, line));
        }
        before.push(line);
    }
    Err(before)
}
