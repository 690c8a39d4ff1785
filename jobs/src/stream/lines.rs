//! Lines of a key, a tab and a value.

/// What is in front of a line's first tab, and what behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    pub key: &'a [u8],
    /// None without a tab.
    pub value: Option<&'a [u8]>,
}

pub fn fields(line: &[u8]) -> Fields<'_> {
    match line.iter().position(|byte| *byte == b'\t') {
        Some(tab) => Fields { key: &line[..tab], value: Some(&line[tab + 1..]) },
        None => Fields { key: line, value: None },
    }
}

/// Lines whose bytes come piece by piece.
#[derive(Default)]
pub struct Pieces {
    /// Of a line whose end has not come.
    begun: Vec<u8>,
}

impl Pieces {
    /// Calls `each` with the lines that end in this piece.
    ///
    /// # Errors
    /// The first of `each`.
    pub fn push<E>(
        &mut self,
        mut piece: &[u8],
        each: &mut (impl FnMut(&[u8]) -> Result<(), E> + ?Sized),
    ) -> Result<(), E> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&piece[..end], &piece[end + 1..]);
            if self.begun.is_empty() {
                each(line)?;
            } else {
                self.begun.extend_from_slice(line);
                each(&self.begun)?;
                self.begun.clear();
            }
            piece = rest;
        }
        self.begun.extend_from_slice(piece);
        Ok(())
    }

    /// Bytes of a line whose end has not come.
    pub fn begun(&self) -> usize {
        self.begun.len()
    }

    /// The last line need not be ended.
    ///
    /// # Errors
    /// That of `each`.
    pub fn finish<E>(&mut self, each: &mut (impl FnMut(&[u8]) -> Result<(), E> + ?Sized)) -> Result<(), E> {
        if self.begun.is_empty() { Ok(()) } else { each(&std::mem::take(&mut self.begun)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn a_key_ends_at_the_first_tab() {
        assert_eq!(fields(b"a\tb\tc"), Fields { key: b"a", value: Some(b"b\tc") });
        assert_eq!(fields(b"\t"), Fields { key: b"", value: Some(b"") });
        assert_eq!(fields(b"a b"), Fields { key: b"a b", value: None });
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let text = b"one\n\ntwo\nthree";
        for size in 1..=text.len() {
            let (mut pieces, mut lines) = (Pieces::default(), Vec::new());
            let mut each = |line: &[u8]| {
                lines.push(String::from_utf8_lossy(line).into_owned());
                Ok::<(), Infallible>(())
            };
            text.chunks(size).for_each(|piece| pieces.push(piece, &mut each).unwrap());
            pieces.finish(&mut each).unwrap();
            assert_eq!(lines, ["one", "", "two", "three"], "{size}");
        }
    }
}
