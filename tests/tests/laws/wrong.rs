//! Transports that break the contract on purpose. Each must be caught by the law listed with it.

#![expect(unsafe_code, reason = "raises a signal and sleeps through one")]

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{catch_unwind, set_hook, take_hook};
use std::thread::sleep;
use std::time::Duration;

use ipc_transport::{
    Errno, Fds, Instant, Interest, PassFds, Received, Stream, SystemError, Transport,
    TransportError, Watched, laws, wait,
};
use rustix::io::{FdFlags, fcntl_setfd};

type Moved<T = usize> = Result<Option<T>, TransportError>;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Nothing,
    ShortSendCountsOneLess,
    ShortSendCountsOneMore,
    ShortSendWithFdsCountsOneLess,
    OtherErrorBeforeClosed,
    OtherErrorBeforeClosedForSenders,
    BytesSwapped,
    ByteTwice,
    ByteMissing,
    WouldBlockThatTakes,
    WouldBlockThatGives,
    EmptyReceiveThatBlocks,
    FullSendThatBlocks,
    MoreThanOffered,
    EndBeforeTheLastWords,
    MoreAfterTheEnd,
    SignalAtTheEnd,
    Interrupted,
    OtherDescriptor,
    DescriptorMissing,
    DescriptorsWithTheSecondByte,
    TruncationNotTold,
    LeftOpenOnExec,
    KeptWithoutAWord,
}

use Fault::*;

/// A stream with a fault.
struct Wrong {
    inner: Stream,
    fault: Fault,
    calls: usize,
    ended: bool,
    kept: Vec<u8>,
}

fn pair(fault: Fault) -> (Wrong, Wrong) {
    let (left, right) = Stream::pair().unwrap();
    let wrong = |inner| Wrong { inner, fault, calls: 0, ended: false, kept: Vec::new() };
    (wrong(left), wrong(right))
}

fn error(call: &'static str, errno: i32) -> TransportError {
    TransportError::System(SystemError { call, errno: Errno(errno) })
}

impl Wrong {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Returns whether the fault occurs in this call: in one of three.
    fn has_now(&mut self, fault: Fault) -> bool {
        self.calls += 1;
        self.has(fault) && self.calls.is_multiple_of(3)
    }

    fn sent(&mut self, answer: Moved, offered: usize, has_fds: bool) -> Moved {
        let is_late = self.has_now(WouldBlockThatTakes);
        match answer {
            Ok(Some(_)) if is_late => Ok(None),
            Ok(Some(taken)) if taken < offered && taken > 1 => Ok(Some(match self.fault {
                ShortSendCountsOneLess => taken - 1,
                ShortSendCountsOneMore => taken + 1,
                ShortSendWithFdsCountsOneLess if has_fds => taken - 1,
                _ => taken,
            })),
            Ok(None) if self.has(FullSendThatBlocks) => {
                sleep(Duration::from_micros(100));
                answer
            }
            Ok(Some(taken)) if self.has(MoreThanOffered) => Ok(Some(taken + 1)),
            Err(TransportError::Closed) if self.has(OtherErrorBeforeClosedForSenders) => {
                self.fault = Nothing;
                Err(error("sendmsg", libc::EPIPE))
            }
            Err(TransportError::Closed) if self.has(SignalAtTheEnd) => {
                // SAFETY: the standard library ignores the signal.
                unsafe { libc::raise(libc::SIGPIPE) };
                answer
            }
            answer => answer,
        }
    }

    /// Fails before the receiving call.
    fn before_receiving(&mut self) -> Result<(), TransportError> {
        if self.has(EndBeforeTheLastWords) {
            let mut watched = [Watched::new(self.inner.as_fd(), Interest::End)];
            if wait(&mut watched, Some(Instant::PAST)).unwrap() {
                return Err(TransportError::Closed);
            }
        }
        // SAFETY: no memory is involved.
        if self.has(Interrupted) && unsafe { libc::usleep(100) } != 0 {
            return Err(error("usleep", libc::EINTR));
        }
        Ok(())
    }

    /// Takes more bytes from the stream than it returns.
    fn receive_from_kept(&mut self, space: &mut [u8]) -> Moved {
        if self.kept.is_empty() {
            let mut more = [0; 256];
            let len = self.inner.receive(&mut more)?.unwrap_or(0);
            self.kept.extend_from_slice(&more[..len]);
        }
        let len = space.len().min(self.kept.len());
        space[..len].copy_from_slice(&self.kept[..len]);
        self.kept.drain(..len);
        Ok((len > 0).then_some(len))
    }

    fn received(&mut self, answer: Moved<Received>, space: &mut [u8]) -> Moved<Received> {
        let is_late = self.has_now(WouldBlockThatGives);
        match answer {
            Ok(Some(_)) if is_late => Ok(None),
            Ok(Some(mut received)) => {
                let len = received.len;
                match self.fault {
                    BytesSwapped if len > 1 => space.swap(0, len - 1),
                    ByteTwice if len < space.len() && len > 0 => {
                        space[len] = space[len - 1];
                        received.len += 1;
                    }
                    ByteMissing if len > 1 => received.len -= 1,
                    TruncationNotTold => received.fds_truncated = false,
                    _ => {}
                }
                Ok(Some(received))
            }
            Ok(None) if self.has(EmptyReceiveThatBlocks) => {
                sleep(Duration::from_micros(100));
                answer
            }
            Err(TransportError::Closed) if self.has(OtherErrorBeforeClosed) => {
                self.fault = Nothing;
                Err(error("recvmsg", libc::ECONNRESET))
            }
            Err(TransportError::Closed) if self.has(MoreAfterTheEnd) && self.ended => {
                Ok(Some(Received { len: 1, fds_truncated: false }))
            }
            answer => {
                self.ended |= answer == Err(TransportError::Closed);
                answer
            }
        }
    }
}

