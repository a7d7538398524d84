//! Takes telnet commands out of a stream of bytes, before it is cut into lines.
//!
//! Guarantees that no byte of a command ever counts as data, however the
//! commands are cut across reads, and that nothing of them is stored but the
//! position inside one. Knows nothing of lines, and never starts to negotiate:
//! every offer and every request is refused (RFC 854, RFC 855).

use std::collections::BTreeSet;

use memchr::memchr;

/// Bytes of one sub-negotiation, from its option to its end, beyond which it is
/// given up. No client has a reason to send one to a server that refuses every
/// option, so this only bounds how much garbage is swallowed unannounced.
pub(super) const SUBNEGOTIATION_BYTES_MAX: usize = 4096;

// The commands of RFC 854. What lies between COMMAND_MIN, the end-of-file of
// RFC 1184, and IAC is a command too, of two bytes and without interest here.
const COMMAND_MIN: u8 = 236;
const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;

/// The option of RFC 860, by which a client asks whether all before it was read.
const TIMING_MARK: u8 = 6;

/// What the filter makes of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A run of bytes that belong to lines, never empty.
    Data(&'a [u8]),
    /// A command that the client expects in answer to its own.
    Answer([u8; 3]),
    /// A sub-negotiation grew beyond bounds, so what follows may be more of it.
    GivenUp,
}

/// The filter of one connection.
#[derive(Debug, Default)]
pub(super) struct Telnet {
    state: State,
    /// The answers given so far. Repeating one could start an endless exchange.
    answered: BTreeSet<[u8; 3]>,
    spoken: bool,
}

/// What the bytes so far make of the next one.
#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// It is data, or an IAC.
    #[default]
    Data,
    /// It tells what the IAC before it means.
    Command,
    /// It is the option that this WILL, WONT, DO or DONT is about.
    Option(u8),
    /// It belongs to a sub-negotiation with so many bytes before it, or is an IAC.
    Subnegotiation(usize),
    /// It tells what the IAC inside such a sub-negotiation means.
    SubnegotiationCommand(usize),
}

impl Telnet {
    /// Whether the client has sent an IAC, which only telnet does.
    pub(super) fn spoken(&self) -> bool {
        self.spoken
    }

