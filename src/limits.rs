//! Every bound of the server, with its unit: what is counted, why this value, and what happens at it.

use std::time::Duration;

/// Connected clients, by default. The next one is told in one line and closed.
pub const CLIENTS_MAX: usize = 10_000;

/// Bytes of a line as received, without its line end, by default. A longer line is dropped as a
/// whole and its sender is told once.
pub const LINE_BYTES_MAX: usize = 4096;

/// Characters of a name. A longer one is refused.
pub const NAME_CHARS_MAX: usize = 24;

/// Bytes of a formatted time stamp. A format that gives more is refused at start.
pub const STAMP_BYTES_MAX: usize = 100;

/// While more clients than this are here, join and leave notices are left out: a thousand arrivals
/// must not cost a million notices.
pub const NOTICED_CLIENTS_MAX: usize = 200;

/// Bytes that may wait in the inbox for the delivery thread. Beyond it those who talk wait. A batch is
/// about as large; a larger one would fall out of the processor's caches while it is sent to all.
pub(crate) const INBOX_BYTES_MAX: usize = 256 << 10;

/// Bytes that may wait for the clients in other encodings than UTF-8. Beyond it those who talk wait.
pub(crate) const LATE_BYTES_MAX: usize = 1 << 20;

/// Bytes of lines from others that may wait for one slow client, by default. Beyond it whole lines are
/// skipped, and it is told how many.
pub const BACKLOG_BYTES_MAX: usize = 1 << 20;

/// The part of the memory that the process may use that may be taken, by default, by lines that wait
/// for all clients together: one in so many bytes.
pub const WAITING_SHARE: u64 = 4;

/// Bytes of lines that may wait for all clients together, by default, however little memory there is:
/// the backlogs of 64 slow clients.
pub const WAITING_BYTES_MIN: usize = 64 << 20;

/// Bytes of an answer that a client's reader makes at once; it makes the next ones when these are sent.
pub(crate) const ANSWER_SLICE_BYTES: usize = 32 << 10;

/// Bytes of answers that may wait for one client. Beyond it they are left out, and it is told how many
/// lines they had.
pub(crate) const ANSWERS_BYTES_MAX: usize = 2 * ANSWER_SLICE_BYTES;

/// How long a client may take nothing of its answers; a quarter of the stall timeout, when that is less.
/// Then the rest of the answer is left out.
pub(crate) const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a reader waits for the delivery thread to try once more whether its client takes something.
pub(crate) const FLUSH_WAIT_MAX: Duration = Duration::from_millis(200);

/// An answer that takes longer is announced with what follows.
pub(crate) const ANSWER_MOMENT: Duration = Duration::from_millis(500);

/// How long an answer that is being looked for says nothing.
pub(crate) const ANSWER_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Size of a socket's send buffer at the least, and at the most (SO_SNDBUF, which the kernel doubles;
/// socket(7)). Each client begins with its part of half of what may wait for all clients together. One
/// whose socket is full gets the largest, while all together have taken less than a quarter. The kernel's own
/// growth, up to some megabytes for each, is switched off by that.
pub(crate) const SEND_BUFFER_BYTES_MIN: usize = 4 << 10;
/// See [`SEND_BUFFER_BYTES_MIN`].
pub(crate) const SEND_BUFFER_BYTES_MAX: usize = 256 << 10;

/// Size of a socket's receive buffer (SO_RCVBUF, which the kernel doubles). What a client sends before it
/// is read takes no more, however much it sends while it is slowed.
pub(crate) const RECEIVE_BUFFER_BYTES: usize = 64 << 10;

/// What a backlog counts for each slice beyond its bytes, so that many tiny ones are bounded too.
pub(crate) const SLICE_BYTES: usize = 64;

/// How long a client that has lines waiting may take none, by default. Then it is disconnected.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is looked at the most whether one has come to that; an eighth of the stall timeout, when
/// that is less.
pub(crate) const STALL_LOOK_MAX: Duration = Duration::from_millis(100);

