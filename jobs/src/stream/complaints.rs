//! What a program writes to standard error: the last of it is kept, and lines that count are counted.

use super::lines::Pieces;
use mr_core::Counters;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{ErrorKind, Read};

/// What is kept: the last so many bytes.
const KEPT: usize = 64 << 10;

#[derive(Debug, Default)]
pub struct Complaints {
    pub last: Vec<u8>,
    pub counters: Counters,
}

/// Reads to the end.
pub fn hear(mut from: impl Read) -> Complaints {
    let (mut kept, mut counters, mut lines) = (VecDeque::new(), Counters::default(), Pieces::default());
    let mut each = |line: &[u8]| {
        match counted(line) {
            Some((name, by)) => counters.add(&name, by),
            None => {
                kept.extend(line.iter().copied().chain([b'\n']));
                kept.drain(..kept.len().saturating_sub(KEPT));
            }
        }
        Ok::<_, Infallible>(())
    };
    let mut piece = [0; 4096];
    loop {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => {
                let Ok(()) = lines.push(&piece[..length], &mut each);
                if lines.begun() > KEPT {
                    let Ok(()) = lines.finish(&mut each);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let Ok(()) = lines.finish(&mut each);
    Complaints { last: kept.into(), counters }
}

/// `reporter:counter:GROUP,NAME,COUNT`, as Hadoop Streaming has it: the counter `GROUP.NAME`, and by how much.
fn counted(line: &[u8]) -> Option<(String, u64)> {
    let said = std::str::from_utf8(line).ok()?.trim_end().strip_prefix("reporter:counter:")?;
    let (name, by) = said.rsplit_once(',')?;
    let (group, name) = name.split_once(',')?;
    Some((format!("{}.{}", group.trim(), name.trim()), by.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_counted_and_the_last_of_the_rest_is_kept() {
        let said = "begins\nreporter:counter:words,empty,2\nreporter:counter:words, empty,40\r\nreporter:status:half\n\
                    reporter:counter:words,-1\nends";
        let heard = hear(said.as_bytes());
        assert_eq!(heard.counters.iter().collect::<Vec<_>>(), [("words.empty", 42)]);
        let rest = "begins\nreporter:status:half\nreporter:counter:words,-1\nends\n";
        assert_eq!(String::from_utf8(heard.last).unwrap(), rest);
        // Without an end it takes no more memory than with one.
        let long = hear(&vec![b'x'; 5 * KEPT][..]);
        assert_eq!((long.last.len(), long.counters), (KEPT, Counters::default()));
    }
}
