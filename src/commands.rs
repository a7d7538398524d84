//! A client's commands: one table of names, arguments, help lines and handlers, from which `/help`
//! is computed.

use std::sync::Arc;

use crate::answer::{Progress, Slice, Source};
use crate::connection::EndReason;
use crate::conversation::Conversation;
use crate::limits::{ANSWER_UNITS, LAST_LINES, PROBE_UNITS};
use crate::name::Name;
use crate::room::Room;
use crate::room::recall::{Recent, Search, Words};
use crate::text::Line;

/// One command. Its handler is given what follows the name, without surrounding blanks, and gives
/// the ending when the client leaves by it.
struct Command {
    /// The name, then its other names.
    names: &'static [&'static str],
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut Conversation, &str) -> Option<EndReason>,
}

const COMMANDS: &[Command] = &[
    Command { names: &["help"], arguments: "", help: "lists these", run: help },
    Command {
        names: &["name", "nick"],
        arguments: "NAME",
        help: "takes a name, which everybody sees before what you say",
        run: name,
    },
    Command { names: &["who"], arguments: "", help: "says who is here, and since when", run: who },
    Command { names: &["msg"], arguments: "NAME TEXT", help: "says TEXT to NAME alone", run: msg },
    Command {
        names: &["me"],
        arguments: "ACTION",
        help: "says what you do: * alice waves",
        run: me,
    },
    Command {
        names: &["last"],
        arguments: "[N]",
        help: "shows the last N lines again (20)",
        run: last,
    },
    Command {
        names: &["find"],
        arguments: "WORDS",
        help: "shows the last lines that hold WORDS",
        run: find,
    },
    Command {
        names: &["encoding"],
        arguments: "NAME",
        help: "reads and writes you in this encoding: utf-8, gbk, auto",
        run: encoding,
    },
    Command { names: &["quit"], arguments: "", help: "leaves; so does quit", run: quit },
    #[cfg(test)]
    Command {
        names: &["panic"],
        arguments: "",
        help: "a fault of ours",
        run: |_, _| panic!("ours"),
    },
];

/// Runs one command line, given without its slash; gives the ending when the client leaves by it.
pub(crate) fn run(conversation: &mut Conversation, line: &str) -> Option<EndReason> {
    let (name, arguments) = split(line);
    let known = |command: &&Command| command.names.iter().any(|it| it.eq_ignore_ascii_case(name));
    match COMMANDS.iter().find(known) {
        Some(command) => (command.run)(conversation, arguments),
        None => {
            conversation.reply(&format!(
                "no such command: /{name}; /help lists them, and //{name} says it"
            ));
            None
        }
    }
}

/// The first word, and what follows it without surrounding blanks.
fn split(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

fn usage(command: &Command) -> String {
    let names: Vec<String> = command.names.iter().map(|name| format!("/{name}")).collect();
    format!("{} {}", names.join(" or "), command.arguments).trim_end().to_owned()
}

fn help(conversation: &mut Conversation, _: &str) -> Option<EndReason> {
    let width = COMMANDS.iter().map(|command| usage(command).len()).max().unwrap_or(0);
    let mut text = String::new();
    for command in COMMANDS {
        text.push_str(&format!("{:width$}  {}\n", usage(command), command.help));
    }
    text.push_str(&format!("{:width$}  {}", "//TEXT", "says a line that begins with a slash"));
    conversation.reply(&text);
    None
}

fn name(conversation: &mut Conversation, wanted: &str) -> Option<EndReason> {
    let name = match Name::parse(wanted) {
        Ok(name) => name,
        Err(reason) => {
            conversation.reply(&reason.to_string());
            return None;
        }
    };
    if name.as_str() == conversation.shown() {
        conversation.reply(&format!("you are {} already", name.as_str()));
        return None;
    }
    conversation.pay(ANSWER_UNITS);
    let (room, addr) = (Arc::clone(&conversation.room), conversation.addr());
    let renamed = room.rename(addr, conversation.shown(), &name).or_else(|taken| {
        let Some(holder) = room.holder_in_doubt(&conversation.peer, &name) else {
            return Err(taken);
        };
        conversation.pay(PROBE_UNITS);
        if room.reclaim(&conversation.peer, &holder) {
            return room.rename(addr, conversation.shown(), &name);
        }
        Err(taken)
    });
    match renamed {
        Ok(()) => conversation.set_shown(name.as_str()),
        Err(taken) if taken == name.as_str() => {
            conversation.reply(&format!("the name {taken} is taken"));
        }
        Err(taken) => {
            let wanted = name.as_str();
            conversation.reply(&format!("the name {wanted} looks like {taken}, who is here"));
        }
    }
    None
}

fn who(conversation: &mut Conversation, _: &str) -> Option<EndReason> {
    let room = Arc::clone(&conversation.room);
    conversation.answer(&mut Roster { room: &room, join: 0, is_begun: false });
    None
}

/// Who is here, in the order in which they came.
struct Roster<'a> {
    room: &'a Room,
    /// Everybody up to this join was listed.
    join: u64,
    is_begun: bool,
}

