//! Time stamps: a checked format, and the stamp of the moment, formatted at most once a second.
//!
//! Knows the local time zone; is handed the clock.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Local};

use crate::limits::STAMP_BYTES_MAX;
use crate::text::clean;

/// Where the room takes the time from.
pub type Clock = fn() -> SystemTime;

/// A checked strftime format for local time, as
/// [chrono documents it](https://docs.rs/chrono/latest/chrono/format/strftime/index.html).
///
/// ```
/// use chat_server::TimeFormat;
/// assert!("%H:%M".parse::<TimeFormat>().is_ok());
/// assert!("%Q".parse::<TimeFormat>().is_err());
/// ```
#[derive(Clone, Debug)]
pub struct TimeFormat {
    source: String,
    items: Vec<Item<'static>>,
    subsecond: bool,
}

/// A time format that cannot be used as the stamp of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadTimeFormat {
    /// It holds a `%` sequence that strftime does not know.
    Unknown,
    /// It gives line ends or other control characters, which would break lines.
    Unprintable,
    /// It gives more than [`STAMP_BYTES_MAX`] bytes.
    TooLong,
}

impl fmt::Display for BadTimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadTimeFormat::Unknown => {
                f.write_str("not a strftime format (an example: %Y/%m/%d-%H:%M:%S)")
            }
            BadTimeFormat::Unprintable => f.write_str("gives control characters or line ends"),
            BadTimeFormat::TooLong => write!(f, "gives more than {STAMP_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for BadTimeFormat {}

impl FromStr for TimeFormat {
    type Err = BadTimeFormat;

    fn from_str(source: &str) -> Result<TimeFormat, BadTimeFormat> {
        let items =
            StrftimeItems::new(source).parse_to_owned().map_err(|_| BadTimeFormat::Unknown)?;
        let mut format = TimeFormat { source: source.to_owned(), items, subsecond: false };
        let sample = |time| format.try_format(time).map_err(|_| BadTimeFormat::Unknown);
        let whole = sample(UNIX_EPOCH)?;
        let subsecond = sample(UNIX_EPOCH + Duration::from_nanos(123_456_789))? != whole;
        if clean(&whole) != whole || whole.contains('\t') {
            return Err(BadTimeFormat::Unprintable);
        }
        if whole.len() > STAMP_BYTES_MAX {
            return Err(BadTimeFormat::TooLong);
        }
        format.subsecond = subsecond;
        Ok(format)
    }
}

impl Default for TimeFormat {
    fn default() -> TimeFormat {
        "%Y/%m/%d-%H:%M:%S".parse().expect("the default format is a valid one")
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl TimeFormat {
    /// The local time of `time` in this format.
    pub fn format(&self, time: SystemTime) -> String {
        self.try_format(time).expect("the format gave text when it was parsed")
    }

    fn try_format(&self, time: SystemTime) -> Result<String, fmt::Error> {
        let mut text = String::new();
        let local = DateTime::<Local>::from(time);
        write!(text, "{}", local.format_with_items(self.items.iter()))?;
        Ok(text)
    }
}

/// The stamp of the moment, as the bytes that begin a line: `[2026/11/22-10:32:00] `.
pub(crate) struct Stamper {
    format: TimeFormat,
    clock: Clock,
    /// The moment that `text` says, since the epoch: a whole second, unless the format shows less.
    moment: Duration,
    text: String,
}

impl Stamper {
    pub(crate) fn new(format: TimeFormat, clock: Clock) -> Stamper {
        let mut stamper = Stamper { format, clock, moment: Duration::MAX, text: String::new() };
        stamper.advance();
        stamper
    }

    /// The stamp of the moment to which it advanced last, and the second since the epoch.
    pub(crate) fn moment(&self) -> (&str, u64) {
        (&self.text, self.moment.as_secs())
    }

    /// Asks the clock. Formats only when the stamp differs from the one before.
    pub(crate) fn advance(&mut self) {
        let time = (self.clock)();
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let moment =
            if self.format.subsecond { since } else { Duration::from_secs(since.as_secs()) };
        if moment != self.moment {
            self.moment = moment;
            self.text.clear();
            self.text.push('[');
            self.text.push_str(&self.format.format(time));
            self.text.push_str("] ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_format_is_the_tutorials() {
        let text = TimeFormat::default().format(UNIX_EPOCH + Duration::from_secs(86_400 * 365));
        assert_eq!(text.len(), "2026/11/22-10:32:00".len());
        assert_eq!(text.as_bytes()[4], b'/');
        assert_eq!(text.as_bytes()[10], b'-');
    }

    #[test]
    fn formats_that_would_break_a_line_are_refused() {
        for (source, why) in [
            ("%Q", BadTimeFormat::Unknown),
            ("%", BadTimeFormat::Unknown),
            ("%H%n%M", BadTimeFormat::Unprintable),
            ("%H%t%M", BadTimeFormat::Unprintable),
            ("\u{1b}[2J", BadTimeFormat::Unprintable),
        ] {
            assert_eq!(source.parse::<TimeFormat>().unwrap_err(), why, "{source:?}");
        }
        let at = "x".repeat(STAMP_BYTES_MAX);
        assert!(at.parse::<TimeFormat>().is_ok());
        assert_eq!(format!("{at}x").parse::<TimeFormat>().unwrap_err(), BadTimeFormat::TooLong);
    }

    #[test]
    fn a_stamp_follows_the_clock_and_shows_fractions_only_where_the_format_does() {
        let mut stamper = Stamper::new("%s".parse().unwrap(), || UNIX_EPOCH);
        stamper.advance();
        assert_eq!(stamper.moment(), ("[0] ", 0));
        stamper.clock = || UNIX_EPOCH + Duration::from_millis(7_900);
        stamper.advance();
        assert_eq!(stamper.moment(), ("[7] ", 7));

        let mut stamper = Stamper::new("%s%.3f".parse().unwrap(), || UNIX_EPOCH);
        stamper.advance();
        assert_eq!(stamper.moment(), ("[0.000] ", 0));
        stamper.clock = || UNIX_EPOCH + Duration::from_millis(7);
        stamper.advance();
        assert_eq!(stamper.moment(), ("[0.007] ", 0));
    }
}