    /// The next piece, taken off the front of `bytes`, or `None` when all are taken.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Piece<'a>> {
        while let Some((&byte, rest)) = bytes.split_first() {
            // Commands of two bytes mean nothing here. Any could be read like the others; a flood of them
            // costs less so.
            if let (State::Data, IAC, [COMMAND_MIN..SB, after @ ..]) = (self.state, byte, rest) {
                self.spoken = true;
                *bytes = after;
                continue;
            }
            match self.state {
                State::Data if byte != IAC => return Some(Piece::Data(take_run(bytes))),
                State::Command if byte == IAC => {
                    self.spoken = true;
                    self.state = State::Data;
                    return Some(Piece::Data(take_run(bytes)));
                }
                // Not telnet at all but a byte 255 of another encoding. Taking
                // the next byte with it could glue two lines together.
                State::Command if byte < COMMAND_MIN => {
                    self.state = State::Data;
                    return Some(Piece::Data(&[IAC]));
                }
                _ => {
                    *bytes = rest;
                    if let Some(piece) = self.step(byte) {
                        return Some(piece);
                    }
                }
            }
        }
        None
    }

    /// The data that the end of the stream makes of an unfinished command: a
    /// last byte 255 that no command follows is data, the rest is nothing.
    pub(super) fn finish(&mut self) -> &'static [u8] {
        match std::mem::take(&mut self.state) {
            State::Command => &[IAC],
            _ => &[],
        }
    }

    /// Reads one byte of a command.
    fn step(&mut self, byte: u8) -> Option<Piece<'static>> {
        match self.state {
            State::Data => self.state = State::Command,
            State::Command => self.command(byte),
            State::Option(verb) => {
                self.state = State::Data;
                return self.answer(verb, byte).map(Piece::Answer);
            }
            State::Subnegotiation(before) if byte == IAC => {
                self.state = State::SubnegotiationCommand(before);
            }
            State::Subnegotiation(before) => return self.subnegotiation(before + 1),
            State::SubnegotiationCommand(before) => match byte {
                IAC => return self.subnegotiation(before + 1),
                SE => self.state = State::Data,
                // No command, so the IAC was data that the client failed to double.
                ..COMMAND_MIN => return self.subnegotiation(before + 2),
                // BSD telnetd reads it so too: the SE was lost, the command was not.
                _ => self.command(byte),
            },
        }
        None
    }

    /// Begins the command that `byte` names, and with most ends it too.
    fn command(&mut self, byte: u8) {
        self.spoken = true;
        self.state = match byte {
            SB => State::Subnegotiation(0),
            WILL | WONT | DO | DONT => State::Option(byte),
            _ => State::Data,
        };
    }

    /// Goes on with a sub-negotiation of `bytes` bytes, or gives it up.
    fn subnegotiation(&mut self, bytes: usize) -> Option<Piece<'static>> {
        if bytes > SUBNEGOTIATION_BYTES_MAX {
            self.state = State::Data;
            return Some(Piece::GivenUp);
        }
        self.state = State::Subnegotiation(bytes);
        None
    }

    /// The answer to `verb` and `option`, if it needs one that was not given yet.
    fn answer(&mut self, verb: u8, option: u8) -> Option<[u8; 3]> {
        let answer = match verb {
            DO => [IAC, WONT, option],
            WILL => [IAC, DONT, option],
            _ => return None,
        };
        // GNU telnet asks for a timing mark at each Ctrl-C, and shows nothing
        // until it is answered. The mark has no state that could start a loop.
        let every_time = verb == DO && option == TIMING_MARK;
        (every_time || self.answered.insert(answer)).then_some(answer)
    }
}

