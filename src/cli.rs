//! The command line: the options, their environment variables and their defaults.
//!
//! It guarantees that every option can also be set by an environment variable, that `--help` names
//! the defaults the library really has, and that a value of the wrong kind is bad usage (status 2).
//! An address that cannot be listened on is not: that is found at start, with status 1. It knows
//! nothing of sockets, the console or the log.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use chat_server::limits::RATE_LINES;
use chat_server::{Config, EncodingChoice, TimeFormat};
use clap::Parser;
use clap::builder::RangedU64ValueParser;

/// A group chat server for plain TCP: `nc HOST PORT` or telnet is enough to take part.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// Address to listen on, IPv4 or IPv6; 0.0.0.0 or :: lets others in
    #[arg(long, value_name = "ADDR", env = "CHAT_SERVER_HOST")]
    #[arg(default_value_t = Config::default().addr.ip().to_string())]
    host: String,

    /// Port to listen on; 0 takes any free port
    #[arg(long, value_name = "PORT", env = "CHAT_SERVER_PORT")]
    #[arg(default_value_t = Config::default().addr.port())]
    port: u16,

    /// Stamp of each line, as strftime, in local time
    #[arg(long, value_name = "FMT", env = "CHAT_SERVER_TIME_FORMAT")]
    #[arg(default_value_t = Config::default().time_format)]
    time_format: TimeFormat,

    /// How many clients may be connected at once
    #[arg(long, value_name = "N", env = "CHAT_SERVER_MAX_CLIENTS", value_parser = at_least_one())]
    #[arg(default_value_t = Config::default().clients_max)]
    max_clients: usize,

    /// Longest line, in bytes as received, without its end
    #[arg(long, value_name = "BYTES", env = "CHAT_SERVER_MAX_LINE", value_parser = at_least_one())]
    #[arg(default_value_t = Config::default().line_bytes_max)]
    max_line: usize,

    /// How many clients may be connected from one address; 0 for no limit
    #[arg(long, value_name = "N", env = "CHAT_SERVER_MAX_PER_HOST", default_value_t = 0)]
    max_per_host: usize,

    /// Lines a second that one client may sustain, each 256 bytes counting as one; 0 for no limit
    #[arg(long, value_name = "LINES", env = "CHAT_SERVER_RATE", default_value_t = RATE_LINES)]
    rate: u32,

    /// Bytes of lines that may wait for one slow client
    #[arg(long, value_name = "BYTES", env = "CHAT_SERVER_MAX_BACKLOG")]
    #[arg(default_value_t = Config::default().backlog_bytes_max)]
    max_backlog: usize,

    /// Bytes of lines that may wait for all clients together; a quarter of the memory by default
    #[arg(long, value_name = "BYTES", env = "CHAT_SERVER_MAX_WAITING")]
    #[arg(default_value_t = Config::default().waiting_bytes_max)]
    max_waiting: usize,

    /// Disconnect who has lines waiting and takes none for so long
    #[arg(long, value_name = "SECONDS", env = "CHAT_SERVER_STALL_TIMEOUT")]
    #[arg(default_value_t = Config::default().stall_timeout.as_secs())]
    #[arg(value_parser = RangedU64ValueParser::<u64>::new().range(1..=SECONDS_MAX))]
    stall_timeout: u64,

    /// Disconnect who says nothing for so long, with a warning before; 0 for never
    #[arg(long, value_name = "SECONDS", env = "CHAT_SERVER_IDLE_TIMEOUT", default_value_t = 0)]
    #[arg(value_parser = RangedU64ValueParser::<u64>::new().range(..=SECONDS_MAX))]
    idle_timeout: u64,

    /// Encoding of what clients send and get: auto, or one for everybody, such as gbk
    #[arg(long, value_name = "NAME", env = "CHAT_SERVER_ENCODING")]
    #[arg(default_value_t = Config::default().encoding)]
    encoding: EncodingChoice,

    /// How many earlier lines a newcomer is shown; 0 keeps none
    #[arg(long, value_name = "LINES", env = "CHAT_SERVER_HISTORY")]
    #[arg(default_value_t = Config::default().history_lines)]
    history: usize,

    /// Append every public line to FILE, and read the history back from it at start
    #[arg(long, value_name = "FILE", env = "CHAT_SERVER_TRANSCRIPT")]
    transcript: Option<PathBuf>,

    /// Have each line on the disk before anybody is shown it
    #[arg(long, env = "CHAT_SERVER_SYNC", requires = "transcript")]
    sync: bool,
}

/// Longest time that can be asked for, in seconds: some thirty years, so that no sum overflows.
const SECONDS_MAX: u64 = 1_000_000_000;

