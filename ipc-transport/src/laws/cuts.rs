//! A stream of three frames, cut at every pair of positions by the sender or the receiver.

use std::vec;
use std::vec::Vec;

use ipc_frame::Decoder;

use crate::contract::{Fds, PassFds, Received, Transport, TransportError};
use crate::fd::{AsFd, BorrowedFd};
use crate::joining::inbox::Inbox;
use crate::laws::probe::{Probe, id_of, receive};
use crate::laws::tools::{frame, patiently, send_most, settled, taken};

/// Receives one piece between two cuts in each call.
struct Cut<'a, T> {
    inner: &'a mut T,
    cuts: Vec<usize>,
    position: usize,
}

impl<'a, T> Cut<'a, T> {
    fn new(inner: &'a mut T, cuts: &[usize]) -> Self {
        Self { inner, cuts: cuts.to_vec(), position: 0 }
    }

    fn limit(&self, space: &[u8]) -> usize {
        let next = self.cuts.iter().find(|&&cut| cut > self.position);
        next.map_or(space.len(), |next| space.len().min(next - self.position))
    }
}

impl<T: Transport> Transport for Cut<'_, T> {
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        self.inner.send(pieces)
    }

    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
        let limit = self.limit(space);
        let answer = self.inner.receive(&mut space[..limit])?;
        self.position += answer.unwrap_or(0);
        Ok(answer)
    }
}

impl<T: PassFds> PassFds for Cut<'_, T> {
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        self.inner.send_with(pieces, fds)
    }

    fn receive_with(
        &mut self,
        space: &mut [u8],
        fds: &mut Fds<'_>,
    ) -> Result<Option<Received>, TransportError> {
        let limit = self.limit(space);
        let answer = self.inner.receive_with(&mut space[..limit], fds)?;
        self.position += answer.map_or(0, |received| received.len);
        Ok(answer)
    }
}

/// Every position, and every pair of positions.
fn cuts(len: usize) -> impl Iterator<Item = [usize; 2]> {
    (1..len).flat_map(move |first| (first..len).map(move |second| [first, second]))
}

/// Sends the bytes in pieces between the cuts. Descriptors go with the byte at `own.0`.
fn send_cut(to: &mut impl PassFds, bytes: &[u8], cuts: &[usize], own: (usize, &[Probe])) {
    let mut places = vec![0, own.0, bytes.len()];
    places.extend_from_slice(cuts);
    places.sort_unstable();
    places.dedup();
    for range in places.windows(2) {
        let mut rest = &bytes[range[0]..range[1]];
        let mut fds: Vec<BorrowedFd<'_>> = own.1.iter().map(|probe| probe.own().as_fd()).collect();
        if range[0] != own.0 {
            fds.clear();
        }
        while !rest.is_empty() {
            rest = &rest[taken(|| settled(to.send_with(&[rest], &fds)))..];
            fds.clear();
        }
    }
}

/// Wherever the sender or the receiver cuts a stream of three frames, the second one gets its
/// descriptors, and no other frame gets any.
pub fn every_pair_of_cuts_gives_the_second_frame_its_descriptors<A: PassFds, B: PassFds>(
    pair: impl Fn() -> (A, B),
) {
    let probes = [Probe::new(), Probe::new()];
    let ids = probes.each_ref().map(Probe::id);
    let frames = [frame(1, (0, 0), b"abc"), frame(2, (2, 0), b"de"), frame(3, (0, 0), b"f")];
    let (bytes, second) = (frames.concat(), frames[0].len());
    let (mut left, mut right) = pair();
    for places in cuts(bytes.len()) {
        for by_sender in [true, false] {
            let (sender, receiver) =
                if by_sender { (places, [0; 2]) } else { ([second; 2], places) };
            send_cut(&mut left, &bytes, &sender, (second, &probes));
            let mut cut = Cut::new(&mut right, &receiver);
            let (mut inbox, mut id) = (Inbox::<256>::new(), 0);
            while id < 3 {
                patiently(|| settled(receive(&mut inbox, &mut cut)));
                while let Some(header) = inbox.advance().unwrap() {
                    id += 1;
                    let arrival = inbox.current();
                    assert_eq!(header.id(), id, "cut at {places:?}");
                    let index = usize::try_from(id - 1).unwrap();
                    assert_eq!(arrival.payload, &frames[index][24..], "cut at {places:?}");
                    let expected: &[u64] = if id == 2 { &ids } else { &[] };
                    let got: Vec<u64> = arrival.fds.iter().map(id_of).collect();
                    assert_eq!((arrival.fds_lost, &got[..]), (None, expected), "{places:?}");
                }
            }
        }
    }
    probes.into_iter().for_each(Probe::expect_last);
}

/// Wherever the sender or the receiver cuts a stream of three frames, the same frames arrive.
pub fn every_pair_of_cuts_decodes_alike<A: Transport, B: Transport>(pair: impl Fn() -> (A, B)) {
    let frames = [frame(1, (0, 0), b"abc"), frame(2, (0, 0), b"de"), frame(3, (0, 0), b"f")];
    let bytes = frames.concat();
    let (mut left, mut right) = pair();
    for places in cuts(bytes.len()) {
        for by_sender in [true, false] {
            let (sender, receiver) = if by_sender { (places, [0; 2]) } else { ([0; 2], places) };
            let mut cut = Cut::new(&mut right, &receiver);
            let (mut decoder, mut list, mut sent) = (Decoder::<256>::new(), Vec::new(), 0);
            while list.len() < 3 {
                let len = patiently(|| {
                    let (first, second) = (sender[0].max(sent), sender[1].max(sent));
                    let parts = [&bytes[sent..first], &bytes[first..second], &bytes[second..]];
                    sent += send_most(&mut left, parts);
                    settled(cut.receive(decoder.space()))
                });
                decoder.filled(len);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    let mut wire = frame.header().encode().to_vec();
                    wire.extend_from_slice(frame.payload());
                    list.push(wire);
                }
            }
            assert_eq!(list, frames, "cut at {places:?}");
        }
    }
}
