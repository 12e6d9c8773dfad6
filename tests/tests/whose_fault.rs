//! What an error of a call concerns: a request, a moment or the worker. Checks the table in
//! ARCHITECTURE.md row by row, on both sides.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use ipc_tests::over;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::os::fd::AsFd;

use ipc_barrier::{Ended, exit};
use ipc_tests::cases;
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::{fds, seccomp};
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Again, Call, Event, Instant, Launch, Outcome, Refusal, Reply, Request, Restart, Worker,
};

const PAGE: &str = include_str!("../../docs/ARCHITECTURE.md");

const ECHO: u16 = 1;
/// Makes the worker's next call with a given number fail with a given error.
const FAIL: u16 = 2;

/// A row of the table.
#[derive(Clone, Debug)]
struct Row {
    call: String,
    errno: i32,
    concerns: String,
}

fn rows() -> Vec<Row> {
    let (_, section) = PAGE.split_once("## Whose fault is it").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows: Vec<Row> = section.lines().filter_map(row).collect();
    assert!(rows.len() >= 22, "{rows:?}");
    rows
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [call, errno, concerns] = cells.as_slice() else { return None };
    let errno = match *errno {
        "ENOMEM" => libc::ENOMEM,
        "ENOBUFS" => libc::ENOBUFS,
        "EIO" => libc::EIO,
        "EINVAL" => libc::EINVAL,
        "EPERM" => libc::EPERM,
        "EBADF" => libc::EBADF,
        "ETOOMANYREFS" => libc::ETOOMANYREFS,
        "EPIPE" => libc::EPIPE,
        "ECONNRESET" => libc::ECONNRESET,
        "ENOTCONN" => libc::ENOTCONN,
        "ECONNREFUSED" => libc::ECONNREFUSED,
        "ESHUTDOWN" => libc::ESHUTDOWN,
        name => {
            assert!(!name.starts_with('E') || name == "error", "unknown: {name}");
            return None;
        }
    };
    Some(Row { call: (*call).into(), errno, concerns: (*concerns).into() })
}

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    if request.method() == FAIL {
        let (call, errno) = request.bytes().split_first_chunk().unwrap();
        let errno = i32::from_le_bytes(errno.try_into().unwrap());
        seccomp::refuse_at_first(libc::c_long::from_le_bytes(*call), errno, 1);
    }
    while let Some(fd) = request.take_fd() {
        reply.put_fd(fd)?;
    }
    reply.put(b"done")
}

/// Lets the row's call fail once, in main or in the worker, and returns what that concerns, judged
/// by what main is told. Runs in a separate process, which takes the filter with it.
fn concerned(row: &Row, in_main: bool) -> &'static str {
    let with_fds = row.call == "send with descriptors";
    let number = match row.call.as_str() {
        "send" => libc::SYS_sendto,
        "send with descriptors" => libc::SYS_sendmsg,
        // Main expects no descriptors, but the worker may always get some.
        "receive" if in_main => libc::SYS_recvfrom,
        "receive" => libc::SYS_recvmsg,
        other => panic!("{other}"),
    };
    let start = over::fork(handle).restart(Restart::AT_ONCE);
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    let file = fds::file();
    let fds = [file.as_fd()];
    let fds = if with_fds { &fds[..] } else { &[] };
    if in_main {
        seccomp::refuse_at_first(number, row.errno, 1);
        worker.try_call(Call::new(ECHO, &[]).fds(fds).reply_fds(u16::from(with_fds)), 1).unwrap();
    } else {
        let pieces: [&[u8]; 2] = [&number.to_le_bytes(), &row.errno.to_le_bytes()];
        worker
            .try_call(Call::new(FAIL, &pieces).fds(fds).reply_fds(u16::from(with_fds)), 1)
            .unwrap();
    }
    // Another request, without a fault.
    let call = Call::new(ECHO, &[]).again(Again::UntilAnswered);
    worker.try_call(call, 2).unwrap();
    let told = told_until_done(&mut worker);
    let is_request = told.contains("1: Unsendable") || told.contains("1: Refused");
    assert!(told.contains("2: Reply"), "the other request: {told}");
    match (told.contains("Died"), is_request) {
        (true, _) => "worker",
        (false, true) => "request",
        (false, false) => "moment",
    }
}

