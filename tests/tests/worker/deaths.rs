//! Deaths, restarts and giving up.

use ipc_tests::over;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_tests::fds;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Again, Call, Ended, Handler, How, Instant, Launch, Refusal, Reply, Request, Restart, Why,
    Worker,
};

use crate::handler::*;

pub(crate) fn death_is_an_event_and_the_next_worker_answers() {
    let mut worker = worker();
    worker.try_call(Call::new(EXIT, &[]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"after"]), 2).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 4);
    let expected = [
        Told::Died(Ended::Exited(3)),
        Told::Lost(1, How::Running),
        Told::Started(1),
        Told::Reply(2, b"after".to_vec()),
    ];
    assert_eq!(list, expected);
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
    assert!(fds::children().is_empty());
}

pub(crate) fn a_panic_in_the_handler_ends_the_worker_and_never_reaches_mains_frames() {
    struct Tattle(OwnedFd);
    impl Drop for Tattle {
        fn drop(&mut self) {
            _ = rustix::io::write(&self.0, b"dropped");
        }
    }
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let tattle = Tattle(writer.into());
    let start = over::fork_with(&[tattle.0.as_fd()], handle);
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    worker.try_call(Call::new(PANIC, &[]), 1).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 3);
    assert_eq!(list[0], Told::Died(Ended::Exited(101)));
    assert_eq!(list[1], Told::Lost(1, How::Running));
    reader.set_nonblocking(true).unwrap();
    let error = reader.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "main's destructor ran in the child");
    drop(tattle);
}

pub(crate) fn what_begins_as_often_as_it_may_is_set_aside() {
    let mut worker = Worker::<u32, _>::start(over::fork(handle).restart(Restart::AT_ONCE)).unwrap();
    let exit = Call::new(EXIT, &[]);
    for (call, tries) in [
        (exit.again(Again::UntilDone), 3),
        (exit.again(Again::UntilAnswered).tries(2), 2),
        (exit.again(Again::UntilDone).tries(1), 1),
        (exit.again(Again::UntilDone).tries(5), 5),
    ] {
        worker.try_call(call, 1).unwrap();
        // A harmless request with it, which gets its reply in the end.
        worker.try_call(Call::new(ECHO, &[b"beside"]), 2).unwrap();
        let is_over = |list: &[Told]| matches!(list.last(), Some(Told::Reply(..)));
        let mut list = turn_until(&mut worker, is_over);
        let deaths = list.iter().filter(|told| matches!(told, Told::Died(_))).count();
        assert_eq!(deaths, tries, "{list:?}");
        list.retain(|told| !matches!(told, Told::Died(_) | Told::Started(_)));
        let beside = Told::Reply(2, b"beside".to_vec());
        assert_eq!(list, [Told::SetAside(1, How::Running), beside]);
    }
}

/// Ends the worker in `settle` as often as its file allows: each worker writes a byte to it.
struct Unsettling {
    file: File,
    deaths: u64,
}

impl Handler for Unsettling {
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        reply.put(request.bytes())
    }

    fn settle(&mut self) -> Result<(), Refusal> {
        rustix::io::write(&self.file, b"x")?;
        match self.file.metadata()?.len() <= self.deaths {
            true => ipc_barrier::exit(3),
            false => Ok(()),
        }
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [self.file.as_fd()].into_iter()
    }
}

pub(crate) fn what_was_done_without_its_answer_is_repeated_only_until_answered() {
    for (again, deaths, told) in [
        (Again::IfNotBegun, 1, Told::Lost(1, How::Done)),
        (Again::UntilDone, 1, Told::Lost(1, How::Done)),
        (Again::UntilAnswered, 1, Told::Reply(1, b"answer".to_vec())),
        (Again::UntilAnswered, 2, Told::Reply(1, b"answer".to_vec())),
        (Again::UntilAnswered, 3, Told::SetAside(1, How::Done)),
    ] {
        let start = over::fork(Unsettling { file: tempfile::tempfile().unwrap(), deaths });
        let mut worker = Worker::<u32, _>::start(start.restart(Restart::AT_ONCE)).unwrap();
        worker.try_call(Call::new(ECHO, &[b"answer"]).again(again), 1).unwrap();
        let is_life = |told: &Told| matches!(told, Told::Died(_) | Told::Started(_));
        let mut list = turn_until(&mut worker, |list| !list.iter().all(is_life));
        list.retain(|told| !is_life(told));
        assert_eq!(list, [told], "{again:?}, {deaths} deaths");
    }
}

pub(crate) fn giving_up_ends_every_request() {
    let mut worker = Worker::<u32, _>::start(over::fork(handle).restart(Restart::NEVER)).unwrap();
    for tag in 0..3 {
        let method = if tag == 0 { EXIT } else { ECHO };
        worker.try_call(Call::new(method, &[]), tag).unwrap();
    }
    let list = turn_until(&mut worker, |list| matches!(list.last(), Some(Told::GaveUp(_))));
    let expected = [
        Told::Died(Ended::Exited(3)),
        Told::Lost(0, How::Running),
        Told::Lost(1, How::NotBegun),
        Told::Lost(2, How::NotBegun),
    ];
    assert_eq!(list[..4], expected);
    assert!(!worker.is_running());
    assert_eq!(worker.next_deadline(), None);
    assert!(worker.has_room(), "calls are answered at once");
    assert_eq!(worker.try_call(Call::new(ECHO, &[]), 9).unwrap_err().why, Why::Stopped);
}

