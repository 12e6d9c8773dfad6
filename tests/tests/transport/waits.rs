//! Calls that wait: for bytes or room, until a deadline, spinning or asleep.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::seccomp;
use ipc_tests::storm::Storm;
use rustix::fs::OFlags;
use rustix::net::{SendFlags, send};

use ipc_transport::{
    Instant, Interest, PassFds, Patience, Received, Stream, Transport, TransportError, Watched,
    duplicate, wait,
};

use ipc_tests::fds::Fds;

pub(crate) fn a_blocking_receive_ends_at_its_time_out() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let time = Duration::from_millis(60);
    right.set_receive_timeout(time).unwrap();
    let (mut space, mut fds) = ([0; 8], Fds::new());
    for with_fds in [false, true] {
        let begin = Instant::now();
        if with_fds {
            assert_eq!(right.blocking().receive_with(&mut space, &mut fds.fds()), Ok(None));
        } else {
            assert_eq!(right.blocking().receive(&mut space), Ok(None));
        }
        let passed = Instant::now().since(begin);
        assert!(passed >= time && passed < Duration::from_secs(10), "{passed:?}");
    }
    assert_eq!(
        right.receive(&mut space),
        Ok(None),
        "without a blocking view the call does not wait"
    );
    left.send(&[b"x"]).unwrap();
    assert_eq!(right.blocking().receive(&mut space), Ok(Some(1)));
}

pub(crate) fn repro_a_storm_of_signals_prolongs_no_blocking_receive() {
    let (mut left, mut right) = Stream::pair().unwrap();
    right.set_receive_timeout(Duration::from_millis(100)).unwrap();
    let storm = Storm::begin(Duration::from_millis(5));
    let (mut space, mut fds) = ([0; 8], Fds::new());
    for with_fds in [false, true] {
        let begin = Instant::now();
        if with_fds {
            assert_eq!(right.blocking().receive_with(&mut space, &mut fds.fds()), Ok(None));
        } else {
            assert_eq!(right.blocking().receive(&mut space), Ok(None));
        }
        let passed = Instant::now().since(begin);
        assert!(passed >= Duration::from_millis(100), "{passed:?}");
    }
    assert!(Storm::signals() > 10);
    let null = File::open("/dev/null").unwrap();
    let mut child = forked(|| {
        std::thread::sleep(Duration::from_millis(30));
        left.send_with(&[b"in time"], &[null.as_fd()]).unwrap();
    });
    right.set_receive_timeout(Duration::from_secs(20)).unwrap();
    let received = right.blocking().receive_with(&mut space, &mut fds.fds()).unwrap();
    assert_eq!(received, Some(Received { len: 7, fds_truncated: false }));
    assert_eq!(fds.len(), 1);
    end_of(&mut child);
    drop(storm);
}

pub(crate) fn a_blocking_receive_without_time_out_waits_through_signals() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut child = forked(|| {
        std::thread::sleep(Duration::from_millis(100));
        left.send(&[b"x"]).unwrap();
    });
    let _storm = Storm::begin(Duration::from_millis(1));
    assert_eq!(right.blocking().receive(&mut [0; 8]), Ok(Some(1)));
    end_of(&mut child);
}

pub(crate) fn a_blocking_send_waits_for_room() {
    let (mut left, mut right) = Stream::pair().unwrap();
    let mut child = forked(|| {
        let bytes = vec![7; 1 << 20];
        let mut sent = 0;
        let _storm = Storm::begin(Duration::from_micros(300));
        while sent < bytes.len() {
            sent += left.blocking().send(&[&bytes[sent..]]).unwrap().unwrap();
        }
    });
    drop(left);
    let (mut space, mut arrived) = (vec![0; 4096], 0);
    loop {
        std::thread::sleep(Duration::from_micros(50));
        match right.blocking().receive(&mut space) {
            Ok(len) => arrived += len.unwrap(),
            Err(error) => break assert_eq!(error, TransportError::Closed),
        }
    }
    assert_eq!(arrived, 1 << 20);
    assert_eq!(end_of(&mut child), ipc_barrier::Ended::Exited(0));
}

