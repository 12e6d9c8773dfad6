//! The checks of a run, one line each.

use super::{
    figures::ms,
    measured::Measured,
    phase::{KILLS, Phase},
    run::Finished,
};

/// The lateness inline must be at least this many times the lateness with the worker.
const TIMES: u64 = 10;

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    Failed,
    /// A note, which does not affect the result.
    Note,
}

/// A check: its text, with the figures.
pub(crate) struct Check {
    pub(crate) verdict: Verdict,
    pub(crate) text: String,
}

impl Check {
    fn new(ok: bool, text: String) -> Self {
        Self { verdict: if ok { Verdict::Ok } else { Verdict::Failed }, text }
    }

    fn note(text: String) -> Self {
        Self { verdict: Verdict::Note, text }
    }
}

/// Checks everything that must be true of the daemons' runs.
pub(crate) fn checks(runs: &[Finished], stall: Option<&str>) -> Vec<Check> {
    let phases: Vec<&Measured> = runs.iter().flat_map(|run| &run.phases).collect();
    let mut checks = vec![every_message(&phases), losses(runs, &phases), lines(runs), exits(runs)];
    checks.push(restarts(&phases));
    checks.push(lateness(&phases, stall));
    checks.extend(notes(runs, &phases));
    checks
}

fn every_message(phases: &[&Measured]) -> Check {
    let sum = |of: fn(&Measured) -> u64| phases.iter().map(|measured| of(measured)).sum::<u64>();
    let accepted = sum(|measured| measured.sent.accepted_count());
    let missing = sum(|measured| measured.fate.missing);
    let doubled = sum(|measured| measured.fate.doubled);
    let text = format!(
        "every accepted message is in the files once: {accepted} accepted, {missing} missing and \
         not reported, {doubled} doubled"
    );
    Check::new(accepted > 0 && missing == 0 && doubled == 0, text)
}

/// At most one request was running at each kill.
fn losses(runs: &[Finished], phases: &[&Measured]) -> Check {
    let lost: usize = runs.iter().map(|run| run.lost.len()).sum();
    let kills: usize = phases.iter().map(|measured| measured.kills.len()).sum();
    let text =
        format!("only requests running at a kill are reported lost: {lost} at {kills} kills");
    Check::new(lost <= kills, text)
}

fn lines(runs: &[Finished]) -> Check {
    let torn: u64 = runs.iter().map(|run| run.ledger.torn).sum();
    let strays: usize = runs.iter().map(|run| run.ledger.strays()).sum();
    let mut text = format!("every line in the files was sent: {torn} torn, {strays} not sent");
    for line in runs.iter().flat_map(|run| &run.ledger.torn_lines) {
        text.push_str(&format!("\n       {line:?}"));
    }
    Check::new(torn == 0 && strays == 0, text)
}

fn exits(runs: &[Finished]) -> Check {
    let bad: Vec<&str> = runs.iter().filter_map(|run| run.bad_exit.as_deref()).collect();
    let how = if bad.is_empty() { String::new() } else { format!(": {}", bad.join(", ")) };
    Check::new(bad.is_empty(), format!("logd exited with 0 each time{how}"))
}

fn restarts(phases: &[&Measured]) -> Check {
    let kills = phases.iter().flat_map(|measured| &measured.kills);
    let answered = kills.filter(|kill| kill.to_reply_us().is_some()).count();
    let text = format!("a new worker answered after each kill: {answered} of {KILLS}");
    Check::new(u64::try_from(answered) == Ok(KILLS), text)
}

/// Without stalls this is only a note, since the disk may be as fast as memory.
fn lateness(phases: &[&Measured], stall: Option<&str>) -> Check {
    let p99 = |phase| {
        phases
            .iter()
            .find(|found| found.phase == phase)
            .and_then(|found| found.late.percentile(990))
    };
    let (in_line, worker) = (p99(Phase::InLine), p99(Phase::Worker));
    let text = format!(
        "ticks with the worker are late by at most a tenth of those inline (p99): {} and {}",
        ms(worker),
        ms(in_line)
    );
    match stall {
        Some(_) => {
            let is_tenth = worker.zip(in_line).is_some_and(|(one, other)| one * TIMES <= other);
            Check::new(is_tenth, text)
        }
        None => Check::note(format!("not checked with --no-stall: {text}")),
    }
}

/// Notes, which do not affect the result.
fn notes(runs: &[Finished], phases: &[&Measured]) -> Vec<Check> {
    let timed_out: u64 = phases.iter().map(|measured| measured.sent.timed_out).sum();
    let not_synced: usize = runs.iter().map(|run| run.not_synced).sum();
    let mut lost: Vec<_> = runs.iter().flat_map(|run| &run.lost).collect();
    lost.sort_unstable_by_key(|message| message.number);
    let mut notes: Vec<Check> = lost
        .into_iter()
        .map(|message| Check::note(format!("lost, since it was running: {}", message.written())))
        .collect();
    if not_synced > 0 {
        notes.push(Check::note(format!("written but perhaps not synced at a kill: {not_synced}")));
    }
    if timed_out > 0 {
        notes.push(Check::note(format!("sends given up, not accepted: {timed_out}")));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::{super::ledger::Fate, *};

    fn late(phase: Phase, late_us: u64) -> Measured {
        Measured { late: [late_us].into_iter().collect(), ..Measured::new(phase) }
    }

    #[test]
    fn worker_must_be_late_by_at_most_a_tenth() {
        let in_line = late(Phase::InLine, 2_048);
        for (worker_us, verdict) in [(200, Verdict::Ok), (208, Verdict::Failed)] {
            let worker = late(Phase::Worker, worker_us);
            assert_eq!(lateness(&[&in_line, &worker], Some("200/250")).verdict, verdict);
            assert_eq!(lateness(&[&in_line, &worker], None).verdict, Verdict::Note);
        }
        assert_eq!(lateness(&[&in_line], Some("200/250")).verdict, Verdict::Failed);
    }

    #[test]
    fn missing_and_doubled_messages_fail() {
        let mut measured = Measured::new(Phase::Worker);
        assert_eq!(every_message(&[&measured]).verdict, Verdict::Failed, "nothing was sent");
        measured.sent.accepted = vec![0, 1];
        assert_eq!(every_message(&[&measured]).verdict, Verdict::Ok);
        measured.fate.missing = 1;
        assert_eq!(every_message(&[&measured]).verdict, Verdict::Failed);
        measured.fate = Fate { doubled: 1, ..Fate::default() };
        assert_eq!(every_message(&[&measured]).verdict, Verdict::Failed);
    }

    #[test]
    fn kill_with_no_answer_fails() {
        assert_eq!(restarts(&[&Measured::new(Phase::Killed)]).verdict, Verdict::Failed);
    }
}
