//! What one client says, line by line: talk goes to the room, commands are run, and each gets its
//! answer in its place. Knows the room, not the socket.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use log::{debug, info};

use crate::answer::{Progress, Slice, Source};
use crate::commands;
use crate::connection::{Connection, EndReason};
use crate::decoder::Event;
use crate::door::Stranger;
use crate::encoding::{EncodingChoice, Script};
use crate::limits::{
    ANSWER_MOMENT, ANSWER_PAUSE_MAX, ANSWER_SLICE_BYTES, ANSWER_UNITS, ANSWER_WAIT_MAX,
    FLUSH_WAIT_MAX, PIECE_WAIT_MAX, TALK_UNIT_BYTES, WASTED_BYTE_UNITS,
};
use crate::pace::Pace;
use crate::room::Room;
use crate::room::backlog::SliceKind;
use crate::room::inbox::HistoryShown;
use crate::room::recall::Recent;
use crate::room::wire::WireForm;
use crate::text::Line;

/// Lines that are posted together at the most, and
const TALK_LINES_MAX: usize = 1024;

/// how many are made room for once they are posted.
const TALK_LINES_KEPT: usize = 16;

/// One client's side of the conversation.
pub(crate) struct Conversation {
    pub(crate) room: Arc<Room>,
    pub(crate) peer: Arc<Connection>,
    /// What everybody calls this client.
    shown: String,
    script: Script,
    form: WireForm,
    pace: Pace,
    /// The pace of what is asked for.
    work: Pace,
    /// When what was said last may be posted at the earliest, and more be done.
    not_before: Instant,
    /// It was told that answers are left out, since it does not read them.
    is_unread: bool,
    /// The client was told that it is slowed.
    is_slowed: bool,
    /// The client was slowed, and went meanwhile: what it had still to say is not said.
    over: bool,
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
    pub(crate) fn new(room: Arc<Room>, peer: Arc<Connection>) -> Conversation {
        let shown = peer.addr.to_string();
        let pace = Pace::of_talk(room.config.rate_lines);
        let script = Script::new(room.config.encoding);
        let form = WireForm { encoding: script.encoding(), ..WireForm::default() };
        peer.set_form(form);
        Conversation {
            room,
            peer,
            shown,
            script,
            form,
            pace,
            work: Pace::of_work(),
            not_before: Instant::now(),
            is_unread: false,
            is_slowed: false,
            over: false,
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
            self.room.set_form(&self.peer, form);
        }
    }

    /// Answers who speaks another protocol, and gives its ending.
    ///
    /// *Blocking*: while the inbox is full.
    pub(crate) fn turn_away(&self, stranger: Stranger) -> EndReason {
        self.post_answer(stranger.answer(self.peer.local_addr()).into_bytes());
        stranger.ending()
    }

