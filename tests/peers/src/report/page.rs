//! The page: what was measured, on which machine, and all tables.

use std::fmt::Write as _;

use super::{Chart, entrant};
use crate::costs;
use crate::machine::Machine;
use crate::peers::ALL;
use crate::print::{joined, reasons};
use crate::results::{Outsider, Results, Row, Size};

pub(super) fn page(results: &Results, charts: &[&Chart]) -> String {
    let mut page = String::from(HEAD);
    machine(&mut page, results);
    for Chart { file, title, .. } in charts {
        _ = writeln!(page, "\n![{title}]({file})");
    }
    entrants(&mut page, results);
    tables(&mut page, &results.rows);
    if !results.costs.is_empty() {
        costs(&mut page, results);
    }
    if !results.sizes.is_empty() {
        sizes(&mut page, &results.sizes);
    }
    absent(&mut page, results);
    page
}

const HEAD: &str = "\
<!-- Written by `cargo xtask bench --report`. Do not edit. -->

# Compared with others

Two processes exchange the same messages: by bare system calls, through these crates, and through
others that do the same work. Both sides check the bytes. In each repetition all contenders run in
turn, in a new order. Each starts a new pair of processes, which warms up before it is timed. A
ratio is the time per message divided by that of the bare calls in the same repetition. The tables
show the median ratio, and the range that contains eight of ten repetitions. Lower is better
everywhere.

Ratios carry over to other machines roughly; times do not. On two CPUs a round trip is mostly the
kernel's wake-up of the other process, whose time depends strongly on machine and load.
";

fn machine(page: &mut String, results: &Results) {
    let Machine { processor, cpus, kernel, date, .. } = &results.machine;
    let repetitions = results.rows.iter().map(|row| row.repetitions).max().unwrap_or(0);
    let hint = if results.is_quick { ", a quick run with rough figures" } else { "" };
    _ = writeln!(
        page,
        "\nMeasured on {date}: {processor}, {cpus} CPUs used, {kernel}, {repetitions} \
         repetitions{hint}."
    );
}

fn entrants(page: &mut String, results: &Results) {
    page.push_str("\n## Contenders\n\n| contender | version | what is measured |\n|---|---|---|\n");
    let versions = &results.machine.versions;
    for entrant in ALL {
        let is_it = |(name, _): &&(String, String)| Some(name.as_str()) == entrant.package;
        let version = versions.iter().find(is_it).map_or("", |(_, version)| version);
        _ = writeln!(page, "| {} | {version} | {} |", entrant.name, entrant.how);
    }
}

/// One table per work, with the figures for one CPU and for two side by side.
fn tables(page: &mut String, rows: &[Row]) {
    let mut works: Vec<&str> = rows.iter().map(|row| row.work.as_str()).collect();
    works.dedup();
    for work in works {
        _ = writeln!(page, "\n## {}\n", capitalized(work));
        page.push_str(
            "| | one CPU: µs | ratio | p10 to p90 | two CPUs: µs | ratio | p10 to p90 |\n\
             |---|---:|---:|---:|---:|---:|---:|\n",
        );
        let of_work = |row: &&Row| row.work == work;
        let mut names: Vec<&str> =
            rows.iter().filter(of_work).map(|row| row.name.as_str()).collect();
        names.sort_by_key(|name| ALL.iter().position(|entrant| entrant.name == *name));
        names.dedup();
        for name in names {
            let [one, two] = [1, 2].map(|cpus| {
                let is_it = |row: &&Row| of_work(row) && row.name == name && row.cpus == cpus;
                rows.iter().find(is_it).map_or(" | | ".into(), cells)
            });
            _ = writeln!(page, "| {} | {one} | {two} |", bold(name));
        }
    }
}

fn cells(row: &Row) -> String {
    let Row { microseconds, ratio, p10, p90, .. } = row;
    format!("{} | {ratio:.2} | {p10:.2} to {p90:.2}", short(*microseconds))
}

fn costs(page: &mut String, results: &Results) {
    _ = writeln!(page, "\n## What a round trip costs\n\nFor {}, both sides together. ", costs::JOB);
    page.push_str(
        "Memory is in KiB, for the measuring program with all contenders linked in: resident \
         (RSS), and with shared pages divided among their users (PSS). Allocations of a peer \
         started by exec are not counted.\n\n\
         | | system calls | allocations | main RSS | PSS | peer RSS | PSS |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for cost in &results.costs {
        let calls = cost.system_calls.map_or(String::new(), |calls| format!("{calls:.1}"));
        let (name, main, peer) = (bold(&cost.name), cost.main, cost.peer);
        let allocations = cost.allocations;
        let (main_rss, main_pss, peer_rss, peer_pss) = (main.rss, main.pss, peer.rss, peer.pss);
        _ = writeln!(
            page,
            "| {name} | {calls} | {allocations:.1} | {main_rss} | {main_pss} | {peer_rss} | \
             {peer_pss} |"
        );
    }
}

fn sizes(page: &mut String, sizes: &[Size]) {
    page.push_str(
        "\n## The smallest program\n\nIt starts a peer and does one round. It is optimized for size, \
         without unwinding, stripped, and linked to the C library.\n\n| | bytes |\n|---|---:|\n",
    );
    for Size { name, bytes } in sizes {
        _ = writeln!(page, "| {} | {bytes} |", bold(name));
    }
}

fn absent(page: &mut String, results: &Results) {
    let mut list = |title: &str, has_failed: bool| {
        let those = |it: &&Outsider| it.has_failed == has_failed;
        let reasons = reasons(results.outsiders.iter().filter(those));
        if !reasons.is_empty() {
            _ = writeln!(page, "\n## {title}\n");
        }
        for ((name, why), works) in reasons {
            _ = writeln!(page, "- {name}: {why} ({})", joined(works));
        }
    };
    list("Left out", false);
    list("Failed", true);
    if !results.skipped.is_empty() {
        page.push_str("\n## Skipped\n\n");
    }
    for what in &results.skipped {
        _ = writeln!(page, "- {what}");
    }
}

/// Prints our crates in bold.
fn bold(name: &str) -> String {
    match entrant(name) {
        Some(entrant) if entrant.is_ours() => format!("**{name}**"),
        _ => name.into(),
    }
}

/// Formats to about three digits.
fn short(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_about_three_digits() {
        let values = [0.123, 9.876, 12.34, 1234.5].map(short);
        assert_eq!(values, ["0.12", "9.88", "12.3", "1234"]);
    }

    #[test]
    fn one_cpu_and_two_are_side_by_side() {
        let row = |name: &str, cpus, ratio| Row {
            work: "round trip, 64 B".into(),
            cpus,
            name: name.into(),
            microseconds: 10.0 * ratio,
            ratio,
            p10: ratio,
            p90: ratio,
            repetitions: 1,
        };
        let rows = [row("bare stream", 1, 1.0), row("uds", 1, 0.5), row("uds", 2, 2.0)];
        let mut page = String::new();
        tables(&mut page, &rows);
        assert_eq!(page.matches("## Round trip, 64 B").count(), 1);
        let line = "| uds | 5.00 | 0.50 | 0.50 to 0.50 | 20.0 | 2.00 | 2.00 to 2.00 |";
        assert_eq!(page.matches(line).count(), 1, "{page}");
    }
}