/// The run of data at the front of `bytes`, of which the first byte is known to
/// be data, even when it is 255.
fn take_run<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = memchr(IAC, &bytes[1..]).map_or(bytes.len(), |at| at + 1);
    let (run, rest) = bytes.split_at(length);
    *bytes = rest;
    run
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::tests::cuts;

    /// The data, the answers and how often a sub-negotiation was given up.
    type Seen = (Vec<u8>, Vec<[u8; 3]>, usize);

    fn filter<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> Seen {
        let mut telnet = Telnet::default();
        let (mut data, mut answers, mut given_up) = (Vec::new(), Vec::new(), 0);
        for mut read in reads {
            while let Some(piece) = telnet.next(&mut read) {
                match piece {
                    Piece::Data(run) => data.extend_from_slice(run),
                    Piece::Answer(answer) => answers.push(answer),
                    Piece::GivenUp => given_up += 1,
                }
            }
        }
        data.extend_from_slice(telnet.finish());
        (data, answers, given_up)
    }

    #[track_caller]
    fn assert_filtered(bytes: &[u8], data: &[u8], answers: &[[u8; 3]], given_up: usize) {
        let expected = (data.to_vec(), answers.to_vec(), given_up);
        assert_eq!(filter([bytes]), expected, "whole: {bytes:?}");
        assert_eq!(filter(bytes.chunks(1)), expected, "byte by byte: {bytes:?}");
        for (front, back) in cuts(bytes) {
            assert_eq!(filter([front, back]), expected, "{front:?} | {back:?}");
        }
    }

    #[test]
    fn commands_are_taken_out_of_the_data() {
        const NOP: u8 = 241;
        let cases: &[(&[u8], &[u8])] = &[
            (b"no command", b"no command"),
            (&[b'a', IAC, NOP, b'b'], b"ab"),
            (&[b'a', IAC, COMMAND_MIN, b'b'], b"ab"),
            (&[b'a', IAC, SE, b'b'], b"ab"),
            (&[b'a', IAC, WONT, 1, IAC, DONT, b'b', b'c'], b"ac"),
            (&[b'a', IAC, DONT, IAC, b'b'], b"ab"),
            (&[b'a', IAC, IAC, b'b'], b"a\xFFb"),
            (&[IAC, IAC, IAC, IAC, IAC, NOP, IAC, IAC], b"\xFF\xFF\xFF"),
            (&[b'a', IAC, SB, 24, 0, b'x', IAC, SE, b'b'], b"ab"),
            (&[b'a', IAC, SB, 24, IAC, IAC, SE, IAC, SE, b'b'], b"ab"),
            (&[b'a', IAC, SB, IAC, SE, b'b'], b"ab"),
            (&[b'a', IAC, SB, 24, b'\n', b'x'], b"a"),
            (&[b'a', IAC, SB, 24, IAC, NOP, b'b'], b"ab"),
            (&[b'a', IAC, SB, 24, IAC, WONT, 31, b'b'], b"ab"),
            (&[b'a', IAC, SB, 24, IAC, SB, 31, IAC, SE, b'b'], b"ab"),
            (&[b'a', IAC, WONT], b"a"),
        ];
        for (bytes, data) in cases {
            assert_filtered(bytes, data, &[], 0);
        }
    }

    #[test]
    fn a_lone_255_is_data_and_takes_nothing_with_it() {
        assert_filtered(b"a\xFFb", b"a\xFFb", &[], 0);
        assert_filtered(b"a\xFF\nb", b"a\xFF\nb", &[], 0);
        assert_filtered(b"a\xFF", b"a\xFF", &[], 0);
        assert_filtered(&[IAC, SB, 31, 0, IAC, 0, 80, IAC, SE, b'b'], b"b", &[], 0);
    }

    #[test]
    fn every_option_is_refused_once() {
        let asked = [IAC, DO, 1, IAC, WILL, 1, IAC, DO, 1, IAC, WILL, 1, IAC, DO, IAC];
        let answers = [[IAC, WONT, 1], [IAC, DONT, 1], [IAC, WONT, IAC]];
        assert_filtered(&asked, b"", &answers, 0);
        let after_a_lost_end = [IAC, SB, 24, 0, IAC, WILL, 31, b'a'];
        assert_filtered(&after_a_lost_end, b"a", &[[IAC, DONT, 31]], 0);
    }

    #[test]
    fn a_timing_mark_is_answered_as_often_as_it_is_asked() {
        const INTERRUPT: u8 = 244;
        let ctrl_c = [IAC, INTERRUPT, IAC, DO, TIMING_MARK, b'a'];
        let answer = [IAC, WONT, TIMING_MARK];
        assert_filtered(&ctrl_c.repeat(3), b"aaa", &[answer; 3], 0);
        let offered = [IAC, WILL, TIMING_MARK];
        assert_filtered(&offered.repeat(3), b"", &[[IAC, DONT, TIMING_MARK]], 0);
    }

    #[test]
    fn a_sub_negotiation_is_given_up_just_above_its_bound() {
        for (bytes, data, given_up) in [
            (SUBNEGOTIATION_BYTES_MAX - 1, &b"b"[..], 0),
            (SUBNEGOTIATION_BYTES_MAX, b"b", 0),
            (SUBNEGOTIATION_BYTES_MAX + 1, b"b", 1),
            (SUBNEGOTIATION_BYTES_MAX + 2, b"xb", 1),
        ] {
            let stream = [&[IAC, SB][..], &vec![b'x'; bytes], &[IAC, SE, b'b']].concat();
            assert_filtered(&stream, data, &[], given_up);
        }
    }

    #[test]
    fn in_a_sub_negotiation_a_255_counts_once_doubled_or_not() {
        for (unit, bytes) in [([IAC, IAC], 1), ([IAC, b'x'], 2)] {
            let at_bound = unit.repeat(SUBNEGOTIATION_BYTES_MAX / bytes);
            for (more, given_up) in [(&b""[..], 0), (b"x", 1)] {
                let stream = [&[IAC, SB], &at_bound[..], more, &[IAC, SE, b'b']].concat();
                assert_filtered(&stream, b"b", &[], given_up);
            }
        }
    }
}
