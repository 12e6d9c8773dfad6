//! The incremental decoder: bytes arrive in pieces, whole frames come out. Frames borrow from the
//! decoder's buffer.

use core::fmt;

use crate::header::{DecodeError, Header};

/// A frame in the buffer of a decoder or a queue.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub(crate) header: Header,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Returns the header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the payload. It is valid as long as the buffer is borrowed.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// Turns a stream of bytes into frames, in a buffer of `N` bytes. The longest frame has `N` bytes,
/// header included.
///
/// Read into [`space`](Self::space), pass the number of bytes to [`filled`](Self::filled), then
/// call [`next_frame`](Self::next_frame) until it returns `None`. A payload that is too long is
/// refused as soon as its header has arrived.
///
/// All-zero bytes are a valid empty decoder, the same as [`new`](Self::new) returns.
pub struct Decoder<const N: usize> {
    buffer: [u8; N],
    /// The pending bytes: those that were not returned yet.
    start: usize,
    end: usize,
    /// Where the payload of the last returned frame begins. It ends at `start`.
    payload: usize,
    /// Bytes put into the buffer so far.
    received: u64,
}

impl<const N: usize> Decoder<N> {
    /// An empty decoder.
    pub const fn new() -> Self {
        const { assert!(N >= Header::SIZE, "a decoder holds at least a header") };
        const { assert!(N <= 0x7fff_ffff, "lengths fit in 31 bits") };
        Self { buffer: [0; N], start: 0, end: 0, payload: 0, received: 0 }
    }

    /// Returns the free part of the buffer, to read into.
    ///
    /// This discards the last returned frame. The space is never empty unless a whole frame is
    /// pending. The call may move pending bytes to the front, each at most once per frame.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.payload = 0;
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Adds the `len` bytes that were written to the start of [`space`](Self::space). A `len` over
    /// the space's length is capped at that length.
    pub fn filled(&mut self, len: usize) {
        let len = len.min(N - self.end);
        self.end += len;
        self.received = self.received.wrapping_add(len as u64);
    }

    /// Returns the next whole frame, or `None` if it has not fully arrived.
    ///
    /// # Errors
    /// See [`DecodeError`]. The sender is at fault, and every later call fails with the same error.
    /// Close the connection and [`reset`](Self::reset) the decoder.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, DecodeError> {
        let header = self.advance()?;
        Ok(header.map(|header| Frame { header, payload: self.payload() }))
    }

    /// Takes the next whole frame and returns its header. [`payload`](Self::payload) then returns
    /// its payload. Use this to decide on the header without borrowing the decoder.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame).
    #[inline]
    pub fn advance(&mut self) -> Result<Option<Header>, DecodeError> {
        let peeked = self.peek();
        if let Ok(Some(header)) = &peeked {
            self.payload = self.start + Header::SIZE;
            self.start += whole_len(header);
        }
        peeked
    }

    /// Returns the payload of the last returned frame. Empty after [`space`](Self::space).
    pub fn payload(&self) -> &[u8] {
        self.buffer.get(self.payload..self.start).unwrap_or_default()
    }

    /// Returns the pending headers that have fully arrived, each with its position in the stream in
    /// bytes. The payload of the last may still be incomplete. Stops before a header that is
    /// refused.
    pub fn headers(&self) -> impl Iterator<Item = (u64, Header)> {
        let mut rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        core::iter::from_fn(move || {
            let position = self.received.wrapping_sub(rest.len() as u64);
            let header = Self::first_of(rest).ok()??;
            rest = rest.get(whole_len(&header)..).unwrap_or_default();
            Some((position, header))
        })
    }

    /// Returns whether [`next_frame`](Self::next_frame) would return a frame or an error.
    pub fn has_frame(&self) -> bool {
        !matches!(self.peek(), Ok(None))
    }

    /// Drops all bytes and any error, for a new connection.
    pub fn reset(&mut self) {
        self.start = 0;
        self.end = 0;
        self.payload = 0;
        self.received = 0;
    }

    /// Returns the position in the stream, in bytes, at which the next frame begins.
    pub const fn position(&self) -> u64 {
        self.received.wrapping_sub((self.end - self.start) as u64)
    }

    /// Returns how many bytes have arrived since the decoder was made or reset.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// The next frame's header, if the whole frame has arrived.
    #[inline]
    fn peek(&self) -> Result<Option<Header>, DecodeError> {
        let pending = self.buffer.get(self.start..self.end).unwrap_or_default();
        match Self::first_of(pending) {
            Ok(Some(header)) if whole_len(&header) > pending.len() => Ok(None),
            first => first,
        }
    }

    /// The first frame's header, if it has arrived.
    #[inline]
    fn first_of(bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
        let Some(header) = bytes.first_chunk() else { return Ok(None) };
        match Header::decode(header) {
            Ok(header) if whole_len(&header) > N => {
                Err(DecodeError::TooLong { len: header.len(), capacity: N - Header::SIZE })
            }
            decoded => decoded.map(Some),
        }
    }
}

