//! What happens to a request when its worker is gone.

use core::time::Duration;

use ipc_frame::FrameNumber;
use ipc_transport::{Instant, SystemError};

use super::id::RequestId;

/// Whether a request may be sent to the next worker when its worker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Again {
    /// Only if its handler had not begun. The default.
    IfNotBegun,
    /// Also if its handler was running. For idempotent work.
    UntilDone,
    /// Also if its handler had finished but the answer was not sent. For idempotent work that
    /// settles in batches.
    UntilAnswered,
    /// Not once any byte of it was sent. What [`call_first`](crate::Worker::call_first) put first is
    /// not kept even if nothing of it was sent.
    Never,
}

/// How far a request got before its worker was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum How {
    /// Its handler had not begun.
    NotBegun,
    /// Its handler was running. What it did is unknown.
    Running,
    /// Its handler had finished, but its batch was not settled or its answer was not sent.
    Done,
}

/// The state of a request that has no outcome yet.
#[derive(Clone, Copy, Debug)]
pub struct UnderWay {
    pub(crate) id: RequestId,
    /// The frame that keeps its bytes until the outcome is reported.
    pub(crate) frame: FrameNumber,
    pub(crate) deadline: Instant,
    pub(crate) again: Again,
    /// How often it may begin.
    pub(crate) tries: u8,
    /// How long it may run.
    pub(crate) time_limit: Duration,
    /// How often it began in workers that were lost.
    pub(crate) begun: u8,
    /// How far it got in workers that were lost.
    pub(crate) reached: How,
    /// Most descriptors that its reply may carry.
    pub(crate) reply_fds: u16,
    /// It is a one-way request, which has no outcome.
    pub(crate) is_one_way: bool,
    /// A one-way request that was counted as late after its handler had begun.
    pub(crate) is_late: bool,
    /// It goes to the current worker before requests that were accepted earlier.
    pub(crate) is_first: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The frame that was read last is its reply.
    Replied,
    /// That frame is its refusal.
    Refused,
    Lost(How),
    SetAside(How),
    Unsendable(SystemError),
    /// How far it had come in its present worker.
    DeadlinePassed(How),
    /// The same.
    Cancelled(How),
}

impl UnderWay {
    /// Decides what follows for a request whose worker is gone, and records it. `None` if it goes
    /// to the next worker. `how` is how far it got; `was_sent` is whether any byte of it was sent.
    /// A late one-way request is dropped.
    pub(crate) fn fate(&mut self, how: How, was_sent: bool) -> Option<Ending> {
        let may_repeat = match self.again {
            _ if self.is_late => false,
            // What is put first is for one worker: a later one is told something newer first.
            Again::Never => !was_sent && !self.is_first,
            Again::IfNotBegun => how == How::NotBegun,
            Again::UntilDone => how <= How::Running,
            Again::UntilAnswered => true,
        };
        self.is_first = false;
        self.reached = self.reached.max(how);
        self.begun = self.begun.saturating_add(u8::from(how > How::NotBegun));
        if !may_repeat {
            Some(Ending::Lost(self.reached))
        } else if how > How::NotBegun && self.begun >= self.tries {
            Some(Ending::SetAside(self.reached))
        } else {
            None
        }
    }
}

#[cfg(test)]
impl UnderWay {
    /// A request that was just accepted, with the defaults of a call.
    pub(crate) fn plain(id: RequestId, frame: FrameNumber) -> Self {
        Self {
            id,
            frame,
            deadline: Instant::NEVER,
            again: Again::IfNotBegun,
            tries: 3,
            time_limit: Duration::MAX,
            begun: 0,
            reached: How::NotBegun,
            reply_fds: 0,
            is_one_way: false,
            is_late: false,
            is_first: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipc_frame::{Header, Queue};

    fn request(again: Again, tries: u8, begun: u8) -> UnderWay {
        let id = RequestId { slot: 0, generation: 0 };
        let frame = Queue::<64, 1>::new().push(Header::request(1, 1), &[]).unwrap();
        let reached = if begun > 0 { How::Running } else { How::NotBegun };
        UnderWay { again, tries, begun, reached, ..UnderWay::plain(id, frame) }
    }

    #[test]
    fn each_grade_repeats_what_it_says() {
        use Again::{IfNotBegun, Never, UntilAnswered, UntilDone};
        for (again, not_begun, running, done) in [
            (IfNotBegun, true, false, false),
            (UntilDone, true, true, false),
            (UntilAnswered, true, true, true),
            (Never, false, false, false),
        ] {
            for (how, repeats) in
                [(How::NotBegun, not_begun), (How::Running, running), (How::Done, done)]
            {
                let fate = request(again, 3, 0).fate(how, true);
                let expected = (!repeats).then_some(Ending::Lost(how));
                assert_eq!(fate, expected, "{again:?}, {how:?}");
            }
        }
        assert_eq!(request(Never, 3, 0).fate(How::NotBegun, false), None);
    }

    /// It went to the next worker, after what that one was told first.
    #[test]
    fn repro_what_was_put_first_and_is_never_sent_again_is_lost_unsent() {
        for (again, expected) in
            [(Again::Never, Some(Ending::Lost(How::NotBegun))), (Again::IfNotBegun, None)]
        {
            let mut first = UnderWay { is_first: true, ..request(again, 3, 0) };
            assert_eq!(first.fate(How::NotBegun, false), expected, "{again:?}");
            assert!(!first.is_first, "its place is gone");
        }
    }

    #[test]
    fn what_began_as_often_as_it_may_is_set_aside() {
        let fate = |tries, begun, how| request(Again::UntilDone, tries, begun).fate(how, true);
        assert_eq!(fate(3, 1, How::Running), None);
        assert_eq!(fate(3, 2, How::Running), Some(Ending::SetAside(How::Running)));
        assert_eq!(fate(1, 0, How::Running), Some(Ending::SetAside(How::Running)));
        assert_eq!(fate(1, 5, How::NotBegun), None, "it had not begun in this worker");
    }

    #[test]
    fn a_request_that_began_in_an_earlier_worker_is_not_told_as_not_begun() {
        let lost = request(Again::IfNotBegun, 3, 1).fate(How::Done, true);
        assert_eq!(lost, Some(Ending::Lost(How::Done)));
        let mut request = UnderWay { again: Again::Never, ..request(Again::UntilDone, 3, 1) };
        let lost = request.fate(How::NotBegun, true);
        assert_eq!(lost, Some(Ending::Lost(How::Running)));
    }

    #[test]
    fn a_late_one_way_is_not_repeated() {
        for again in [Again::IfNotBegun, Again::UntilDone, Again::UntilAnswered, Again::Never] {
            let request = request(again, 3, 0);
            let mut late = UnderWay { is_one_way: true, is_late: true, ..request };
            let lost = late.fate(How::Running, true);
            assert_eq!(lost, Some(Ending::Lost(How::Running)), "{again:?}");
        }
    }
}
