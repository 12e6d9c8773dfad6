//! Runs a measurement in a separate process, and kills it with all of its peers at a time limit.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ipc_transport::{Instant, Interest, Watched, wait};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::contender::Entrant;
use crate::peers::ALL;
use crate::single::{Effort, Found, measure};
use crate::work::Job;

/// The first argument of a measuring process.
const MEASURE: &str = "measure";

/// How much longer than planned a measurement may take.
const LIMIT: Duration = Duration::from_secs(6);

/// Measures if this process was started to measure.
pub(crate) fn measure_if_asked() -> bool {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [verb, numbers @ ..] = &args[..] else { return false };
    let numbers: Vec<usize> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
    let &[entrant, job, rounds, microseconds] = &numbers[..] else { return false };
    if verb != MEASURE {
        return false;
    }
    let effort = match rounds {
        0 => Effort::Time(Duration::from_micros(microseconds as u64)),
        _ => Effort::Rounds(rounds),
    };
    let found = measure(&ALL[entrant], Job::all()[job], effort);
    println!("{}", serde_json::to_string(&found).expect("figures and text are valid JSON"));
    true
}

/// Measures in another process, run by a tracer if its command is given.
pub(crate) fn launch(
    entrant: &Entrant,
    job: Job,
    effort: Effort,
    tracer: Option<&[&OsStr]>,
) -> Found {
    let place = ALL.iter().position(|other| other.name == entrant.name);
    let job = Job::all().iter().position(|other| *other == job);
    let (Some(place), Some(job)) = (place, job) else { unreachable!("they are from these lists") };
    let (rounds, time) = match effort {
        Effort::Time(time) => (0, time),
        Effort::Rounds(rounds) => (rounds, Duration::ZERO),
    };
    let this = std::env::current_exe().expect("/proc is mounted");
    let mut command = match tracer {
        Some([program, args @ ..]) => {
            let mut command = Command::new(program);
            command.args(args).arg(this);
            command
        }
        _ => Command::new(this),
    };
    command.arg(MEASURE).args([place, job, rounds].map(|number| number.to_string()));
    command.arg(time.as_micros().to_string());
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.spawn();
    let child = child.map_err(|error| Found::Failed(format!("cannot start the process: {error}")));
    child.map_or_else(|failed| failed, |child| found(child, Instant::now() + time + LIMIT))
}

/// Reads the process's result, and ends the process.
fn found(mut child: Child, limit: Instant) -> Found {
    let mut line = String::new();
    let output = child.stdout.take().expect("it is piped");
    let is_there = wait(&mut [Watched::new(output.as_fd(), Interest::Input)], Some(limit));
    if is_there.is_ok_and(|is_there| is_there) {
        _ = BufReader::new(output).read_line(&mut line);
    }
    // It exits soon after its result, and must under a tracer: the summary comes then.
    let has_answered = !line.is_empty();
    let end = Instant::now() + Duration::from_secs(1);
    while has_answered && matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
        std::thread::sleep(Duration::from_micros(200));
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait();
    serde_json::from_str(&line).unwrap_or_else(|_| match status {
        Ok(status) if Instant::now() < limit => Found::Failed(format!("ended with {status}")),
        _ => Found::Failed("timed out: killed".into()),
    })
}