/// The open file description, which another process may share, is `O_NONBLOCK`.
pub(crate) fn repro_blocking_calls_wait_whatever_the_mode_of_the_description() {
    let (mut left, mut right) = Stream::pair().unwrap();
    for socket in [&left, &right] {
        rustix::fs::fcntl_setfl(socket, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
    }
    let time = Duration::from_millis(60);
    right.set_receive_timeout(time).unwrap();
    let begin = Instant::now();
    assert_eq!(right.blocking().receive(&mut [0; 8]), Ok(None));
    assert!(Instant::now().since(begin) >= time);
    let (mut ours, mut theirs) = Stream::pair().unwrap();
    rustix::fs::fcntl_setfl(&theirs, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
    let mut child = forked(|| {
        assert_eq!(theirs.blocking().receive(&mut [0; 8]), Ok(Some(4)), "without a timeout");
        let bytes = vec![7; 1 << 20];
        let mut sent = 0;
        while sent < bytes.len() {
            sent += left.blocking().send(&[&bytes[sent..]]).unwrap().unwrap();
        }
    });
    drop(left);
    std::thread::sleep(time);
    ours.send(&[b"word"]).unwrap();
    let (mut space, mut arrived) = (vec![0; 4096], 0);
    right.set_receive_timeout(Duration::from_secs(20)).unwrap();
    while let Ok(len) = right.blocking().receive(&mut space) {
        arrived += len.unwrap();
    }
    assert_eq!(arrived, 1 << 20);
    assert_eq!(end_of(&mut child), ipc_barrier::Ended::Exited(0));
}

pub(crate) fn a_wait_lasts_until_its_deadline_and_sees_what_is_ready() {
    let (mut left, right) = Stream::pair().unwrap();
    let _storm = Storm::begin(Duration::from_micros(200));
    let deadline = Instant::now() + Duration::from_millis(60);
    let mut watched = [Watched::new(right.as_fd(), Interest::Input)];
    assert_eq!(wait(&mut watched, Some(deadline)), Ok(false));
    assert!(Instant::now() >= deadline);
    assert!(!watched[0].is_ready());
    left.send(&[b"x"]).unwrap();
    let mut watched = [
        Watched::new(right.as_fd(), Interest::Input),
        Watched::new(right.as_fd(), Interest::Output),
        Watched::new(left.as_fd(), Interest::Input),
        Watched::new(left.as_fd(), Interest::End),
    ];
    assert_eq!(wait(&mut watched, Some(soon())), Ok(true));
    assert!(watched[0].is_ready() && !watched[0].is_over() && !watched[0].is_broken());
    assert!(watched[1].is_ready() && !watched[1].is_over() && !watched[1].is_broken());
    assert!(!watched[2].is_ready() && !watched[3].is_ready());
    let fd = duplicate(left.as_fd()).unwrap();
    drop((left, fd));
    let mut watched = [Watched::new(right.as_fd(), Interest::End)];
    assert_eq!(wait(&mut watched, None), Ok(true));
    assert!(watched[0].is_over());
    let mut many = [(); 500].map(|()| Watched::new(right.as_fd(), Interest::End));
    assert_eq!(wait(&mut many, Some(soon())), Ok(true));
    assert!(many.iter().all(Watched::is_over));
    assert_eq!(wait(&mut [], Some(Instant::from_nanoseconds(1))), Ok(false));
}

pub(crate) fn repro_a_filter_that_interrupts_for_ever_ends_at_the_deadline() {
    let (_left, right) = Stream::pair().unwrap();
    seccomp::refuse(&[libc::SYS_ppoll], libc::EINTR);
    let deadline = Instant::now() + Duration::from_millis(20);
    for deadline in [deadline, Instant::PAST] {
        let mut watched = [Watched::new(right.as_fd(), Interest::Input)];
        assert_eq!(wait(&mut watched, Some(deadline)), Ok(false));
    }
    assert!(Instant::now() >= deadline);
}

pub(crate) fn spinning_changes_no_answer() {
    let patience = Patience { spin: Duration::from_millis(5) };
    let (mut left, mut right) = Stream::pair().unwrap();
    right.set_receive_timeout(Duration::from_millis(20)).unwrap();
    let mut space = [0; 16];
    let start = Instant::now();
    assert_eq!(right.blocking().with(patience).receive(&mut space), Ok(None));
    assert!(Instant::now().since(start) >= Duration::from_millis(19));
    let null = File::open("/dev/null").unwrap();
    left.send_with(&[b"word"], &[null.as_fd()]).unwrap();
    let mut fds = Fds::new();
    let received = right.blocking().with(patience).receive_with(&mut space, &mut fds.fds());
    assert_eq!(received, Ok(Some(Received { len: 4, fds_truncated: false })));
    assert_eq!(fds.len(), 1);
    left.send(&[b"x"]).unwrap();
    drop(left);
    assert_eq!(right.blocking().with(patience).receive(&mut space), Ok(Some(1)));
    let end = right.blocking().with(patience).receive(&mut space);
    assert_eq!(end, Err(TransportError::Closed));
}

pub(crate) fn nobody_spins_with_one_cpu() {
    let all = rustix::thread::sched_getaffinity(None).unwrap();
    let expected = if all.count() > 1 { Patience::SPIN } else { Patience::SLEEP };
    assert_eq!(Patience::SPIN.where_parallel(), expected);
    let first = (0..1_024).find(|&cpu| all.is_set(cpu)).unwrap();
    let mut one = rustix::thread::CpuSet::new();
    one.set(first);
    rustix::thread::sched_setaffinity(None, &one).unwrap();
    assert_eq!(Patience::SPIN.where_parallel(), Patience::SLEEP);
}

/// Bytes that are sent as urgent (`MSG_OOB`, kernel 5.15) are not part of the stream. The last of
/// them is kept apart, is not shown by poll, and blocks neither the bytes around it nor the end.
pub(crate) fn urgent_bytes_hold_nothing() {
    for script in ["u", "nu", "un", "uu", "nun", "unu", "nuunu"] {
        let (left, mut right) = Stream::pair().unwrap();
        for kind in script.chars() {
            let urgent = if kind == 'u' { SendFlags::OOB } else { SendFlags::empty() };
            if send(&left, b"ab", urgent | SendFlags::NOSIGNAL).is_err() {
                ipc_tests::cases::skip("urgent bytes", "kernel 5.15 with AF_UNIX_OOB");
            }
        }
        let (mut got, mut space) = (Vec::new(), [0; 16]);
        while let Some(len) = right.receive(&mut space).unwrap() {
            got.extend(&space[..len]);
        }
        let mut all = "ab".repeat(script.len()).into_bytes().into_iter();
        assert!(got.iter().all(|byte| all.any(|sent| sent == *byte)), "{script}: in order");
        let mut watched = [Watched::new(right.as_fd(), Interest::Input)];
        assert!(
            !wait(&mut watched, Some(Instant::PAST)).unwrap(),
            "{script}: the urgent byte still shows"
        );
        drop(left);
        assert_eq!(right.receive(&mut space), Err(TransportError::Closed), "{script}");
    }
}
