//! The printed tables.

use std::collections::{BTreeMap, BTreeSet};

use crate::machine::Machine;
use crate::results::{Cost, Outsider, Results, Row};

pub(crate) fn machine(machine: &Machine) {
    let Machine { processor, cpus, kernel, date, versions } = machine;
    println!("{processor}, {cpus} CPUs used, {kernel}, {date}");
    let versions: Vec<String> =
        versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    println!("{}", versions.join(", "));
}

pub(crate) fn rows(rows: &[Row]) {
    println!("  {:<26} {:>10} {:>8}   {:<14}", "", "µs", "ratio", "p10 .. p90");
    for Row { name, microseconds, ratio, p10, p90, .. } in rows {
        println!("  {name:<26} {microseconds:>10.2} {ratio:>8.2}   {p10:.2} .. {p90:.2}");
    }
}

pub(crate) fn costs(costs: &[Cost]) {
    println!(
        "  {:<26} {:>8} {:>12} {:>12} {:>12}",
        "", "calls", "allocations", "main PSS KiB", "peer PSS KiB"
    );
    for Cost { name, system_calls, allocations, main, peer } in costs {
        let calls = system_calls.map_or("-".into(), |calls| format!("{calls:.1}"));
        println!("  {name:<26} {calls:>8} {allocations:>12.1} {:>12} {:>12}", main.pss, peer.pss);
    }
}

/// What is missing from the tables, and why.
pub(crate) fn absent(results: &Results) {
    println!();
    for ((name, why), works) in reasons(results.outsiders.iter().filter(|it| !it.has_failed)) {
        println!("left out: {name}: {why} ({})", joined(works));
    }
    for ((name, why), works) in reasons(results.outsiders.iter().filter(|it| it.has_failed)) {
        println!("failed: {name}: {why} ({})", joined(works));
    }
    for what in &results.skipped {
        println!("skipped: {what}");
    }
}

/// Returns the works that a contender did not do, by contender and reason.
pub(crate) fn reasons<'a>(
    outsiders: impl Iterator<Item = &'a Outsider>,
) -> BTreeMap<(&'a str, &'a str), BTreeSet<&'a str>> {
    let mut reasons = BTreeMap::<_, BTreeSet<_>>::new();
    for Outsider { work, name, why, .. } in outsiders {
        let works = reasons.entry((name.as_str(), why.as_str())).or_default();
        works.insert(work.as_str());
    }
    reasons
}

pub(crate) fn joined(works: BTreeSet<&str>) -> String {
    works.into_iter().collect::<Vec<_>>().join("; ")
}
