//! The integration tests, as one program. Each module tells how the server behaves in one respect.

/// What the tests are told with: a room, the real program, and clients that speak and hear.
mod harness;

/// Lines on the wire: framing, one order for all, the seam at a join, limits, harmless text.
mod wire;

/// Telnet's commands: never chat, answered where telnet waits for an answer.
mod telnet;

/// Encodings: each client reads and is read in its own.
mod encodings;

/// Encodings beside Python's, which were written by others.
mod codecs;

/// What a client can ask for with a slash, and what only looks like it.
mod commands;

/// History: what a newcomer is shown, the seam to live talk, `/last` and `/find`.
mod history;

/// The transcript: what stands in it, and that whatever was seen survives the server.
mod transcript;

/// Trouble with the transcript's file: full, rotated, removed, forbidden, taken.
mod disk;

/// What a transcript costs: calls of the system, time, memory.
mod cost;

/// Names: taken, refused, freed.
mod names;

/// Peers that vanish, stop reading, or come in crowds.
mod peers;

/// Too many: clients, clients from one host, and what the system itself has no more of.
mod crowds;

/// Those who talk too much: slowed, never cut, and no burden to others.
mod flood;

/// Abuse: nothing that clients can ask for slows the talk of the others.
mod abuse;

/// What is asked for: long answers and live talk, limits of a search, the pace of requests.
mod asking;

/// Who says nothing for too long.
mod idle;

/// What is no chat: web browsers, TLS clients, port scanners.
mod strangers;

/// Peers that vanish without a word, in a network of their own.
mod vanished;

/// Slow readers: kept as long as they take anything, and told what they missed.
mod slow;

/// The stop: everybody is told, nobody holds it up, the port is free at once.
mod stop;

/// The program's start: what it says, its options, and how it ends.
mod start;

/// The console in a pipe: its commands, and whatever else may stand at stdin and stdout.
mod console;

/// Real clients: nc, ncat and telnet.
mod clients;

/// Everything at once, at random, for a minute.
mod soak;
