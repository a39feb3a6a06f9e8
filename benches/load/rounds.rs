//! Repeated measurements: medians with their spread, and two binaries compared pair by pair.

use crate::cost::Cost;
use crate::load::Latencies;
use crate::table::{self, median, thousands};

/// One measurement.
pub struct Round {
    /// Operations per second.
    pub rate: f64,
    pub latencies: Option<Latencies>,
    /// Sealed bodies, bytes each: their size is the provider's, so it is taken out of the WAL.
    pub sealed_bytes: Option<f64>,
    /// Of the service, in MiB.
    pub peak_rss: Option<f64>,
    pub cost: Cost,
}

/// What is measured, and all measurements of it.
pub struct Subject {
    name: String,
    rounds: Vec<Round>,
}

impl Subject {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), rounds: Vec::new() }
    }

    pub fn add(&mut self, round: Round) {
        self.rounds.push(round);
    }

    /// Median of the operations per second.
    pub fn rate(&self) -> f64 {
        median(&mut self.rounds.iter().map(|round| round.rate).collect::<Vec<_>>())
    }

    /// Median of a percentile of the latencies, in milliseconds.
    pub fn latency(&self, share: f64) -> f64 {
        median(
            &mut self
                .rounds
                .iter()
                .filter_map(|round| percentile(round, share))
                .collect::<Vec<_>>(),
        )
    }

    /// Median of the peak memory, in MiB.
    pub fn peak_rss(&self) -> f64 {
        median(&mut self.rounds.iter().filter_map(|round| round.peak_rss).collect::<Vec<_>>())
    }
}

struct Metric {
    name: &'static str,
    digits: usize,
    of: fn(&Round) -> Option<f64>,
}

const METRICS: [Metric; 16] = [
    Metric { name: "per second", digits: 0, of: |round| Some(round.rate) },
    Metric { name: "latency p50, ms", digits: 2, of: |round| percentile(round, 0.5) },
    Metric { name: "latency p99, ms", digits: 2, of: |round| percentile(round, 0.99) },
    Metric { name: "CPU µs: client", digits: 1, of: |round| Some(round.cost.client) },
    Metric { name: "CPU µs: service", digits: 1, of: |round| round.cost.service },
    Metric { name: "CPU µs: Postgres", digits: 1, of: |round| Some(round.cost.postgres) },
    Metric { name: "CPU µs: these together", digits: 1, of: |round| Some(round.cost.cpu()) },
    Metric { name: "CPU µs: service and Postgres", digits: 1, of: service_and_postgres },
    Metric { name: "CPU µs: simulated provider", digits: 1, of: |round| round.cost.provider },
    Metric { name: "WAL bytes", digits: 0, of: |round| Some(round.cost.wal_bytes) },
    Metric { name: "of it full pages", digits: 0, of: |round| Some(round.cost.full_page_bytes) },
    Metric { name: "of it sealed bodies", digits: 0, of: |round| round.sealed_bytes },
    Metric { name: "commits", digits: 3, of: |round| Some(round.cost.commits) },
    Metric { name: "machine used, %", digits: 0, of: |round| Some(round.cost.used * 100.0) },
    Metric {
        name: "machine used by others, %",
        digits: 0,
        of: |round| Some(round.cost.used_by_others * 100.0),
    },
    Metric { name: "peak memory, MiB", digits: 1, of: |round| round.peak_rss },
];

fn percentile(round: &Round, share: f64) -> Option<f64> {
    round.latencies.as_ref().map(|latencies| f64::from(latencies.percentile(share)) / 1000.0)
}

fn service_and_postgres(round: &Round) -> Option<f64> {
    round.cost.service.map(|service| service + round.cost.postgres)
}

/// A row for each metric: the median of each subject and, in brackets, its least and its greatest.
/// The last column compares the last two subjects round by round; its brackets hold the true median
/// with a confidence of 95 %, if there are six rounds or more.
pub fn print(what: &str, subjects: &[&Subject]) {
    let mut headings = vec![what];
    headings.extend(subjects.iter().map(|subject| subject.name.as_str()));
    let compared = match subjects {
        [.., one, other] => Some((*one, *other, format!("{} / {}", other.name, one.name))),
        _ => None,
    };
    if let Some((_, _, name)) = &compared {
        headings.push(name);
    }
    let rows: Vec<Vec<String>> = METRICS
        .iter()
        .filter_map(|metric| {
            let seen: Vec<Vec<f64>> = subjects
                .iter()
                .map(|subject| subject.rounds.iter().filter_map(metric.of).collect())
                .collect();
            if seen.iter().all(Vec::is_empty) {
                return None;
            }
            let mut row = vec![metric.name.to_owned()];
            row.extend(seen.iter().map(|numbers| spread(numbers, metric.digits)));
            if compared.is_some() {
                let [.., one, other] = &seen[..] else { return None };
                row.push(interval(&ratios(one, other)));
            }
            Some(row)
        })
        .collect();
    table::print(&headings, &rows);
}

/// `other` by `one`, each round by its neighbour in time.
pub fn ratios(one: &[f64], other: &[f64]) -> Vec<f64> {
    let pairs = one.iter().zip(other).filter(|(one, _)| **one > 0.0);
    pairs.map(|(one, other)| other / one).collect()
}

/// The median and, where there are several, the least and the greatest.
fn spread(numbers: &[f64], digits: usize) -> String {
    let text = |number: f64| match digits {
        0 => thousands(number),
        _ => format!("{number:.digits$}"),
    };
    let mut sorted = numbers.to_vec();
    let middle = median(&mut sorted);
    match &sorted[..] {
        [] => "–".to_owned(),
        [only] => text(*only),
        [least, .., greatest] => format!("{} ({}–{})", text(middle), text(*least), text(*greatest)),
    }
}

/// The median of ratios and its confidence interval, which supposes no distribution.
pub fn interval(ratios: &[f64]) -> String {
    let mut sorted = ratios.to_vec();
    let middle = median(&mut sorted);
    let cut = outside(sorted.len());
    match &sorted[cut..sorted.len() - cut] {
        [] => "–".to_owned(),
        [only] => format!("{only:.3}×"),
        [least, .., greatest] => format!("{middle:.3}× ({least:.3}–{greatest:.3})"),
    }
}

/// How many of the least and of the greatest may be left out, so that the true median still lies
/// between the others with 95 %: as many heads as `count` coins show with at most 2.5 %.
fn outside(count: usize) -> usize {
    let coins = i32::try_from(count).unwrap_or(i32::MAX);
    let mut heads = 0.5_f64.powi(coins);
    let (mut cut, mut at_most) = (0, heads);
    while at_most <= 0.025 && cut < count {
        cut += 1;
        heads *= (count - cut + 1) as f64 / cut as f64;
        at_most += heads;
    }
    cut.saturating_sub(1)
}

/// The order of two subjects in a round: every other round it is turned round, so that a machine
/// that gets slower or faster favours neither.
pub fn order(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}
