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
use crate::pace::Pace;
use crate::reader::local_addr;
use crate::room::Room;
use crate::room::client::{Ending, Peer};
use crate::room::history::Said;
use crate::room::wire::WireForm;
use crate::text::Line;

/// One client's side of the conversation.
pub(crate) struct Conversation {
    pub(crate) room: Arc<Room>,
    pub(crate) peer: Arc<Peer>,
    /// What everybody calls this client.
    shown: String,
    form: WireForm,
    pace: Pace,
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
        let form = WireForm::default();
        Conversation { room, peer, shown, form, pace, begun: false, talk: Vec::new() }
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

    /// From now on the client is written to as it writes itself.
    pub(crate) fn notice_form(&mut self, crlf: bool) {
        if self.form.crlf != crlf {
            self.form.crlf = crlf;
            self.room.set_form(self.peer.addr, self.form);
        }
    }

    /// Handles what arrived together, in order; gives the ending when the client asked for it.
    ///
    /// *Blocking*: while the inbox is full, and as long as the client's pace demands.
    pub(crate) fn handle(&mut self, events: impl Iterator<Item = Event>) -> Option<Ending> {
        for event in events {
            let ending = match event {
                Event::Line(line) => self.line(line),
                Event::TooLong => {
                    let most = self.room.config.line_bytes_max;
                    self.reply(&format!("your line was dropped: it is longer than {most} bytes"));
                    None
                }
                Event::Answer(bytes) => {
                    self.post();
                    self.room.inbox.append(|room| room.answer(self.peer.addr, bytes));
                    None
                }
            };
            if ending.is_some() {
                self.post();
                return ending;
            }
        }
        self.post();
        None
    }

    fn line(&mut self, line: Line) -> Option<Ending> {
        self.keep_pace();
        if let Some(ending) = self.peer.ending() {
            return Some(ending.clone());
        }
        let text = line.as_str();
        if !std::mem::replace(&mut self.begun, true)
            && let Some(stranger) = Stranger::of_line(text)
        {
            let answer = stranger.answer(local_addr(&self.peer));
            self.room.inbox.append(|room| room.tell(self.peer.addr, answer));
            return Some(stranger.ending());
        }
        if text.trim() == "quit" {
            return Some(Ending::Quit);
        }
        match text.strip_prefix('/') {
            Some(said) if said.starts_with('/') => self.say(Line::new(said)?),
            Some(command) => return commands::run(self, command),
            None => self.say(line),
        }
        None
    }

    /// Slows a client that says more than its rate allows; what it said is posted first.
    fn keep_pace(&mut self) {
        let delay = self.pace.delay(Instant::now());
        if !delay.is_zero() {
            self.post();
            self.peer.pause(delay);
        }
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
        let texts = lines.iter().flat_map(|said| [said.text(), "\n"]);
        let text: String = texts.collect();
        self.room.inbox.append(|room| room.tell(self.peer.addr, text));
    }

    /// Posts the talk gathered so far, as one piece.
    ///
    /// *Blocking*: while the inbox is full.
    pub(crate) fn post(&mut self) {
        if self.talk.is_empty() {
            return;
        }
        self.room.inbox.append(|room| {
            for talk in &self.talk {
                match talk {
                    Talk::Say(line) => room.say(&self.shown, line.as_str()),
                    Talk::Act(line) => room.act(&self.shown, line.as_str()),
                }
            }
        });
        self.peer.lines_said.fetch_add(self.talk.len() as u64, Relaxed);
        for talk in self.talk.drain(..) {
            match talk {
                Talk::Say(line) => debug!("{}: {line}", self.shown),
                Talk::Act(line) => debug!("* {} {line}", self.shown),
            }
        }
    }
}
