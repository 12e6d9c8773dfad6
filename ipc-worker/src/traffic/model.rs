//! The expected state of the requests in a run, separate from the code under test.

use std::vec::Vec;

use ipc_transport::Instant;

use super::near::{FILLER, METHOD};
use crate::call::Call;
use crate::event::{Lost, Note};
use crate::ledger::{Again, How};

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    ByHandler,
    /// Descriptors were lost in transit to the worker.
    FdsLost,
    /// The handler added a descriptor that the call does not allow.
    TooManyFds,
}

/// How a request ended, as reported to main.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Reply,
    Refused(Refused),
    Lost(How),
    SetAside(How),
    DeadlinePassed,
    Cancelled,
}

/// A request that was accepted. Its number is its index in the list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) is_one_way: bool,
    pub(super) again: Again,
    pub(super) tries: u8,
    pub(super) deadline: Instant,
    pub(super) len: usize,
    pub(super) fd_count: usize,
    /// Most descriptors that its reply may carry.
    pub(super) reply_fds: u16,
    /// How many requests had begun when it last began.
    begun_at: u64,
    /// How often its handler began, how often it ended, how often with `Ok`, and how often its work
    /// was settled.
    begun: u32,
    ended: u32,
    done: u32,
    settled: u32,
    /// It ended while main still listened to its worker.
    is_known_done: bool,
    is_cancelled: bool,
    told: Option<Told>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    known: Vec<Known>,
    /// How many requests have begun so far, and how many when the last answered one began.
    beginnings: u64,
    last_answered: u64,
    /// How many of those sent first have begun.
    pub(super) begun_first: u64,
    unsettled: Vec<u32>,
    /// The requests of this worker's notes, and how many of the notes were reported to main.
    notes: Vec<u32>,
    notes_told: usize,
    /// Notes that were reported with their tag, and without one because the request had its
    /// outcome.
    pub(super) notes_of_tags: u64,
    pub(super) late_notes: u64,
    pub(super) notes_dropped: u64,
    pub(super) answers: u64,
    /// How many requests began again, and how many of them had ended before.
    pub(super) begun_anew: u64,
    pub(super) begun_after_done: u64,
    /// Descriptors that were given back with requests, and that arrived with replies.
    pub(super) given_back_fds: u64,
    pub(super) reply_fds: u64,
    /// One-way requests that were done.
    pub(super) done_silently: u64,
}

impl Model {
    /// Returns the number of the next request.
    pub(super) fn next(&self) -> u32 {
        u32::try_from(self.known.len()).unwrap()
    }

    pub(super) fn taken(&mut self, is_one_way: bool, len: usize, call: &Call<'_>) {
        let known = Known {
            is_one_way,
            again: call.again,
            tries: call.tries,
            deadline: call.deadline.unwrap_or(Instant::NEVER),
            len,
            fd_count: call.fds.len(),
            reply_fds: if is_one_way { 0 } else { call.reply_fds },
            begun_at: 0,
            begun: 0,
            ended: 0,
            done: 0,
            settled: 0,
            is_known_done: false,
            is_cancelled: false,
            told: None,
        };
        self.known.push(known);
    }

    fn at(&mut self, number: u32) -> &mut Known {
        &mut self.known[usize::try_from(number).unwrap()]
    }

    /// A handler begins.
    pub(super) fn begin(&mut self, number: u32, fd_count: usize) {
        self.beginnings += 1;
        let beginnings = self.beginnings;
        let known = self.at(number);
        known.begun_at = beginnings;
        known.begun += 1;
        let (is_anew, is_after_done) = (known.begun > 1, known.is_known_done);
        let most = match known.again {
            Again::UntilDone | Again::UntilAnswered => u32::from(known.tries).max(1),
            Again::IfNotBegun | Again::Never => 1,
        };
        assert!(!is_after_done || known.again == Again::UntilAnswered, "{number}: {known:?}");
        assert!(known.begun <= most, "request {number} begins too often: {known:?}");
        assert!(known.told.is_none(), "request {number} begins after its outcome: {known:?}");
        assert_eq!(known.fd_count, fd_count, "descriptors of request {number}");
        self.begun_anew += u64::from(is_anew);
        self.begun_after_done += u64::from(is_after_done);
    }

