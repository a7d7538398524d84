//! Idle clients: when one that says nothing is warned, and when its time is over.

use std::time::{Duration, Instant};

use crate::connection::EndReason;
use crate::conversation::Conversation;
use crate::limits::IDLE_WARNING;

/// How long a client has said nothing.
pub(crate) struct Idle {
    timeout: Duration,
    since: Instant,
    warned: bool,
}

impl Idle {
    pub(crate) fn new(timeout: Duration) -> Idle {
        Idle { timeout, since: Instant::now(), warned: false }
    }

    /// The client has sent something.
    pub(crate) fn heard(&mut self) {
        self.since = Instant::now();
        self.warned = false;
    }

    /// How long before the end the client is warned.
    fn warning(&self) -> Duration {
        IDLE_WARNING.min(self.timeout / 2)
    }

    /// Until the warning, or after it until the end; never zero, which would mean for ever.
    pub(crate) fn next_wait(&self) -> Duration {
        let most = if self.warned { self.timeout } else { self.timeout - self.warning() };
        most.saturating_sub(self.since.elapsed()).max(Duration::from_millis(1))
    }

    /// A wait is over: warns the client, or gives its ending, when it is time.
    pub(crate) fn waited(&mut self, conversation: &mut Conversation) -> Option<EndReason> {
        let silent = self.since.elapsed();
        if silent >= self.timeout {
            let ending = EndReason::Idle(self.timeout);
            conversation.reply(&format!("you are disconnected: {ending}"));
            return Some(ending);
        }
        if !self.warned && silent >= self.timeout - self.warning() {
            self.warned = true;
            let left = (self.timeout - silent).as_secs_f64().ceil();
            conversation.reply(&format!("you will be disconnected in {left} s: say something"));
        }
        None
    }
}
