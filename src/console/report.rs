//! What the console's `who` and `stats` print: tables with aligned columns.

use std::time::{Duration, SystemTime};

use chat_server::{ClientInfo, Stats};
use chrono::{DateTime, Local};
use unicode_width::UnicodeWidthStr;

/// One line for each client under a line of titles, or one sentence if there is none.
pub(crate) fn clients(clients: &[ClientInfo]) -> String {
    if clients.is_empty() {
        return "nobody is here".to_owned();
    }
    let titles = ["address", "name", "since", "lines said", "bytes waiting"].map(str::to_owned);
    let rows = clients.iter().map(|client| {
        [
            client.addr.to_string(),
            client.name.clone().unwrap_or_else(|| "-".to_owned()),
            local_time(client.since),
            client.lines_said.to_string(),
            client.bytes_waiting.to_string(),
        ]
    });
    align(&std::iter::once(titles).chain(rows).collect::<Vec<_>>())
}

/// One line for each number, and the uptime.
pub(crate) fn stats(stats: &Stats) -> String {
    let rows = [
        ("clients", stats.clients.to_string()),
        ("lines", stats.lines.to_string()),
        ("deliveries", stats.deliveries.to_string()),
        ("bytes", stats.bytes.to_string()),
        ("skipped lines", stats.skipped_lines.to_string()),
        ("refusals", stats.refusals.to_string()),
        ("lines not written", stats.lines_not_written.to_string()),
        ("uptime", span(stats.uptime)),
    ];
    align(&rows.map(|(name, value)| [name.to_owned(), value]))
}

/// Joins the rows to lines in which each column begins at the same place on the terminal.
fn align<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut blanks = 0;
        for (cell, width) in row.iter().zip(widths) {
            text.extend(std::iter::repeat_n(' ', blanks));
            text.push_str(cell);
            blanks = width - cell.width() + 2;
        }
        text.push('\n');
    }
    text.pop();
    text
}

fn local_time(time: SystemTime) -> String {
    DateTime::<Local>::from(time).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A span of time as days, hours, minutes and seconds: `1d 02:03:04`.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let clock = format!("{:02}:{:02}:{:02}", hours % 24, minutes % 60, seconds % 60);
    if days == 0 { clock } else { format!("{days}d {clock}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(addr: &str, name: Option<&str>, lines_said: u64) -> ClientInfo {
        ClientInfo {
            addr: addr.parse().unwrap(),
            name: name.map(str::to_owned),
            since: SystemTime::UNIX_EPOCH,
            lines_said,
            bytes_waiting: 0,
        }
    }

    #[test]
    fn an_empty_room_is_said_to_be_empty() {
        assert_eq!(clients(&[]), "nobody is here");
    }

    #[test]
    fn columns_are_aligned_by_what_they_take_on_a_terminal() {
        let table = clients(&[
            client("127.0.0.1:5000", Some("李雷"), 7),
            client("[::1]:50000", None, 123_456),
            client("1.2.3.4:5", Some("alice"), 0),
        ]);
        let since = local_time(SystemTime::UNIX_EPOCH);
        let column = |line: &str, cell: &str| line[..line.find(cell).unwrap()].width();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        let start = column(lines[0], "since");
        for line in &lines[1..] {
            assert_eq!(column(line, &since), start, "{table}");
        }
        assert_eq!(column(lines[2], "-"), column(lines[0], "name"), "{table}");
    }

    #[test]
    fn no_line_ends_with_blanks_and_the_table_has_no_line_end() {
        let table = align(&[["a".to_owned(), "b".to_owned()], ["long".to_owned(), "c".to_owned()]]);
        assert_eq!(table, "a     b\nlong  c");
    }

    #[test]
    fn stats_hold_every_number() {
        let text = stats(&Stats {
            clients: 1,
            lines: 22,
            deliveries: 333,
            bytes: 4444,
            skipped_lines: 55_555,
            refusals: 666_666,
            lines_not_written: 7_777_777,
            uptime: Duration::from_secs(59),
        });
        let rows: Vec<Vec<&str>> = text.lines().map(|row| row.split("  ").collect()).collect();
        let values: Vec<&str> = rows.iter().map(|row| row.last().unwrap().trim()).collect();
        let expected = ["1", "22", "333", "4444", "55555", "666666", "7777777", "00:00:59"];
        assert_eq!(values, expected, "{text}");
    }

    #[test]
    fn a_span_shows_days_only_if_there_are_any() {
        assert_eq!(span(Duration::from_secs(86_399)), "23:59:59");
        assert_eq!(span(Duration::from_secs(86_400)), "1d 00:00:00");
        assert_eq!(span(Duration::from_secs(93_784)), "1d 02:03:04");
    }
}
