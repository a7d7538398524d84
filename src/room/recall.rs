//! What was said before, for one who asks: `/last` and `/find`, from the history and, beyond it, from
//! the transcript. Both are cursors that go on in small steps; no lock is held but for a moment.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use log::warn;
use memchr::memmem::Finder;

use super::backwards::Backwards;
use super::history::Said;
use super::{Room, history, transcript};
use crate::answer::{Progress, Slice, Source};
use crate::limits::{
    ANSWER_SLICE_BYTES, FIND_WORDS_MAX, FOUND_LINES_MAX, HISTORY_BYTES_MAX, REPLAY_LINES_MAX,
    STEP_BYTES, STEP_LINES,
};
use crate::stamp::TimeFormat;
use crate::text::clean;

impl Room {
    /// Opens the transcript to be read from its end; `None` where there is none.
    fn open_transcript(&self) -> Option<Backwards> {
        let path = self.config.transcript.as_ref()?;
        match File::open(path).and_then(|file| Ok((file.metadata()?, file))) {
            Ok((metadata, file)) if metadata.is_file() => Some(Backwards::new(file)),
            Ok(_) => None,
            Err(error) => {
                warn!("cannot read the transcript {}: {error}", path.display());
                None
            }
        }
    }

    /// Fills the history from what the transcript ends with: no more of the file than could be kept,
    /// whatever it is that stands in it.
    pub(crate) fn load_history(&self, transcript: &Path) {
        let lines_max = history::lines_max(self.config.history_lines);
        let Ok(file) = File::open(transcript) else { return };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let until = length.saturating_sub(HISTORY_BYTES_MAX as u64);
        let mut lines = Backwards::new(file);
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < lines_max && bytes < HISTORY_BYTES_MAX && lines.offset() >= until {
            let Some(line) = lines.next() else { break };
            if let Some(said) = read_line(&line, &self.config.time_format) {
                bytes += said.text().len();
                found.push(said);
            }
        }
        let mut history = self.history.lock();
        found.into_iter().rev().for_each(|said| history.push(said));
    }
}

/// A line of the transcript as it is shown; `None` for what is no such line.
fn read_line(line: &[u8], time_format: &TimeFormat) -> Option<Said> {
    let line = String::from_utf8_lossy(line);
    let (time, body) = transcript::parse(&line)?;
    let stamp = format!("[{}] ", time_format.format(time.into()));
    Some(Said::new(&stamp, &clean(body)))
}

/// The last lines that were said, oldest first.
pub(crate) struct Recent<'a> {
    room: &'a Room,
    lines: usize,
    from: From,
}

/// Where recent lines come from.
enum From {
    /// The lines of the history with these numbers.
    History(Range<u64>),
    /// The transcript, in which the place is looked for where the first of them stands.
    Looking(Lookback),
    /// The transcript, from that place on.
    File(File, Blocks),
}

/// Goes back in the transcript until enough lines were passed.
struct Lookback {
    file: Backwards,
    passed: usize,
    blocks: Blocks,
    /// The first line of the block that is being gone through.
    start: u64,
}

/// A part of the transcript, as blocks of whole lines that are about as long as a slice of an answer.
struct Blocks {
    /// Where each begins: the last one comes first.
    starts: Vec<u64>,
    /// Where the last one ends.
    end: u64,
}

impl Blocks {
    /// Takes the first block off.
    fn pop(&mut self) -> Option<Range<u64>> {
        let start = self.starts.pop()?;
        Some(start..self.starts.last().copied().unwrap_or(self.end))
    }

    /// Puts a block before the first one, if it is not empty and `is_whole`.
    fn push(&mut self, start: u64, is_whole: bool) {
        let stop = self.starts.last().copied().unwrap_or(self.end);
        let bytes = stop - start;
        if bytes >= ANSWER_SLICE_BYTES as u64 || (is_whole && bytes > 0) {
            self.starts.push(start);
        }
    }
}

