//! A list with an entry a line.

use crate::key_list::gathered::Gathered;
use std::io::{BufRead, BufReader, Read};

/// A key has 1024 bytes at most, and a root before it is no novel either: what has longer lines is no list.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// # Errors
/// A sentence with the number of the line.
pub(super) fn read(text: impl Read, gathered: &mut Gathered) -> Result<(), String> {
    let mut text = BufReader::new(text);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let wrong = |why: String| format!("line {number}: {why}");
        let mut rest = text.by_ref().take(LINE_BYTES_MAX);
        let read = rest.read_until(b'\n', &mut line).map_err(|error| wrong(format!("it can't be read: {error}")))?;
        if read == 0 {
            break;
        }
        let mut entry = line.as_slice();
        match entry.strip_suffix(b"\n") {
            Some(ended) => entry = ended.strip_suffix(b"\r").unwrap_or(ended),
            None if read as u64 == LINE_BYTES_MAX => return Err(wrong("it is too long for an entry".to_owned())),
            None => {}
        }
        if number == 1 {
            entry = entry.strip_prefix(b"\xef\xbb\xbf").unwrap_or(entry);
        }
        let entry = std::str::from_utf8(entry).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        if !entry.is_empty() {
            gathered.entry(entry).map_err(wrong)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::key_list::{ListFormat, read_list};
    use mr_core::Packing;
    use std::io::Write;

    fn keys(bytes: impl Into<bytes::Bytes>, packing: Option<Packing>) -> Result<Vec<String>, String> {
        let list = read_list(ListFormat::Text(packing), bytes.into(), "file:///in/")?;
        Ok(list.objects().iter().map(|object| object.key.clone()).collect())
    }

    #[test]
    fn an_entry_is_a_line() {
        for (text, expected) in [
            ("", &[][..]),
            ("\n\r\n", &[]),
            ("b\na\n", &["a", "b"]),
            ("\u{feff}b c\r\n\r\n a\r\n/in/x/y", &[" a", "b c", "x/y"]),
            ("a\nfile:///in/a\n/in/a", &["a"]),
            ("a\rb\n", &["a\rb"]),
        ] {
            assert_eq!(keys(text, None).unwrap(), expected, "{text:?}");
        }
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        gzip.write_all(b"a\nb\n").unwrap();
        assert_eq!(keys(gzip.finish().unwrap(), Some(Packing::Gzip)).unwrap(), ["a", "b"]);
        assert_eq!(keys(zstd::encode_all(&b"a\nb\n"[..], 0).unwrap(), Some(Packing::Zstd)).unwrap(), ["a", "b"]);
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        for (text, packing, expected) in [
            (&b"a\n\xff\n"[..], None, "line 2: it is not UTF-8"),
            (b"a\n\n../b\n", None, "line 3: using the key \"../b\": it can't be done: a key has no segment . or .."),
            (b"/elsewhere/a", None, "line 1: \"/elsewhere/a\" does not lie under the input, which is file:///in/"),
            (&[b'x'; 1 << 17], None, "line 1: it is too long for an entry"),
            (b"plain", Some(Packing::Gzip), "line 1: it can't be read: "),
            (b"plain", Some(Packing::Zstd), "line 1: it can't be read: "),
        ] {
            let said = keys(text.to_vec(), packing).unwrap_err();
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
