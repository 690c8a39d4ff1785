//! One input as several files: pieces with a tag and a length in front, so that a fuzzer can cut and join them.

/// Each piece with its tag. A length that promises too much takes what is there.
pub fn pieces(mut data: &[u8]) -> Vec<(u8, &[u8])> {
    let mut pieces = Vec::new();
    while let [tag, low, high, rest @ ..] = data {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (piece, others) = rest.split_at(length);
        pieces.push((*tag, piece));
        data = others;
    }
    pieces
}

/// The other way round.
///
/// # Panics
/// When a piece is longer than a length can say.
pub fn joined(pieces: &[(u8, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (tag, piece) in pieces {
        data.push(*tag);
        data.extend(u16::try_from(piece.len()).expect("seeds are small").to_le_bytes());
        data.extend(*piece);
    }
    data
}
