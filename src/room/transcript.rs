//! The transcript: every line that was said, in a file, before anybody is shown it.
//!
//! One write for a batch; with `sync` one fdatasync, too. Trouble with the disk never stops the
//! talk: it is logged once, lines not written are counted, and writing resumes when it can. A line
//! stands in the file whole or not at all. Only the delivery thread writes.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use chrono::{DateTime, Local, SecondsFormat};
use log::{info, warn};
use rustix::fs::OFlags;

use super::wire::Lines;
use crate::seldom::Seldom;

/// Bytes of the write buffer that are kept between batches.
const BUFFER_BYTES_KEPT: usize = 64 << 10;

/// An open transcript.
pub(crate) struct Transcript {
    path: PathBuf,
    /// None while the file cannot be had.
    file: Option<OpenFile>,
    sync: bool,
    buffer: Vec<u8>,
    stamp: Stamp,
    /// Lines lost in the trouble that goes on.
    lost: u64,
    troubles: Seldom,
    recoveries: Seldom,
}

/// The stamp of one second.
#[derive(Default)]
struct Stamp {
    second: Option<u64>,
    text: String,
}

struct OpenFile {
    file: File,
    /// Up to here the file holds whole lines; none for what is no regular file.
    good: Option<u64>,
    /// A part of a line stands at the end and could not be taken away.
    torn: bool,
    identity: (u64, u64),
}

impl OpenFile {
    /// Opens or creates the file, takes its lock, and closes a torn last line off.
    fn open(path: &Path) -> io::Result<OpenFile> {
        let mut options = OpenOptions::new();
        // Read as well, to see how the last line ends.
        options.read(true).append(true).create(true).mode(0o600);
        // A pipe that nobody reads refuses then, instead of holding everybody up.
        let file = options.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another program writes to it",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let metadata = file.metadata()?;
        let mut open =
            OpenFile { file, good: None, torn: false, identity: (metadata.dev(), metadata.ino()) };
        if metadata.is_file() {
            open.close_off(metadata.len())?;
        }
        Ok(open)
    }

    fn close_off(&mut self, length: u64) -> io::Result<()> {
        let mut last = [b'\n'];
        if length > 0 {
            self.file.read_exact_at(&mut last, length - 1)?;
        }
        self.good = Some(length);
        if last != *b"\n" {
            self.append(b"\n")?;
            info!("the transcript's last line was torn by a crash; it is closed off");
        }
        Ok(())
    }

    /// Appends all of `lines`, or none of it.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            (&self.file).write_all(b"\n")?;
            self.torn = false;
        }
        let written = (&self.file).write_all(lines);
        if let Some(good) = &mut self.good {
            match &written {
                Ok(()) => *good += lines.len() as u64,
                // A full disk takes a part of a line; that part goes, or is closed off later.
                Err(_) => self.torn = self.file.set_len(*good).is_err(),
            }
        }
        written
    }

    /// Whether the path still leads to this file: it may have been rotated or removed.
    fn is_at(&mut self, path: &Path) -> bool {
        let Ok(there) = std::fs::metadata(path) else { return false };
        if (there.dev(), there.ino()) != self.identity {
            return false;
        }
        // Somebody may have emptied it in place, or appended to it.
        self.good = self.good.map(|_| there.len());
        true
    }
}

impl Transcript {
    /// Opens the transcript at `path`, created with mode 0600 if there is none.
    ///
    /// # Errors
    /// When it cannot be opened for appending, or another program holds its lock.
    pub(crate) fn open(path: &Path, sync: bool) -> io::Result<Transcript> {
        Ok(Transcript {
            file: Some(OpenFile::open(path)?),
            path: path.to_owned(),
            sync,
            buffer: Vec::new(),
            stamp: Stamp::default(),
            lost: 0,
            troubles: Seldom::default(),
            recoveries: Seldom::default(),
        })
    }

    /// Writes what was said in a batch; gives how many lines could not be written.
    ///
    /// *Blocking*: as the disk does.
    pub(crate) fn append(&mut self, lines: &Lines) -> u64 {
        self.buffer.clear();
        let mut count = 0;
        for line in lines.iter().filter(|line| line.recorded) {
            self.buffer.extend_from_slice(self.stamp.of(line.second).as_bytes());
            self.buffer.extend_from_slice(line.body.as_bytes());
            self.buffer.push(b'\n');
            count += 1;
        }
        if count == 0 {
            return 0;
        }
        let written = self.write();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        match written {
            Ok(()) => {
                let lost = std::mem::take(&mut self.lost);
                if lost > 0
                    && let Some(left_out) = self.recoveries.due()
                {
                    info!("the transcript is written again; {lost} lines are missing{left_out}");
                }
                0
            }
            Err(error) => {
                if self.lost == 0
                    && let Some(left_out) = self.troubles.due()
                {
                    let path = self.path.display();
                    warn!(
                        "cannot write the transcript {path}: {error}; the talk goes on without it\
                         {left_out}"
                    );
                }
                self.lost += count;
                count
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.file.as_mut().is_none_or(|file| !file.is_at(&self.path)) {
            // Closed first: a file that came back under its old name must not meet our own lock.
            self.file = None;
            self.file = Some(OpenFile::open(&self.path)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.append(&self.buffer)?;
        if self.sync {
            file.file.sync_data()?;
        }
        Ok(())
    }
}

impl Stamp {
    /// The stamp of this second since the epoch, as it stands before a line.
    fn of(&mut self, second: u64) -> &str {
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            let time = DateTime::<Local>::from(UNIX_EPOCH + Duration::from_secs(second));
            let time = time.to_rfc3339_opts(SecondsFormat::Secs, false);
            write!(self.text, "{time} ").expect("a String takes everything");
        }
        &self.text
    }
}

/// A line of a transcript: when it was said, and what. None for what is no such line.
pub(crate) fn parse(line: &str) -> Option<(DateTime<Local>, &str)> {
    let (time, body) = line.split_once(' ')?;
    let time = DateTime::parse_from_rfc3339(time).ok()?;
    (!body.is_empty()).then(|| (time.with_timezone(&Local), body))
}
