//! The console at a real terminal: the built program in a pane of tmux.
//!
//! Each test has a tmux server and a shell of its own. What is awaited is looked for in the pane's
//! text until one deadline; nothing is slept through. The tests need `tmux` and `bash`, and are
//! therefore run on request: `cargo test --test terminal -- --ignored`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Until when a whole test must have seen what it waits for.
const DEADLINE: Duration = Duration::from_secs(20);

/// How often the pane is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A shell in a pane of a tmux server of its own, which ends with the value.
struct Pane {
    socket: String,
    deadline: Instant,
}

impl Pane {
    fn open() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let socket = format!("chat-server-{}-{number}", std::process::id());
        let pane = Self { socket, deadline: Instant::now() + DEADLINE };
        let shell = "env PS1='$ ' HISTFILE= bash --norc --noprofile";
        pane.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "50", shell]);
        pane.wait("the shell's prompt", |text| text.starts_with("$"));
        pane
    }

    /// A pane in which the server has just started, with the editor's prompt.
    fn with_server() -> (Self, Server) {
        let pane = Self::open();
        let server = pane.start("--port 0");
        pane.wait("the prompt", |_| pane.last_line() == ">>>");
        (pane, server)
    }

    /// Types a command line that runs the server with `args` and then shows its status.
    fn start(&self, args: &str) -> Server {
        let program = env!("CARGO_BIN_EXE_chat-server");
        self.enter(&format!(r#"sh -c 'echo pid=$$; exec {program} {args}'; echo "status=$?""#));
        Server {
            pid: self.number_after("\npid="),
            port: self.number_after("\nlistening on 127.0.0.1:"),
        }
    }

    fn tmux(&self, args: &[&str]) -> Output {
        let output = Command::new("tmux").args(["-L", &self.socket]).args(args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {output:?}");
        output
    }

    /// Types `text` as it is.
    fn type_text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// Presses a key by tmux's name for it.
    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn enter(&self, line: &str) {
        self.type_text(line);
        self.press("Enter");
    }

    /// What stands in the pane, without the blanks at the ends of lines.
    fn text(&self) -> String {
        let output = self.tmux(&["capture-pane", "-p", "-J", "-S", "-"]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    fn last_line(&self) -> String {
        self.text().trim_end().lines().last().unwrap_or_default().to_owned()
    }

    fn wait(&self, what: &str, found: impl Fn(&str) -> bool) -> String {
        loop {
            let text = self.text();
            if found(&text) {
                return text;
            }
            assert!(Instant::now() < self.deadline, "no {what} in:\n{text}");
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn wait_for(&self, part: &str) -> String {
        self.wait(part, |text| text.contains(part))
    }

    fn number_after<T: std::str::FromStr>(&self, mark: &str) -> T {
        let number = |text: &str| {
            let (_, rest) = text.split_once(mark)?;
            rest.split_once('\n')?.0.parse().ok()
        };
        let text = self.wait(mark, |text| number(text).is_some());
        number(&text).unwrap_or_else(|| unreachable!("it was just found"))
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        // The hang-up ends whatever still runs in the pane. A test that failed to open it has none.
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output();
    }
}

struct Server {
    pid: u32,
    port: u16,
}

impl Server {
    fn join(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Client(BufReader::new(stream))
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.pid.to_string()]).status();
        assert!(kill.unwrap().success());
    }

    fn is_running(&self) -> bool {
        Path::new(&format!("/proc/{}", self.pid)).exists()
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended before {part}");
        }
    }
}

#[test]
#[ignore = "needs tmux"]
fn a_line_that_is_being_typed_survives_chat_and_log_lines_above_it() {
    let (pane, server) = Pane::with_server();
    pane.type_text("say hel");
    pane.wait("what is typed", |_| pane.last_line() == ">>> say hel");
    let mut client = server.join();
    for number in 1..=30 {
        client.say(&format!("tick {number}."));
    }
    let text = pane.wait("the chat above the line", |text| {
        text.contains(": tick 30.") && pane.last_line() == ">>> say hel"
    });
    assert!(text.contains(" INFO "), "no log line in:\n{text}");
    pane.enter("lo");
    client.hear("server: hello");
    let text = pane.wait_for("server: hello\n");
    let ticks: Vec<_> = text.lines().filter(|line| line.contains(": tick ")).collect();
    assert_eq!(ticks.len(), 30, "{text}");
    assert!(ticks.iter().all(|line| line.starts_with('[') && line.ends_with('.')), "{ticks:?}");
}

#[test]
#[ignore = "needs tmux"]
fn the_arrow_up_brings_the_previous_line_back() {
    let (pane, _server) = Pane::with_server();
    pane.enter("say again");
    pane.wait_for("server: again\n");
    pane.press("Up");
    pane.wait("the line from the history", |_| pane.last_line() == ">>> say again");
    pane.press("Enter");
    pane.wait("the second line", |text| text.matches("server: again\n").count() == 2);
}

#[test]
#[ignore = "needs tmux"]
fn lines_that_are_typed_ahead_are_all_run_in_order() {
    let (pane, server) = Pane::with_server();
    let mut client = server.join();
    // What a client says is back when the client is in the room for certain.
    client.say("ready");
    client.hear("ready");
    pane.type_text("say one\rsay two\rsay three\r");
    // Heard one after the other: a line that came too early would be passed over, and missed.
    client.hear("server: one");
    client.hear("server: two");
    client.hear("server: three");
    pane.wait_for("server: three\n");
}

#[test]
#[ignore = "needs tmux"]
fn ctrl_c_stops_the_server_with_status_0() {
    let (pane, _server) = Pane::with_server();
    pane.type_text("half a line");
    pane.press("C-c");
    pane.wait_for("\nstatus=0\n");
}

#[test]
#[ignore = "needs tmux"]
fn ctrl_d_ends_the_console_and_then_ctrl_c_the_server() {
    let (pane, server) = Pane::with_server();
    pane.press("C-d");
    pane.wait_for("the console has ended, the server goes on");
    let mut client = server.join();
    client.say("still here");
    client.hear("still here");
    pane.press("C-c");
    pane.wait_for("\nstatus=0\n");
}

#[test]
#[ignore = "needs tmux"]
fn ctrl_s_and_ctrl_z_at_the_prompt_stop_nothing() {
    let (pane, server) = Pane::with_server();
    pane.press("C-s");
    pane.press("C-z");
    let mut client = server.join();
    client.say("after the stop");
    pane.wait_for("after the stop");
    pane.press("C-c");
    pane.wait_for("\nstatus=0\n");
}

#[test]
#[ignore = "needs tmux"]
fn a_stopped_terminal_stops_neither_the_server_nor_its_end() {
    let pane = Pane::open();
    // Without a console the terminal keeps its flow control.
    let server = pane.start("--port 0 </dev/null");
    let before = pane.wait_for("the console has ended, the server goes on");
    pane.press("C-s");
    for number in 1..=20 {
        let mut client = server.join();
        client.say(&format!("hello {number}."));
        client.hear(&format!("hello {number}."));
    }
    assert_eq!(pane.text(), before, "the terminal was not stopped");
    server.signal("TERM");
    while server.is_running() {
        assert!(Instant::now() < pane.deadline, "the server waits for the terminal");
        thread::sleep(POLL_INTERVAL);
    }
    pane.press("C-q");
    pane.wait_for("\nstatus=0\n");
}

#[test]
#[ignore = "needs tmux"]
fn in_the_background_the_server_serves_on_without_a_console() {
    let pane = Pane::open();
    let program = env!("CARGO_BIN_EXE_chat-server");
    pane.enter(&format!("{program} --port 0 & echo pid=$!"));
    let server = Server {
        pid: pane.number_after("\npid="),
        port: pane.number_after("listening on 127.0.0.1:"),
    };
    pane.wait_for("in the background: no console");
    pane.enter("echo typed to the $(echo shell)");
    pane.wait_for("typed to the shell\n");
    let mut client = server.join();
    client.say("hello");
    client.hear("hello");
    server.signal("TERM");
    pane.enter("wait %1; echo status=$?");
    pane.wait_for("\nstatus=0\n");
}

#[test]
#[ignore = "needs tmux"]
fn after_sigterm_the_terminal_is_as_it_was_found() {
    let pane = Pane::open();
    pane.enter("before=$(stty -g)");
    let server = pane.start("--port 0");
    pane.wait("the prompt", |_| pane.last_line() == ">>>");
    pane.type_text("half a line");
    pane.wait("what is typed", |_| pane.last_line() == ">>> half a line");
    server.signal("TERM");
    pane.wait_for("\nstatus=0\n");
    pane.enter("[ \"$before\" = \"$(stty -g)\" ]; echo same=$?");
    pane.wait_for("\nsame=0\n");
}

#[test]
#[ignore = "needs tmux"]
fn what_was_logged_last_is_seen_when_sigterm_ends_the_editor() {
    let (pane, server) = Pane::with_server();
    server.signal("TERM");
    let text = pane.wait_for("\nstatus=0\n");
    assert!(text.contains("stopping: signal"), "{text}");
}
