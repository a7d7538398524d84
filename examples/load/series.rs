//! Several runs that belong together: the server beside the bare loop, and cost as work grows.

use std::fmt;
use std::io;

use crate::measure::{Setting, Subject, measure};
use crate::order::Script;
use crate::report::{Comparison, Figure, Run, Spread, grouped};

/// Pairs of runs from which a ratio is taken: enough for a median that one disturbance cannot move.
const PAIRS: usize = 5;

/// Runs from which a point of the table takes its medians.
const POINT_RUNS: usize = 3;

/// The rooms of the table, at `BYTES` of a line.
const ROOMS: [usize; 4] = [10, 100, 1_000, 10_000];
const BYTES: usize = 64;

/// The lines of the table, in a room of `ROOM`.
const LENGTHS: [usize; 4] = [16, 64, 512, 4_096];
const ROOM: usize = 100;

/// What a point of the table delivers at most: a few seconds of work. With much less, the first lines
/// to a large room, whose sockets nobody has written to yet, would be most of what is measured.
const POINT_DELIVERIES: usize = 40_000_000;
const POINT_BYTES: usize = 5_000_000_000;

/// Measures server and bare loop in turn; `each` is shown every run as it comes.
///
/// Which of the two comes first changes from pair to pair, so that a machine which grows slower
/// favours neither.
///
/// # Errors
/// Those of the first run that fails.
pub(crate) fn compare(
    setting: &Setting,
    mut each: impl FnMut(&Run) -> io::Result<()>,
) -> io::Result<Comparison> {
    let mut pairs = Vec::with_capacity(PAIRS);
    for pair in 0..PAIRS {
        let mut run = |subject| {
            let run = measure(subject, setting)?;
            each(&run)?;
            io::Result::Ok(run)
        };
        pairs.push(if pair % 2 == 0 {
            let server = run(Subject::Server)?;
            (server, run(Subject::Bare)?)
        } else {
            let bare = run(Subject::Bare)?;
            (run(Subject::Server)?, bare)
        });
    }
    Ok(Comparison(pairs))
}

/// What a delivery costs in rooms and with lines of several sizes.
pub(crate) struct Table {
    pub(crate) points: Vec<Point>,
}

/// One room and one length of line.
pub(crate) struct Point {
    pub(crate) clients: usize,
    pub(crate) bytes: usize,
    /// For each subject its name and the medians of its runs.
    pub(crate) costs: Vec<Cost>,
}

/// What one subject took for one point.
pub(crate) struct Cost {
    pub(crate) of: &'static str,
    pub(crate) deliveries: f64,
    pub(crate) cpu: f64,
}

impl Table {
    /// Measures `subjects` for all rooms and lengths; the rest of the setting is taken as it is.
    ///
    /// # Errors
    /// Those of the first run that fails.
    pub(crate) fn measure(
        subjects: &[Subject],
        setting: &Setting,
        mut each: impl FnMut(&Run) -> io::Result<()>,
    ) -> io::Result<Self> {
        let rooms = ROOMS.map(|clients| (clients, BYTES));
        let lengths = LENGTHS.map(|bytes| (ROOM, bytes));
        let mut points: Vec<Point> = Vec::new();
        for (clients, bytes) in rooms.into_iter().chain(lengths) {
            if points.iter().any(|point| (point.clients, point.bytes) == (clients, bytes)) {
                continue;
            }
            let setting = point_setting(setting, clients, bytes);
            let mut runs: Vec<Vec<Run>> = subjects.iter().map(|_| Vec::new()).collect();
            // In turn, so that a machine which grows slower favours none.
            for _ in 0..POINT_RUNS {
                for (subject, runs) in subjects.iter().zip(&mut runs) {
                    let run = measure(*subject, &setting)?;
                    each(&run)?;
                    runs.push(run);
                }
            }
            let costs = runs.iter().filter_map(|runs| Cost::median_of(runs)).collect();
            points.push(Point { clients, bytes, costs });
        }
        Ok(Self { points })
    }

