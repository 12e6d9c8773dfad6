//! Sets of descriptors that stay watched.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use ipc_tests::fds;
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::random::Random;
use ipc_tests::storm::Storm;
use ipc_transport::{Instant, Interest, Ready, Trigger, WaitSet, Watched};
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::pipe;

fn after(time: Duration) -> Instant {
    Instant::now() + time
}

fn add(set: &WaitSet, fd: &OwnedFd, interest: Interest, trigger: Trigger, key: u8) {
    set.add(&Watched::new(fd.as_fd(), interest), trigger, key).unwrap();
}

/// What is to be seen without waiting.
fn now(set: &mut WaitSet) -> Ready {
    set.wait(Some(Instant::PAST)).unwrap()
}

pub(crate) fn a_set_shows_each_of_its_descriptors_under_its_key() {
    let mut set = WaitSet::open().unwrap();
    assert!(now(&mut set).is_timed_out());
    let pipes: Vec<(OwnedFd, OwnedFd)> = (0..WaitSet::KEYS).map(|_| pipe().unwrap()).collect();
    for (key, (reader, _)) in (0..).zip(&pipes) {
        add(&set, reader, Interest::Input, Trigger::Level, key);
    }
    assert!(now(&mut set).is_timed_out());
    for (key, (reader, writer)) in (0..).zip(&pipes) {
        rustix::io::write(writer, b"x").unwrap();
        let ready = set.wait(None).unwrap();
        for other in 0..=u8::MAX {
            assert_eq!(ready.is_ready(other), other == key);
            assert!(!ready.is_over(other));
        }
        assert_eq!(now(&mut set), ready, "as long as it is there");
        rustix::io::read(reader, &mut [0]).unwrap();
        assert!(now(&mut set).is_timed_out());
    }
    let (reader, writer) = pipe().unwrap();
    add(&set, &writer, Interest::Output, Trigger::Level, 3);
    assert!(now(&mut set).is_ready(3) && !now(&mut set).is_over(3));
    drop(reader);
    assert!(now(&mut set).is_over(3));
    drop(writer);
    // More than one call takes come with the next ones.
    let readers: Vec<OwnedFd> = pipes.into_iter().map(|(reader, _writer)| reader).collect();
    let mut seen = [false; WaitSet::KEYS as usize];
    for _ in 0..seen.len() {
        let ready = now(&mut set);
        (0..).zip(&mut seen).for_each(|(key, seen)| *seen |= ready.is_over(key));
    }
    assert!(seen.into_iter().all(|seen| seen), "{seen:?}");
    drop(readers);
    assert!(now(&mut set).is_timed_out(), "what is closed everywhere is not watched any more");
}

pub(crate) fn an_edge_is_shown_once_and_a_level_as_long_as_it_is_there() {
    let mut set = WaitSet::open().unwrap();
    let counter = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let ((edge, to_edge), (level, to_level)) = (pipe().unwrap(), pipe().unwrap());
    add(&set, &counter, Interest::Input, Trigger::Edge, 0);
    add(&set, &edge, Interest::Input, Trigger::Edge, 1);
    add(&set, &level, Interest::Input, Trigger::Level, 2);
    for _ in 0..100 {
        // Each write is a change, though nothing is taken in between.
        rustix::io::write(&counter, &1_u64.to_ne_bytes()).unwrap();
        assert!(now(&mut set).is_ready(0));
        assert!(now(&mut set).is_timed_out());
    }
    rustix::io::write(&to_edge, b"x").unwrap();
    rustix::io::write(&to_level, b"x").unwrap();
    for round in 0..3 {
        let ready = now(&mut set);
        assert_eq!((ready.is_ready(1), ready.is_ready(2)), (round == 0, true));
    }
    rustix::io::read(&level, &mut [0]).unwrap();
    drop(to_edge);
    assert!(now(&mut set).is_over(1));
    assert!(now(&mut set).is_timed_out(), "an end is shown once, too");
    drop(to_level);
    assert!(now(&mut set).is_over(2) && now(&mut set).is_over(2));
}

