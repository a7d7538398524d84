//! A folder for one test's files, and what a transcript in it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use chrono::DateTime;

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A folder of the test's own, removed with everything in it when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let name = format!("chat-server-{}-{}", process::id(), FOLDERS.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a new folder");
        Folder(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The transcript in it.
    pub(crate) fn transcript(&self) -> PathBuf {
        self.0.join("transcript")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clear away.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The path as an argument of a program.
pub(crate) fn argument(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// What the lines of a transcript say, without their stamps; each is whole and has its stamp.
#[track_caller]
pub(crate) fn bodies(transcript: &Path) -> Vec<String> {
    let text = fs::read_to_string(transcript).expect("a transcript in UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    text.lines().map(|line| body(line).expect(line).to_owned()).collect()
}

/// What a line of a transcript says; nothing when it does not begin with a stamp of RFC 3339.
pub(crate) fn body(line: &str) -> Option<&str> {
    let (stamp, body) = line.split_once(' ')?;
    DateTime::parse_from_rfc3339(stamp).ok()?;
    Some(body)
}
