//! What one client says, line by line: talk goes to the room, commands are run, and each gets its
//! answer in its place. Knows the room, not the socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use log::debug;

use crate::commands;
use crate::decoder::Event;
use crate::door::Stranger;
use crate::encoding::{EncodingChoice, Script};
use crate::limits::BURST;
use crate::pace::Pace;
use crate::room::Room;
use crate::room::client::{Ending, Peer};
use crate::room::history::Said;
use crate::room::wire::WireForm;
use crate::text::Line;

/// Lines that are posted together at the most, and
const TALK_LINES_MAX: usize = 1024;

/// how many are made room for once they are posted.
const TALK_LINES_KEPT: usize = 16;

/// One client's side of the conversation.
pub(crate) struct Conversation {
    pub(crate) room: Arc<Room>,
    pub(crate) peer: Arc<Peer>,
    /// What everybody calls this client.
    shown: String,
    script: Script,
    form: WireForm,
    pace: Pace,
    /// When what was said last may be posted at the earliest.
    not_before: Instant,
    /// Whether it has said a line.
    begun: bool,
    /// Talk that arrived together and is posted together.
    talk: Vec<Talk>,
}

/// A line for everybody.
pub(crate) enum Talk {
    Say(Line),
    /// `/me`: what the client does.
    Act(Line),
}

impl Conversation {
    pub(crate) fn new(room: Arc<Room>, peer: Arc<Peer>) -> Conversation {
        let shown = peer.addr.to_string();
        let pace = Pace::new(room.config.rate_lines);
        let script = Script::new(room.config.encoding);
        let form = WireForm { encoding: script.encoding(), ..WireForm::default() };
        Conversation {
            room,
            peer,
            shown,
            script,
            form,
            pace,
            not_before: Instant::now(),
            begun: false,
            talk: Vec::new(),
        }
    }

