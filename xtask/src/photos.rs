//! `cargo xtask photos`: draws any number of fruit-like photos in the manner of Fruits-360, 100x100 baseline JPEGs on white
//! in folders named after the variety. A photo's bytes depend on the seed, its label and its number among that label's
//! photos alone: not on the machine, the threads, or how many others are drawn.

mod maths;
mod paint;
mod varieties;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::args::Args;
pub use maths::Random;
use varieties::variety;

pub fn main(mut args: Args) -> Result<()> {
    let out: PathBuf = args.option("--out")?.context("photos wants --out DIR")?;
    let set = PhotoSet {
        count: args.option("--count")?.unwrap_or(300),
        seed: args.option("--seed")?.unwrap_or(1),
        labels: args.option("--labels")?.unwrap_or(LABELS),
    };
    let threads = args.option("--threads")?.unwrap_or_else(cores);
    args.done()?;
    let start = Instant::now();
    let bytes = set.draw(&out, threads)?;
    let (count, labels, seconds) = (set.count, set.labels, start.elapsed().as_secs_f64());
    eprintln!("photos: {count} of {labels} varieties, {bytes} bytes, in {} ({seconds:.1} s)", out.display());
    Ok(())
}

/// How many varieties are drawn unless asked otherwise.
pub const LABELS: usize = 24;

/// A set of photos, dealt out to the labels in turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhotoSet {
    pub count: u64,
    pub seed: u64,
    pub labels: usize,
}

