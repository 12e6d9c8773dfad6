//! A barrier across exec: the next program continues where the previous one stopped.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and takes descriptors over by number"
)]

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use ipc_barrier::{
    Barrier, Child, ChildEnd, Ended, Eventfd, Fork, Lane, Page, ParentEnd, PeerAbort, Unmet, exit,
    fork,
};
use ipc_tests::around::proc;
use ipc_tests::fds::is_cloexec;
use ipc_tests::forked::{end_of, soon};
use ipc_tests::{cases, fds};
use ipc_transport::{Errno, Instant, Interest, Watched, wait};
use rustix::process::{Resource, Rlimit, setrlimit};

/// The program that this process becomes by exec; it receives the end.
const PROGRAM: &str = "IPC_TESTS_PROGRAM";
const END: &str = "IPC_TESTS_END";

fn main() -> ExitCode {
    let Ok(program) = std::env::var(PROGRAM) else {
        return cases();
    };
    if std::env::var(END).unwrap().contains(":page:") {
        run::<Page>(&program);
    } else {
        run::<Eventfd>(&program);
    }
    exit(0);
}

fn run<L: Lane>(program: &str) {
    match program {
        "meets" => meets::<L>(),
        "fails" => fails::<L>(),
        "counts" => counts::<L>(),
        "guards" => guards::<L>(),
        other => panic!("unknown program: {other}"),
    }
}

fn import_child<L: Lane>() -> ChildEnd<L> {
    // SAFETY: the text was exported for this program, and is imported once.
    unsafe { ChildEnd::import(&std::env::var(END).unwrap()) }.unwrap()
}

fn becomes<L: Lane>(end: &mut ChildEnd<L>, program: &str) -> ! {
    let exported = end.export().unwrap();
    let mut command = Command::new(proc("self/exe"));
    panic!("{}", command.env(PROGRAM, program).env(END, exported.to_string()).exec());
}

/// A child that does something with its end, and then becomes the program.
fn child<L: Lane>(before: fn(&mut ChildEnd<L>), program: &str) -> (ParentEnd<L>, Child) {
    let barrier = Barrier::<L>::open_for_exec().unwrap();
    match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            before(&mut end);
            becomes(&mut end, program);
        }
        Fork::Parent(child) => (barrier.into_parent(), child),
    }
}

fn meets<L: Lane>() {
    let mut end = import_child::<L>();
    for _ in 0..100 {
        end.place_and_sync_until(soon()).unwrap();
    }
    assert_eq!(end.wait_abort_until(soon()), Some(PeerAbort::Gone));
}

