//! Feeds the joiner any frames in any pieces with any descriptors.

#![no_main]

use ipc_frame::{Decoder, Header};
use ipc_transport::{FdsLost, Joiner};
use libfuzzer_sys::fuzz_target;

const BYTES: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((&count, input)) = input.split_first() else { return };
    let (script, cuts) = input.split_at(input.len().min(usize::from(count % 32) * 3));
    let stream = stream(script);
    let mut run = Run::default();
    let mut rest = &stream[..];
    for cut in cuts.chunks_exact(2) {
        let [len, came] = *cut else { return };
        let limit = run.joiner.limit(run.decoder.received(), run.decoder.headers());
        let most = match limit {
            None => usize::MAX,
            Some(len) => usize::try_from(len).unwrap(),
        };
        // One receive in four ignores the limit.
        let most = if len % 4 == 3 { usize::MAX } else { most };
        let space = run.decoder.space();
        let len = usize::from(len / 4).min(most).min(rest.len()).min(space.len());
        space[..len].copy_from_slice(&rest[..len]);
        rest = &rest[len..];
        run.receive(len, usize::from(came % 4));
        if came & 0x80 == 0 && run.take().is_err() {
            return;
        }
    }
});

/// Makes a frame from every three bytes: a valid one, an invalid one, or bytes that are not a
/// frame.
fn stream(script: &[u8]) -> Vec<u8> {
    let (mut stream, mut sequence) = (Vec::new(), 0);
    for frame in script.chunks_exact(3) {
        let [kind, count, len] = *frame else { break };
        let fd_count = u16::from(count % 4);
        let own = match (fd_count, kind % 16) {
            (0, _) => 0,
            (_, 0) => sequence + 1,
            _ => sequence,
        };
        let len = u32::from(len % 50);
        if let Ok(header) = Header::request(1, 7).encode_with(len, fd_count, own) {
            stream.extend(header);
            stream.resize(stream.len() + usize::try_from(len).unwrap(), 0xaa);
            sequence += u32::from(fd_count);
        }
        if kind == 0xff {
            stream.extend(frame);
        }
    }
    stream
}

/// Descriptors are only counted.
#[derive(Default)]
struct Run {
    decoder: Decoder<BYTES>,
    joiner: Joiner,
    waiting: usize,
    arrived: usize,
    closed: usize,
    taken: usize,
    announced: usize,
}

impl Run {
    fn receive(&mut self, len: usize, came: usize) {
        let start = self.decoder.received();
        self.decoder.filled(len);
        let range = start..self.decoder.received();
        let (position, was_waiting) = (self.decoder.position(), self.joiner.is_waiting());
        let is_kept =
            came > 0 && self.joiner.arrived(range, came, position, self.decoder.headers());
        assert!(!was_waiting || !is_kept, "one batch at a time");
        self.arrived += came;
        if is_kept {
            self.waiting += came;
        } else {
            self.closed += came;
        }
        self.check();
    }

    /// Takes all frames.
    fn take(&mut self) -> Result<(), ()> {
        loop {
            let start = self.decoder.position();
            let Some(header) = self.decoder.advance().map_err(|_| ())? else { return Ok(()) };
            let lost = match self.joiner.frame(start, &header) {
                Ok(lost) => lost,
                Err(error) => {
                    assert_eq!(self.joiner.frame(start + 99, &header), Err(error), "final");
                    assert!(!self.joiner.arrived(0..99, 5, 0, [].into_iter()));
                    assert_eq!(self.joiner.limit(99, [].into_iter()), Some(0));
                    return Err(());
                }
            };
            self.join(&header, lost);
        }
    }

    fn join(&mut self, header: &Header, lost: Option<FdsLost>) {
        let expected = usize::from(header.fd_count());
        self.announced += expected;
        let due = if self.joiner.is_waiting() { 0 } else { core::mem::take(&mut self.waiting) };
        match lost {
            None if expected > 0 => {
                assert_eq!(due, expected, "all of them");
                self.taken += due;
            }
            None => self.closed += due,
            Some(lost) => {
                assert!(lost.expected == header.fd_count() && expected > 0);
                assert_ne!(lost.got, expected);
                self.closed += due;
            }
        }
        self.check();
    }

    fn check(&self) {
        assert_eq!(self.arrived, self.closed + self.taken + self.waiting, "each once");
        assert!(self.taken <= self.announced);
        assert_eq!(self.waiting > 0, self.joiner.is_waiting());
    }
}
