//! The lines of a file from the last to the first, since its end may be all that is wanted of a
//! gigabyte. Bounded in memory whatever the file holds; knows nothing of what the lines mean.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Bytes of the longest line that is given. Of a longer one only pieces are, and those empty.
const LINE_BYTES_MAX: usize = 1 << 20;

/// See the module's documentation. It ends where the file does, and where it cannot be read.
pub(crate) struct Backwards {
    file: File,
    /// Where `left` begins in the file.
    start: u64,
    /// What was read and not given yet.
    left: Vec<u8>,
    /// Behind so many bytes of `left` there is no line end.
    unsearched: usize,
    /// The line that `left` ends with is too long, and its end was dropped.
    too_long: bool,
    /// Where the line begins that was given last.
    line_start: u64,
}

impl Backwards {
    /// The lines of `file`, without their ends.
    pub(crate) fn new(file: File) -> Backwards {
        let start = file.metadata().map_or(0, |metadata| metadata.len());
        Backwards {
            file,
            start,
            left: Vec::new(),
            unsearched: 0,
            too_long: false,
            line_start: start,
        }
    }

    /// Where in the file it stands: about so many bytes were not looked at yet.
    pub(crate) fn offset(&self) -> u64 {
        self.start
    }

    /// Where in the file the line begins that was given last; where the file ends, before any was.
    pub(crate) fn line_start(&self) -> u64 {
        self.line_start
    }

    /// The file itself.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    /// Reads what stands before `left`.
    fn read(&mut self) -> Option<()> {
        let bytes = self.start.min(CHUNK_BYTES as u64);
        let mut chunk = vec![0; bytes as usize];
        self.file.read_exact_at(&mut chunk, self.start - bytes).ok()?;
        self.start -= bytes;
        chunk.append(&mut self.left);
        self.left = chunk;
        self.unsearched = bytes as usize;
        Some(())
    }
}

impl Iterator for Backwards {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let end = self.left[..self.unsearched].iter().rposition(|&byte| byte == b'\n');
            self.unsearched = end.unwrap_or(0);
            if end.is_none() && self.left.len() > LINE_BYTES_MAX {
                self.too_long = true;
                self.line_start = self.start;
                self.left.clear();
                return Some(Vec::new());
            }
            if end.is_none() && self.start > 0 {
                self.read()?;
                continue;
            }
            if end.is_none() && self.left.is_empty() {
                return None;
            }
            let begin = end.map_or(0, |end| end + 1);
            self.line_start = self.start + begin as u64;
            let line = self.left.split_off(begin);
            self.left.truncate(end.unwrap_or(0));
            let too_long = std::mem::take(&mut self.too_long);
            return Some(if too_long { Vec::new() } else { line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
        let name = format!("chat-server-backwards-{}-{}", std::process::id(), bytes.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut backwards = Backwards::new(File::open(&path).unwrap());
        let mut lines = Vec::new();
        while let Some(line) = backwards.next() {
            let start = backwards.line_start() as usize;
            assert_eq!(bytes[start..][..line.len()], line[..], "it begins at {start}");
            lines.push(line);
        }
        std::fs::remove_file(&path).unwrap();
        lines
    }

    /// What one would read forwards.
    fn expected(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines: Vec<Vec<u8>> =
            bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.reverse();
        lines
    }

    #[test]
    fn lines_come_from_the_last_to_the_first_wherever_chunks_end() {
        for length in [0, 1, 2, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, LINE_BYTES_MAX]
        {
            let text = ["first\n\n", &"x".repeat(length), "\nlast"].concat();
            assert!(lines(text.as_bytes()) == expected(text.as_bytes()), "{length}");
        }
    }

    #[test]
    fn of_a_line_that_is_too_long_only_empty_pieces_are_given() {
        let text = ["first\n", &"x".repeat(3 * LINE_BYTES_MAX), "\nlast\n"].concat();
        let lines = lines(text.as_bytes());
        let (first, pieces) = lines.split_last().unwrap();
        assert_eq!(first, b"first");
        assert_eq!(pieces[..2], [b"".to_vec(), b"last".to_vec()]);
        assert!(pieces[2..].iter().all(Vec::is_empty) && pieces.len() < 10);
    }
}
