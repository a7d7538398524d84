//! A load generator for chat-server, which checks what it measures.
//!
//! ```text
//! cargo run --release --example load -- --clients 1000 --senders 8 --lines 20000 --pin
//! cargo run --release --example load -- --clients 100 --rate 50 --compare
//! cargo run --release --example load -- --table --plot cost.svg
//! ```
//!
//! It starts the release server in a process of its own, connects clients, lets some of them talk,
//! and proves that every client heard every line, once, in one order (`order` says how). What that
//! costs is measured from outside, and means something beside the floor: a bare loop that reads and
//! sends and does nothing else (`bare`), measured in the same way.
//!
//! | file | question |
//! | --- | --- |
//! | `measure` | what is one run? |
//! | `series` | which runs belong together? |
//! | `crowd` | how do thousands of clients live in one thread? |
//! | `talk` | who says what when, and when was it heard? |
//! | `order` | did everybody hear the same? |
//! | `timer`, `visitors` | what goes on beside the talk? |
//! | `bare` | what would a room cost that only sends? |
//! | `process` | what does the server's process use? |
//! | `report`, `plot` | how is it shown? |

use std::error::Error;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use measure::{Setting, Subject, measure};
use order::{LINE_BYTES_MIN, Script};
use process::Cores;
use report::Run;
use talk::Pace;

mod bare;
mod crowd;
mod measure;
mod order;
mod plot;
mod process;
mod report;
mod series;
mod talk;
mod timer;
mod visitors;

/// Lines of a run without a rate.
const LINES: u64 = 20_000;

/// Seconds of a run with a rate.
const RATED_SECONDS: u64 = 10;

/// Loads chat-server with clients who talk, checks that every client hears every line, once, in
/// one order, and tells what that costs.
#[derive(Parser)]
#[command(name = "load")]
struct Options {
    /// Connected clients, all of whom listen
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = positive)]
    clients: usize,
    /// How many of them talk
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = positive)]
    senders: usize,
    /// Lines in all [default: 20000, with --rate 10 seconds' worth]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    lines: Option<u64>,
    /// Bytes of a line, without its end, at least 16
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = line_bytes)]
    bytes: usize,
    /// Lines a second in all, with latencies; 0 for as many as the server takes
    #[arg(long, value_name = "N", default_value_t = 0)]
    rate: u32,
    /// Further clients who join each second, and leave a second later
    #[arg(long, value_name = "N", default_value_t = 0)]
    churn: u32,
    /// First watch what the room costs while nobody talks for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    idle: u64,
    /// Keep the last core for the load and the others for the server
    #[arg(long)]
    pin: bool,
    /// Measure a server that runs already
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["bare", "compare", "table", "pin"])]
    addr: Option<SocketAddr>,
    /// Its process, whose CPU time and memory are then known
    #[arg(long, requires = "addr")]
    pid: Option<u32>,
    /// Further options of the server, divided by blanks
    #[arg(long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    server_args: String,
    /// Measure a bare loop that only reads and sends
    #[arg(long)]
    bare: bool,
    /// Measure server and bare loop in turn, five pairs, and show the ratios
    #[arg(long, conflicts_with_all = ["bare", "table"])]
    compare: bool,
    /// Show in Markdown how cost grows with clients and bytes; with --bare the bare loop's alone
    #[arg(long)]
    table: bool,
    /// Draw the table to an SVG file as well
    #[arg(long, value_name = "FILE", requires = "table")]
    plot: Option<PathBuf>,
    /// Print each run, and the ratios, as a line of JSON
    #[arg(long)]
    json: bool,
    /// Be the bare loop
    #[arg(long, hide = true)]
    serve_bare: bool,
}

impl Options {
    fn setting(&self) -> io::Result<Setting> {
        let rated = u64::from(self.rate) * RATED_SECONDS;
        let lines = self.lines.unwrap_or(if self.rate > 0 { rated } else { LINES });
        let senders = self.senders.min(self.clients) as u64;
        Ok(Setting {
            clients: self.clients,
            script: Script { lines, senders, bytes: self.bytes },
            pace: Pace { rate: self.rate, churn: self.churn },
            idle: Duration::from_secs(self.idle),
            cores: self.pin.then(Cores::split).transpose()?,
            server_args: self.server_args.clone(),
        })
    }

    fn subject(&self) -> Subject {
        match self.addr {
            Some(addr) => Subject::Running { addr, pid: self.pid },
            None if self.bare => Subject::Bare,
            None => Subject::Server,
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = if options.serve_bare { serve_bare() } else { run(&options) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell when stderr is gone too.
            let _ = writeln!(io::stderr(), "load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    process::raise_descriptor_limit()?;
    let setting = options.setting()?;
    let show = |run: &Run| {
        writeln!(io::stdout(), "{}", if options.json { run.json() } else { run.to_string() })
    };
    // Of several runs only the outcome is for people; programs get the runs too.
    let show_part = |run: &Run| if options.json { show(run) } else { Ok(()) };
    if options.compare {
        let comparison = series::compare(&setting, show_part)?;
        let text = if options.json { comparison.json() } else { comparison.to_string() };
        writeln!(io::stdout(), "{text}")?;
    } else if options.table {
        let both = [Subject::Server, Subject::Bare];
        let subjects = if options.bare { &both[1..] } else { &both };
        let table = series::Table::measure(subjects, &setting, show_part)?;
        if !options.json {
            writeln!(io::stdout(), "{table}")?;
        }
        if let Some(path) = &options.plot {
            plot::draw(&table, path)?;
        }
    } else {
        show(&measure(options.subject(), &setting)?)?;
    }
    Ok(())
}

/// What this program is when it runs beside itself as the floor.
fn serve_bare() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(io::stdout(), "the bare loop listens on {}", listener.local_addr()?)?;
    Ok(bare::serve(listener, io::stdin())?)
}

fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "must be a whole number above 0".to_owned())
}

fn line_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse::<usize>().ok().filter(|bytes| *bytes >= LINE_BYTES_MIN);
    bytes.ok_or_else(|| format!("must be a whole number from {LINE_BYTES_MIN} on"))
}
