//! The report as text.

use std::fmt::Write;

use super::Report;
use super::file::Sizes;
use super::memory::Memory;

pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to memory does not fail.
    _ = write(report, &mut text);
    text
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(out, "| bytes, stripped | file | text | data | bss | the barrier alone |")?;
    writeln!(out, "|---|---:|---:|---:|---:|---:|")?;
    for (machine, _, daemon, barrier) in &report.machines {
        let Sizes { file, text, data, bss } = daemon;
        let machine = machine.name();
        writeln!(
            out,
            "| tinylogd, {machine} | {file} | {text} | {data} | {bss} | {} |",
            barrier.file
        )?;
    }
    writeln!(out, "\n| x86_64, after 10,000 messages | file, bytes | main, KiB | worker, KiB |")?;
    writeln!(out, "|---|---:|---:|---:|")?;
    for (program, sizes, resident) in &report.programs {
        let [main, worker] = [resident.main, resident.worker].map(memory);
        writeln!(out, "| {} | {} | {main} | {worker} |", program.name(), sizes.file)?;
    }
    writeln!(
        out,
        "\nKiB: resident (RSS) / shared pages divided among the processes that map them (PSS) / private."
    )?;
    writeln!(out, "\nThe code of tinylogd by where it comes from, x86_64, in bytes:\n")?;
    for (name, bytes) in &report.parts {
        writeln!(out, "{bytes:>7}  {name}")?;
    }
    writeln!(out, "\nThe largest functions of tinylogd, x86_64, in bytes:\n")?;
    for (name, bytes) in &report.functions {
        writeln!(out, "{bytes:>7}  {name}")?;
    }
    Ok(())
}

fn memory(memory: Memory) -> String {
    if memory == Memory::default() {
        return "none".to_owned();
    }
    let Memory { resident, share, private } = memory;
    format!("{resident} / {share} / {private}")
}
