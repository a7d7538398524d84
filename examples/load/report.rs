//! What one run measured, for a person and for a program, and how two runs compare.
//!
//! It knows neither where the numbers come from nor where the text goes.

use std::fmt::{self, Write};

/// One kind of number that a run yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    Connect,
    Elapsed,
    Lines,
    Deliveries,
    Cpu,
    LoadCpu,
    P50,
    P90,
    P99,
    P999,
    Slowest,
    Resident,
    Threads,
    Idle,
}

impl Figure {
    /// Those in which a server is compared with the bare loop.
    pub(crate) const COMPARED: [Self; 5] =
        [Self::Connect, Self::Deliveries, Self::Cpu, Self::P50, Self::P99];

    /// The name for programs, the name for people, the unit, and the decimals worth showing.
    fn describe(self) -> (&'static str, &'static str, &'static str, usize) {
        match self {
            Self::Connect => ("connect_ms", "all are in the room after", "ms", 1),
            Self::Elapsed => ("elapsed_s", "all heard all lines after", "s", 3),
            Self::Lines => ("lines_per_s", "lines", "/s", 0),
            Self::Deliveries => ("deliveries_per_s", "deliveries", "/s", 0),
            Self::Cpu => ("cpu_us_per_delivery", "server CPU", "µs a delivery", 4),
            Self::LoadCpu => ("load_cpu_us_per_delivery", "load CPU", "µs a delivery", 4),
            Self::P50 => ("latency_p50_us", "latency, 50 % within", "µs", 0),
            Self::P90 => ("latency_p90_us", "latency, 90 % within", "µs", 0),
            Self::P99 => ("latency_p99_us", "latency, 99 % within", "µs", 0),
            Self::P999 => ("latency_p999_us", "latency, 99.9 % within", "µs", 0),
            Self::Slowest => ("latency_max_us", "latency, slowest", "µs", 0),
            Self::Resident => ("resident_kib_per_client", "resident memory", "KiB a client", 1),
            Self::Threads => ("threads", "server threads", "", 0),
            Self::Idle => ("idle_cpu_us_per_s", "server CPU while idle", "µs a second", 1),
        }
    }

    /// The name for programs.
    pub(crate) fn key(self) -> &'static str {
        self.describe().0
    }

    /// The name for people, with the unit.
    pub(crate) fn title(self) -> String {
        let (_, title, unit, _) = self.describe();
        format!("{title} ({unit})")
    }
}

/// What one run was and what it measured.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// `server` or `bare loop`.
    pub(crate) of: &'static str,
    /// The setting, as names and numbers.
    pub(crate) setting: Vec<(&'static str, u64)>,
    values: Vec<(Figure, f64)>,
}

impl Run {
    /// A run that has not measured anything yet.
    pub(crate) fn new(of: &'static str, setting: Vec<(&'static str, u64)>) -> Self {
        Self { of, setting, values: Vec::new() }
    }

    /// Adds a figure, unless the run does not know it.
    pub(crate) fn add(&mut self, figure: Figure, value: impl Into<Option<f64>>) {
        self.values.extend(value.into().filter(|value| value.is_finite()).map(|v| (figure, v)));
    }

    /// The value of `figure`, if the run measured it.
    pub(crate) fn get(&self, figure: Figure) -> Option<f64> {
        self.values.iter().find(|(known, _)| *known == figure).map(|(_, value)| *value)
    }

    /// The run as one line of JSON.
    pub(crate) fn json(&self) -> String {
        let setting = self.setting.iter().map(|(key, value)| (*key, value.to_string()));
        let values = self.values.iter().map(|(figure, value)| (figure.key(), value.to_string()));
        json_object(self.of, setting.chain(values))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.of)?;
        for (name, value) in self.setting.iter().filter(|(_, value)| *value > 0) {
            write!(f, " {name} {value}")?;
        }
        for (figure, value) in &self.values {
            let (_, title, unit, decimals) = figure.describe();
            let number = format!("{value:.decimals$}");
            write!(f, "\n  {title:<26}{:>16} {unit}", grouped(&number))?;
        }
        Ok(())
    }
}

/// The smallest, the middle and the largest of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) minimum: f64,
    pub(crate) median: f64,
    pub(crate) maximum: f64,
}

impl Spread {
    /// The spread of `values`; none if there is no value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (minimum, maximum) = (*values.first()?, *values.last()?);
        let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        Some(Self { minimum, median, maximum })
    }
}

