//! Every small split of a few frames, honest or not, compared with what the sender knows.

use std::string::ToString;
use std::vec;
use std::vec::Vec;

use ipc_frame::Decoder;

use super::*;

/// One frame, sent by a separate call.
#[derive(Clone, Copy, Debug)]
struct Sent {
    payload: usize,
    announced: u16,
    brought: usize,
}

/// The bytes of the frames, and for each sending call its start and its descriptors.
struct Stream {
    bytes: Vec<u8>,
    calls: Vec<(usize, usize)>,
    position: usize,
}

impl Stream {
    fn new(frames: &[Sent]) -> Self {
        let (mut bytes, mut calls, mut sequence) = (Vec::new(), Vec::new(), 0);
        for (id, frame) in frames.iter().enumerate() {
            calls.push((bytes.len(), frame.brought));
            let header = Header::request(1, u64::try_from(id).unwrap());
            let own = if frame.announced > 0 { sequence } else { 0 };
            let len = u32::try_from(frame.payload).unwrap();
            bytes.extend(header.encode_with(len, frame.announced, own).unwrap());
            bytes.extend(vec![9; frame.payload]);
            sequence += u32::from(frame.announced);
        }
        Self { bytes, calls, position: 0 }
    }

    /// Receives as a stream socket does: a call ends after the bytes of the sending call whose
    /// descriptors it takes. Returns the bytes, and the sending calls whose descriptors came with
    /// them.
    fn receive(&mut self, limit: usize) -> (&[u8], Vec<usize>) {
        let (start, mut end) =
            (self.position, self.bytes.len().min(self.position.saturating_add(limit)));
        let mut came = Vec::new();
        for (index, &(first, brought)) in self.calls.iter().enumerate() {
            if brought > 0 && (start..end).contains(&first) {
                let next = self.calls.get(index + 1).map_or(usize::MAX, |&(next, _)| next);
                end = end.min(next);
                came = vec![index; brought];
                break;
            }
        }
        self.position = end;
        (&self.bytes[start..end], came)
    }
}

/// The outcome of a frame: the sending calls of the descriptors that it got.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    tags: Vec<usize>,
    lost: Option<FdsLost>,
}

/// When frames are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// After each call.
    AtOnce,
    /// Once nothing more can be received.
    Late,
}

/// Receives everything as an inbox does, with at most `limits` bytes in each call.
fn run(frames: &[Sent], limits: &[usize], taken: Taken) -> (Vec<Got>, Option<InboxError>) {
    let (mut stream, mut decoder) = (Stream::new(frames), Decoder::<256>::new());
    let (mut joiner, mut waiting, mut list) = (Joiner::new(), Vec::new(), Vec::new());
    let mut limits = limits.iter().copied();
    let mut limit = 0;
    loop {
        if limit == 0 {
            limit = limits.next().unwrap_or(usize::MAX);
        }
        let allowed = joiner.limit(decoder.received(), decoder.headers());
        let (most, room) = match allowed {
            None => (limit, true),
            Some(len) => (limit.min(usize::try_from(len).unwrap()), false),
        };
        let start = decoder.received();
        let (bytes, mut came) = stream.receive(most);
        let len = bytes.len();
        decoder.space()[..len].copy_from_slice(bytes);
        decoder.filled(len);
        limit = limit.saturating_sub(len);
        if !room {
            came.clear();
        }
        let (range, position) = (start..decoder.received(), decoder.position());
        if !came.is_empty() && !joiner.arrived(range, came.len(), position, decoder.headers()) {
            came.clear();
        }
        assert!(came.is_empty() || waiting.is_empty(), "one batch at most");
        waiting.extend(came);
        let is_over = len == 0 && limit > 0;
        let is_stopped = allowed == Some(0) || is_over;
        loop {
            if taken == Taken::Late && !is_stopped {
                break;
            }
            let start = decoder.position();
            let Some(header) = decoder.advance().unwrap() else { break };
            let lost = match joiner.frame(start, &header) {
                Ok(lost) => lost,
                Err(error) => {
                    assert_eq!(joiner.frame(start, &header), Err(error), "final");
                    return (list, Some(error));
                }
            };
            let due = if joiner.is_waiting() { vec![] } else { core::mem::take(&mut waiting) };
            let is_whole = header.fd_count() > 0 && lost.is_none();
            list.push(Got { tags: if is_whole { due } else { vec![] }, lost });
        }
        assert_eq!(waiting.is_empty(), !joiner.is_waiting());
        if is_over && allowed != Some(0) {
            assert!(waiting.is_empty());
            return (list, None);
        }
    }
}

