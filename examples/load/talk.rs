//! The talk of a crowd: some say the lines of a script, all hear them, and it is timed.
//!
//! Without a rate, senders write as fast as their sockets take it. With one, a timer of the system
//! gives the beat, and the clock of a line starts at its beat, whether or not its socket takes it
//! then: the load never waits for the server, so a slow server cannot hide its own latency.
//! Writing never blocks, and reading goes on meanwhile, so that the two cannot lock each other up.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use rustix::event::epoll::{Event, EventFlags};

use crate::crowd::{Crowd, SILENCE_MAX};
use crate::order::{Fault, Order, Script};
use crate::timer::Timer;
use crate::visitors::Visitors;

/// What a sender renders ahead of its socket.
const AHEAD_BYTES: usize = 64 * 1024;

/// The longest latency told apart from longer ones, in nanoseconds: a minute.
const LATENCY_NANOS_MAX: u64 = 60_000_000_000;

/// The event of the timer that gives the beat of the lines.
const BEAT: u64 = u64::MAX;

/// The event of the timer by which visitors come and go.
const CHURN: u64 = u64::MAX - 1;

/// How the crowd talks.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Lines a second of all senders together; 0 for as fast as the sockets take them.
    pub(crate) rate: u32,
    /// Visitors who join each second, and leave a second later.
    pub(crate) churn: u32,
}

/// What was measured while all lines went to all.
pub(crate) struct Heard {
    /// From the first line said until the last client had heard the last one.
    pub(crate) elapsed: Duration,
    /// Nanoseconds from a line's being due to each client's hearing it; only with a rate.
    pub(crate) latency: Option<Histogram<u64>>,
}

