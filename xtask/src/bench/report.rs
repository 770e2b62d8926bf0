//! Medians, ratios, the table and the JSON file.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::proxy::{HAPROXY, NGINX, SOCKEYE, SOCKEYE_SOCKMAP};
use super::scenario::{Measured, Row, Scenario};
use crate::workspace::say;

/// The columns, in order.
const CONTENDERS: [&str; 4] = [HAPROXY, NGINX, SOCKEYE, SOCKEYE_SOCKMAP];

/// One measurement of one contender.
pub(super) struct Sample {
    pub(super) scenario: &'static str,
    pub(super) contender: &'static str,
    pub(super) measured: Measured,
}

/// All measurements.
#[derive(Default)]
pub(super) struct Report {
    samples: Vec<Sample>,
}

impl Report {
    pub(super) fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// The table, on the standard output.
    pub(super) fn print(&self, scenarios: &[&Scenario]) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "\n{:<22} {:<16} {:>10} {:>10} {:>10} {:>10}  {:>9} {:>9}  target",
            "scenario", "figure", "haproxy", "nginx", "sockeye", "sockmap", "/haproxy", "/nginx"
        )?;
        for scenario in scenarios {
            for row in scenario.rows {
                writeln!(out, "{}", self.line(scenario, row))?;
            }
        }
        writeln!(
            out,
            "\nMedians; the last columns are Sockeye's figure in relation to the others'. CPU is the processes'"
        )?;
        writeln!(out, "own: what kernel workers spend on a flow in a sockmap is not in it.")?;
        Ok(())
    }

    fn line(&self, scenario: &Scenario, row: &Row) -> String {
        let values = CONTENDERS.map(|contender| self.median(scenario, row, contender));
        let [haproxy, nginx, sockeye, _] = values;
        let shown =
            values.map(|value| format!("{:>10} ", value.map_or_else(|| "-".to_owned(), figure))).concat();
        let ratios = [haproxy, nginx].map(|other| ratio(sockeye, other));
        let verdict = match row.target.map(|target| (target, target.is_met(ratios[0], ratios[1]))) {
            Some((target, Some(true))) => format!("{target} met"),
            Some((target, Some(false))) => format!("{target} missed"),
            Some((target, None)) => target.to_string(),
            None => String::new(),
        };
        let ratios = ratios.map(|ratio| {
            format!("{:>10}", ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")))
        });
        format!("{:<22} {:<16} {shown}{}  {verdict}", scenario.name, row.unit, ratios.concat())
            .trim_end()
            .to_owned()
    }

    /// The figures of a row, round by round.
    fn values(&self, scenario: &Scenario, row: &Row, contender: &str) -> Vec<f64> {
        let values = self.of_scenario(scenario.name, row, contender);
        match row.over {
            None => values.collect(),
            Some(over) => {
                let less = self.of_scenario(over, row, contender);
                values.zip(less).map(|(value, less)| value - less).collect()
            }
        }
    }

    fn of_scenario<'a>(
        &'a self,
        scenario: &'a str,
        row: &'a Row,
        contender: &'a str,
    ) -> impl Iterator<Item = f64> + 'a {
        let samples = self.samples.iter();
        let of_pair =
            samples.filter(move |sample| sample.scenario == scenario && sample.contender == contender);
        of_pair.filter_map(|sample| row.figure.of(&sample.measured))
    }

    fn median(&self, scenario: &Scenario, row: &Row, contender: &str) -> Option<f64> {
        median(self.values(scenario, row, contender))
    }

    /// Medians, every single value, ratios and targets.
    pub(super) fn write_json(&self, scenarios: &[&Scenario], file: &Path) -> Result<()> {
        let rows =
            scenarios.iter().flat_map(|scenario| scenario.rows.iter().map(|row| self.json(scenario, row)));
        let text = serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?;
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        say(format_args!("written: {}", file.display()));
        Ok(())
    }

    fn json(&self, scenario: &Scenario, row: &Row) -> Value {
        let [haproxy, nginx, sockeye, _] = CONTENDERS.map(|contender| self.median(scenario, row, contender));
        let contenders: BTreeMap<&str, Value> = CONTENDERS
            .iter()
            .filter_map(|contender| {
                let values = self.values(scenario, row, contender);
                let median = median(values.clone())?;
                Some((*contender, json!({ "median": median, "rounds": values })))
            })
            .collect();
        let [to_haproxy, to_nginx] = [haproxy, nginx].map(|other| ratio(sockeye, other));
        json!({
            "scenario": scenario.name,
            "unit": row.unit,
            "contenders": contenders,
            "ratio_to_haproxy": to_haproxy,
            "ratio_to_nginx": to_nginx,
            "target": row.target.map(|target| target.to_string()),
            "met": row.target.and_then(|target| target.is_met(to_haproxy, to_nginx)),
        })
    }
}

/// Three significant places for small figures, none behind the point for large ones.
fn figure(value: f64) -> String {
    if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

fn ratio(ours: Option<f64>, other: Option<f64>) -> Option<f64> {
    let (ours, other) = ours.zip(other)?;
    (other > 0.0).then_some(ours / other)
}

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        even if even % 2 == 0 => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario::{Figure, Load, Setup, Target};
    use super::*;

    #[test]
    fn medians() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 2.0], Some(3.0)),
        ] {
            assert_eq!(median(values), expected);
        }
    }

    #[test]
    fn a_line_compares_and_judges() {
        const ROWS: &[Row] = &[Row {
            figure: Figure::Cpu,
            unit: "CPU us/request",
            target: Some(Target::AtMost(0.80)),
            over: None,
        }];
        let scenario = Scenario {
            name: "http",
            setup: Setup::Http,
            load: Load::KeepAlive { connections: 1 },
            rows: ROWS,
        };
        let mut report = Report::default();
        for (contender, cpu) in [(HAPROXY, 20.0), (SOCKEYE, 15.0), (HAPROXY, 22.0), (HAPROXY, 18.0)] {
            let measured = Measured { rate: None, cpu: Some(cpu), memory: None };
            report.add(Sample { scenario: "http", contender, measured });
        }
        let words: Vec<String> =
            report.line(&scenario, &ROWS[0]).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words.join(" "), "http CPU us/request 20.00 - 15.00 - 0.75 - <= 0.80 met");
        assert_eq!(report.json(&scenario, &ROWS[0])["met"], true);
    }

    #[test]
    fn what_is_more_than_a_baseline_is_taken_round_by_round() {
        const ROW: Row =
            Row { figure: Figure::Cpu, unit: "CPU us of rules", target: None, over: Some("plain") };
        let scenario = Scenario {
            name: "rules",
            setup: Setup::Http,
            load: Load::KeepAlive { connections: 1 },
            rows: &[ROW],
        };
        let mut report = Report::default();
        for (plain, rules) in [(10.0, 14.0), (20.0, 25.0), (10.0, 16.0)] {
            for (scenario, cpu) in [("plain", plain), ("rules", rules)] {
                let measured = Measured { rate: None, cpu: Some(cpu), memory: None };
                report.add(Sample { scenario, contender: SOCKEYE, measured });
            }
        }
        assert_eq!(report.values(&scenario, &ROW, SOCKEYE), [4.0, 5.0, 6.0]);
        assert_eq!(report.median(&scenario, &ROW, SOCKEYE), Some(5.0));
        assert_eq!(report.median(&scenario, &ROW, HAPROXY), None);
    }
}