impl AsFd for Wrong {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

fn len_of(pieces: &[&[u8]]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}

impl Transport for Wrong {
    fn send(&mut self, pieces: &[&[u8]]) -> Moved {
        let answer = self.inner.send(pieces);
        self.sent(answer, len_of(pieces), false)
    }

    fn receive(&mut self, space: &mut [u8]) -> Moved {
        self.before_receiving()?;
        if self.has(KeptWithoutAWord) && !space.is_empty() {
            return self.receive_from_kept(space);
        }
        let answer = self.inner.receive(space);
        let answer = answer.map(|len| len.map(|len| Received { len, fds_truncated: false }));
        Ok(self.received(answer, space)?.map(|received| received.len))
    }
}

impl PassFds for Wrong {
    fn send_with(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        let mut fds = fds.to_vec();
        let null = File::open("/dev/null").unwrap();
        if self.has(OtherDescriptor) {
            fds.fill(null.as_fd());
        }
        if self.has(DescriptorsWithTheSecondByte) && !fds.is_empty() && len_of(pieces) > 1 {
            return self.inner.send(&[&pieces.concat()[..1]]).inspect(|_| {
                self.inner.send_with(&[&pieces.concat()[1..]], &fds).unwrap();
            });
        }
        let answer = self.inner.send_with(pieces, &fds);
        self.sent(answer, len_of(pieces), !fds.is_empty())
    }

    fn receive_with(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        self.before_receiving()?;
        let answer = self.inner.receive_with(space, fds);
        if self.has(DescriptorMissing) {
            fds.truncate(fds.len().saturating_sub(1));
        }
        if self.has(LeftOpenOnExec) {
            fds.iter().for_each(|fd| fcntl_setfd(fd, FdFlags::empty()).unwrap());
        }
        self.received(answer, space)
    }
}

/// Defines a case for each fault, in which a law must fail.
macro_rules! caught {
    ($($(#[$doc:meta])* $case:ident: $fault:ident => $law:ident,)*) => {
        $($(#[$doc])* pub(crate) fn $case() {
            laws::$law(|| pair(Nothing));
            let usual = take_hook();
            // Do not print the expected failure.
            set_hook(Box::new(|_| {}));
            let caught = catch_unwind(|| laws::$law(|| pair($fault))).is_err();
            set_hook(usual);
            assert!(caught, "{} passes", stringify!($case));
        })*
    };
}

caught! {
    a_short_send_that_counts_one_less_is_caught:
        ShortSendCountsOneLess => a_short_send_takes_what_it_counts,
    a_short_send_that_counts_one_more_is_caught:
        ShortSendCountsOneMore => a_short_send_takes_what_it_counts,
    a_short_send_with_descriptors_that_counts_one_less_is_caught:
        ShortSendWithFdsCountsOneLess => all_go_however_few_bytes_were_taken,
    another_error_before_closed_is_caught:
        OtherErrorBeforeClosed => the_last_words_come_before_the_end_and_the_end_is_for_ever,
    another_error_for_senders_before_closed_is_caught:
        OtherErrorBeforeClosedForSenders =>
            a_sender_told_of_the_end_still_receives_and_gets_no_signal,
    bytes_out_of_order_are_caught:
        BytesSwapped => bytes_arrive_in_order_none_twice_none_missing,
    a_byte_twice_is_caught:
        ByteTwice => bytes_arrive_in_order_none_twice_none_missing,
    a_byte_missing_is_caught:
        ByteMissing => bytes_arrive_in_order_none_twice_none_missing,
    a_would_block_that_takes_bytes_is_caught:
        WouldBlockThatTakes => bytes_arrive_in_order_none_twice_none_missing,
    a_would_block_that_gives_bytes_is_caught:
        WouldBlockThatGives => bytes_arrive_in_order_none_twice_none_missing,
    /// No law noticed a transport that waited whenever it had nothing to receive.
    repro_a_receive_that_blocks_is_caught:
        EmptyReceiveThatBlocks => no_call_blocks,
    /// Nor one that waited whenever it was full.
    repro_a_send_that_blocks_is_caught:
        FullSendThatBlocks => no_call_blocks,
    a_count_over_the_offer_is_caught:
        MoreThanOffered => a_count_is_from_one_to_what_was_offered,
    an_end_before_the_last_words_is_caught:
        EndBeforeTheLastWords => the_last_words_come_before_the_end_and_the_end_is_for_ever,
    bytes_after_the_end_are_caught:
        MoreAfterTheEnd => the_last_words_come_before_the_end_and_the_end_is_for_ever,
    a_signal_at_the_end_is_caught:
        SignalAtTheEnd => a_sender_told_of_the_end_still_receives_and_gets_no_signal,
    a_call_that_a_signal_ends_is_caught:
        Interrupted => signals_are_not_seen,
    another_descriptor_is_caught:
        OtherDescriptor => from_none_to_253_arrive_in_order_and_closed_on_exec,
    a_descriptor_missing_is_caught:
        DescriptorMissing => descriptors_ride_on_the_first_byte_of_their_call,
    descriptors_with_the_second_byte_are_caught:
        DescriptorsWithTheSecondByte => descriptors_ride_on_the_first_byte_of_their_call,
    a_truncation_that_is_not_told_is_caught:
        TruncationNotTold => what_the_list_cannot_hold_is_closed_and_told,
    a_descriptor_left_open_on_exec_is_caught:
        LeftOpenOnExec => from_none_to_253_arrive_in_order_and_closed_on_exec,
    bytes_that_do_not_show_are_caught:
        KeptWithoutAWord => what_would_be_received_shows,
}