/// Checks the outcomes of frames whose sending calls bring the announced descriptors or others.
/// Frames that announce no descriptors bring none.
fn check(frames: &[Sent], limits: &[usize]) {
    for taken in [Taken::AtOnce, Taken::Late] {
        check_run(frames, limits, taken);
    }
}

fn check_run(frames: &[Sent], limits: &[usize], taken: Taken) {
    let (list, error) = run(frames, limits, taken);
    let is_honest = frames.iter().all(|frame| frame.brought == usize::from(frame.announced));
    let seen = || std::format!("{frames:?} in {limits:?} {taken:?}: {list:?}, {error:?}");
    assert!(!is_honest || (error.is_none() && list.len() == frames.len()), "{}", seen());
    for (index, (got, sent)) in list.iter().zip(frames).enumerate() {
        let own = vec![index; sent.brought];
        let whole = sent.brought == usize::from(sent.announced);
        match got.lost {
            None if got.tags == own => assert!(whole, "{}", seen()),
            // A frame whose sender lied may get another frame's descriptors, but then the stream
            // fails.
            None => assert!(error.is_some() && !is_honest, "{}", seen()),
            Some(lost) => {
                assert_eq!(lost.expected, sent.announced, "{}", seen());
                assert!(got.tags.is_empty() && !is_honest, "{}", seen());
            }
        }
    }
    if error.is_none() {
        let pairs = list.iter().zip(frames);
        for (got, sent) in pairs.filter(|(_, sent)| sent.brought == usize::from(sent.announced)) {
            assert_eq!(got.lost, None, "what is honest is given: {}", seen());
            assert_eq!(got.tags.len(), sent.brought);
        }
    }
}

/// miri is about a hundred times slower.
const STEP: usize = if cfg!(miri) { 13 } else { 1 };
const FRAMES_STEP: usize = if cfg!(miri) { 4 } else { 1 };

fn frames() -> Vec<Sent> {
    let counts = [(0, 0), (1, 1), (2, 2), (1, 0), (2, 1), (1, 2)];
    let frame = |payload| move |(announced, brought)| Sent { payload, announced, brought };
    [0, 2].into_iter().flat_map(|payload| counts.map(frame(payload))).collect()
}

#[test]
fn two_frames_in_every_two_cuts_keep_their_descriptors() {
    let some = || frames().into_iter().step_by(FRAMES_STEP);
    for first in some().filter(|frame| frame.payload == 0) {
        for second in some() {
            let len = 2 * Header::SIZE + first.payload + second.payload;
            for cut in (1..len).step_by(STEP) {
                for next in (1..=len - cut).step_by(STEP) {
                    check(&[first, second], &[cut, next]);
                }
            }
        }
    }
}

#[test]
fn three_frames_in_pieces_of_every_length_keep_their_descriptors() {
    let short = || frames().into_iter().filter(|frame| frame.payload == 0).step_by(FRAMES_STEP);
    for first in short() {
        for second in frames().into_iter().step_by(FRAMES_STEP) {
            for third in short() {
                for len in (1..80).step_by(STEP) {
                    check(&[first, second, third], &[len]);
                }
                for len in [1, 2, 7, 23, 24, 25, 31, 47, 49].into_iter().step_by(FRAMES_STEP) {
                    check(&[first, second, third], &vec![len; 80]);
                }
            }
        }
    }
}

#[test]
fn a_frame_does_not_take_the_descriptors_of_the_next() {
    let liar = Sent { payload: 0, announced: 1, brought: 0 };
    let honest = Sent { brought: 1, ..liar };
    let (list, error) = run(&[liar, honest], &[], Taken::AtOnce);
    assert_eq!(error, None);
    assert_eq!(list[0].lost, Some(FdsLost { expected: 1, got: 0 }));
    assert_eq!(list[1], Got { tags: vec![1], lost: None });
    // Until the second header arrives, the first frame cannot know.
    let (_, error) = run(&[liar, honest], &[Header::SIZE + 1], Taken::AtOnce);
    assert_eq!(error, Some(InboxError::FdsClaimedTwice { fd_count: 1 }));
}

