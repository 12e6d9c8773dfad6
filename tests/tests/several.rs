//! One parent that meets several children.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_barrier::{
    Barrier, Child, ChildEnd, Ended, Eventfd, Fork, Lane, MeetError, Missing, Page, ParentEnd,
    Unmet, exit, fork, place_all, sync_all, sync_all_until,
};
use ipc_tests::fds;
use ipc_tests::forked::{end_of, soon};
use ipc_transport::{Errno, Instant, SystemError};

/// The children. Each waits for a byte on its line before it does its part.
struct Family<L> {
    ends: Vec<ParentEnd<L>>,
    children: Vec<Child>,
    lines: Vec<UnixStream>,
}

impl<L: Lane> Family<L> {
    fn new(count: usize, part: fn(usize, &mut ChildEnd<L>)) -> Self {
        let mut family = Self { ends: Vec::new(), children: Vec::new(), lines: Vec::new() };
        for index in 0..count {
            let barrier = Barrier::<L>::open().unwrap();
            let (line, mut theirs) = UnixStream::pair().unwrap();
            match fork().unwrap() {
                Fork::Child(_guard) => {
                    // Inherited descriptors would hide the parent's end from its siblings.
                    drop((family, line));
                    let mut end = barrier.into_child();
                    while theirs.read(&mut [0]).unwrap() == 1 {
                        part(index, &mut end);
                    }
                    exit(0);
                }
                Fork::Parent(child) => {
                    family.ends.push(barrier.into_parent().watching(&child).unwrap());
                    family.children.push(child);
                    family.lines.push(line);
                }
            }
        }
        family
    }

    fn tell(&mut self, indexes: impl IntoIterator<Item = usize>) {
        for index in indexes {
            self.lines[index].write_all(b"x").unwrap();
        }
    }

    fn abort(&mut self) {
        for end in &mut self.ends {
            end.abort();
        }
    }

    fn ends_well(mut self) {
        drop((self.ends, self.lines));
        for child in &mut self.children {
            assert_eq!(end_of(child), Ended::Exited(0));
        }
    }
}

fn who(met: Result<(), Missing>) -> Option<(usize, MeetError)> {
    met.err().map(|missing| (missing.index, missing.why))
}

fn shortly() -> Instant {
    Instant::now() + Duration::from_millis(30)
}

fn answers<L: Lane>(_: usize, end: &mut ChildEnd<L>) {
    end.place_and_sync_until(soon()).unwrap();
}

fn all_are_met_whatever_their_number<L: Lane>() {
    for count in [0, 1, 5, 16, 17, 40] {
        let mut family = Family::<L>::new(count, answers);
        for _ in 0..3 {
            place_all(&mut family.ends).unwrap();
            // In reverse order.
            family.tell((0..count).rev());
            sync_all_until(&mut family.ends, soon()).unwrap();
        }
        place_all(&mut family.ends).unwrap();
        family.tell(0..count);
        sync_all(&mut family.ends).unwrap();
        family.ends_well();
    }
}

fn who_is_late_is_named_and_may_be_waited_for_again<L: Lane>() {
    let mut family = Family::<L>::new(6, answers);
    place_all(&mut family.ends).unwrap();
    family.tell([0, 1, 3, 4]);
    // An earlier child may be slower, but is not even asked.
    let is_late = |family: &mut Family<L>, index| loop {
        match who(sync_all_until(&mut family.ends, shortly())) {
            Some((late, MeetError::Unmet(Unmet::TimedOut))) if late < index => {}
            late => break assert_eq!(late, Some((index, MeetError::Unmet(Unmet::TimedOut)))),
        }
    };
    is_late(&mut family, 2);
    family.tell([2]);
    is_late(&mut family, 5);
    family.tell([5]);
    sync_all_until(&mut family.ends, soon()).unwrap();
    family.ends_well();
}

fn who_fails_is_named_while_others_are_waited_for<L: Lane>() {
    let mut family = Family::<L>::new(8, |index, end| {
        if index == 6 {
            end.fail("2", &Errno(13), "sixth");
        } else {
            answers(index, end);
        }
    });
    place_all(&mut family.ends).unwrap();
    family.tell([6]);
    let missing = sync_all(&mut family.ends).unwrap_err();
    assert_eq!(missing.to_string(), "child 6: the peer failed: stage 2: sixth: EACCES (13)");
    let again = match missing.why {
        MeetError::Unmet(why) => MeetError::Ended(why),
        other => other,
    };
    assert_eq!(who(place_all(&mut family.ends)), Some((6, again)));
    family.abort();
    assert!(family.ends.iter().all(ParentEnd::has_aborted));
    family.ends_well();
}

fn who_is_killed_is_named_while_others_are_waited_for<L: Lane>() {
    let mut family = Family::<L>::new(20, answers);
    place_all(&mut family.ends).unwrap();
    // With these done, it is among the first to be checked.
    family.tell(0..4);
    family.children[17].kill().unwrap();
    assert_eq!(who(sync_all(&mut family.ends)), Some((17, MeetError::Unmet(Unmet::Gone))));
    family.children[9].kill().unwrap();
    assert_eq!(end_of(&mut family.children[9]), Ended::Killed(9));
    assert_eq!(who(sync_all(&mut family.ends)), Some((9, MeetError::Unmet(Unmet::Gone))));
}

fn a_child_that_places_without_end_holds_nobody_past_the_deadline<L: Lane>() {
    let mut family = Family::<L>::new(3, |index, end| while index == 1 && end.place().is_ok() {});
    family.tell([1]);
    for _ in 0..1_000 {
        assert!(family.ends[0].place().is_ok());
    }
    let late = Some((0, MeetError::Unmet(Unmet::TimedOut)));
    for _ in 0..100 {
        _ = family.ends[1].place();
        assert_eq!(who(sync_all_until(&mut family.ends, Instant::now())), late);
    }
    family.abort();
    family.children[1].kill().unwrap();
}

/// poll(2) accepts only as many descriptors as the process may open: enough for one child, but not
/// for two. As with a single end, that ends the barrier being waited at and no other.
fn a_wait_that_the_system_refuses_ends_no_barrier<L: Lane>() {
    let mut family = Family::<L>::new(3, answers);
    place_all(&mut family.ends).unwrap();
    family.tell([0]);
    sync_all_until(&mut family.ends[..1], soon()).unwrap();
    fds::limit(3);
    let error = SystemError { call: "poll", errno: Errno(libc::EINVAL) };
    let failed = Some((1, MeetError::Unmet(Unmet::System(error))));
    assert_eq!(who(sync_all_until(&mut family.ends, soon())), failed);
    assert!(!family.ends.iter().any(ParentEnd::has_aborted));
    fds::limit(1_000);
    family.tell([1, 2]);
    assert_eq!(sync_all_until(&mut family.ends, soon()), Ok(()));
}

ipc_tests::cases! {
    eventfd: Eventfd, page: Page => {
        all_are_met_whatever_their_number,
        who_is_late_is_named_and_may_be_waited_for_again,
        who_fails_is_named_while_others_are_waited_for,
        who_is_killed_is_named_while_others_are_waited_for,
        a_child_that_places_without_end_holds_nobody_past_the_deadline,
        a_wait_that_the_system_refuses_ends_no_barrier,
    }
}
