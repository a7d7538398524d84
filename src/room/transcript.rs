//! The transcript: every line that was said, in a file, before anybody is shown it.
//!
//! One write for a batch; with `sync` one fdatasync, too. Trouble with the disk never stops the
//! talk: it is logged once, lines not written are counted, and writing resumes when it can. A line
//! stands in the file whole or not at all: a part that was written is taken away again, or, where
//! that cannot be (a pipe), the rest follows before anything else. Only the delivery thread writes.

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
    /// The length of the file as far as it was written here; `None` for what is no regular file.
    length: Option<u64>,
    /// What is still to be written of a line that was begun and could not be taken away, with its end.
    rest: Vec<u8>,
    identity: (u64, u64),
}

/// Why a batch could not be written as a whole.
struct Failure {
    error: io::Error,
    /// How many of its lines stand in the file, or will when the rest of the last one follows.
    lines_written: u64,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure { error, lines_written: 0 }
    }
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
        let identity = (metadata.dev(), metadata.ino());
        let mut open = OpenFile { file, length: None, rest: Vec::new(), identity };
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
        self.length = Some(length);
        if last != *b"\n" {
            self.append(b"\n").map_err(|failure| failure.error)?;
            info!("the transcript's last line was torn by a crash; it is closed off");
        }
        Ok(())
    }

    /// Appends whole lines: all of `lines`, or none where a part can be taken away again, or as many
    /// as fit, with the rest of the last one to follow.
    fn append(&mut self, lines: &[u8]) -> Result<(), Failure> {
        let (finished, end) = write_what_fits(&self.file, &self.rest);
        self.rest.drain(..finished);
        self.grow_by(finished);
        end?;
        let (written, end) = write_what_fits(&self.file, lines);
        let Err(error) = end else {
            self.grow_by(written);
            return Ok(());
        };
        // A full disk takes a part of a line.
        if self.length.is_some_and(|length| self.file.set_len(length).is_ok()) {
            return Err(error.into());
        }
        self.grow_by(written);
        let (whole, left) = lines.split_at(written);
        let mut lines_written = whole.iter().filter(|&&byte| byte == b'\n').count() as u64;
        if whole.last().is_some_and(|&byte| byte != b'\n') {
            self.rest
                .extend(left.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default());
            lines_written += 1;
        }
        Err(Failure { error, lines_written })
    }

    fn grow_by(&mut self, written: usize) {
        self.length = self.length.map(|length| length + written as u64);
    }

    /// Whether the path still leads to this file: it may have been rotated or removed.
    fn is_at(&mut self, path: &Path) -> bool {
        let Ok(there) = std::fs::metadata(path) else { return false };
        if (there.dev(), there.ino()) != self.identity {
            return false;
        }
        // Somebody may have emptied it in place, or appended to it; the rest of a line would stand
        // there by itself.
        if self.length.is_some_and(|length| length != there.len()) {
            self.length = Some(there.len());
            self.rest.clear();
        }
        true
    }
}

/// Writes until all of `bytes` is written or `file` takes no more; gives how much was written.
fn write_what_fits(mut file: &File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(taken) => written += taken,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
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
            Err(Failure { error, lines_written }) => {
                if self.lost == 0
                    && let Some(left_out) = self.troubles.due()
                {
                    let path = self.path.display();
                    warn!(
                        "cannot write the transcript {path}: {error}; the talk goes on without it\
                         {left_out}"
                    );
                }
                let lost = count - lines_written;
                self.lost += lost;
                lost
            }
        }
    }

    fn write(&mut self) -> Result<(), Failure> {
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
