//! The commands of the console, as a table from which `help` is computed.
//!
//! A command finds its arguments checked for their presence only; what they mean is its own part.
//! Only `say` may wait: while the inbox is full.

use super::{Console, report};
use crate::output::clean;

/// Whether the console goes on after a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Next {
    /// The next line is read.
    Continue,
    /// No more lines are read.
    End,
}

struct Command {
    name: &'static str,
    /// As `help` shows them; empty if the command takes none.
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut Console, &str) -> Next,
}

const COMMANDS: &[Command] = &[
    Command { name: "exit", arguments: "", help: "stops the server", run: exit },
    Command { name: "who", arguments: "", help: "the connected clients", run: who },
    Command { name: "say", arguments: "TEXT", help: "a public line from server", run: say },
    Command {
        name: "kick",
        arguments: "NAME or ADDRESS [REASON]",
        help: "tells it why and disconnects it",
        run: kick,
    },
    Command { name: "threads", arguments: "", help: "the threads by name", run: threads },
    Command {
        name: "stats",
        arguments: "",
        help: "clients, lines, deliveries, bytes, skipped lines, refusals, uptime",
        run: stats,
    },
    Command { name: "watch", arguments: "on|off", help: "shows the chat, or not", run: watch },
    Command { name: "help", arguments: "", help: "lists these", run: help },
];

/// How much of an unknown command is repeated in the reply, in characters.
const ECHO_CHARS_MAX: usize = 32;

/// Runs one line of the console and prints the reply; an empty line does nothing.
pub(crate) fn run(console: &mut Console, line: &str) -> Next {
    match find(line) {
        Found::Nothing => Next::Continue,
        Found::Command(command, arguments) => (command.run)(console, arguments),
        Found::Fault(reply) => {
            console.output.print(&reply);
            Next::Continue
        }
    }
}

/// What a line asks for.
enum Found<'a> {
    Nothing,
    Command(&'static Command, &'a str),
    /// It cannot be done; the reply says why.
    Fault(String),
}

fn find(line: &str) -> Found<'_> {
    let (name, arguments) = split_word(line.trim());
    if name.is_empty() {
        return Found::Nothing;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        let shown: String = clean(name).chars().take(ECHO_CHARS_MAX).collect();
        return Found::Fault(format!("no such command: {shown}; help lists them"));
    };
    match (command.arguments.is_empty(), arguments.is_empty()) {
        (true, false) => Found::Fault(format!("{name} takes no arguments: {}", command.help)),
        (false, true) if name != "watch" => Found::Fault(usage(command)),
        _ => Found::Command(command, arguments),
    }
}

fn usage(command: &Command) -> String {
    format!("usage: {} {}: {}", command.name, command.arguments, command.help)
}

/// Splits off the first word; the rest begins with no blank.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn exit(console: &mut Console, _: &str) -> Next {
    console.stop.ask("exit");
    Next::End
}

fn who(console: &mut Console, _: &str) -> Next {
    console.output.print(&report::clients(&console.room.clients()));
    Next::Continue
}

fn say(console: &mut Console, text: &str) -> Next {
    console.room.say(text);
    Next::Continue
}

fn kick(console: &mut Console, arguments: &str) -> Next {
    let (who, reason) = split_word(arguments);
    match console.room.kick(who, reason) {
        Ok(addr) => console.output.print(&format!("kicked {addr}")),
        Err(error) => console.output.print(&clean(&error.to_string())),
    }
    Next::Continue
}

fn threads(console: &mut Console, _: &str) -> Next {
    console.output.print(&console.threads().join("\n"));
    Next::Continue
}

fn stats(console: &mut Console, _: &str) -> Next {
    console.output.print(&report::stats(&console.room.stats()));
    Next::Continue
}

fn watch(console: &mut Console, state: &str) -> Next {
    match state {
        "on" => {
            if let Err(error) = console.chat.show(&console.room, &console.output) {
                console.output.print(&format!("cannot watch: {error}"));
            }
        }
        "off" => console.chat.hide(),
        _ => {
            let state = if console.chat.is_shown() { "on" } else { "off" };
            console.output.print(&format!("watch is {state}; watch on or watch off changes it"));
        }
    }
    Next::Continue
}

fn help(console: &mut Console, _: &str) -> Next {
    console.output.print(&list());
    Next::Continue
}

/// One line for each command: what to type, and what it does.
fn list() -> String {
    let typed = |command: &Command| format!("{} {}", command.name, command.arguments);
    let width = COMMANDS.iter().map(|command| typed(command).len()).max().unwrap_or_default();
    let lines =
        COMMANDS.iter().map(|command| format!("{:width$}  {}", typed(command), command.help));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `line` leads to: a command with its arguments, or the reply to a fault.
    fn outcome(line: &str) -> String {
        match find(line) {
            Found::Nothing => "nothing".to_owned(),
            Found::Command(command, arguments) => format!("{}({arguments})", command.name),
            Found::Fault(reply) => reply,
        }
    }

    #[test]
    fn the_commands_are_those_of_the_contract_and_each_has_a_help_line() {
        let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
        assert_eq!(names.join(" "), "exit who say kick threads stats watch help");
        let help = list();
        assert_eq!(help.lines().count(), COMMANDS.len());
        for (line, command) in help.lines().zip(COMMANDS) {
            assert!(line.starts_with(command.name) && line.ends_with(command.help));
        }
    }

    #[test]
    fn help_is_aligned() {
        let starts: Vec<_> = list()
            .lines()
            .zip(COMMANDS)
            .map(|(line, command)| line.len() - command.help.len())
            .collect();
        assert!(starts.iter().all(|start| *start == starts[0]), "{starts:?}");
    }

    #[test]
    fn a_line_is_a_command_and_its_arguments() {
        assert_eq!(outcome("who"), "who()");
        assert_eq!(outcome("  say  hello  there \r"), "say(hello  there)");
        assert_eq!(outcome("kick\talice spam"), "kick(alice spam)");
        assert_eq!(outcome("watch"), "watch()");
    }

    #[test]
    fn an_empty_line_asks_for_nothing() {
        assert_eq!(outcome(""), "nothing");
        assert_eq!(outcome(" \t\r"), "nothing");
    }

    #[test]
    fn an_unknown_command_is_named_and_help_is_pointed_to() {
        assert_eq!(outcome("frobnicate now"), "no such command: frobnicate; help lists them");
        assert_eq!(outcome("EXIT"), "no such command: EXIT; help lists them");
    }

    #[test]
    fn an_unknown_command_is_repeated_without_control_characters_and_in_part() {
        assert_eq!(outcome("\x1b[2Jx\0"), "no such command:  [2Jx ; help lists them");
        let reply = outcome(&"é".repeat(1000));
        assert_eq!(reply, format!("no such command: {}; help lists them", "é".repeat(32)));
    }

    #[test]
    fn exit_with_arguments_stops_nothing_and_explains_itself() {
        assert_eq!(outcome("exit now"), "exit takes no arguments: stops the server");
    }

    #[test]
    fn a_command_that_lacks_its_arguments_explains_itself() {
        assert_eq!(outcome("say"), "usage: say TEXT: a public line from server");
        assert!(outcome("kick ").starts_with("usage: kick NAME or ADDRESS [REASON]"));
    }

    #[test]
    fn the_first_word_is_split_off() {
        assert_eq!(split_word("alice  being rude"), ("alice", "being rude"));
        assert_eq!(split_word("alice"), ("alice", ""));
        assert_eq!(split_word(""), ("", ""));
    }
}