impl<'a> Recent<'a> {
    /// The last `lines` lines, or as many as there are.
    pub(crate) fn new(room: &'a Room, lines: usize) -> Recent<'a> {
        let lines = lines.min(REPLAY_LINES_MAX);
        let kept = Recent::kept(room, lines);
        let file = if kept.lines < lines { room.open_transcript() } else { None };
        let Some(mut file) = file else { return kept };
        // What stands behind the last line end is being written just now.
        file.next();
        let end = file.line_start();
        let blocks = Blocks { starts: Vec::new(), end };
        let from = From::Looking(Lookback { file, passed: 0, blocks, start: end });
        Recent { room, lines, from }
    }

    /// Those of the last `lines` lines that are in the history.
    fn kept(room: &'a Room, lines: usize) -> Recent<'a> {
        let history = room.history.lock();
        let end = history.next();
        let start = history.first().max(end.saturating_sub(lines as u64));
        drop(history);
        Recent::numbered(room, start..end)
    }

    /// The lines of the history with these numbers.
    pub(crate) fn numbered(room: &'a Room, numbers: Range<u64>) -> Recent<'a> {
        let lines = usize::try_from(numbers.end - numbers.start).unwrap_or(usize::MAX);
        Recent { room, lines, from: From::History(numbers) }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines == 0
    }

    fn fill_from_history(&mut self, slice: &mut Slice) -> Progress {
        let From::History(numbers) = &mut self.from else { return Progress::Done };
        let history = self.room.history.lock();
        let gone = history.first().min(numbers.end).saturating_sub(numbers.start);
        numbers.start += gone;
        let some = history.step(numbers.clone(), ANSWER_SLICE_BYTES);
        drop(history);
        if gone > 0 {
            slice.tell(&format!("{gone} of these lines are not kept any more"));
        }
        some.iter().for_each(|said| slice.push(said.text()));
        numbers.start += some.len() as u64;
        if numbers.is_empty() { Progress::Done } else { Progress::More }
    }

    /// Goes back for a moment; then either more is to be passed, or the lines can be read.
    fn look_back(&mut self, slice: &mut Slice) {
        let From::Looking(Lookback { file, passed, blocks, start }) = &mut self.from else {
            return;
        };
        let until = file.offset().saturating_sub(STEP_BYTES as u64);
        let from = file.offset();
        let mut at_start = false;
        while *passed < self.lines && file.offset() >= until && !at_start {
            match file.next() {
                None => at_start = true,
                Some(line) if is_line(&line) => {
                    *passed += 1;
                    *start = file.line_start();
                    blocks.push(*start, false);
                }
                Some(_) => {}
            }
        }
        slice.charge_scanned((from - file.offset()) as usize);
        if *passed < self.lines && !at_start {
            return;
        }
        blocks.push(*start, true);
        let passed = *passed;
        let kept = Recent::kept(self.room, self.lines);
        // The file holds what the history does, and more, unless the disk made trouble.
        if passed <= kept.lines {
            *self = kept;
            return;
        }
        let nowhere = From::History(0..0);
        if let From::Looking(found) = std::mem::replace(&mut self.from, nowhere) {
            self.from = From::File(found.file.into_file(), found.blocks);
            self.lines = passed;
        }
    }

    fn fill_from_file(&mut self, slice: &mut Slice) -> Progress {
        let From::File(file, blocks) = &mut self.from else { return Progress::Done };
        if let Some(block) = blocks.pop() {
            let mut bytes = vec![0; (block.end - block.start) as usize];
            // What was cut off meanwhile is gone.
            if file.read_exact_at(&mut bytes, block.start).is_ok() {
                let time_format = &self.room.config.time_format;
                let lines = bytes.split(|&byte| byte == b'\n');
                let lines = lines.filter_map(|line| read_line(line, time_format));
                lines.for_each(|said| slice.push(said.text()));
            }
        }
        if blocks.starts.is_empty() { Progress::Done } else { Progress::More }
    }
}

impl Source for Recent<'_> {
    fn title(&self) -> String {
        match self.from {
            From::Looking(_) => "looking for the last lines:".to_owned(),
            _ => format!("the last {} lines:", self.lines),
        }
    }

    fn fill(&mut self, slice: &mut Slice) -> Progress {
        let progress = match self.from {
            From::Looking(_) => {
                self.look_back(slice);
                Progress::More
            }
            From::History(_) => self.fill_from_history(slice),
            From::File(..) => self.fill_from_file(slice),
        };
        slice.units += slice.text.len() as u64;
        progress
    }
}

/// Words that are looked for in whatever case.
pub(crate) struct Words {
    /// As they were typed.
    typed: String,
    finders: Vec<Finder<'static>>,
    /// The line that is looked through, in lower case.
    folded: String,
}

/// More words than are looked for at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyWords;

impl fmt::Display for TooManyWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {FIND_WORDS_MAX} words can be looked for at once")
    }
}