/// Has `crowd` say and hear `script`, and checks that each heard every line, once, in one order.
///
/// # Errors
/// The first breach of that, a closed connection, or silence while something is due.
pub(crate) fn talk(
    crowd: &mut Crowd,
    script: Script,
    pace: Pace,
    bar: &ProgressBar,
) -> io::Result<Heard> {
    let start = Instant::now();
    let mut talk = Talk::new(crowd, script, pace)?;
    let mut active = start;
    while talk.finished < talk.crowd.clients.len() {
        let events = talk.crowd.wait()?;
        for event in &events {
            if talk.handle(event)? {
                active = Instant::now();
            }
        }
        talk.crowd.give_back(events);
        bar.set_position(talk.order.marks().len() as u64);
        if active.elapsed() > SILENCE_MAX {
            let message = format!(
                "silence: {} of {} clients have heard all {} lines",
                talk.finished,
                talk.listeners.len(),
                script.lines
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
    }
    Ok(Heard { elapsed: start.elapsed(), latency: talk.latency })
}

struct Talk<'a> {
    crowd: &'a mut Crowd,
    script: Script,
    order: Order,
    listeners: Vec<Listener>,
    /// How many have heard everything.
    finished: usize,
    senders: Vec<Sender>,
    /// When each line fell due, by its number; only with a rate.
    due: Vec<Instant>,
    latency: Option<Histogram<u64>>,
    beat: Option<Timer>,
    churn: Option<Timer>,
    visitors: Visitors,
}

/// How far a client has heard the room.
#[derive(Clone, Copy, Default)]
struct Listener {
    bytes: usize,
    lines: usize,
}

/// What a client has to say.
struct Sender {
    /// The number of its next line.
    next: u64,
    /// Rendered lines, of which the socket took `taken` bytes.
    out: Vec<u8>,
    taken: usize,
    /// Whether it is to be told when its socket has room.
    waiting: bool,
}

impl<'a> Talk<'a> {
    fn new(crowd: &'a mut Crowd, script: Script, pace: Pace) -> io::Result<Self> {
        let count = crowd.clients.len();
        let latency = (pace.rate > 0).then(|| {
            Histogram::new_with_bounds(1_000, LATENCY_NANOS_MAX, 3).expect("the bounds are valid")
        });
        let mut talk = Self {
            crowd,
            script,
            order: Order::new(script),
            listeners: vec![Listener::default(); count],
            finished: 0,
            senders: Vec::new(),
            due: Vec::new(),
            latency,
            beat: Timer::beating(pace.rate)?,
            churn: Timer::beating(pace.churn)?,
            visitors: Visitors::new(count as u64, pace.churn),
        };
        for (timer, token) in [(&talk.beat, BEAT), (&talk.churn, CHURN)] {
            if let Some(timer) = timer {
                talk.crowd.watch(timer, token)?;
            }
        }
        for index in 0..count {
            let early = std::mem::take(&mut talk.crowd.clients[index].early);
            let heard = talk.order.hear(0, &early);
            talk.listeners[index].bytes = heard.map_err(|fault| broken(index, &fault))?;
        }
        for index in 0..script.senders {
            let sender = Sender { next: index, out: Vec::new(), taken: 0, waiting: false };
            talk.senders.push(sender);
            if talk.beat.is_none() {
                talk.write(index as usize)?;
            }
        }
        Ok(talk)
    }

    /// Does what `event` asks for; true if a client heard something by that.
    fn handle(&mut self, event: &Event) -> io::Result<bool> {
        let (token, flags) = (event.data.u64(), event.flags);
        match token {
            BEAT => self.beat()?,
            CHURN => self.churn()?,
            _ if token < self.listeners.len() as u64 => {
                let index = token as usize;
                if flags.contains(EventFlags::OUT) {
                    self.write(index)?;
                }
                if flags != EventFlags::OUT {
                    return self.read(index);
                }
            }
            _ => self.visitors.read(token),
        }
        Ok(false)
    }

    /// Reads for client `index`; true if something came.
    fn read(&mut self, index: usize) -> io::Result<bool> {
        let chunk = self.crowd.read(index)?;
        if chunk.is_empty() {
            return Ok(false);
        }
        let listener = &mut self.listeners[index];
        let before = listener.bytes;
        let heard = self.order.hear(before, chunk);
        listener.bytes = heard.map_err(|fault| broken(index, &fault))?;
        if let Some(latency) = &mut self.latency {
            let now = Instant::now();
            for mark in &self.order.marks()[listener.lines..] {
                if mark.end > listener.bytes {
                    break;
                }
                listener.lines += 1;
                let due = self.due[mark.number as usize];
                latency.saturating_record((now - due).as_nanos() as u64);
            }
        }
        let complete = self.order.complete();
        if complete.is_some_and(|end| before < end && listener.bytes >= end) {
            self.finished += 1;
        }
        Ok(true)
    }

    /// Lets the sender `index` say what its socket takes, at most one sendful: others wait as well.
    fn write(&mut self, index: usize) -> io::Result<()> {
        let sender = &mut self.senders[index];
        if sender.taken == sender.out.len() {
            sender.out.clear();
            sender.taken = 0;
            if self.beat.is_none() {
                sender.render_ahead(&self.script);
            }
        }
        if !sender.out.is_empty() {
            sender.taken += self.crowd.send(index, &sender.out[sender.taken..])?;
        }
        let unrendered = self.beat.is_none() && sender.next < self.script.lines;
        let waiting = sender.taken < sender.out.len() || unrendered;
        if waiting != sender.waiting {
            sender.waiting = waiting;
            self.crowd.watch_room(index, waiting)?;
        }
        Ok(())
    }

    /// Says the lines that have fallen due, each sender in its turn.
    fn beat(&mut self) -> io::Result<()> {
        for _ in 0..self.beat.as_ref().map_or(0, Timer::beats) {
            let number = self.due.len() as u64;
            if number == self.script.lines {
                break;
            }
            self.due.push(Instant::now());
            let index = (number % self.script.senders) as usize;
            self.script.write_line(number, &mut self.senders[index].out);
            self.write(index)?;
        }
        Ok(())
    }

    fn churn(&mut self) -> io::Result<()> {
        for _ in 0..self.churn.as_ref().map_or(0, Timer::beats) {
            self.visitors.exchange(self.crowd)?;
        }
        Ok(())
    }
}

impl Sender {
    fn render_ahead(&mut self, script: &Script) {
        while self.out.len() < AHEAD_BYTES && self.next < script.lines {
            script.write_line(self.next, &mut self.out);
            self.next += script.senders;
        }
    }
}

fn broken(index: usize, fault: &Fault) -> io::Error {
    io::Error::other(format!("client {index} {fault}"))
}