    /// Returns whether a request's reply may carry this many descriptors.
    pub(super) fn allows(&mut self, number: u32, fd_count: u8) -> bool {
        u16::from(fd_count) <= self.at(number).reply_fds
    }

    /// A handler ends, with `Ok` or not, while main listens or not.
    pub(super) fn end(&mut self, number: u32, is_done: bool, is_heard: bool) {
        let known = self.at(number);
        known.ended += 1;
        known.done += u32::from(is_done);
        known.is_known_done |= is_heard;
        self.unsettled.push(number);
    }

    /// The worker has settled the work of its handler.
    pub(super) fn settle(&mut self) {
        for number in core::mem::take(&mut self.unsettled) {
            self.at(number).settled += 1;
        }
    }

    /// A handler is about to send a note. Returns its number.
    pub(super) fn note(&mut self, request: u32) -> u16 {
        self.notes.push(request);
        u16::try_from(self.notes.len() - 1).unwrap()
    }

    /// The note was sent, or was dropped.
    pub(super) fn noted(&mut self, is_sent: bool) {
        if !is_sent {
            self.notes.pop();
            assert!(self.notes_told <= self.notes.len(), "a dropped note was reported");
        }
    }

    /// Main gets a note: the next of those that were sent.
    pub(super) fn tell_note(&mut self, tag: Option<u32>, note: Note<'_>) {
        let number = self.notes[self.notes_told];
        assert_eq!(usize::from(note.number()), self.notes_told, "the notes' order");
        self.notes_told += 1;
        let (head, filler) = note.bytes().split_first_chunk::<4>().unwrap();
        assert_eq!(*head, number.to_le_bytes(), "another request's note");
        assert!(filler.iter().all(|&byte| byte == 9), "mixed bytes");
        let known = *self.at(number);
        match tag {
            Some(tag) => assert!(tag == number && known.told.is_none(), "{tag}: {known:?}"),
            // A one-way has no tag. One that is late or cancelled may not be reported yet.
            None => {
                let may_have_ended = known.is_cancelled || known.deadline != Instant::NEVER;
                assert!(known.is_one_way || may_have_ended, "{number}: {known:?}");
            }
        }
        self.notes_of_tags += u64::from(tag.is_some());
        self.late_notes += u64::from(tag.is_none() && !known.is_one_way);
    }

    /// Another worker begins. Notes of the last one are not reported any more.
    pub(super) fn forget_notes(&mut self) {
        self.notes.clear();
        self.notes_told = 0;
    }

    /// The worker is gone, with its unsettled work.
    pub(super) fn forget_unsettled(&mut self) {
        self.unsettled.clear();
    }

    /// Main has cancelled a request in flight.
    pub(super) fn cancel(&mut self, number: u32) {
        let known = self.at(number);
        assert!(known.told.is_none() && !known.is_cancelled, "cancelled twice: {known:?}");
        known.is_cancelled = true;
    }