/// Appends numbered bytes, one per request, while the worker is killed again and again.
pub(crate) fn killed_at_any_moment_each_request_has_one_outcome() {
    let mut worker = Worker::<u32, _>::start(over::fork(handle).restart(Restart::AT_ONCE)).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let (total, mut next) = (400_u32, 0);
    let mut outcomes = vec![0; 400];
    let (mut lost, mut deaths, mut killed) = (Vec::new(), 0, 0);
    let limit = soon() + Duration::from_secs(60);
    let mut done = 0;
    while done < total {
        assert!(Instant::now() < limit, "{done} of {total}");
        while next < total && worker.has_room() {
            let byte = [u8::try_from(next % 251).unwrap()];
            let fds = [file.as_fd()];
            worker.try_call(Call::new(APPEND_BYTE, &[&byte]).fds(&fds), next).unwrap();
            next += 1;
        }
        let before = done;
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            match told(event) {
                Told::Reply(tag, _) => {
                    outcomes[usize::try_from(tag).unwrap()] += 1;
                    done += 1;
                }
                Told::Lost(tag, fate) => {
                    outcomes[usize::try_from(tag).unwrap()] += 1;
                    lost.push((tag, fate));
                    done += 1;
                }
                Told::Died(ended) => {
                    assert_eq!(ended, Ended::Killed(9));
                    deaths += 1;
                }
                Told::Started(_) => {}
                other => panic!("{other:?}"),
            }
        }
        if done / 13 > before / 13 {
            if let Some(pid) = worker.pid() {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                killed += 1;
            }
        }
        if done < total {
            let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
            wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
        }
    }
    assert!(outcomes.iter().all(|&count| count == 1), "{outcomes:?}");
    assert!(deaths > 5 && deaths <= killed, "{deaths} deaths, {killed} kills");
    let running = lost.iter().filter(|(_, fate)| *fate == How::Running).count();
    assert!(running <= deaths, "at most one was running at each kill: {lost:?}");
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    // A running request may have written its byte or not; every other byte is there once.
    let mut position = 0;
    for tag in 0..total {
        let byte = u8::try_from(tag % 251).unwrap();
        let written = bytes.get(position) == Some(&byte);
        assert!(written || lost.contains(&(tag, How::Running)), "{tag} is missing");
        position += usize::from(written);
    }
    assert_eq!(position, bytes.len(), "no byte is there twice");
}

pub(crate) fn a_hundred_restarts_leave_nothing_behind() {
    let mut worker = Worker::<u32, _>::start(over::fork(handle).restart(Restart::AT_ONCE)).unwrap();
    let before = fds::open().len();
    for round in 0..100 {
        worker.try_call(Call::new(EXIT, &[]), round).unwrap();
        let list = turn_until(&mut worker, |list| {
            list.iter().any(|told| matches!(told, Told::Started(_)))
        });
        assert_eq!(list.len(), 3, "{list:?}");
    }
    assert_eq!(fds::open().len(), before);
    assert_eq!(fds::children().len(), 1, "no zombie");
    let list = turn_until_reply(&mut worker);
    assert_eq!(list, [Told::Reply(7, b"still here".to_vec())]);
}

fn turn_until_reply<L: Launch>(worker: &mut Worker<u32, L>) -> Vec<Told> {
    worker.try_call(Call::new(ECHO, &[b"still here"]), 7).unwrap();
    turn_until(worker, |list| !list.is_empty())
}

pub(crate) fn a_closed_connection_is_seen_at_once_also_after_a_restart() {
    let mut worker = worker();
    for restart in [false, true] {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        if restart {
            worker.try_call(Call::new(EXIT, &[]), 1).unwrap();
            turn_until(&mut worker, |list| {
                list.iter().any(|told| matches!(told, Told::Started(_)))
            });
        }
        // Even if the worker got a duplicate: main's copy is closed with the outcome.
        let fds = [server.as_fd()];
        let mut outcome = None;
        worker
            .call_until(Call::new(FDS, &[]).fds(&fds), 2, soon(), |event| {
                outcome = Some(told(event));
            })
            .unwrap();
        assert_eq!(outcome, Some(Told::Reply(2, 1_u32.to_le_bytes().to_vec())));
        drop(server);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "after a restart: {restart}");
    }
}

/// Random bytes instead of frames: main gives up the worker at once and starts another.
pub(crate) fn a_worker_that_breaks_the_protocol_is_replaced() {
    struct Liar {
        lies: bool,
    }
    impl Handler for Liar {
        fn handle(
            &mut self,
            request: &mut Request<'_>,
            reply: &mut Reply<'_>,
        ) -> Result<(), Refusal> {
            if self.lies && request.method() == EXIT {
                // Its socket is the only descriptor after the standard streams.
                let socket = fds::open().into_iter().find(|&fd| fd > 2).unwrap();
                write_raw(socket, &[0xee; 100]);
                std::thread::sleep(Duration::from_secs(600));
            }
            reply.put(b"honest")
        }
    }
    let start = over::fork(Liar { lies: true });
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    worker.try_call(Call::new(EXIT, &[]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[]), 2).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 4);
    let expected = [
        Told::Died(Ended::Killed(9)),
        Told::Lost(1, How::Running),
        Told::Started(1),
        Told::Reply(2, b"honest".to_vec()),
    ];
    assert_eq!(list, expected);
    assert_eq!(worker.counters().broken_frames, 1);
}

#[expect(unsafe_code, reason = "a hostile worker writes to a descriptor that it does not own")]
fn write_raw(fd: i32, bytes: &[u8]) {
    // SAFETY: the descriptor is open for the whole life of the worker.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    _ = rustix::io::write(fd, bytes);
}
