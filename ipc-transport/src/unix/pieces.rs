//! What one system call takes of the pieces that are to be sent.

use heapless::Vec;
use rustix::io::IoSlice;

/// Most pieces that one system call takes. Later pieces are left for the next call.
const PIECES: usize = 16;

/// Collects what one call takes of the pieces: at most `limit` bytes.
pub(crate) fn gather<'a>(pieces: &[&'a [u8]], limit: usize) -> Vec<IoSlice<'a>, PIECES> {
    let mut rest = limit;
    let pieces = pieces.iter().filter(|piece| !piece.is_empty()).take(PIECES);
    let cut = pieces.map_while(|piece| {
        let piece = first(piece, rest);
        rest -= piece.len();
        (!piece.is_empty()).then(|| IoSlice::new(piece))
    });
    cut.collect()
}

/// Cuts a piece to `limit` bytes.
pub(super) fn first(piece: &[u8], limit: usize) -> &[u8] {
    piece.get(..limit).unwrap_or(piece)
}