    /// The client's name, or its address until it has one.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    pub(crate) fn set_shown(&mut self, shown: &str) {
        shown.clone_into(&mut self.shown);
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.peer.addr
    }

    /// How the client is written to.
    pub(crate) fn form(&self) -> WireForm {
        self.form
    }

    /// From now on the client is written to as it writes itself.
    pub(crate) fn notice_form(&mut self, crlf: bool, telnet: bool) {
        self.write_in(WireForm { crlf, telnet, ..self.form });
    }

    /// From now on the client is read and written so.
    pub(crate) fn choose_encoding(&mut self, choice: EncodingChoice) {
        self.script = Script::new(choice);
        self.write_in(WireForm { encoding: self.script.encoding(), ..self.form });
    }

    /// The encoding that the client is read and written in.
    pub(crate) fn encoding(&self) -> EncodingChoice {
        EncodingChoice::Fixed(self.script.encoding())
    }

    fn write_in(&mut self, form: WireForm) {
        if self.form != form {
            self.form = form;
            self.room.set_form(self.peer.addr, form);
        }
    }

    /// Answers who speaks another protocol, and gives its ending.
    ///
    /// *Blocking*: while the inbox is full.
    pub(crate) fn turn_away(&self, stranger: Stranger) -> Ending {
        let answer = stranger.answer(self.peer.local_addr()).into_bytes();
        self.room.inbox.append(|room| room.answer(self.peer.addr, answer));
        stranger.ending()
    }

    /// Handles what arrived, in order, and leaves the talk to be posted; gives the ending when the
    /// client asked for it, or somebody wants it to end.
    ///
    /// *Blocking*: while the inbox is full, and as long as the client's pace demands.
    pub(crate) fn handle(&mut self, events: impl Iterator<Item = Event>) -> Option<Ending> {
        let mut now = Instant::now();
        for event in events {
            // What arrived together has one time, unless the client is slowed in between.
            if self.not_before > now {
                now = Instant::now();
            }
            if let Some(ending) = self.peer.dismissed() {
                self.talk.clear();
                return Some(ending.clone());
            }
            self.not_before = now + self.pace.delay(now);
            if self.not_before >= now + BURST || self.talk.len() >= TALK_LINES_MAX {
                self.post();
            }
            let ending = match event {
                Event::Line(raw) => self.line(raw),
                Event::TooLong => {
                    let most = self.room.config.line_bytes_max;
                    self.reply(&format!("your line was dropped: it is longer than {most} bytes"));
                    None
                }
                Event::Answer(bytes) => {
                    self.post();
                    self.keep_pace();
                    self.room.inbox.append(|room| room.answer(self.peer.addr, bytes.to_vec()));
                    None
                }
            };
            if ending.is_some() {
                self.post();
                return ending;
            }
        }
        None
    }

    fn line(&mut self, raw: Vec<u8>) -> Option<Ending> {
        let line = self.script.read(raw);
        self.write_in(WireForm { encoding: self.script.encoding(), ..self.form });
        let line = line?;
        let text = line.as_str();
        // A request that comes in pieces is known only when its line is whole.
        if !std::mem::replace(&mut self.begun, true)
            && let Some(stranger) = Stranger::of_line(text)
        {
            return Some(self.turn_away(stranger));
        }
        if text.trim() == "quit" {
            return Some(Ending::Quit);
        }
        match text.strip_prefix('/') {
            Some(said) if said.starts_with('/') => self.say(Line::new(said)?),
            Some(command) => {
                // What was said before the command comes before its answer.
                self.post();
                self.keep_pace();
                return commands::run(self, command);
            }
            None => self.say(line),
        }
        None
    }

    fn say(&mut self, line: Line) {
        self.talk.push(Talk::Say(line));
    }

    /// What the client does, for everybody to see.
    pub(crate) fn act(&mut self, line: Line) {
        self.talk.push(Talk::Act(line));
    }

    /// Answers this client alone: each line of `text` becomes one of the server's.
    ///
    /// *Blocking*: while the inbox is full.
    pub(crate) fn reply(&mut self, text: &str) {
        self.post();
        self.keep_pace();
        let mut reply = String::with_capacity(text.len() + 8);
        for line in text.lines() {
            reply.push_str("*** ");
            reply.push_str(line);
            reply.push('\n');
        }
        self.room.inbox.append(|room| room.tell(self.peer.addr, reply));
    }

    /// Shows this client lines that were said before, as they were.
    ///
    /// *Blocking*: while the inbox is full.
    pub(crate) fn replay(&mut self, lines: &[Said]) {
        self.post();
        self.pay_for(lines.len());
        let texts = lines.iter().flat_map(|said| [said.text(), "\n"]);
        let text: String = texts.collect();
        self.room.inbox.append(|room| room.tell(self.peer.addr, text));
    }

    /// Counts lines shown to the client as if it had said a tenth of them: a long replay is work, too.
    fn pay_for(&mut self, shown: usize) {
        for _ in 0..shown / 10 {
            self.pace.delay(Instant::now());
        }
    }

    /// Slows a client that says more than its rate allows.
    ///
    /// *Blocking*: until its pace allows what it said last, or it is asked to end.
    fn keep_pace(&self) {
        self.peer.pause_until(self.not_before);
    }

    /// Posts the talk gathered so far, as one piece: a paste stays together also when it is slowed.
    ///
    /// *Blocking*: while the inbox is full, and as long as the client's pace demands.
    pub(crate) fn post(&mut self) {
        if self.talk.is_empty() {
            return;
        }
        self.keep_pace();
        if self.peer.dismissed().is_some() {
            // What was held back until now is not said any more.
            return self.talk.clear();
        }
        self.peer.lines_said.fetch_add(self.talk.len() as u64, Relaxed);
        self.room.inbox.append(|room| {
            for talk in &self.talk {
                match talk {
                    Talk::Say(line) => room.say(&self.shown, line.as_str()),
                    Talk::Act(line) => room.act(&self.shown, line.as_str()),
                }
            }
        });
        for talk in self.talk.drain(..) {
            match talk {
                Talk::Say(line) => debug!("{}: {line}", self.shown),
                Talk::Act(line) => debug!("* {} {line}", self.shown),
            }
        }
        self.talk.shrink_to(TALK_LINES_KEPT);
    }
}