/// Turns until both requests have their outcomes and a third one has its reply.
fn told_until_done<L: Launch>(worker: &mut Worker<u32, L>) -> String {
    let (mut told, limit) = (String::new(), soon());
    loop {
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            match event {
                Event::Done { tag, outcome: Outcome::Reply(_) } => write!(told, "{tag}: Reply; "),
                Event::Done { tag, outcome } => write!(told, "{tag}: {outcome:?}; "),
                other => write!(told, "{other:?}; "),
            }
            .unwrap();
        }
        if told.contains("3: Reply") {
            return told;
        }
        if worker.under_way() == 0 {
            // One more: a worker's end is told before its successor replies.
            let call = Call::new(ECHO, &[]).again(Again::UntilAnswered);
            worker.try_call(call, 3).unwrap();
            continue;
        }
        assert!(Instant::now() < limit, "not done in time: {told}");
        let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
    }
}

fn compare(in_main: bool) {
    over::only_the_socket();
    for row in rows().into_iter().filter(|row| in_main || row.concerns != "peer") {
        let mut tried = forked(|| {
            // For main, the peer is the worker.
            let concerns = row.concerns.replace("peer", "worker");
            assert_eq!(concerned(&row, in_main), concerns, "{row:?}");
            exit(0);
        });
        assert_eq!(end_of(&mut tried), Ended::Exited(0), "{row:?}");
    }
}

fn in_main_an_error_concerns_what_the_table_says() {
    compare(true);
}

fn in_the_worker_an_error_concerns_what_the_table_says() {
    compare(false);
}

/// Where the errors of the third table are declared.
const DECLARED: [(&str, &str); 10] = [
    ("TransportError", include_str!("../../ipc-transport/src/contract/transport.rs")),
    ("Why", include_str!("../../ipc-worker/src/call.rs")),
    ("Outcome", include_str!("../../ipc-worker/src/event.rs")),
    ("BadReply", include_str!("../../ipc-worker/src/event.rs")),
    ("GiveUp", include_str!("../../ipc-worker/src/event.rs")),
    ("StartError", include_str!("../../ipc-worker/src/start_error.rs")),
    ("ForkError", include_str!("../../ipc-barrier/src/process/fork.rs")),
    ("SpawnError", include_str!("../../ipc-barrier/src/process/program.rs")),
    ("Unmet", include_str!("../../ipc-barrier/src/meeting/errors.rs")),
    ("MeetError", include_str!("../../ipc-barrier/src/meeting/errors.rs")),
];

/// Returns the variants of an error as declared by its crate.
fn declared(name: &str, source: &str) -> BTreeSet<String> {
    let (_, body) = source.split_once(&format!("pub enum {name}")).unwrap();
    let (_, body) = body.split_once("{\n").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(char::is_uppercase));
    names
        .map(|line| line.split(|char: char| !char.is_alphanumeric()).next().unwrap().into())
        .collect()
}

/// Returns the parts between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn the_page_has_every_error_and_every_errno_that_the_code_tells_apart() {
    let (_, section) = PAGE.split_once("## Whose fault is it").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut left: Vec<(Vec<String>, BTreeSet<String>)> = Vec::new();
    for line in section.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let [errors, variants, _concerns] = cells[..] else { continue };
        let errors: Vec<String> = quoted(errors).collect();
        if !errors.is_empty() {
            left.push((errors, BTreeSet::new()));
        }
        if let Some((_, all)) = left.last_mut() {
            all.extend(quoted(variants));
        }
    }
    for (errors, found) in &left {
        let sources = DECLARED.iter().filter(|(name, _)| errors.iter().any(|it| it == name));
        let variants: BTreeSet<String> =
            sources.flat_map(|(name, source)| declared(name, source)).collect();
        assert_eq!(*found, variants, "{errors:?}");
    }
    let named = left.iter().map(|(errors, _)| errors.len()).sum::<usize>();
    assert_eq!(named, DECLARED.len());

    let calls = include_str!("../../ipc-transport/src/unix/calls.rs");
    let (_, settle) = calls.split_once("fn settle").unwrap();
    let (settle, _) = settle.split_once("\n    }\n").unwrap();
    for errno in settle.split("Errno::").skip(1) {
        let name = errno.split(|char: char| !char.is_alphanumeric()).next().unwrap();
        // These two are not reported: the call is retried, or would block.
        let is_told = !["INTR", "AGAIN"].contains(&name);
        assert!(!is_told || section.contains(&format!("| E{name} |")), "E{name}");
    }
}

fn main() -> std::process::ExitCode {
    run()
}

cases! { run =
    in_main_an_error_concerns_what_the_table_says,
    in_the_worker_an_error_concerns_what_the_table_says,
    the_page_has_every_error_and_every_errno_that_the_code_tells_apart,
}
