//! What becomes of a request when its worker is gone.

use ipc_frame::FrameNumber;
use ipc_transport::{Instant, SystemError};

/// Whether a request may go to the next worker when its own is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Again {
    /// Only if its handler had not begun. The default.
    IfNotBegun,
    /// Also if its handler was running: for work that does no harm when it is done twice.
    UntilDone,
    /// Also if its handler had finished but the answer was not sent: for work that settles in a
    /// batch and does no harm when it is done twice.
    UntilAnswered,
    /// Not once any byte of it was sent.
    Never,
}

/// How far a request had come when it was lost with its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum How {
    /// Its handler had not begun.
    NotBegun,
    /// Its handler was running: what it did is unknown.
    Running,
    /// Its handler had finished, but its batch was not settled or its answer not sent.
    Done,
}

/// What is known of a request that has no outcome yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnderWay {
    /// Where its bytes wait until the outcome is told.
    pub(crate) frame: FrameNumber,
    pub(crate) deadline: Instant,
    pub(crate) again: Again,
    /// How often it may begin.
    pub(crate) tries: u8,
    /// How often it began in a worker that was lost.
    pub(crate) begun: u8,
    /// How far it came in the workers that were lost.
    pub(crate) reached: How,
    /// Most descriptors that its reply may bring.
    pub(crate) reply_fds: u16,
    /// It has no outcome.
    pub(crate) is_one_way: bool,
    /// A one-way request that counts as late, and whose handler the worker had begun.
    pub(crate) is_late: bool,
}

/// An outcome that main itself came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Lost(How),
    SetAside(How),
    Unsendable(SystemError),
    DeadlinePassed,
    Cancelled,
}

/// What follows for a request whose worker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes to the next worker.
    Resend,
    /// It ends here.
    End(Ending),
}

impl Fate {
    /// Decides by how far the request came in the worker that is gone, and whether any byte of it
    /// was sent there.
    pub(crate) fn of(request: &UnderWay, how: How, was_sent: bool) -> Self {
        let may_repeat = match (how, request.again) {
            (_, Again::Never) => !was_sent,
            (How::NotBegun, _) => true,
            (How::Running, again) => matches!(again, Again::UntilDone | Again::UntilAnswered),
            (How::Done, again) => again == Again::UntilAnswered,
        };
        let reached = how.max(request.reached);
        if !may_repeat {
            Self::End(Ending::Lost(reached))
        } else if how > How::NotBegun && request.begun.saturating_add(1) >= request.tries {
            Self::End(Ending::SetAside(reached))
        } else {
            Self::Resend
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipc_frame::{Header, Queue};

    fn request(again: Again, tries: u8, begun: u8) -> UnderWay {
        let frame = Queue::<64, 1>::new().push(Header::request(1, 1), &[]).unwrap();
        let reached = if begun > 0 { How::Running } else { How::NotBegun };
        let deadline = Instant::NEVER;
        UnderWay {
            frame,
            deadline,
            again,
            tries,
            begun,
            reached,
            reply_fds: 0,
            is_one_way: false,
            is_late: false,
        }
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
                let fate = Fate::of(&request(again, 3, 0), how, true);
                let expected = if repeats { Fate::Resend } else { Fate::End(Ending::Lost(how)) };
                assert_eq!(fate, expected, "{again:?}, {how:?}");
            }
        }
        assert_eq!(Fate::of(&request(Never, 3, 0), How::NotBegun, false), Fate::Resend);
    }

    #[test]
    fn what_began_as_often_as_it_may_is_set_aside() {
        let fate =
            |tries, begun, how| Fate::of(&request(Again::UntilDone, tries, begun), how, true);
        assert_eq!(fate(3, 1, How::Running), Fate::Resend);
        assert_eq!(fate(3, 2, How::Running), Fate::End(Ending::SetAside(How::Running)));
        assert_eq!(fate(1, 0, How::Running), Fate::End(Ending::SetAside(How::Running)));
        assert_eq!(fate(1, 5, How::NotBegun), Fate::Resend, "this worker had not begun it");
    }

    #[test]
    fn a_request_that_began_in_an_earlier_worker_is_not_told_as_not_begun() {
        let lost = Fate::of(&request(Again::IfNotBegun, 3, 1), How::Done, true);
        assert_eq!(lost, Fate::End(Ending::Lost(How::Done)));
        let request = UnderWay { again: Again::Never, ..request(Again::UntilDone, 3, 1) };
        let lost = Fate::of(&request, How::NotBegun, true);
        assert_eq!(lost, Fate::End(Ending::Lost(How::Running)));
    }
}
