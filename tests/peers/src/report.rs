//! The report: a page of tables, and charts.

mod chart;
mod page;

use std::error::Error;
use std::fs;
use std::path::Path;

use crate::contender::Entrant;
use crate::peers::ALL;
use crate::results::{Results, Row};
use crate::work::{Job, Work};

/// A chart of one table.
struct Chart {
    file: &'static str,
    title: &'static str,
    job: Job,
}

const CHARTS: [Chart; 3] = [
    Chart {
        file: "round-trip.svg",
        title: "A round trip of 64 B, both processes on one CPU",
        job: Job { work: Work::RoundTrip { size: 64 }, cpus: 1 },
    },
    Chart {
        file: "two-cpus.svg",
        title: "A round trip of 64 B, each process on its own CPU",
        job: Job { work: Work::RoundTrip { size: 64 }, cpus: 2 },
    },
    Chart {
        file: "in-flight.svg",
        title: "32 requests of 64 B in flight, both processes on one CPU",
        job: Job { work: Work::InFlight { size: 64 }, cpus: 1 },
    },
];

/// Writes the page and its charts into the folder.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let mut drawn = Vec::new();
    for chart in &CHARTS {
        let rows: Vec<&Row> = results.rows.iter().filter(|row| row.is_of(chart.job)).collect();
        if !rows.is_empty() {
            chart::draw(&folder.join(chart.file), chart.title, &rows)?;
            drawn.push(chart);
        }
    }
    fs::write(folder.join("README.md"), page::page(results, &drawn))?;
    Ok(())
}

/// Returns the contender of that name; a report of older figures may name others.
fn entrant(name: &str) -> Option<&'static Entrant> {
    ALL.iter().find(|entrant| entrant.name == name)
}
