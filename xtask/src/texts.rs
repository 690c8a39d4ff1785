//! Text for benchmarks: words in lines, the n-th word as often as one n-th of the first (Zipf's law, which natural text
//! follows; <https://en.wikipedia.org/wiki/Zipf%27s_law>). The same on every machine.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::photos::Random;

/// Different words: as many as large English corpora have that occur more than a few times.
const VOCABULARY: usize = 200_000;
const WORDS_PER_LINE: usize = 12;
/// About as often as in English.
const LETTERS: &[u8] =
    b"eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddlllluuucccmmmwwffggyyppbbvkxjqz";

/// Writes `files` files of about that size into the folder, unless they are there.
pub fn draw(folder: &Path, files: u64, bytes_each: u64) -> Result<()> {
    let stamp = folder.with_extension("drawn");
    let wanted = format!("{files} files of {bytes_each} bytes, in the manner of version 1\n");
    if fs::read_to_string(&stamp).is_ok_and(|drawn| drawn == wanted) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    eprintln!("bench: drawing {} MB of text, once", files * bytes_each / 1_000_000);
    let source = Source::new();
    for number in 0..files {
        let path = folder.join(format!("text-{number:03}.txt"));
        let file = fs::File::create(&path).with_context(|| format!("making {}", path.display()))?;
        let mut out = BufWriter::new(file);
        source.write(&mut out, number, bytes_each).and_then(|()| out.flush()).context("writing text")?;
    }
    fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))
}

struct Source {
    words: Vec<Vec<u8>>,
    zipf: Zipf,
}

impl Source {
    fn new() -> Self {
        let words = words();
        Self { zipf: Zipf::new(words.len()), words }
    }

    fn write(&self, out: &mut impl Write, number: u64, bytes: u64) -> std::io::Result<()> {
        let mut random = Random::new(1).fork(number);
        let mut written = 0;
        while written < bytes {
            for at in 1..=WORDS_PER_LINE {
                let word = &self.words[self.zipf.draw(&mut random)];
                out.write_all(word)?;
                out.write_all(if at == WORDS_PER_LINE { b"\n" } else { b" " })?;
                written += word.len() as u64 + 1;
            }
        }
        Ok(())
    }
}

/// Frequent words are short, as in language.
fn words() -> Vec<Vec<u8>> {
    let mut random = Random::new(2);
    let mut seen = std::collections::HashSet::new();
    let mut words = Vec::with_capacity(VOCABULARY);
    while words.len() < VOCABULARY {
        let longest = 3.0 + (words.len() + 1).ilog2() as f32 * 0.6;
        let length = random.between(1.0, longest) as usize + usize::from(words.len() > 100);
        let letter = |random: &mut Random| LETTERS[random.between(0.0, LETTERS.len() as f32) as usize % LETTERS.len()];
        let word: Vec<u8> = (0..length).map(|_| letter(&mut random)).collect();
        if seen.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

struct Zipf {
    /// Of the first n words.
    shares: Vec<f64>,
}

impl Zipf {
    fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let mut shares: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        shares.iter_mut().for_each(|share| *share /= sum);
        Self { shares }
    }

    fn draw(&self, random: &mut Random) -> usize {
        let at = random.share();
        self.shares.partition_point(|share| *share <= at).min(self.shares.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_drawn_every_time_and_its_words_are_as_frequent_as_they_should_be() {
        let text = |number| {
            let mut text = Vec::new();
            Source::new().write(&mut text, number, 200_000).unwrap();
            String::from_utf8(text).unwrap()
        };
        let first = text(0);
        assert_eq!(first, text(0));
        assert_ne!(first, text(1));
        let words = words();
        let count = |rank: usize| {
            let word = std::str::from_utf8(&words[rank - 1]).unwrap();
            first.split_whitespace().filter(|found| *found == word).count() as f64
        };
        let all = first.split_whitespace().count() as f64;
        // The sum of 1/n up to 200,000 is 12.8.
        assert!((0.07..0.09).contains(&(count(1) / all)), "{} of {all}", count(1));
        assert!((6.0..16.0).contains(&(count(1) / count(10))), "{} and {}", count(1), count(10));
    }
}