impl Source for Roster<'_> {
    fn title(&self) -> String {
        "who is here:".to_owned()
    }

    fn fill(&mut self, slice: &mut Slice) -> Progress {
        if !std::mem::replace(&mut self.is_begun, true) {
            slice.tell(&format!("{} here", self.room.clients_count()));
        }
        while !slice.is_full() {
            let mut clients = Vec::new();
            let Some(last) = self.room.clients_after(self.join, &mut clients) else {
                slice.units += slice.text.len() as u64;
                return Progress::Done;
            };
            self.join = last;
            let shown = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
            let names: Vec<String> = clients.iter().map(|client| shown(&client.name)).collect();
            let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
            for (client, name) in clients.iter().zip(names) {
                let since = self.room.config.time_format.format(client.since);
                slice.tell(&format!("  {name:width$}  {}  since {since}", client.addr));
            }
        }
        slice.units += slice.text.len() as u64;
        Progress::More
    }
}

fn msg(conversation: &mut Conversation, arguments: &str) -> Option<EndReason> {
    let (to, text) = split(arguments);
    if text.is_empty() {
        conversation.reply("say to whom, and what: /msg NAME TEXT");
        return None;
    }
    let from = (conversation.shown(), &*conversation.peer);
    if let Err(error) = conversation.room.whisper(from, to, text) {
        conversation.reply(&error.to_string());
    }
    None
}

fn me(conversation: &mut Conversation, action: &str) -> Option<EndReason> {
    match Line::new(action) {
        Some(action) => conversation.act(action),
        None => conversation.reply("say what you do: /me ACTION"),
    }
    None
}

fn last(conversation: &mut Conversation, most: &str) -> Option<EndReason> {
    let most = match most {
        "" => LAST_LINES,
        most => match most.parse() {
            Ok(most) if most > 0 => most,
            _ => {
                conversation.reply("say how many: /last N");
                return None;
            }
        },
    };
    let room = Arc::clone(&conversation.room);
    let mut recent = Recent::new(&room, most);
    if recent.is_empty() {
        conversation.reply("nothing was said yet, or it is not kept");
    } else {
        conversation.answer(&mut recent);
    }
    None
}

fn find(conversation: &mut Conversation, words: &str) -> Option<EndReason> {
    if words.is_empty() {
        conversation.reply("say what to find: /find WORDS");
        return None;
    }
    match Words::parse(words) {
        Ok(words) => {
            let room = Arc::clone(&conversation.room);
            conversation.answer(&mut Search::new(&room, words));
        }
        Err(reason) => conversation.reply(&reason.to_string()),
    }
    None
}

fn encoding(conversation: &mut Conversation, label: &str) -> Option<EndReason> {
    if label.is_empty() {
        conversation.reply(&format!("you are read and written in {}", conversation.encoding()));
        return None;
    }
    match label.parse() {
        Ok(choice) => {
            conversation.choose_encoding(choice);
            let encoding = conversation.encoding();
            conversation.reply(&format!("from now on you are read and written in {encoding}"));
        }
        Err(reason) => conversation.reply(&reason.to_string()),
    }
    None
}

fn quit(_: &mut Conversation, _: &str) -> Option<EndReason> {
    Some(EndReason::Quit)
}
