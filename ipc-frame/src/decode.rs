//! Bytes arrive in any pieces; whole frames come out, borrowed from the buffer they arrived in.

use core::fmt;

use crate::header::{DecodeError, Header};

/// A frame that lies in the buffer of a decoder or a queue.
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

    /// Returns the payload, for as long as the buffer is borrowed.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// Turns a stream of bytes into frames, in a buffer of `N` bytes: the longest frame has a header
/// and a payload of `N` bytes together.
///
/// Read into [`space`](Self::space), pass the count to [`filled`](Self::filled), then take frames
/// until there are no more. A length over the limit is refused as soon as the header is there.
///
/// A value whose bytes are all zero is the empty decoder, equal to [`new`](Self::new).
pub struct Decoder<const N: usize> {
    buffer: [u8; N],
    /// Where the bytes begin that were not yet given out, and where they end.
    start: usize,
    end: usize,
    /// Where the payload of the frame given out last begins; it ends at `start`.
    payload: usize,
    /// Bytes ever put into the buffer.
    received: u64,
}

impl<const N: usize> Decoder<N> {
    /// An empty decoder.
    pub const fn new() -> Self {
        const { assert!(N >= Header::SIZE, "a decoder holds at least a header") };
        const { assert!(N <= 0x7fff_ffff, "lengths fit in 31 bits") };
        Self { buffer: [0; N], start: 0, end: 0, payload: 0, received: 0 }
    }

    /// Returns the room for further bytes.
    ///
    /// Ends the frame given out last. The room is never empty while no whole frame is pending.
    /// Pending bytes may be moved to the front, each at most once per frame.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.payload = 0;
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Counts `len` bytes that were put at the start of [`space`](Self::space). A `len` over the
    /// space's length counts as its length.
    pub fn filled(&mut self, len: usize) {
        let len = len.min(N - self.end);
        self.end += len;
        self.received = self.received.wrapping_add(len as u64);
    }

    /// Returns the next whole frame, or `None` while its end has not yet arrived.
    ///
    /// # Errors
    /// The sender's fault each time. The stream cannot be decoded any further: every later call
    /// fails with the same error. Close the connection and [`reset`](Self::reset) the decoder.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, DecodeError> {
        let header = self.advance()?;
        Ok(header.map(|header| Frame { header, payload: self.payload() }))
    }

    /// Takes the next whole frame and returns its header; [`payload`](Self::payload) then returns
    /// its bytes. For callers that must decide before they borrow.
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

    /// Returns the payload of the frame that was given out last; empty after
    /// [`space`](Self::space).
    pub fn payload(&self) -> &[u8] {
        self.buffer.get(self.payload..self.start).unwrap_or_default()
    }

    /// Returns the whole headers that are pending, each with where in the stream it begins. The
    /// payload of the last may still be on its way. Ends before a header that is refused.
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

    /// Drops all bytes, for a new connection.
    pub fn reset(&mut self) {
        self.start = 0;
        self.end = 0;
        self.payload = 0;
        self.received = 0;
    }

    /// Returns where in the stream the next frame begins, in bytes since the first.
    pub const fn position(&self) -> u64 {
        self.received.wrapping_sub((self.end - self.start) as u64)
    }

    /// Returns how many bytes were ever put in.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// The next frame's header, if all of the frame has arrived.
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

/// Bytes of a frame with its header.
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

    /// Feeds the pieces one by one and returns every frame's id and payload.
    fn decode<const N: usize>(pieces: &[&[u8]]) -> Vec<(u64, Vec<u8>)> {
        let mut decoder = Decoder::<N>::new();
        let mut frames = Vec::new();
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                let space = decoder.space();
                let len = piece.len().min(space.len());
                assert!(len > 0, "space is never empty after frames were taken");
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

    /// Every cut and every pair of cuts of three frames, in a buffer that just holds the longest.
    #[test]
    fn every_pair_of_cuts_gives_the_same_frames() {
        let stream = [frame(1, b"one"), frame(2, b""), frame(3, b"a longer one")].concat();
        let expected =
            Vec::from([(1, b"one".to_vec()), (2, Vec::new()), (3, b"a longer one".to_vec())]);
        // An interpreter is some hundred times slower: it tries some of the first cuts only.
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

    /// The last header's payload is cut off; then comes a header that is refused.
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
        decoder.filled(usize::MAX);
        assert_eq!(decoder.received(), 32);
    }
}