fn both_sides_meet_beyond_exec<L: Lane>() {
    let (end, mut child) = child::<L>(|_| {}, "meets");
    let mut end = end.watching(&child).unwrap();
    for _ in 0..100 {
        end.place_and_sync_until(soon()).unwrap();
    }
    drop(end);
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

fn fails<L: Lane>() {
    import_child::<L>().fail("5", &Errno(2), "no configuration");
}

fn a_reason_of_the_next_program_reaches_the_parent<L: Lane>() {
    let (mut end, mut child) = child::<L>(|_| {}, "fails");
    let Err(Unmet::Aborted(Some(reason))) = end.sync_next_until(soon()).and(end.wait_next()) else {
        panic!("no reason");
    };
    assert_eq!(reason.to_string(), "stage 5: no configuration: ENOENT (2)");
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

fn counts<L: Lane>() {
    let mut end = import_child::<L>();
    assert!(end.place().is_ok(), "the fifth token, with four answered so far");
    assert_eq!(end.try_sync(), Ok(false));
    end.sync_until(soon()).unwrap();
}

fn what_was_placed_and_drained_before_exec_counts_after_it<L: Lane>() {
    let (mut end, mut child) = child::<L>(
        |end| {
            end.wait_next_until(soon()).unwrap();
            assert!(
                end.place().is_ok()
                    && end.place().is_ok()
                    && end.place().is_ok()
                    && end.place().is_ok()
            );
        },
        "counts",
    );
    _ = end.place();
    end.wait_next_until(soon()).unwrap();
    // Before, during or after exec: no token is lost.
    assert!(end.place().is_ok() && end.place().is_ok() && end.place().is_ok());
    assert_eq!(child.wait_until(Instant::now() + Duration::from_millis(100)), None);
    _ = end.place();
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

fn an_exec_that_fails_leaves_the_end_whole<L: Lane>() {
    let barrier = Barrier::<L>::open_for_exec().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            let exported = end.export().unwrap();
            let error = Command::new("/no/such/program").env(END, exported.to_string()).exec();
            drop(exported);
            for fd in end.descriptors() {
                assert!(is_cloexec(fd));
            }
            end.fail("3", &error, "exec");
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent();
    let Some(PeerAbort::Aborted(Some(reason))) = end.wait_abort_until(soon()) else {
        panic!("no reason");
    };
    assert_eq!(reason.to_string(), "stage 3: exec: ENOENT (2)");
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

fn guards<L: Lane>() {
    // A failure here must not look as if exec had closed the end.
    let end = std::mem::ManuallyDrop::new(import_child::<L>());
    for fd in end.descriptors() {
        assert!(is_cloexec(fd));
    }
    let own: Vec<RawFd> = end.descriptors().map(|fd| fd.as_raw_fd()).collect();
    let open = fds::open();
    assert!(own.iter().all(|fd| open.contains(fd)));
    assert_eq!(open.len(), 3 + own.len(), "{open:?} instead of standard streams and the end");
    // Not exported again: for the parent this exec is the end.
    panic!("{}", Command::new("sleep").arg("600").exec());
}

fn a_second_exec_without_export_is_gone<L: Lane>() {
    let barrier = Barrier::<L>::open_for_exec().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            end.watch().unwrap();
            assert_eq!(end.descriptors().count(), 4 + 1, "with a watch");
            let kept: Vec<RawFd> = end.descriptors().map(|fd| fd.as_raw_fd()).collect();
            // SAFETY: this process uses nothing but the end.
            unsafe { ipc_barrier::process::close_all_but(&kept) }.unwrap();
            becomes(&mut end, "guards");
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent().watching(&child).unwrap();
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    assert_eq!(child.try_wait(), None, "the process is still alive");
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
}

/// The parent's end, exported, forgotten and imported again in the same process.
fn a_parents_end_keeps_its_pidfd<L: Lane>() {
    let (alive, theirs) = UnixStream::pair().unwrap();
    let barrier = Barrier::<L>::open_for_exec().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            drop(alive);
            if let Fork::Child(_guard) = fork().unwrap() {
                // Holds all descriptors until the case ends.
                _ = (&theirs).read(&mut [0]);
                exit(0);
            }
            let mut end = barrier.into_child();
            _ = end.place();
            end.wait_next_until(soon()).unwrap();
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent().watching(&child).unwrap();
    if child.pidfd().is_none() {
        cases::skip("a pidfd", "Linux 5.3 or later");
    }
    end.wait_next_until(soon()).unwrap();
    let exported = end.export().unwrap();
    let text = exported.to_string();
    std::mem::forget(exported);
    std::mem::forget(end);
    // SAFETY: the end that owned the descriptors is forgotten.
    let mut end: ParentEnd<L> = unsafe { ParentEnd::import(&text) }.unwrap();
    assert_eq!(
        end.wait_next_until(Instant::now() + Duration::from_millis(30)),
        Err(Unmet::TimedOut)
    );
    _ = end.place();
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    assert_eq!(end_of(&mut child), Ended::Exited(0));
    (&alive).write_all(b"x").unwrap();
}

/// An imported end shows the first post like any other end, before any `arm`.
fn repro_the_first_post_after_an_import_is_shown<L: Lane>() {
    let barrier = Barrier::<L>::open_for_exec().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            _ = end.place();
            end.wait_next_until(soon()).unwrap();
            _ = end.place();
            end.wait_abort_until(soon());
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent();
    // The first token's ring may come after the token, and must not show later.
    let mut bell = [Watched::new(end.descriptors().nth(1).unwrap(), Interest::Input)];
    assert_eq!(wait(&mut bell, Some(soon())), Ok(true));
    end.arm();
    end.wait_next_until(soon()).unwrap();
    let exported = end.export().unwrap();
    let text = exported.to_string();
    std::mem::forget(exported);
    std::mem::forget(end);
    // SAFETY: the end that owned the descriptors is forgotten.
    let mut end: ParentEnd<L> = unsafe { ParentEnd::import(&text) }.unwrap();
    end.watch().unwrap();
    _ = end.place();
    let mut watched = [Watched::new(end.watch().unwrap(), Interest::Input)];
    assert_eq!(wait(&mut watched, Some(soon())), Ok(true), "a wake-up is lost");
    assert_eq!(end.try_wait_next(), Ok(true));
    drop(end);
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

/// A process that holds the memory's descriptor could otherwise kill the others by truncating it.
fn the_memory_is_sealed<L: Lane>() {
    let end = Barrier::<L>::open_for_exec().unwrap().into_parent();
    let file = end.descriptors().last().unwrap();
    assert_eq!(rustix::fs::ftruncate(file, 0), Err(rustix::io::Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(file, 1 << 20), Err(rustix::io::Errno::PERM));
    let no_more = rustix::fs::SealFlags::WRITE;
    assert_eq!(rustix::fs::fcntl_add_seals(file, no_more), Err(rustix::io::Errno::PERM));
}

/// SIGXFSZ killed the process, since the limit counts for memfds too (setrlimit(2)).
fn repro_a_limit_of_file_size_is_an_error<L: Lane>() {
    setrlimit(Resource::Fsize, Rlimit { current: Some(0), maximum: None }).unwrap();
    let Err(error) = Barrier::<L>::open_for_exec() else { panic!("it opened") };
    assert_eq!((error.call, error.errno.0), ("ftruncate", libc::EFBIG));
}

ipc_tests::cases! {
    cases = eventfd: Eventfd, page: Page => {
        both_sides_meet_beyond_exec,
        a_reason_of_the_next_program_reaches_the_parent,
        what_was_placed_and_drained_before_exec_counts_after_it,
        an_exec_that_fails_leaves_the_end_whole,
        a_second_exec_without_export_is_gone,
        a_parents_end_keeps_its_pidfd,
        repro_the_first_post_after_an_import_is_shown,
        the_memory_is_sealed,
        repro_a_limit_of_file_size_is_an_error,
    }
}
