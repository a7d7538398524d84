//! What waits for one client that takes its lines slowly: shared slices of bytes, in order, and how
//! many lines had to be left out.
//!
//! It guarantees that a line which was begun is written to its end, whatever is dropped. It knows no
//! sockets: its row sends, and says how much was taken.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use memchr::{memchr, memchr_iter};

use crate::limits::{ANSWERS_BYTES_MAX, SLICE_BYTES};

/// What a slice of a backlog is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SliceKind {
    /// Lines for everybody.
    Public,
    /// Lines from somebody else for this client alone.
    Private,
    /// What this client asked for.
    Answer,
    /// Earlier lines for a newcomer, which come before everything else.
    Earlier,
}

impl SliceKind {
    /// Whether the client's reader waits until it is taken before it gives more.
    pub(super) fn is_owed(self) -> bool {
        matches!(self, SliceKind::Answer | SliceKind::Earlier)
    }
}

struct Slice {
    shared: Arc<[u8]>,
    /// What of it is not sent yet.
    range: Range<usize>,
    /// Whether a part of it was sent, perhaps of a line.
    begun: bool,
    kind: SliceKind,
}

impl Slice {
    /// What it counts against the limits: its bytes, and what it takes to keep them.
    fn bytes(&self) -> usize {
        self.range.len() + SLICE_BYTES
    }
}

/// Lines that a client did not get because too much waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    /// Of the talk.
    pub(crate) public: usize,
    /// From somebody for this client alone, or in answer to it.
    pub(crate) own: usize,
}

impl Missed {
    pub(crate) fn is_none(self) -> bool {
        self == Missed::default()
    }
}

/// See the module's documentation.
pub(crate) struct Backlog {
    slices: VecDeque<Slice>,
    /// When the client last took something of it, or it began.
    pub(crate) moved: Instant,
    /// Bytes of what others said, with [`SLICE_BYTES`] for each slice.
    talk_bytes: usize,
    /// Bytes of answers and of earlier lines, with as much for each slice.
    owed_bytes: usize,
    missed: Missed,
    /// Bytes of answers that were left out. The client's reader waits for them, too, until all that waits
    /// is taken: it would only make more that is left out.
    left_out: usize,
    /// Earlier lines are still to come, so everything else waits behind them.
    pub(crate) held: bool,
}

impl Backlog {
    pub(crate) fn new() -> Backlog {
        Backlog {
            slices: VecDeque::new(),
            moved: Instant::now(),
            talk_bytes: 0,
            owed_bytes: 0,
            missed: Missed::default(),
            left_out: 0,
            held: false,
        }
    }

    /// All bytes that wait, with [`SLICE_BYTES`] for each slice.
    pub(crate) fn bytes(&self) -> usize {
        self.talk_bytes + self.owed_bytes
    }

    /// Bytes of the talk that may still be kept: none after a line of it was left out, so that there is
    /// one gap and not many.
    pub(crate) fn space(&self, backlog_bytes_max: usize) -> usize {
        let waiting = self.talk_bytes + SLICE_BYTES;
        if self.missed.public > 0 { 0 } else { backlog_bytes_max.saturating_sub(waiting) }
    }

    /// Keeps lines of the talk, and counts those that are left out.
    pub(crate) fn push_public(&mut self, shared: Arc<[u8]>, range: Range<usize>, missed: usize) {
        // A part is copied, for what is shared is kept as a whole: a few bytes that wait must not cost
        // the memory of a batch.
        let begun = range.start > 0;
        if range.len() == shared.len() {
            self.push(Slice { shared, range, begun, kind: SliceKind::Public });
        } else if !range.is_empty() {
            let copied: Arc<[u8]> = Arc::from(&shared[range]);
            let range = 0..copied.len();
            self.push(Slice { shared: copied, range, begun, kind: SliceKind::Public });
        }
        self.missed.public += missed;
    }

    /// Keeps what is left of whole lines for this client alone, of which `sent` bytes are sent, or
    /// counts them as left out.
    pub(crate) fn push_own(
        &mut self,
        bytes: &[u8],
        sent: usize,
        kind: SliceKind,
        backlog_bytes_max: usize,
    ) {
        let is_full = match kind {
            SliceKind::Answer => self.owed_bytes >= ANSWERS_BYTES_MAX,
            SliceKind::Private | SliceKind::Public => self.talk_bytes >= backlog_bytes_max.max(1),
            SliceKind::Earlier => false,
        };
        if is_full && sent == 0 {
            self.missed.own += memchr_iter(b'\n', bytes).count();
            self.left_out += if kind.is_owed() { bytes.len() } else { 0 };
            return;
        }
        let rest: Arc<[u8]> = Arc::from(&bytes[sent..]);
        let range = 0..rest.len();
        let slice = Slice { shared: rest, range, begun: sent > 0, kind };
        if kind == SliceKind::Earlier {
            *self.count(kind) += slice.bytes();
            self.slices.push_front(slice);
        } else {
            self.push(slice);
        }
    }

    fn push(&mut self, slice: Slice) {
        *self.count(slice.kind) += slice.bytes();
        self.slices.push_back(slice);
    }

    fn count(&mut self, kind: SliceKind) -> &mut usize {
        if kind.is_owed() { &mut self.owed_bytes } else { &mut self.talk_bytes }
    }

    /// The bytes to be sent next; `None` when nothing may be sent now.
    pub(crate) fn next(&self) -> Option<&[u8]> {
        let slice = self.slices.front()?;
        if self.held && slice.kind != SliceKind::Earlier {
            return None;
        }
        Some(&slice.shared[slice.range.clone()])
    }

