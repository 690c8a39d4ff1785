//! Quotes of a CSV file, which have to be whole: what reads CSV takes one that is never closed for a field that has the rest of the
//! file in it, and the rows there would be passed over without a word.

use std::io::{self, Read};

/// Gives on what it reads, and fails at a quote that is not as RFC 4180 has it.
pub(super) struct Quotes<R> {
    from: R,
    at: At,
    line: u64,
    /// Where the quote was opened that is open.
    opened: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first byte of a field.
    Begin,
    /// In a field without quotes, where one means itself.
    Plain,
    Quoted,
    /// Behind a quote in quotes: the end of the field, or half of one that means itself.
    Quote,
}

impl<R: Read> Quotes<R> {
    pub fn new(from: R) -> Self {
        Self { from, at: At::Begin, line: 1, opened: 0 }
    }

    fn see(&mut self, byte: u8) -> Result<(), String> {
        self.at = match (self.at, byte) {
            (At::Begin, b'"') => {
                self.opened = self.line;
                At::Quoted
            }
            (At::Quoted, b'"') => At::Quote,
            (At::Quoted, _) | (At::Quote, b'"') => At::Quoted,
            (At::Begin | At::Plain | At::Quote, b',' | b'\n' | b'\r') => At::Begin,
            (At::Begin | At::Plain, _) => At::Plain,
            (At::Quote, _) => {
                let line = self.line;
                return Err(format!(
                    "line {line}: something stands between the quote that ends a field and the next comma"
                ));
            }
        };
        self.line += u64::from(byte == b'\n');
        Ok(())
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(to)?;
        let wrong = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        if read == 0 && !to.is_empty() && self.at == At::Quoted {
            return Err(wrong(format!("line {}: a quote is opened and never closed", self.opened)));
        }
        to[..read].iter().try_for_each(|byte| self.see(*byte)).map_err(wrong)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let mut read = String::new();
        Quotes::new(text.as_bytes()).read_to_string(&mut read).map(|_| read).map_err(|error| error.to_string())
    }

    #[test]
    fn quotes_that_are_whole_pass_and_others_are_told_with_their_line() {
        for text in
            ["", "a,b\n", "\"a\",\"b\"\r\n\"\",x", "\"a\"\"b\nc,d\"\n", "5\" disk,x\n", "\"a\"", "\u{feff}a,\"b\"\r"]
        {
            assert_eq!(read(text).as_deref(), Ok(text));
        }
        let open = "line 2: a quote is opened and never closed";
        for text in ["a\n\"b\nc\nd\n", "a\nx,\"b", "a\nx,\"b\"\""] {
            assert_eq!(read(text).unwrap_err(), open, "{text:?}");
        }
        let between = "line 3: something stands between the quote that ends a field and the next comma";
        for text in ["a\n\n\"b\"c\n", "a\nx,\"open\ny,\"closed\"\n"] {
            assert_eq!(read(text).unwrap_err(), between, "{text:?}");
        }
    }
}
