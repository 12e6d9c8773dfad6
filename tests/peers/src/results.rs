//! The results of a run, as saved and reported.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::work::Job;

/// All results of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) is_quick: bool,
    pub(crate) rows: Vec<Row>,
    pub(crate) costs: Vec<Cost>,
    pub(crate) sizes: Vec<Size>,
    /// Contenders that did not do some work, and why.
    pub(crate) outsiders: Vec<Outsider>,
    /// What was not measured because a tool or a CPU is missing.
    pub(crate) skipped: Vec<String>,
}

/// One contender at one work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) cpus: usize,
    pub(crate) name: String,
    /// Per message, the median over the repetitions.
    pub(crate) microseconds: f64,
    /// The median of the repetitions' ratios to the floor.
    pub(crate) ratio: f64,
    /// Eight of ten repetitions have a ratio between these.
    pub(crate) p10: f64,
    pub(crate) p90: f64,
    pub(crate) repetitions: usize,
}

impl Row {
    /// Computes a contender's row from its times and the floor's, both in nanoseconds.
    pub(crate) fn new(job: Job, name: &str, times: &[f64], floor: &[f64]) -> Self {
        let ratios = sorted(times.iter().zip(floor).map(|(time, floor)| time / floor));
        Self {
            work: job.work.to_string(),
            cpus: job.cpus,
            name: name.into(),
            microseconds: quantile(&sorted(times.iter().map(|time| time / 1000.0)), 0.5),
            ratio: quantile(&ratios, 0.5),
            p10: quantile(&ratios, 0.1),
            p90: quantile(&ratios, 0.9),
            repetitions: ratios.len(),
        }
    }

    pub(crate) fn is_of(&self, job: Job) -> bool {
        self.work == job.work.to_string() && self.cpus == job.cpus
    }
}

/// What a contender costs besides time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) name: String,
    /// Per round trip, both sides together; `None` if they cannot be counted.
    pub(crate) system_calls: Option<f64>,
    pub(crate) allocations: f64,
    pub(crate) main: crate::memory::Memory,
    pub(crate) peer: crate::memory::Memory,
}

/// The size of the smallest program with a contender, stripped.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// A contender that did not do some work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outsider {
    pub(crate) work: String,
    pub(crate) cpus: usize,
    pub(crate) name: String,
    pub(crate) why: String,
    /// It should have done the work, and failed or hung.
    pub(crate) has_failed: bool,
}

impl Outsider {
    pub(crate) fn new(job: Job, name: &str, why: String, has_failed: bool) -> Self {
        let Job { work, cpus } = job;
        Self { work: work.to_string(), cpus, name: name.into(), why, has_failed }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Returns the quantile of the sorted values, interpolated between two if necessary.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let (lower, upper) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    lower + (upper - lower) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_a_repetition() {
        // In the second repetition the machine was ten times slower for both.
        let row = Row::new(Job::all()[0], "it", &[200.0, 2000.0, 400.0], &[100.0, 1000.0, 100.0]);
        assert_eq!((row.ratio, row.microseconds, row.repetitions), (2.0, 0.4, 3));
    }

    #[test]
    fn quantiles_lie_between_values() {
        let values: Vec<f64> = (0..=10).map(f64::from).collect();
        assert_eq!((quantile(&values, 0.1), quantile(&values, 0.95)), (1.0, 9.5));
        assert_eq!((quantile(&[7.0], 0.9), quantile(&[1.0, 2.0], 0.5)), (7.0, 1.5));
    }
}