    /// The points whose lines are equally long, by clients.
    pub(crate) fn rooms(&self) -> Vec<(usize, &[Cost])> {
        self.sized(|point| (point.bytes == BYTES).then_some(point.clients))
    }

    /// The points whose rooms are equally large, by bytes of a line.
    pub(crate) fn lengths(&self) -> Vec<(usize, &[Cost])> {
        self.sized(|point| (point.clients == ROOM).then_some(point.bytes))
    }

    /// The points to which `size` gives one, the smallest first.
    fn sized(&self, size: impl Fn(&Point) -> Option<usize>) -> Vec<(usize, &[Cost])> {
        let sized = self.points.iter().filter_map(|point| Some((size(point)?, &*point.costs)));
        let mut sized: Vec<_> = sized.collect();
        sized.sort_by_key(|(size, _)| *size);
        sized
    }
}

impl Cost {
    fn median_of(runs: &[Run]) -> Option<Self> {
        let median =
            |figure| Some(Spread::of(runs.iter().filter_map(|run| run.get(figure)))?.median);
        let of = runs.first()?.of;
        Some(Self { of, deliveries: median(Figure::Deliveries)?, cpu: median(Figure::Cpu)? })
    }
}

/// The setting of one point, with as many lines as make it last about equally long.
fn point_setting(setting: &Setting, clients: usize, bytes: usize) -> Setting {
    let lines = (POINT_DELIVERIES / clients).min(POINT_BYTES / (clients * bytes));
    let senders = setting.script.senders.min(clients as u64);
    let script = Script { lines: lines as u64, senders, bytes };
    Setting { clients, script, ..setting.clone() }
}

/// The table in Markdown.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self
            .points
            .first()
            .into_iter()
            .flat_map(|point| &point.costs)
            .map(|cost| cost.of)
            .collect();
        write!(f, "| clients | bytes a line |")?;
        for name in &names {
            write!(f, " {name}: deliveries/s | {name}: CPU µs a delivery |")?;
        }
        let columns = 2 + 2 * names.len();
        if names.len() == 2 {
            write!(f, " CPU ratio |")?;
        }
        write!(f, "\n|{}", " ---: |".repeat(columns + usize::from(names.len() == 2)))?;
        for point in &self.points {
            let Point { clients, bytes, costs } = point;
            let [clients, bytes] = [clients, bytes].map(|number| grouped(&number.to_string()));
            write!(f, "\n| {clients} | {bytes} |")?;
            for cost in costs {
                write!(f, " {} | {:.3} |", grouped(&format!("{:.0}", cost.deliveries)), cost.cpu)?;
            }
            if let [server, bare] = costs.as_slice() {
                write!(f, " {:.2} |", server.cpu / bare.cpu)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(clients: usize, bytes: usize) -> Point {
        let server = Cost { of: "server", deliveries: 2_500_000.4, cpu: 0.18 };
        let bare = Cost { of: "bare loop", deliveries: 3_000_000.0, cpu: 0.12 };
        Point { clients, bytes, costs: vec![server, bare] }
    }

    #[test]
    fn the_table_shows_both_subjects_and_their_ratio() {
        let table = Table { points: vec![point(1_000, 64)] };
        let expected = "\
| clients | bytes a line | server: deliveries/s | server: CPU µs a delivery \
| bare loop: deliveries/s | bare loop: CPU µs a delivery | CPU ratio |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| 1 000 | 64 | 2 500 000 | 0.180 | 3 000 000 | 0.120 | 1.50 |";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn rooms_and_lengths_share_the_point_where_they_meet_and_are_in_order() {
        let points = vec![point(10, 64), point(ROOM, BYTES), point(ROOM, 16), point(ROOM, 512)];
        let table = Table { points };
        let sizes = |points: Vec<(usize, &[Cost])>| {
            points.into_iter().map(|(size, _)| size).collect::<Vec<_>>()
        };
        assert_eq!(sizes(table.rooms()), [10, 100]);
        assert_eq!(sizes(table.lengths()), [16, 64, 512]);
    }
}