/// More descriptors in the middle of the second header change nothing.
#[test]
fn a_frame_that_may_announce_none_stays_so_until_it_comes() {
    let header = |sequence| {
        let bytes = Header::request(1, 1).encode_with(0, 1, sequence).unwrap();
        Header::decode(&bytes).unwrap()
    };
    let mut joiner = Joiner::new();
    assert!(joiner.arrived(0..30, 1, 0, [(0, header(0))].into_iter()));
    assert_eq!((joiner.frame(0, &header(0)), joiner.is_waiting()), (Ok(None), false));
    assert!(!joiner.arrived(30..40, 2, 24, core::iter::empty()));
    let ahead = [(24, header(1)), (48, header(2))];
    assert!(!joiner.arrived(40..80, 1, 24, ahead.into_iter()), "the stream ends before");
    let error = Err(InboxError::FdsClaimedTwice { fd_count: 1 });
    assert_eq!(joiner.frame(24, &header(1)), error);
}

#[test]
fn a_batch_waits_for_the_bytes_of_its_frame_alone() {
    let mut joiner = Joiner::new();
    let header = Header::decode(&Header::request(1, 1).encode_with(10, 2, 0).unwrap()).unwrap();
    assert!(joiner.arrived(0..7, 2, 0, core::iter::empty()));
    assert_eq!(joiner.limit(7, core::iter::empty()), Some(17));
    assert_eq!(joiner.limit(24, [(0, header)].into_iter()), Some(10));
    assert_eq!(joiner.limit(34, [(0, header)].into_iter()), Some(0));
    assert!(!joiner.arrived(7..9, 3, 0, core::iter::empty()), "no room for those");
    assert_eq!((joiner.frame(0, &header), joiner.is_waiting()), (Ok(None), false));
    assert_eq!(joiner.limit(34, core::iter::empty()), None);
}

#[test]
fn descriptors_in_the_middle_of_a_frame_are_closed_at_once() {
    let mut joiner = Joiner::new();
    let header = Header::decode(&Header::request(1, 1).encode_with(10, 1, 0).unwrap()).unwrap();
    assert!(!joiner.arrived(24..30, 4, 0, [(0, header)].into_iter()));
    assert!(!joiner.arrived(3..9, 4, 0, core::iter::empty()), "of a header, too");
    let lost = Some(FdsLost { expected: 1, got: 0 });
    assert_eq!(joiner.frame(0, &header), Ok(lost));
}

#[test]
fn a_sequence_out_of_step_is_final() {
    let mut joiner = Joiner::new();
    let header = Header::decode(&Header::request(1, 1).encode_with(0, 2, 3).unwrap()).unwrap();
    let error = Err(InboxError::FdSequence { expected: 0, got: 3 });
    assert_eq!(joiner.frame(0, &header), error);
    let plain = Header::decode(&Header::request(1, 1).encode()).unwrap();
    assert_eq!(joiner.frame(24, &plain), error);
    assert_eq!(joiner.limit(24, core::iter::empty()), Some(0));
    assert!(!joiner.arrived(24..48, 1, 24, core::iter::empty()));
}

#[test]
fn errors_say_their_numbers() {
    let texts = [
        FdsLost { expected: 3, got: 2 }.to_string(),
        InboxError::FdSequence { expected: 3, got: 2 }.to_string(),
        InboxError::FdsClaimedTwice { fd_count: 32 }.to_string(),
    ];
    for text in texts {
        assert!(text.contains('3') && text.contains('2'), "{text}");
    }
}

/// One call brings a frame with descriptors and half a frame without. The next call brings the
/// other half and a frame with descriptors.
#[test]
fn half_a_frame_without_descriptors_bars_none() {
    let header = |fd_count: u16, sequence| {
        let bytes = Header::request(1, 1).encode_with(0, fd_count, sequence).unwrap();
        Header::decode(&bytes).unwrap()
    };
    let [first, without, second] = [header(1, 0), header(0, 0), header(1, 1)];
    let mut joiner = Joiner::new();
    assert!(joiner.arrived(0..30, 1, 0, [(0, first)].into_iter()));
    assert_eq!(joiner.frame(0, &first), Ok(None));
    assert!(joiner.arrived(30..72, 1, 24, [(24, without), (48, second)].into_iter()));
    assert_eq!(joiner.frame(24, &without), Ok(None));
    assert_eq!(joiner.frame(48, &second), Ok(None));
    assert!(!joiner.is_waiting());
}
