//! What a column of the result may be called.

/// Characters that a column's name can't have without column mapping, which needs a later protocol of Delta.
/// <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#column-mapping>
const FORBIDDEN: [char; 10] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// Whether a column of a Delta table can have this name.
pub fn is_column_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(FORBIDDEN)
}