    /// Main gets an outcome.
    pub(super) fn tell(&mut self, number: u32, told: Told, now: Instant) {
        let known = self.at(number);
        assert!(!known.is_one_way && known.told.is_none(), "{number} reported twice: {known:?}");
        known.told = Some(told);
        // If descriptors were lost, the handler did not run.
        let may_be_claimed = known.begun > 0 || known.fd_count > 0;
        let is_right = match told {
            Told::Reply => known.done > 0 && known.settled > 0,
            Told::Refused(Refused::FdsLost) => known.fd_count > 0,
            Told::Refused(_) => known.ended > known.done && known.settled > 0,
            Told::Lost(How::NotBegun) => known.begun == 0,
            Told::Lost(How::Running) => may_be_claimed,
            Told::Lost(How::Done) => known.ended > 0 || known.fd_count > 0,
            Told::SetAside(how) => {
                let tries = u32::from(known.tries);
                let was_repeated = known.begun == tries || known.fd_count > 0;
                was_repeated && how != How::NotBegun && known.again != Again::IfNotBegun
            }
            Told::DeadlinePassed => known.deadline <= now,
            Told::Cancelled => known.is_cancelled,
        };
        assert!(is_right, "request {number} ends with {told:?}: {known:?}");
        assert!(!known.is_cancelled || told == Told::Cancelled, "{number}: {known:?}");
        let begun_at = known.begun_at;
        if matches!(told, Told::Reply | Told::Refused(_)) {
            self.answers += 1;
            // If descriptors were lost, its handler has not begun, or only in an earlier worker.
            if told != Told::Refused(Refused::FdsLost) {
                assert!(self.last_answered < begun_at, "{number} is out of order");
                self.last_answered = begun_at;
            }
        }
    }

    /// Main gets a request back. Checks that it is whole.
    pub(super) fn give_back(&mut self, number: u32, lost: &mut Lost<'_>) {
        let known = *self.at(number);
        let (head, filler) = lost.bytes().split_first_chunk::<4>().unwrap();
        assert_eq!((*head, lost.method()), (number.to_le_bytes(), METHOD), "another request");
        assert!(filler.iter().all(|&byte| byte == FILLER), "mixed bytes");
        assert_eq!((lost.bytes().len(), lost.fds().count()), (known.len, known.fd_count));
        // The others are closed when the next event is requested.
        drop(lost.take_fd());
        self.given_back_fds += u64::try_from(known.fd_count).unwrap();
    }

    /// Main has freed one-way requests, and counted some of them. Checks that the others were done.
    pub(super) fn let_go(&mut self, numbers: &[u32], counted: u64) {
        let silent = u64::try_from(numbers.len()).unwrap().checked_sub(counted);
        let silent = silent.expect("no one-way is counted twice, and none before its end");
        let done = numbers.iter().filter(|&&number| {
            let known = *self.at(number);
            known.settled > 0 && known.done > 0
        });
        assert!(silent <= u64::try_from(done.count()).unwrap(), "{silent} of {numbers:?}");
        self.done_silently += silent;
    }

    /// Nothing is in flight any more. Checks that no outcome is missing.
    pub(super) fn finish(&self, lost: u64, expired: u64, refused: u64) {
        for (number, known) in self.known.iter().enumerate() {
            let is_told = known.told.is_some();
            assert_eq!(is_told, !known.is_one_way, "request {number}: {known:?}");
        }
        let one_ways = || self.known.iter().filter(|known| known.is_one_way);
        let count = |list: &mut dyn Iterator<Item = &Known>| u64::try_from(list.count()).unwrap();
        assert!(lost + expired + refused <= count(&mut one_ways()));
        let may_expire = one_ways().filter(|known| known.deadline != Instant::NEVER);
        assert!(expired <= count(&mut { may_expire }), "{expired} expired");
        let may_refuse = one_ways().filter(|it| it.ended > it.done || it.fd_count > 0);
        assert!(refused <= count(&mut { may_refuse }), "{refused} refused");
    }

    /// Returns how many requests had one of these outcomes.
    pub(super) fn count(&self, is_wanted: fn(Told) -> bool) -> u64 {
        let told = self.known.iter().filter_map(|known| known.told);
        u64::try_from(told.filter(|told| is_wanted(*told)).count()).unwrap()
    }

    /// Returns how many answers handlers have made.
    pub(super) fn answers_made(&self) -> u64 {
        let requests = self.known.iter().filter(|known| !known.is_one_way);
        // Plus those of requests whose descriptors may have been lost instead.
        requests.map(|it| u64::from(it.ended) + u64::from(it.fd_count > 0) * 4).sum()
    }
}