/// Length of a frame with its header.
fn whole_len(header: &Header) -> usize {
    usize::try_from(header.len()).map_or(usize::MAX, |len| len.saturating_add(Header::SIZE))
}

impl<const N: usize> Default for Decoder<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints the state, not the bytes.
impl<const N: usize> fmt::Debug for Decoder<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pending, received) = (self.end - self.start, self.received);
        write!(f, "Decoder<{N}> {{ pending: {pending}, received: {received} }}")
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use static_assertions::assert_impl_all;

    use super::*;

    assert_impl_all!(Decoder<64>: Send, Sync);

    fn frame(id: u64, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap();
        let mut bytes = Header::request(9, id).encode_with(len, 0, 0).unwrap().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Feeds the pieces one by one, and returns the id and payload of each frame.
    fn decode<const N: usize>(pieces: &[&[u8]]) -> Vec<(u64, Vec<u8>)> {
        let mut decoder = Decoder::<N>::new();
        let mut frames = Vec::new();
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                let space = decoder.space();
                let len = piece.len().min(space.len());
                assert!(len > 0, "space is never empty once the frames are taken");
                space[..len].copy_from_slice(&piece[..len]);
                decoder.filled(len);
                piece = &piece[len..];
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push((frame.header().id(), frame.payload().to_vec()));
                }
            }
        }
        assert_eq!(decoder.position(), decoder.received());
        frames
    }

    /// Every cut and every pair of cuts of three frames, in a buffer that just fits the longest.
    #[test]
    fn every_pair_of_cuts_gives_the_same_frames() {
        let stream = [frame(1, b"one"), frame(2, b""), frame(3, b"a longer one")].concat();
        let expected =
            Vec::from([(1, b"one".to_vec()), (2, Vec::new()), (3, b"a longer one".to_vec())]);
        // Miri is some hundred times slower, so it tries few of the first cuts.
        for first in (0..=stream.len()).step_by(if cfg!(miri) { 29 } else { 1 }) {
            for second in first..=stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(decode::<36>(&pieces), expected, "cuts at {first} and {second}");
                assert_eq!(decode::<512>(&pieces), expected, "cuts at {first} and {second}");
            }
        }
    }

    #[test]
    fn decoder_refuses_a_length_over_its_capacity_on_the_header_alone() {
        let mut decoder = Decoder::<64>::new();
        let header = Header::reply(1).encode_with(u32::MAX, 0, 0).unwrap();
        decoder.space()[..Header::SIZE].copy_from_slice(&header);
        decoder.filled(Header::SIZE);
        let error = DecodeError::TooLong { len: u32::MAX, capacity: 40 };
        assert_eq!(decoder.next_frame().unwrap_err(), error);
        assert!(decoder.has_frame());
        decoder.filled(10);
        assert_eq!(decoder.next_frame().unwrap_err(), error, "the error stays");
    }

    /// Streams whose last payload is cut off, and one with a header that is refused.
    #[test]
    fn pending_headers_come_with_their_positions() {
        let stream = [frame(1, b"one"), frame(2, b""), frame(3, b"cut")].concat();
        let bad = [frame(1, b"one"), Vec::from([0; 24])].concat();
        for (stream, expected) in
            [(&stream[..77], &[(27, 2), (51, 3)][..]), (&bad[..], &[]), (&stream[..74], &[(27, 2)])]
        {
            let mut decoder = Decoder::<128>::new();
            decoder.space()[..stream.len()].copy_from_slice(stream);
            decoder.filled(stream.len());
            decoder.next_frame().unwrap();
            let headers = decoder.headers().map(|(position, header)| (position, header.id()));
            assert_eq!(headers.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_frame_of_exactly_the_capacity_fits() {
        let stream = frame(1, &[7; 40]);
        assert_eq!(decode::<64>(&[&stream]), Vec::from([(1, Vec::from([7; 40]))]));
    }

    #[test]
    fn filled_beyond_the_space_counts_as_the_space() {
        let mut decoder = Decoder::<32>::new();
        decoder.filled(8);
        decoder.filled(usize::MAX);
        assert_eq!(decoder.received(), 32);
    }

    #[test]
    fn reset_drops_a_frame_that_is_pending() {
        let mut decoder = Decoder::<64>::new();
        assert!(!decoder.has_frame());
        let bytes = frame(1, b"one");
        decoder.space()[..bytes.len()].copy_from_slice(&bytes);
        decoder.filled(bytes.len());
        assert!(decoder.has_frame());
        decoder.reset();
        assert!(!decoder.has_frame());
        assert_eq!((decoder.position(), decoder.received()), (0, 0));
        assert_eq!(decoder.space().len(), 64);
    }

    #[test]
    fn debug_shows_the_bytes_that_were_not_given_out() {
        let mut decoder = Decoder::<64>::new();
        let bytes = [frame(1, b""), frame(2, b"")].concat();
        decoder.space()[..bytes.len()].copy_from_slice(&bytes);
        decoder.filled(bytes.len());
        decoder.next_frame().unwrap();
        let state = std::format!("{decoder:?}");
        assert!(state.contains("pending: 24") && state.contains("received: 48"), "{state}");
    }
}