impl Words {
    /// The distinct words of this text.
    ///
    /// # Errors
    /// [`TooManyWords`] when there are more than [`FIND_WORDS_MAX`].
    pub(crate) fn parse(typed: &str) -> Result<Words, TooManyWords> {
        let mut words: Vec<String> = typed.split_whitespace().map(str::to_lowercase).collect();
        words.sort_unstable();
        words.dedup();
        if words.len() > FIND_WORDS_MAX {
            return Err(TooManyWords);
        }
        let finders = words.iter().map(|word| Finder::new(word).into_owned()).collect();
        Ok(Words { typed: typed.to_owned(), finders, folded: String::new() })
    }

    /// Whether the line holds each of them.
    fn are_in(&mut self, body: &str) -> bool {
        self.folded.clear();
        if body.is_ascii() {
            self.folded.push_str(body);
            self.folded.make_ascii_lowercase();
        } else {
            self.folded.extend(body.chars().flat_map(char::to_lowercase));
        }
        self.finders.iter().all(|finder| finder.find(self.folded.as_bytes()).is_some())
    }
}

/// The last [`FOUND_LINES_MAX`] lines that hold every one of some words, oldest first.
pub(crate) struct Search<'a> {
    room: &'a Room,
    words: Words,
    /// The last one comes first.
    found: Vec<Said>,
    place: Place,
}

/// Where a search has come to.
enum Place {
    /// It has looked through the history down to the line with this number.
    History(u64),
    /// It looks through the transcript, and has found in the history so many already.
    File(Backwards, Vec<Said>),
    /// It is over.
    Over,
}

impl<'a> Search<'a> {
    pub(crate) fn new(room: &'a Room, words: Words) -> Search<'a> {
        Search { room, words, found: Vec::new(), place: Place::History(u64::MAX) }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= FOUND_LINES_MAX
    }

    /// Looks through some lines of the history.
    fn step_in_history(&mut self, number: u64, slice: &mut Slice) -> Place {
        let history = self.room.history.lock();
        let end = number.min(history.next());
        let first = history.first().max(end.saturating_sub(STEP_LINES as u64));
        let some = history.step_back(first..end, STEP_BYTES);
        drop(history);
        for said in &some {
            slice.charge_scanned(said.body().len());
            if !self.is_full() && self.words.are_in(said.body()) {
                self.found.push(said.clone());
            }
        }
        if self.is_full() {
            return Place::Over;
        }
        if !some.is_empty() {
            return Place::History(end - some.len() as u64);
        }
        match self.room.open_transcript() {
            Some(mut file) => {
                // What stands behind the last line end is being written just now.
                file.next();
                Place::File(file, std::mem::take(&mut self.found))
            }
            None => Place::Over,
        }
    }

    /// Looks through some lines of the transcript.
    fn step_in_file(&mut self, mut file: Backwards, before: Vec<Said>, slice: &mut Slice) -> Place {
        let from = file.offset();
        let until = from.saturating_sub(STEP_BYTES as u64);
        let mut at_start = false;
        while file.offset() >= until && !at_start && !self.is_full() {
            let Some(line) = file.next() else {
                at_start = true;
                continue;
            };
            let body = line.iter().position(|&byte| byte == b' ').map_or(0, |blank| blank + 1);
            if self.words.are_in(&String::from_utf8_lossy(&line[body..])) {
                self.found.extend(read_line(&line, &self.room.config.time_format));
            }
        }
        slice.charge_scanned((from - file.offset()) as usize);
        if !at_start && !self.is_full() {
            return Place::File(file, before);
        }
        // The file holds what the history does, and more, unless the disk made trouble.
        if before.len() > self.found.len() {
            self.found = before;
        }
        Place::Over
    }
}

impl Source for Search<'_> {
    fn title(&self) -> String {
        format!("looking for: {}", self.words.typed)
    }

    fn fill(&mut self, slice: &mut Slice) -> Progress {
        self.place = match std::mem::replace(&mut self.place, Place::Over) {
            Place::History(number) => self.step_in_history(number, slice),
            Place::File(file, before) => self.step_in_file(file, before, slice),
            Place::Over => Place::Over,
        };
        if !matches!(self.place, Place::Over) {
            return Progress::More;
        }
        if self.found.is_empty() && slice.text.is_empty() {
            slice.tell(&format!("nothing found: {}", self.words.typed));
        }
        while !slice.is_full()
            && let Some(said) = self.found.pop()
        {
            slice.push(said.text());
        }
        slice.units += slice.text.len() as u64;
        if self.found.is_empty() { Progress::Done } else { Progress::More }
    }
}

/// Whether this is a line of a transcript.
fn is_line(line: &[u8]) -> bool {
    transcript::parse(&String::from_utf8_lossy(line)).is_some()
}