impl PhotoSet {
    /// Writes the set to `out/Training/<variety>/<n>_100.jpg`, and returns how many bytes that took. The folder must be new,
    /// empty, or drawn by us earlier: an earlier set is removed, someone's own pictures are left alone.
    pub fn draw(&self, out: &Path, threads: usize) -> Result<u64> {
        ensure!(self.labels > 0, "--labels must be at least 1");
        ensure!(threads > 0, "--threads must be at least 1");
        claim(out)?;
        for label in 0..self.labels.min(usize::try_from(self.count).unwrap_or(usize::MAX)) {
            let folder = out.join("Training").join(variety(label).name);
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let next = AtomicU64::new(0);
        let written = std::thread::scope(|scope| {
            let draw = || {
                let mut bytes = 0;
                loop {
                    // In strides, so that neighbours in time are neighbours on disk.
                    let from = next.fetch_add(64, Ordering::Relaxed);
                    if from >= self.count {
                        return Ok(bytes);
                    }
                    for index in from..(from + 64).min(self.count) {
                        let path = out.join(self.path(index));
                        let jpeg = self.jpeg(index);
                        fs::write(&path, &jpeg).with_context(|| format!("writing {}", path.display()))?;
                        bytes += jpeg.len() as u64;
                    }
                }
            };
            let hands: Vec<_> = (0..threads).map(|_| scope.spawn(draw)).collect();
            hands.into_iter().map(|hand| hand.join().expect("drawing does not panic")).sum::<Result<u64>>()
        })?;
        Ok(written)
    }

    /// Where a photo lies under the set's folder.
    pub fn path(&self, index: u64) -> String {
        let (label, number) = self.place(index);
        format!("Training/{}/{number}_100.jpg", variety(label).name)
    }

    /// The photo itself.
    pub fn jpeg(&self, index: u64) -> Vec<u8> {
        let (label, number) = self.place(index);
        let random = Random::new(self.seed).fork(label as u64).fork(number);
        let pixels = paint::paint(&variety(label).look, random);
        let mut jpeg = Vec::with_capacity(16 * 1024);
        // Finely quantised and with halved colour, as the real ones are; they take about as many bytes, too.
        let mut encoder = Encoder::new(&mut jpeg, 98);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder
            .encode(&pixels, paint::SIDE as u16, paint::SIDE as u16, ColorType::Rgb)
            .expect("100x100 RGB is within the encoder's limits, and a Vec takes everything");
        jpeg
    }

    /// The label and the number within it.
    fn place(&self, index: u64) -> (usize, u64) {
        let labels = self.labels as u64;
        ((index % labels) as usize, index / labels)
    }
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// Makes sure that `out` is ours to draw in. The mark lies beside the folder, not in it, because what lies in it is input.
fn claim(out: &Path) -> Result<()> {
    let name = out.file_name().with_context(|| format!("--out {} does not name a folder", out.display()))?;
    let mark = out.with_file_name(format!(".{}.drawn", name.to_string_lossy()));
    let taken = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("looking into {}", out.display())),
    };
    if taken && !mark.exists() {
        bail!("{} has something in it that was not drawn here: name a new or an empty folder", out.display());
    }
    let old = out.join("Training");
    if old.exists() {
        fs::remove_dir_all(&old).with_context(|| format!("removing the earlier photos in {}", old.display()))?;
    }
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    fs::write(&mark, "photos drawn by `cargo xtask photos`, which may remove them\n")
        .with_context(|| format!("writing {}", mark.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{PhotoSet, paint::SIDE};

    const SET: PhotoSet = PhotoSet { count: 30, seed: 7, labels: 7 };

    #[test]
    fn the_same_seed_gives_the_same_bytes_whatever_the_threads_and_the_count() {
        let (one, three) = (Scratch::new("one"), Scratch::new("three"));
        SET.draw(&one.photos(), 1).unwrap();
        PhotoSet { count: 45, ..SET }.draw(&three.photos(), 3).unwrap();
        let (one, three) = (files(&one.photos()), files(&three.photos()));
        assert_eq!((one.len(), three.len()), (30, 45));
        assert!(one.iter().all(|(path, bytes)| three[path] == *bytes));
    }

    #[test]
    fn the_bytes_are_those_of_every_other_machine() {
        // FNV-1a over the set: a change here changes what everyone's demo and load runs read.
        let hash = (0..SET.count)
            .flat_map(|index| SET.jpeg(index))
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        assert_eq!(format!("{hash:016x}"), "51ff0675d5d4cb4f");
    }

    #[test]
    fn seeds_and_numbers_give_different_photos() {
        let other = PhotoSet { seed: 8, ..SET };
        assert_ne!(SET.jpeg(0), other.jpeg(0));
        assert_ne!(SET.jpeg(0), SET.jpeg(7));
        assert_eq!(SET.path(0), "Training/Apple Red 1/0_100.jpg");
        assert_eq!(SET.path(7), "Training/Apple Red 1/1_100.jpg");
    }

    #[test]
    fn a_photo_is_a_baseline_jpeg_of_100_by_100() {
        let jpeg = SET.jpeg(3);
        assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]));
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("baseline frames are marked C0");
        let (height, width) = (&jpeg[frame + 5..frame + 7], &jpeg[frame + 7..frame + 9]);
        assert_eq!((height, width), (&[0, SIDE as u8][..], &[0, SIDE as u8][..]));
    }

    #[test]
    fn a_smaller_set_replaces_a_larger_one_and_other_peoples_pictures_stay() {
        let scratch = Scratch::new("replace");
        SET.draw(&scratch.photos(), 2).unwrap();
        PhotoSet { count: 5, ..SET }.draw(&scratch.photos(), 2).unwrap();
        assert_eq!(files(&scratch.photos()).len(), 5);

        let theirs = scratch.0.join("theirs");
        fs::create_dir_all(theirs.join("Training")).unwrap();
        fs::write(theirs.join("Training/mine.jpg"), "mine").unwrap();
        let error = SET.draw(&theirs, 1).unwrap_err().to_string();
        assert!(error.contains("not drawn here"), "{error}");
        assert_eq!(fs::read(theirs.join("Training/mine.jpg")).unwrap(), b"mine");
    }

    /// A folder that goes when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("photos-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn photos(&self) -> PathBuf {
            self.0.join("photos")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            // Left behind at worst, in the system's folder for such things.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
                }
            }
        }
        found
    }
}