/// Lines a second that one client may sustain, by default: far more than a person says. Beyond it the
/// client is slowed, and told once.
pub const RATE_LINES: u32 = 20;

/// Bytes of a line, as received, that count as one line for the rate; more count as several.
pub const TALK_UNIT_BYTES: usize = 256;

/// How much may be said at once: what the rate allows in this time.
pub(crate) const BURST: Duration = Duration::from_secs(50);

/// How long lines that arrived together are held back to be posted together, when their client is slowed.
pub(crate) const PIECE_WAIT_MAX: Duration = Duration::from_secs(10);

/// What one client can ask for in a second: a unit is one byte of an answer. No option lifts this pace.
/// Beyond it the client waits.
pub(crate) const WORK_UNITS: u64 = 1 << 20;

/// How much may be asked for at once: what its pace allows in this time.
pub(crate) const WORK_BURST: Duration = Duration::from_secs(4);

/// Bytes that are looked through for one unit.
pub(crate) const SCANNED_BYTES_PER_UNIT: u64 = 32;

/// Units of each answer, however short.
pub(crate) const ANSWER_UNITS: u64 = 4 << 10;

/// Units of each byte that becomes no line: line ends, telnet commands, lines that are dropped.
pub(crate) const WASTED_BYTE_UNITS: u64 = 2;

/// Units of each read that brings no line at all.
pub(crate) const EMPTY_READ_UNITS: u64 = 1 << 10;

/// Units of one look whether somebody who holds a name still lives: it goes through the system's table
/// of connections.
pub(crate) const PROBE_UNITS: u64 = 1 << 20;

/// How long before its end an idle client is warned; half its time, when that is less.
pub(crate) const IDLE_WARNING: Duration = Duration::from_secs(60);

/// How long a newcomer stands at the door before it is let in and greeted, so that what speaks first
/// and is no chat (a web browser, a TLS client, a port scanner) never enters the room.
pub(crate) const DOOR_WAIT: Duration = Duration::from_millis(3);

/// A connection that has been silent for so long is asked, by TCP, whether its peer still lives.
pub(crate) const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// How often it is asked again, and
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// how often in vain before it is given up.
pub(crate) const KEEPALIVE_COUNT: u32 = 6;

/// TCP_USER_TIMEOUT beyond the stall timeout: it cuts slow readers too, so it must come second.
pub(crate) const USER_TIMEOUT_BEYOND_STALL: Duration = Duration::from_secs(30);

/// How long somebody who asks for a name that its own host holds waits to see whether the holder
/// still lives. A dead one is found after two retransmissions that nobody acknowledges.
pub(crate) const PROBE_MAX: Duration = Duration::from_secs(2);

/// When it looks for the second time; each further look waits twice as long. A living peer is found
/// out within a round trip, a dead one takes longer.
pub(crate) const PROBE_INTERVAL_MIN: Duration = Duration::from_millis(5);

/// For how long somebody who was found to be alive is not asked again.
pub(crate) const ALIVE_FOR: Duration = Duration::from_secs(1);

/// Bytes of address space that must be free when a client is taken in, for all who are here, and
pub(crate) const HEADROOM_BYTES: usize = 33 << 20;

/// how many more when its thread may need a heap of its own, which glibc makes so large. (It asks the
/// system itself only for blocks of more than 32 MiB, and only such a block shows what is free.)
pub(crate) const HEAP_BYTES: usize = 64 << 20;

/// Descriptors kept for everything that is no client: the listener, pipes, files, refusals.
pub(crate) const DESCRIPTORS_RESERVED: u64 = 32;

/// Mappings of memory that a client's thread takes at the most: its stack and its signal stack, each
/// with a guard page. One that cannot make them all ends the process, so there must be enough.
pub(crate) const MAPPINGS_PER_CLIENT: u64 = 4;

/// Mappings kept for everything else: the program itself, its heaps, and the stacks of threads that
/// have just ended, of which glibc keeps 40 MiB for the next ones.
pub(crate) const MAPPINGS_RESERVED: u64 = 2048;

