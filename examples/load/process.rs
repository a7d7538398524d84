//! The server as a process of its own: started on a free port, measured from outside, stopped.
//!
//! The release server is built first, so that what is measured is the source as it stands. CPU time
//! comes from the process's CPU clock, which counts nanoseconds and keeps what ended threads have
//! used; memory and threads come from `/proc`. It knows nothing of clients and lines.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::ClockId;
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A free port; no limit on what one client may say, for the load is the limit; and room for what
/// waits, since a server that skips lines for a slow reader, as it should, fails the check.
const SERVER_ARGS: [&str; 6] = ["--port", "0", "--rate", "0", "--max-backlog", "1073741824"];

/// The hidden flag with which this program becomes the bare loop.
pub(crate) const BARE_FLAG: &str = "--serve-bare";

/// How long a server may take to end once it was told to.
const STOP_TIME: Duration = Duration::from_secs(10);

/// A server to measure.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    pid: Option<u32>,
    child: Option<Child>,
    /// Kept open: a server whose output is closed is not the one that users run.
    _output: Option<BufReader<ChildStdout>>,
}

impl Server {
    /// The release server of this package with `args` behind our own, listening.
    ///
    /// # Errors
    /// When it cannot be built or started, or ends before it says where it listens.
    pub(crate) fn start_release(args: &str, cores: Option<Cores>) -> io::Result<Self> {
        let mut command = Command::new(built_server()?);
        command.args(SERVER_ARGS).args(args.split_whitespace()).env("RUST_LOG", "warn");
        Self::start(command, cores)
    }

    /// The bare loop, listening, in a process of its own as the server is.
    ///
    /// # Errors
    /// When this program cannot be started once more.
    pub(crate) fn start_bare(cores: Option<Cores>) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(BARE_FLAG);
        Self::start(command, cores)
    }

    /// A server that runs already; without its `pid` its CPU and memory are not known.
    pub(crate) fn running(addr: SocketAddr, pid: Option<u32>) -> Self {
        Self { addr, pid, child: None, _output: None }
    }

    fn start(mut command: Command, cores: Option<Cores>) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = match cores {
            Some(cores) => cores.spawn(&mut command)?,
            None => command.spawn()?,
        };
        let mut output = child.stdout.take().map(BufReader::new);
        // Held from here on, so that the child is ended on every way out.
        let mut server = Self {
            addr: SocketAddr::from(([0; 4], 0)),
            pid: Some(child.id()),
            child: Some(child),
            _output: None,
        };
        let mut line = String::new();
        while let Some(output) = &mut output {
            line.clear();
            if output.read_line(&mut line)? == 0 {
                let program = command.get_program().display();
                return Err(io::Error::other(format!("{program} ended before it listened")));
            }
            if let Some(addr) = address_in(&line) {
                server.addr = addr;
                break;
            }
        }
        server._output = output;
        Ok(server)
    }

    /// The CPU time it has used since its start, all threads together.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let pid = i32::try_from(self.pid?).ok()?;
        ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).and_then(ClockId::now).ok().map(Into::into)
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        self.status("VmRSS:")
    }

    /// The number of its threads.
    pub(crate) fn threads(&self) -> Option<u64> {
        self.status("Threads:")
    }

    fn status(&self, field: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        field_of(&status, field)
    }

    /// Tells the server to stop and waits for it; one that was running before is left alone.
    ///
    /// # Errors
    /// When it has not ended after `STOP_TIME` (it is killed then) or ended with a failure.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        if let Some(stdin) = &mut child.stdin {
            stdin.write_all(b"exit\n")?;
        }
        let deadline = Instant::now() + STOP_TIME;
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(io::Error::other(format!("the server ended: {status}")));
                }
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                None => {
                    let message = format!("the server had not stopped after {STOP_TIME:?}");
                    return Err(io::Error::other(message));
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already, which is all that is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Raises the soft limit of open descriptors to the hard one, here and for processes to come.
pub(crate) fn raise_descriptor_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// The cores of this machine, shared out between a server and the load.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    server: CpuSet,
    load: CpuSet,
}

impl Cores {
    /// The last of the cores that this thread may use for the load, and the others for the server.
    ///
    /// # Errors
    /// When there is only one.
    pub(crate) fn split() -> io::Result<Self> {
        let mut server = sched_getaffinity(None)?;
        let mut load = CpuSet::new();
        if let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|core| server.is_set(*core)) {
            load.set(last);
            server.unset(last);
        }
        if server.count() == 0 {
            return Err(io::Error::other("--pin needs two cores"));
        }
        Ok(Self { server, load })
    }

    /// Starts `command` on the server's cores, and goes on with this thread on the load's.
    ///
    /// A child inherits the cores of the thread that starts it, so that even its first threads run
    /// where they should.
    fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        sched_setaffinity(None, &self.server)?;
        let child = command.spawn();
        sched_setaffinity(None, &self.load)?;
        child
    }
}

/// The release server; under `cargo run` it is brought up to date first.
fn built_server() -> io::Result<PathBuf> {
    // TARGET/PROFILE/examples/load
    let example = env::current_exe()?;
    let target = example.ancestors().nth(3).unwrap_or(&example);
    let server = target.join("release").join("chat-server");
    if let Some(cargo) = env::var_os("CARGO") {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let mut build = Command::new(cargo);
        build.args(["build", "--release", "--quiet", "--bin", "chat-server"]);
        build.args(["--manifest-path", manifest]).arg("--target-dir").arg(target);
        if !build.status()?.success() {
            return Err(io::Error::other("the server could not be built"));
        }
    }
    if server.exists() {
        return Ok(server);
    }
    let message = format!("no server at {} (cargo build --release makes it)", server.display());
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}

/// The first socket address in a line that is meant for a person.
fn address_in(line: &str) -> Option<SocketAddr> {
    let marks = |c: char| !c.is_ascii_hexdigit() && c != '[';
    line.split_whitespace().find_map(|word| {
        word.trim_start_matches(marks).trim_end_matches(marks).parse::<SocketAddr>().ok()
    })
}

/// The number behind `field` in a file of `/proc`.
fn field_of(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_what_a_server_says() {
        let expected = "127.0.0.1:9999".parse().ok();
        assert_eq!(address_in("listening on 127.0.0.1:9999 (this machine only)\n"), expected);
        assert_eq!(address_in("chat-server: (127.0.0.1:9999), open it with --host ::"), expected);
        assert_eq!(address_in("on [::1]:80.\n"), "[::1]:80".parse().ok());
        assert_eq!(address_in("chat-server 0.1.0 starts at 10:32:00\n"), None);
    }

    #[test]
    fn a_field_of_a_status_file_is_read() {
        let status = "Name:\tload\nVmRSS:\t    1234 kB\nThreads:\t3\n";
        assert_eq!(field_of(status, "VmRSS:"), Some(1234));
        assert_eq!(field_of(status, "Threads:"), Some(3));
        assert_eq!(field_of(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_can_be_measured() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let this = Server::running(addr, Some(std::process::id()));
        assert!(this.cpu() > Some(Duration::ZERO));
        assert!(this.resident_kib() > Some(0));
        assert!(this.threads() > Some(0));
        assert_eq!(Server::running(addr, None).cpu(), None);
    }
}