/// Deadlines in any order, near, far, passed and none: no wait ends before its own, nor because of
/// an earlier one's, and each ends.
pub(crate) fn no_wait_of_a_set_ends_before_its_deadline_or_at_an_older_one() {
    let mut random = Random::new();
    let mut set = WaitSet::open().unwrap();
    let (reader, writer) = pipe().unwrap();
    add(&set, &reader, Interest::Input, Trigger::Level, 0);
    let _storm = Storm::begin(Duration::from_micros(300));
    for round in 0..400 {
        let deadline = match random.below(6) {
            0 => Some(Instant::PAST),
            1 => Some(Instant::from_nanoseconds(1)),
            2 => Some(Instant::now()),
            3 => Some(after(Duration::from_micros(random.below(3_000) as u64))),
            4 => [None, Some(Instant::NEVER)][round % 2],
            _ => Some(after(Duration::from_secs(3600 * 24 * 365 * 300))),
        };
        let is_far = deadline.is_none_or(|deadline| deadline > soon());
        if is_far || random.one_in(4) {
            rustix::io::write(&writer, b"x").unwrap();
            // A time-out that was set before may have come, and is not this wait's.
            assert!(set.wait(deadline).unwrap().is_ready(0), "round {round}");
            rustix::io::read(&reader, &mut [0]).unwrap();
        } else {
            assert!(set.wait(deadline).unwrap().is_timed_out(), "round {round}");
            assert!(Instant::now() >= deadline.unwrap(), "round {round}: too early");
        }
    }
    // An early deadline that was given up, then a long sleep: it is not cut short.
    rustix::io::write(&writer, b"x").unwrap();
    assert!(set.wait(Some(after(Duration::from_millis(20)))).unwrap().is_ready(0));
    rustix::io::read(&reader, &mut [0]).unwrap();
    let mut child = forked(|| {
        std::thread::sleep(Duration::from_millis(100));
        rustix::io::write(&writer, b"x").unwrap();
    });
    assert!(set.wait(None).unwrap().is_ready(0));
    end_of(&mut child);
}

pub(crate) fn what_a_set_cannot_watch_is_refused_and_changes_nothing() {
    let before = fds::open();
    let mut set = WaitSet::open().unwrap();
    assert!(set.descriptors().iter().all(|fd| fd.as_raw_fd() > 2 && fds::is_cloexec(fd)));
    let own: Vec<_> = set.descriptors().map(|fd| fd.as_raw_fd()).into();
    assert!(fds::open().into_iter().filter(|fd| !before.contains(fd)).eq(own));
    let (reader, writer) = pipe().unwrap();
    let file = fds::file();
    let watched = Watched::new(reader.as_fd(), Interest::Input);
    let refused = |set: &WaitSet, watched: &Watched<'_>, key| {
        set.add(watched, Trigger::Level, key).unwrap_err().errno.0
    };
    assert_eq!(refused(&set, &watched, WaitSet::KEYS), libc::EINVAL);
    assert_eq!(refused(&set, &watched, u8::MAX), libc::EINVAL);
    let of_file = Watched::new(file.as_fd(), Interest::Input);
    assert_eq!(refused(&set, &of_file, 0), libc::EPERM);
    set.add(&watched, Trigger::Level, 0).unwrap();
    assert_eq!(refused(&set, &watched, 1), libc::EEXIST);
    rustix::io::write(&writer, b"x").unwrap();
    assert!(now(&mut set).is_ready(0));
    drop((set, reader, writer, file));
    assert_eq!(fds::open(), before);
    fds::limit(64);
    let one = fds::file();
    let mut hoard: Vec<OwnedFd> = std::iter::from_fn(|| one.try_clone().ok()).collect();
    for _ in 0..2 {
        let error = WaitSet::open().unwrap_err();
        assert_eq!(error.errno.0, libc::EMFILE, "{error}");
        drop(hoard.pop());
    }
    // Both of its descriptors fit, so that none was left open before.
    WaitSet::open().unwrap();
}
