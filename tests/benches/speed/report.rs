//! The printed report: the machine, and one line per row.

use std::fs;

use ipc_tests::speed::{Goal, Row, Subject, judge};
use rustix::system::uname;

use crate::cpus::Cpus;

/// Prints the machine on which the figures were measured.
pub(crate) fn machine(cpus: Cpus) {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let system = uname();
    let count = std::thread::available_parallelism().map_or(cpus.count(), usize::from);
    println!(
        "{model}, {count} processors allowed, {} {} {}\n",
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy()
    );
}

/// Prints one line per row, then which rows miss a goal and how noisy the run was.
pub(crate) fn table(rows: &[Row]) {
    println!(
        "\n{:25} {:11} {:9} {:>5} {:>3} {:>4} {:>4} {:>8} {:>8}  {:28} {:>6}  {:15} {:>6} {:>6} \
         {:>5}  verdict",
        "work",
        "subject",
        "level",
        "B",
        "fds",
        "cpus",
        "spin",
        "median",
        "p99",
        "floor",
        "ratio",
        "quartiles",
        "goal",
        "calls",
        "alloc"
    );
    for row in rows {
        println!("{}", line(row));
    }
    println!(
        "\nTimes in µs, per operation. The ratio is the median over {} pairs of blocks: time over \
         the floor's time,\nand for 32 in flight throughput over the floor's. Calls and \
         allocations are those of both sides together.",
        rows.first().map_or(0, |row| row.figures.pairs)
    );
    verdict(rows);
}

fn line(row: &Row) -> String {
    let Row { plan, figures, syscalls, allocations } = row;
    let goal = Goal::of(plan).map_or("-".into(), |goal| goal.to_string());
    let calls = syscalls.map_or("-".into(), |calls| format!("{calls:.2}"));
    let verdict = match judge(row) {
        None => "",
        Some(missed) if !missed.is_empty() => "missed",
        Some(_) => "met",
    };
    let (lower, upper) = figures.quartiles;
    format!(
        "{:25} {:11} {:9} {:>5} {:>3} {:>4} {:>4} {:>8.2} {:>8.2}  {:28} {:>6.3}  {:15} {goal:>6} \
         {calls:>6} {allocations:>5.2}  {verdict}",
        plan.work,
        plan.subject,
        plan.level,
        plan.size,
        plan.fds,
        plan.cpus,
        if plan.spin { "on" } else { "off" },
        figures.median_us,
        figures.p99_us,
        plan.floor,
        figures.ratio,
        format!("{lower:.3} – {upper:.3}"),
    )
}

fn verdict(rows: &[Row]) {
    let itself = [Subject::Bare, Subject::Futex];
    for Row { plan, figures, .. } in rows.iter().filter(|row| itself.contains(&row.plan.subject)) {
        let (least, most) = figures.range;
        println!(
            "noise on {} cpus: {}, {} compared with itself gives {:.3}, single pairs {least:.3} to \
             {most:.3}",
            plan.cpus, plan.work, plan.subject, figures.ratio
        );
    }
    let judged: Vec<_> = rows.iter().filter_map(|row| Some((row, judge(row)?))).collect();
    let missed = judged.iter().filter(|(_, missed)| !missed.is_empty()).count();
    println!("{} rows judged, {missed} of them miss a goal", judged.len());
    for (row, missed) in &judged {
        for what in missed {
            println!("missed: {}: {what}", row.plan);
        }
    }
}
