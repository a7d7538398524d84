//! The table of abuses.

use std::time::Duration;

use super::abusers::Stage;
use super::{before, kinds};
use crate::harness::*;

/// One kind of abuse.
pub(super) struct Abuse {
    /// What `ABUSE` chooses it by.
    pub(super) name: &'static str,
    /// What it is, in a few words.
    pub(super) what: &'static str,
    /// How many abusers there are.
    pub(super) clients: usize,
    /// Bytes of a transcript that is there before; with 0 the program writes none.
    transcript_bytes: usize,
    /// What the shell limits before it starts the program; empty for nothing.
    limit: &'static str,
    /// Descriptors that the test needs, and the program as well.
    descriptors: u64,
    /// Makes what is there before. The clients that it gives stay until the end.
    pub(super) prepare: fn(&Program) -> Vec<Client>,
    /// Abuses the program until the stage says that it is over.
    pub(super) run: fn(&Stage),
    /// The time between two lines of the talk. At the default rate a client says 20 lines a second,
    /// and 1000 at once, so the talkers, who each say 50 a second for ten seconds, are not slowed.
    pub(super) interval: Duration,
    /// Lines that a measurement takes at the least.
    pub(super) lines_min: u32,
}

/// What most kinds of abuse have in common.
const PLAIN: Abuse = Abuse {
    name: "",
    what: "",
    clients: 20,
    transcript_bytes: 0,
    limit: "",
    descriptors: 1000,
    prepare: before::nothing,
    run: |_| {},
    interval: Duration::from_millis(10),
    lines_min: 200,
};

/// In a large crowd a line alone costs the program tens of milliseconds, so fewer are said.
const CROWDED: Abuse = Abuse {
    clients: 50,
    descriptors: before::IDLE_CLIENTS as u64 + 1000,
    prepare: before::idle_crowd,
    interval: Duration::from_millis(200),
    lines_min: 40,
    ..PLAIN
};

/// Every kind of abuse, in the order in which the table shows them.
pub(super) const ABUSES: &[Abuse] = &[
    Abuse {
        name: "koi8-r",
        what: "`/last 10000` in a loop, of Chinese text in koi8-r",
        clients: 1,
        prepare: before::chinese_history,
        run: kinds::last_in_koi8_r,
        ..PLAIN
    },
    Abuse {
        name: "big5",
        what: "`/last 10000` in a loop, of U+018B in big5",
        clients: 1,
        prepare: before::history_of_a_letter_beyond_big5,
        run: kinds::last_in_big5,
        ..PLAIN
    },
    Abuse {
        name: "latin1",
        what: "`/last 10000` once, of Chinese text in latin1",
        clients: 1,
        prepare: before::chinese_history,
        run: kinds::last_once_in_latin1,
        ..PLAIN
    },
    Abuse {
        name: "encodings",
        what: "readers in 37 encodings and three line ends, and two floods of 4 KB lines",
        clients: kinds::ENCODINGS.len() * 3 + 2,
        run: kinds::readers_in_all_encodings,
        ..PLAIN
    },
    Abuse {
        name: "unread",
        what: "`/last 10000` three times, nothing read",
        clients: 500,
        descriptors: 1500,
        prepare: before::whole_history_of_long_lines,
        run: kinds::five_hundred_ask_and_read_nothing,
        ..PLAIN
    },
    Abuse {
        name: "unread-limited",
        what: "the same under `ulimit -v 2000000`",
        clients: 200,
        limit: "ulimit -v 2000000",
        prepare: before::whole_history_of_long_lines,
        run: kinds::two_hundred_ask_and_read_nothing,
        ..PLAIN
    },
    Abuse {
        name: "find",
        what: "`/find` of eight absent words in a loop, and one of 1,360 words",
        clients: 21,
        prepare: before::whole_history,
        run: kinds::twenty_one_find_in_loops,
        ..PLAIN
    },
    Abuse {
        name: "find-file",
        what: "`/find` of eight absent words in a loop, in a transcript of 256 MB",
        transcript_bytes: before::LARGE_BYTES,
        run: kinds::twenty_find_in_loops,
        ..PLAIN
    },
    Abuse {
        name: "find-hang-up",
        what: "the same, who hang up at once, every two seconds",
        transcript_bytes: before::LARGE_BYTES,
        run: kinds::twenty_find_and_hang_up,
        ..PLAIN
    },
    Abuse {
        name: "name",
        what: "`/name` of a name that is held, in a loop, among 8,000 idle clients",
        run: kinds::fifty_ask_for_a_held_name,
        ..CROWDED
    },
    Abuse {
        name: "who",
        what: "`/who` in a loop, among 8,000 idle clients",
        run: kinds::fifty_ask_who_is_here,
        ..CROWDED
    },
    Abuse { name: "empty", what: "empty lines", run: kinds::empty_lines, ..PLAIN },
    Abuse {
        name: "bytes",
        what: "empty lines, each in a packet of its own",
        run: kinds::empty_lines_bytewise,
        ..PLAIN
    },
    Abuse { name: "nop", what: "IAC NOP of telnet", run: kinds::telnet_nops, ..PLAIN },
    Abuse { name: "endless", what: "a line without an end", run: kinds::endless_lines, ..PLAIN },
    Abuse {
        name: "sub-negotiation",
        what: "sub-negotiations of telnet without an end",
        run: kinds::unfinished_subnegotiations,
        ..PLAIN
    },
    Abuse {
        name: "controls",
        what: "lines of control characters alone",
        run: kinds::control_characters,
        ..PLAIN
    },
    Abuse {
        name: "all-unread",
        what: "all that can be asked for, in a loop, nothing read",
        clients: 100,
        prepare: before::whole_history,
        run: kinds::everything_unread,
        ..PLAIN
    },
    Abuse {
        name: "all-read",
        what: "all that can be asked for, in a loop, all read",
        clients: 100,
        prepare: before::whole_history,
        run: kinds::everything_read,
        ..PLAIN
    },
    Abuse {
        name: "connect",
        what: "connections that are closed at once, one after the other",
        clients: 1,
        run: kinds::connect_and_close,
        ..PLAIN
    },
    Abuse {
        name: "reset",
        what: "a megabyte of lines, then a reset, again and again",
        clients: 1,
        run: kinds::flood_and_reset,
        ..PLAIN
    },
];

impl Abuse {
    /// Why it cannot be tried on this machine; nothing when it can.
    pub(super) fn impossible(&self) -> Option<String> {
        let descriptors = chat_server::raise_descriptor_limit().unwrap_or(u64::MAX);
        let needed = self.descriptors;
        (descriptors < needed)
            .then(|| format!("it needs {needed} descriptors, and {descriptors} may be open"))
    }

    /// The program as this abuse finds it.
    pub(super) fn start(&self, folder: &Folder) -> Program {
        let transcript = folder.transcript();
        let mut options = Vec::new();
        if self.transcript_bytes > 0 {
            before::write_transcript(&transcript, self.transcript_bytes);
            options = vec!["--transcript", argument(&transcript)];
        }
        if self.limit.is_empty() {
            Program::start(&options)
        } else {
            Program::start_under(self.limit, &options)
        }
    }
}