impl Cli {
    /// The server's configuration as these options describe it.
    ///
    /// # Errors
    /// [`BadHost`] when `--host` is no address.
    pub(crate) fn into_config(self) -> Result<Config, BadHost> {
        Ok(Config {
            addr: SocketAddr::new(parse_host(&self.host)?, self.port),
            time_format: self.time_format,
            clients_max: self.max_clients,
            line_bytes_max: self.max_line,
            encoding: self.encoding,
            history_lines: self.history,
            transcript: self.transcript,
            sync: self.sync,
            clients_per_host_max: (self.max_per_host > 0).then_some(self.max_per_host),
            rate_lines: NonZeroU32::new(self.rate),
            backlog_bytes_max: self.max_backlog,
            waiting_bytes_max: self.max_waiting,
            stall_timeout: Duration::from_secs(self.stall_timeout),
            idle_timeout: (self.idle_timeout > 0).then_some(Duration::from_secs(self.idle_timeout)),
            ..Config::default()
        })
    }
}

/// `--host` names nothing that can be listened on; the operator is told at start.
#[derive(Debug, PartialEq)]
pub(crate) struct BadHost(String);

impl fmt::Display for BadHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.escape_debug();
        write!(f, "cannot listen on {host}: not an address ")?;
        f.write_str("(give an IPv4 or IPv6 address with --host, such as 127.0.0.1 or ::)")
    }
}

impl std::error::Error for BadHost {}

/// The address that `host` stands for: IPv4, IPv6 with or without brackets, or `localhost`.
///
/// Other names are refused: which of a name's addresses is meant, and when it changes, is not for a
/// listener to guess.
fn parse_host(host: &str) -> Result<IpAddr, BadHost> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(inner) => inner.parse().map(IpAddr::V6).ok(),
        None => host.parse().ok(),
    }
    .ok_or_else(|| BadHost(host.to_owned()))
}

/// Parses a count of at least one: zero clients or lines of no bytes would be no chat.
fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn config(args: &[&str]) -> Config {
        let cli = Cli::try_parse_from([&["chat-server"], args].concat()).unwrap();
        cli.into_config().unwrap()
    }

    fn refusal(args: &[&str]) -> ErrorKind {
        match Cli::try_parse_from([&["chat-server"], args].concat()) {
            Ok(_) => panic!("{args:?} was accepted"),
            Err(error) => error.kind(),
        }
    }

    #[test]
    fn the_declaration_of_the_options_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_options_the_defaults_of_the_library_hold() {
        let (given, default) = (config(&[]), Config::default());
        assert_eq!(given.addr, default.addr);
        assert_eq!(given.time_format.to_string(), default.time_format.to_string());
        assert_eq!(given.clients_max, default.clients_max);
        assert_eq!(given.line_bytes_max, default.line_bytes_max);
        assert_eq!(given.waiting_bytes_max, default.waiting_bytes_max);
    }

    #[test]
    fn options_reach_the_configuration() {
        let args =
            "--host ::1 --port 0 --time-format %H:%M --max-clients 7 --max-line 80 --max-waiting 9";
        let given = config(&args.split(' ').collect::<Vec<_>>());
        assert_eq!(given.addr, "[::1]:0".parse().unwrap());
        assert_eq!(given.time_format.to_string(), "%H:%M");
        assert_eq!((given.clients_max, given.line_bytes_max), (7, 80));
        assert_eq!(given.waiting_bytes_max, 9);
    }

    #[test]
    fn every_option_has_an_environment_variable_a_default_and_one_line_of_help() {
        for option in Cli::command().get_arguments() {
            let name = option.get_id().as_str().to_uppercase();
            let variable = option.get_env().unwrap().to_str().unwrap();
            assert_eq!(variable, format!("CHAT_SERVER_{name}"));
            if !["transcript", "sync"].contains(&option.get_id().as_str()) {
                assert!(!option.get_default_values().is_empty(), "{name} has no default");
            }
            assert!(!option.get_help().unwrap().to_string().contains('\n'));
            assert!(option.get_long_help().is_none(), "{name} has more than one line");
        }
    }

    #[test]
    fn a_bad_time_format_and_numbers_out_of_range_are_bad_usage() {
        assert_eq!(refusal(&["--time-format", "%Q"]), ErrorKind::ValueValidation);
        assert_eq!(refusal(&["--port", "65536"]), ErrorKind::ValueValidation);
        assert_eq!(refusal(&["--max-clients", "0"]), ErrorKind::ValueValidation);
        assert_eq!(refusal(&["--max-line", "0"]), ErrorKind::ValueValidation);
        assert_eq!(refusal(&["--no-such-option"]), ErrorKind::UnknownArgument);
    }

    #[test]
    fn a_host_is_an_address_a_bracketed_address_or_localhost() {
        for (host, addr) in [
            ("0.0.0.0", "0.0.0.0"),
            ("::", "::"),
            ("[::1]", "::1"),
            ("localhost", "127.0.0.1"),
            ("LocalHost", "127.0.0.1"),
        ] {
            assert_eq!(parse_host(host), Ok(addr.parse().unwrap()));
        }
    }

    #[test]
    fn a_host_that_is_no_address_is_named_together_with_its_flag() {
        for host in ["", "example.org", "1.2.3", "[127.0.0.1]", "[::1", "127.0.0.1:80"] {
            assert_eq!(parse_host(host), Err(BadHost(host.to_owned())));
        }
        let line = BadHost("a\nb".to_owned()).to_string();
        assert!(line.contains("--host") && line.contains("a\\nb") && !line.contains('\n'));
    }
}