    /// Handles what arrived, in order, and leaves the talk to be posted; gives the ending when the
    /// client asked for it, or somebody wants it to end.
    ///
    /// *Blocking*: while the inbox is full, and as long as the client's pace demands.
    pub(crate) fn handle(&mut self, events: impl Iterator<Item = Event>) -> Option<EndReason> {
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
            if self.over {
                return self.peer.ending().cloned();
            }
            let ending = match event {
                Event::Line(raw) => self.line(raw, now),
                Event::TooLong => {
                    let most = self.room.config.line_bytes_max;
                    self.reply(&format!("your line was dropped: it is longer than {most} bytes"));
                    None
                }
                Event::Answer(bytes) => {
                    self.post();
                    self.pay(ANSWER_UNITS / 4);
                    self.post_answer(bytes.to_vec());
                    None
                }
            };
            if ending.is_some() {
                self.post();
                return ending;
            }
        }
        if self.talk.is_empty() {
            // What became no talk has its pace, too.
            self.keep_pace();
        }
        None
    }

    fn line(&mut self, raw: Vec<u8>, now: Instant) -> Option<EndReason> {
        let bytes = raw.len();
        let line = self.script.read(raw);
        self.write_in(WireForm { encoding: self.script.encoding(), ..self.form });
        let Some(line) = line else {
            self.charge(WASTED_BYTE_UNITS * bytes as u64);
            return None;
        };
        self.charge_talk(bytes, now);
        let text = line.as_str();
        // A request that comes in pieces is known only when its line is whole.
        if !std::mem::replace(&mut self.begun, true)
            && let Some(stranger) = Stranger::of_line(text)
        {
            return Some(self.turn_away(stranger));
        }
        if text.trim() == "quit" {
            return Some(EndReason::Quit);
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

    /// Counts a line that is said, or a command, and posts what was gathered before if it would be held
    /// back for long.
    fn charge_talk(&mut self, bytes: usize, now: Instant) {
        let wait = self.pace.charge(bytes.div_ceil(TALK_UNIT_BYTES) as u64, now);
        self.not_before = self.not_before.max(now + wait);
        if !wait.is_zero() && !std::mem::replace(&mut self.is_slowed, true) {
            let rate = self.room.config.rate_lines.map_or(0, NonZeroU32::get);
            info!("{} is slowed: it says more than {rate} lines a second", self.peer.addr);
            self.tell(&format!(
                "*** you say more than {rate} lines a second: you are slowed, and nothing is lost"
            ));
        }
        self.is_slowed &= !self.pace.has_rested(now);
        if self.not_before >= now + PIECE_WAIT_MAX || self.talk.len() >= TALK_LINES_MAX {
            self.post();
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
    /// *Blocking*: while the inbox is full, as long as the client's pace demands, and for a while if it
    /// takes nothing of earlier answers.
    pub(crate) fn reply(&mut self, text: &str) {
        self.post();
        self.pay(ANSWER_UNITS);
        let text: String = text.lines().flat_map(|line| ["*** ", line, "\n"]).collect();
        let bytes = self.rendered(&text);
        if self.may_answer(ANSWER_SLICE_BYTES) {
            self.post_answer(bytes);
        }
    }

    /// Waits until the client has taken its answers but for so many bytes. False when it is asked to end,
    /// and once when it takes nothing for a while: then it is told that answers are left out, and gets no
    /// more until it has taken all.
    ///
    /// *Blocking*: as long as that takes.
    fn may_answer(&mut self, bytes_max: usize) -> bool {
        if self.is_unread {
            self.is_unread = !self.peer.wait_until_owed(0, Duration::MAX);
            return !self.is_unread;
        }
        while !self.peer.wait_until_owed(bytes_max, self.patience()) {
            // Asked for room, the system speaks up only when a third of the socket's buffer is free. A
            // client that takes a little now and then is found out by trying.
            let owed = self.peer.owed_bytes();
            if self.peer.ending().is_none() {
                self.room.inbox.append(|room| room.flush(self.peer.addr));
            }
            if !self.peer.wait_until_owed(owed.saturating_sub(1), FLUSH_WAIT_MAX) {
                if self.peer.ending().is_none() {
                    self.is_unread = true;
                    self.tell("*** answers are left out here: those before were not read");
                }
                return false;
            }
        }
        true
    }

    /// Answers this client alone with what may be many lines: in slices, of which each is made when the
    /// one before was sent, and in turn with others who ask.
    ///
    /// *Blocking*: as long as that takes, but for a while only if the client takes nothing of it.
    pub(crate) fn answer(&mut self, source: &mut dyn Source) {
        self.post();
        self.charge(ANSWER_UNITS);
        let asked = Instant::now();
        let (mut announced, mut said) = (false, asked);
        loop {
            if !self.keep_pace() || !self.may_answer(0) {
                return;
            }
            let Some(turn) = self.room.turns.take(&self.peer) else { return };
            let mut slice = Slice::default();
            let goes_on = source.fill(&mut slice) == Progress::More;
            let is_long = !slice.text.is_empty() || asked.elapsed() > ANSWER_MOMENT;
            let mut text = String::new();
            if goes_on && is_long && !announced {
                announced = true;
                text = format!("*** {}\n", source.title());
            } else if goes_on && slice.text.is_empty() && said.elapsed() > ANSWER_PAUSE_MAX {
                // Only what is sent shows whether somebody is still there.
                text.push_str("*** still looking\n");
            }
            text.push_str(&slice.text);
            if !goes_on && announced {
                text.push_str("*** end\n");
            }
            let bytes = self.rendered(&text);
            if !bytes.is_empty() {
                said = Instant::now();
                self.post_answer(bytes);
            }
            drop(turn);
            self.charge(slice.units);
            if !goes_on {
                return;
            }
            self.peer.notice_reset();
        }
    }

    /// Shows a newcomer what was said before it came, unless that was done already.
    ///
    /// *Blocking*: as an answer does.
    pub(crate) fn show_earlier(&mut self, history: HistoryShown) {
        if history == HistoryShown::AtOnce {
            return;
        }
        let Some(numbers) = self.peer.wait_for_earlier() else { return };
        let room = Arc::clone(&self.room);
        let mut earlier = Recent::numbered(&room, numbers);
        let mut goes_on = true;
        while goes_on && self.keep_pace() && self.may_answer(0) {
            let Some(turn) = self.room.turns.take(&self.peer) else { break };
            let mut slice = Slice::default();
            goes_on = earlier.fill(&mut slice) == Progress::More;
            self.post_own(SliceKind::Earlier, self.rendered(&slice.text));
            drop(turn);
            self.charge(slice.units);
        }
        self.may_answer(0);
        self.room.inbox.append(|room| room.release(self.peer.addr));
    }

    /// How long the client may take nothing of its answers.
    fn patience(&self) -> Duration {
        ANSWER_WAIT_MAX.min(self.room.config.stall_timeout / 4)
    }

    /// Tells this client alone one line, whatever waits for it already.
    pub(crate) fn tell(&self, line: &str) {
        self.post_answer(self.rendered(line));
    }

    /// Lines as they are written to this client.
    fn rendered(&self, lines: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(lines.len());
        lines.lines().for_each(|line| self.form.write(line, &mut bytes));
        bytes
    }

    fn post_answer(&self, bytes: Vec<u8>) {
        self.post_own(SliceKind::Answer, bytes);
    }

    fn post_own(&self, kind: SliceKind, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.peer.owe(bytes.len());
            self.room.inbox.append_answer(|room| room.tell(self.peer.addr, kind, bytes));
        }
    }

    /// Counts what the client has asked for; it is waited for before more is done.
    pub(crate) fn charge(&mut self, units: u64) {
        let now = Instant::now();
        self.not_before = self.not_before.max(now + self.work.charge(units, now));
    }

    /// Counts what the client asks for, and keeps its pace.
    ///
    /// *Blocking*: until its pace allows it, or it is asked to end.
    pub(crate) fn pay(&mut self, units: u64) {
        self.charge(units);
        self.keep_pace();
    }

    /// Slows a client that says or asks for more than its pace allows; false when it goes meanwhile, and
    /// nothing more is to be said.
    ///
    /// *Blocking*: until its pace allows what it said last, or it is asked to end.
    pub(crate) fn keep_pace(&mut self) -> bool {
        if self.not_before > Instant::now() {
            self.peer.pause_until(self.not_before);
            // What a client sent before it was reset could be said for hours.
            self.peer.notice_reset();
            self.over = self.peer.ending().is_some();
        }
        !self.over && self.peer.dismissed().is_none()
    }

    /// Posts the talk gathered so far, as one piece: a paste stays together also when it is slowed.
    ///
    /// *Blocking*: while the inbox is full, and as long as the client's pace demands.
    pub(crate) fn post(&mut self) {
        if self.talk.is_empty() {
            return;
        }
        if !self.keep_pace() {
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