/// What a server costs in units of the bare loop, from pairs of runs.
pub(crate) struct Comparison(pub(crate) Vec<(Run, Run)>);

impl Comparison {
    /// For each figure that all runs know the spreads of the server's value, the bare loop's, and
    /// of their ratio within a pair.
    fn rows(&self) -> Vec<(Figure, [Spread; 3])> {
        let row = |figure: Figure| {
            let pairs =
                self.0.iter().map(|(server, bare)| Some((server.get(figure)?, bare.get(figure)?)));
            let pairs: Vec<(f64, f64)> = pairs.collect::<Option<_>>()?;
            let server = Spread::of(pairs.iter().map(|(server, _)| *server))?;
            let bare = Spread::of(pairs.iter().map(|(_, bare)| *bare))?;
            let ratio = Spread::of(pairs.iter().map(|(server, bare)| server / bare))?;
            Some((figure, [server, bare, ratio]))
        };
        Figure::COMPARED.into_iter().filter_map(row).collect()
    }

    /// The ratios as one line of JSON.
    pub(crate) fn json(&self) -> String {
        let rows = self.rows();
        let ratios = rows.iter().map(|(figure, [.., Spread { minimum, median, maximum }])| {
            let spread = [("minimum", minimum), ("median", median), ("maximum", maximum)];
            let spread = spread.map(|(key, value)| format!("\"{key}\":{value}"));
            (figure.key(), format!("{{{}}}", spread.join(",")))
        });
        json_object("ratio", ratios)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["median", "server", "bare loop", "ratio", "minimum", "maximum"];
        let [title, server, bare, ratio, minimum, maximum] = head;
        write!(f, "{title:<40}{server:>14}{bare:>14}{ratio:>9}{minimum:>9}{maximum:>9}")?;
        for (figure, [server, bare, ratio]) in self.rows() {
            let (.., decimals) = figure.describe();
            let [server, bare] =
                [server, bare].map(|spread| grouped(&format!("{:.decimals$}", spread.median)));
            let Spread { minimum, median, maximum } = ratio;
            write!(f, "\n{:<40}{server:>14}{bare:>14}", figure.title())?;
            write!(f, "{median:>9.3}{minimum:>9.3}{maximum:>9.3}")?;
        }
        Ok(())
    }
}

/// A JSON object of what was measured; keys and values are our own words and numbers.
fn json_object(of: &str, members: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut object = format!("{{\"of\":\"{of}\"");
    for (key, value) in members {
        write!(object, ",\"{key}\":{value}").expect("a String takes every write");
    }
    object.push('}');
    object
}

/// A decimal number with spaces between its thousands.
pub(crate) fn grouped(number: &str) -> String {
    let whole = number.find('.').unwrap_or(number.len());
    let mut out = String::new();
    for (index, digit) in number.char_indices() {
        if index > 0 && index < whole && (whole - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(of: &'static str, cpu: f64) -> Run {
        let mut run = Run::new(of, vec![("clients", 10)]);
        run.add(Figure::Cpu, cpu);
        run.add(Figure::Threads, None);
        run
    }

    #[test]
    fn a_run_is_one_line_of_json_without_what_it_does_not_know() {
        let expected = r#"{"of":"server","clients":10,"cpu_us_per_delivery":0.25}"#;
        assert_eq!(run("server", 0.25).json(), expected);
    }

    #[test]
    fn a_comparison_takes_the_ratio_within_each_pair() {
        let pair = |server, bare| (run("server", server), run("bare loop", bare));
        let comparison = Comparison(vec![pair(3.0, 2.0), pair(2.0, 2.0), pair(8.0, 4.0)]);
        let expected = concat!(
            r#"{"of":"ratio","cpu_us_per_delivery":"#,
            r#"{"minimum":1,"median":1.5,"maximum":2}}"#
        );
        assert_eq!(comparison.json(), expected);
    }

    #[test]
    fn the_median_of_an_even_number_of_values_lies_between_the_middle_two() {
        let spread = Spread { minimum: 1.0, median: 2.5, maximum: 9.0 };
        assert_eq!(Spread::of([9.0, 2.0, 1.0, 3.0]), Some(spread));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn thousands_are_set_apart() {
        let numbers = ["1", "999", "1000", "1234567", "1234.5678"].map(grouped);
        assert_eq!(numbers, ["1", "999", "1 000", "1 234 567", "1 234.5678"]);
    }
}
