//! The race: for each kind of work all contenders in turn, in a new order each time.

use crate::contender::Entrant;
use crate::launch::launch;
use crate::options::Pace;
use crate::peers::ALL;
use crate::results::{Outsider, Row};
use crate::single::{Effort, Found};
use crate::work::Job;

/// A contender, with its time in each repetition.
struct Runner {
    entrant: &'static Entrant,
    nanoseconds: Vec<f64>,
}

/// The result for one table.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    pub(crate) outsiders: Vec<Outsider>,
}

/// Measures a table. A contender that cannot do the work, or fails, is skipped from then on.
pub(crate) fn measure(job: Job, filter: &str, pace: Pace) -> Table {
    let mut table = Table::default();
    let mut runners: Vec<Runner> =
        chosen(job, filter).map(|entrant| Runner { entrant, nanoseconds: Vec::new() }).collect();
    for _ in 0..pace.repetitions {
        let mut order: Vec<usize> = (0..runners.len()).collect();
        fastrand::shuffle(&mut order);
        let mut passed_over = Vec::new();
        for index in order {
            let Runner { entrant, nanoseconds } = &mut runners[index];
            let outsider =
                |why, has_failed| Some(Outsider::new(job, entrant.name, why, has_failed));
            match launch(entrant, job, Effort::Time(pace.block), None) {
                Found::Nanoseconds(time) => nanoseconds.push(time),
                Found::Elsewhere => passed_over.push((index, None)),
                Found::LeftOut(why) => passed_over.push((index, outsider(why, false))),
                Found::Failed(why) => passed_over.push((index, outsider(why, true))),
                Found::Counted { .. } => unreachable!("the job was to be timed"),
            }
        }
        passed_over.sort_by_key(|(index, _)| *index);
        for (index, outsider) in passed_over.into_iter().rev() {
            runners.remove(index);
            table.outsiders.extend(outsider);
        }
    }
    table.rows = rows(job, &runners);
    table
}

/// Returns the contenders that the filter selects, preceded by those to which ratios are taken.
fn chosen(job: Job, filter: &str) -> impl Iterator<Item = &'static Entrant> {
    let is_chosen = move |entrant: &Entrant| format!("{job}, {}", entrant.name).contains(filter);
    let is_any = ALL.iter().any(is_chosen);
    ALL.iter().filter(move |entrant| is_any && (entrant.is_floor() || is_chosen(entrant)))
}

/// Compares each contender with the first that did the work, repetition by repetition.
fn rows(job: Job, runners: &[Runner]) -> Vec<Row> {
    let Some(floor) = runners.first() else { return Vec::new() };
    let row = |runner: &Runner| {
        Row::new(job, runner.entrant.name, &runner.nanoseconds, &floor.nanoseconds)
    };
    runners.iter().map(row).collect()
}