    /// Whether there is something to be sent now, be it only word of what was left out.
    pub(crate) fn is_sendable(&self) -> bool {
        self.next().is_some() || (self.slices.is_empty() && !self.held && !self.missed.is_none())
    }

    /// Takes off the front what was sent; gives how many bytes of it the client's reader waits for.
    pub(crate) fn advance(&mut self, sent: usize) -> usize {
        self.moved = Instant::now();
        let slice = self.slices.front_mut().expect("only what waits is sent");
        let kind = slice.kind;
        slice.range.start += sent;
        slice.begun = true;
        let done = slice.range.is_empty();
        *self.count(kind) -= sent + if done { SLICE_BYTES } else { 0 };
        if done {
            self.slices.pop_front();
        }
        if kind.is_owed() { sent } else { 0 }
    }

    /// Drops the newest lines until about `bytes` wait, and counts them as left out; a line that was
    /// begun stays.
    pub(crate) fn trim(&mut self, bytes: usize) {
        while self.bytes() > bytes
            && let Some(mut slice) = self.slices.pop_back()
        {
            *self.count(slice.kind) -= slice.bytes();
            let rest = &slice.shared[slice.range.clone()];
            let kept = match memchr(b'\n', rest) {
                Some(end) if slice.begun => end + 1,
                _ => 0,
            };
            let lines = memchr_iter(b'\n', &rest[kept..]).count();
            if slice.kind == SliceKind::Public {
                self.missed.public += lines;
            } else {
                self.missed.own += lines;
            }
            if slice.kind.is_owed() {
                self.left_out += rest.len() - kept;
            }
            if kept > 0 {
                slice.shared = Arc::from(&rest[..kept]);
                slice.range = 0..kept;
                self.push(slice);
                break;
            }
        }
    }

    /// What was left out so far, of which the client is told now.
    pub(crate) fn missed(&self) -> Missed {
        self.missed
    }

    /// Bytes of answers that wait, or were left out: what the client's reader waits for.
    pub(crate) fn owed(&self) -> usize {
        self.left_out
            + self
                .slices
                .iter()
                .filter(|it| it.kind.is_owed())
                .map(|it| it.range.len())
                .sum::<usize>()
    }

    /// Whether nothing waits, not even word of what was left out.
    pub(crate) fn is_empty(&self) -> bool {
        self.slices.is_empty() && self.missed.is_none() && !self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(text: &str) -> Arc<[u8]> {
        Arc::from(text.as_bytes())
    }

    fn waiting(backlog: &mut Backlog) -> String {
        let mut text = String::new();
        while let Some(next) = backlog.next().map(|next| str::from_utf8(next).unwrap().to_owned()) {
            backlog.advance(next.len());
            text += &next;
        }
        text
    }

    #[test]
    fn trimming_drops_the_newest_whole_lines_and_finishes_the_one_that_was_begun() {
        let mut backlog = Backlog::new();
        backlog.push_public(shared("one\ntwo\nthree\n"), 1..14, 0);
        backlog.push_public(shared("four\nfive\n"), 0..10, 2);
        backlog.push_own(b"answer\n", 0, SliceKind::Answer, usize::MAX);
        backlog.trim(backlog.bytes());
        assert_eq!(backlog.owed(), "answer\n".len());
        backlog.trim(0);
        assert_eq!(backlog.owed(), "answer\n".len(), "its reader makes no more meanwhile");
        assert_eq!(backlog.missed(), Missed { public: 2 + 2 + 2, own: 1 });
        assert_eq!(backlog.bytes(), "ne\n".len() + SLICE_BYTES);
        assert_eq!(waiting(&mut backlog), "ne\n");
        assert_eq!(backlog.bytes(), 0);

        let mut backlog = Backlog::new();
        backlog.push_public(shared("one\n"), 0..4, 0);
        backlog.trim(0);
        assert_eq!((backlog.bytes(), backlog.missed().public), (0, 1));
    }

    #[test]
    fn earlier_lines_come_before_all_else_and_the_rest_waits_until_they_are_through() {
        let mut backlog = Backlog::new();
        backlog.held = true;
        backlog.push_public(shared("live\n"), 0..5, 0);
        assert_eq!(backlog.next(), None);
        for earlier in ["first\n", "second\n"] {
            backlog.push_own(earlier.as_bytes(), 0, SliceKind::Earlier, usize::MAX);
            assert_eq!(backlog.owed(), earlier.len());
            assert_eq!(waiting(&mut backlog), earlier);
        }
        backlog.held = false;
        assert_eq!(waiting(&mut backlog), "live\n");
        assert!(backlog.is_empty());
    }

    #[test]
    fn answers_are_bounded_apart_from_the_talk() {
        let mut backlog = Backlog::new();
        let answer = "x\n".repeat(ANSWERS_BYTES_MAX / 2);
        backlog.push_own(answer.as_bytes(), 0, SliceKind::Answer, 1);
        backlog.push_own(b"a\nb\n", 0, SliceKind::Answer, 1);
        assert_eq!(backlog.missed(), Missed { public: 0, own: 2 });
        backlog.push_own(b"private\n", 0, SliceKind::Private, 1);
        backlog.push_own(b"private\n", 0, SliceKind::Private, 1);
        assert_eq!(backlog.missed().own, 3, "the limit is reached with the first one");
        assert_eq!(backlog.space(usize::MAX), usize::MAX - backlog.talk_bytes - SLICE_BYTES);
    }
}
