//! Limits on the pieces of one sending call.

/// The most pieces that one call sends. The next call sends the rest.
pub(crate) const PIECES: usize = 16;

/// Returns the pieces that one call sends, cut to at most `limit` bytes.
pub(crate) fn cut<'p>(pieces: &[&'p [u8]], limit: usize) -> impl Iterator<Item = &'p [u8]> {
    let mut rest = limit;
    let pieces = pieces.iter().filter(|piece| !piece.is_empty()).take(PIECES);
    pieces.map_while(move |piece| {
        let piece = piece.get(..rest).unwrap_or(piece);
        rest -= piece.len();
        (!piece.is_empty()).then_some(piece)
    })
}