/// At most one log line of a kind in this time, with the number of those left out.
pub(crate) const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes that a reader asks the socket for at once while its client says little: ten thousand buffers
/// of this size must not weigh much,
pub(crate) const READ_BYTES_MIN: usize = 1 << 10;

/// and while it says a lot.
pub(crate) const READ_BYTES_MAX: usize = 64 << 10;

/// Bytes that arrived together and are posted together, so that a paste is not interleaved.
pub(crate) const TOGETHER_BYTES_MAX: usize = 64 << 10;

/// Bytes of a reader thread's stack. Only what it uses is ever backed by memory.
pub(crate) const READER_STACK_BYTES: usize = 128 << 10;

/// Lines that may wait for one watcher of the room. Beyond it lines are skipped and counted.
pub(crate) const WATCH_LINES_MAX: usize = 1024;

/// Connections that may wait in the kernel to be accepted; Linux caps it at `net.core.somaxconn`.
pub(crate) const LISTEN_BACKLOG: i32 = 4096;

/// Connections turned away without a thread that are held open for [`LINGER_MAX`], so that they can
/// read why. Beyond it the oldest is closed at once.
pub(crate) const TURNED_AWAY_MAX: usize = 8;

/// How long a closing connection may go on sending before it is closed for good. Closing with
/// unread input would reset it, and the peer might lose the last line.
pub(crate) const LINGER_MAX: Duration = Duration::from_millis(200);

/// How long a stopping server goes on writing what is queued.
pub(crate) const FLUSH_MAX: Duration = Duration::from_secs(2);

/// How long a newcomer waits for a dead connection from its very address to be cleared away.
pub(crate) const ADDRESS_WAIT_MAX: Duration = Duration::from_secs(2);

/// Earlier lines that a newcomer is shown, by default.
pub const HISTORY_LINES: usize = 20;

/// Lines of the history that are kept in memory for `/last` and `/find`; more, when newcomers are
/// shown more. The oldest go.
pub(crate) const HISTORY_LINES_MAX: usize = 10_000;

/// Bytes of the history that are kept in memory. The oldest lines go.
pub(crate) const HISTORY_BYTES_MAX: usize = 16 << 20;

/// Lines that `/last` shows at the most.
pub(crate) const REPLAY_LINES_MAX: usize = 10_000;

/// Words that `/find` looks for at the most. More are refused.
pub(crate) const FIND_WORDS_MAX: usize = 8;

/// Lines of the history, and bytes of it or of the transcript, that are looked through before it is the
/// next one's turn.
pub(crate) const STEP_LINES: usize = 1000;
/// See [`STEP_LINES`].
pub(crate) const STEP_BYTES: usize = 256 << 10;

/// Rows of the table that `/who` goes through with its lock held.
pub(crate) const STEP_ROWS: usize = 256;

/// Lines that `/last` shows unless it is told how many.
pub(crate) const LAST_LINES: usize = 20;

/// Lines that `/find` shows at the most.
pub(crate) const FOUND_LINES_MAX: usize = 20;

/// The acceptor's pause after a fault of the system: doubled from the first to the last.
pub(crate) const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
/// See [`ACCEPT_PAUSE_MIN`].
pub(crate) const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

const _: () = {
    assert!(READ_BYTES_MIN <= READ_BYTES_MAX && READ_BYTES_MAX <= TOGETHER_BYTES_MAX);
    assert!(TOGETHER_BYTES_MAX <= INBOX_BYTES_MAX);
    assert!(BACKLOG_BYTES_MAX <= WAITING_BYTES_MIN);
    assert!(2 * ANSWER_SLICE_BYTES <= INBOX_BYTES_MAX);
    // Standard streams, listener, pipes and files, and the console's, make up to 24.
    assert!(TURNED_AWAY_MAX as u64 + 24 <= DESCRIPTORS_RESERVED);
};
