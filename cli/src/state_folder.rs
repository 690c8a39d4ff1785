//! Where a run on this machine keeps its working files: a folder under the user's own that belongs to the job and its
//! input, so that a run which failed, was interrupted or has a few photos more goes on from what is done.
//!
//! Runs may be under way side by side, and one may have been killed. Each holds a lock on a file in its folder, which the
//! system lets go when the process dies. A second run of the same job takes a second folder. Folders that nobody has used
//! for some days are removed by whichever run comes next.

use crate::job_id;
use anyhow::Context;
use mr_core::{JobSpec, sha256_hex};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    lock: File,
    keep: Duration,
}

/// How long what is done stays unless the user says otherwise: a weekend and a day.
pub const KEEP: Duration = Duration::from_secs(3 * 24 * 3600);

const LOCK: &str = "lock";
/// Where what is removed is moved first: a run that is killed over it leaves no half of a state under that name, which the
/// next would take for a damaged one.
const GOING: &str = "going";
/// Runs of one job at the same time, at most.
const SIDE_BY_SIDE_MAX: u32 = 1000;

impl StateFolder {
    /// `keep`: how long what is done stays after a run; zero: no longer than the run.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn take(root: &Path, spec: &JobSpec, keep: Duration) -> anyhow::Result<Self> {
        let name = name(spec);
        for number in 1..=SIDE_BY_SIDE_MAX {
            let path = root.join(if number == 1 { name.clone() } else { format!("{name}-{number}") });
            if let Some(lock) = lock(&path)? {
                remove_inner(&path.join(GOING));
                let taken = Self { path, lock, keep };
                sweep(root, &taken.path, keep.max(KEEP));
                return Ok(taken);
            }
        }
        anyhow::bail!("{SIDE_BY_SIDE_MAX} runs of this job are under way in {}", root.display())
    }

    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        // A job that was refused, say, has done nothing that another could go on from.
        if self.keep.is_zero() || is_empty(&self.state().join("work")) {
            remove(&self.path);
        } else {
            remove_inner(&self.path.join("scratch"));
        }
        _ = self.lock.unlock();
    }
}

/// `image-features-0123456789ab`
fn name(spec: &JobSpec) -> String {
    let hash = sha256_hex(format!("{} {}", spec.job, spec.input).as_bytes());
    // A job's name is the registry's, and may hold anything.
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let job: String = spec.job.chars().map(plain).take(40).collect();
    format!("{job}-{}", &hash[..12])
}

fn is_name(name: &str) -> bool {
    let hash = |part: &str| part.len() == 12 && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match name.rsplit_once('-') {
        Some((_, last)) if hash(last) => true,
        Some((front, last)) if digits(last) => front.rsplit_once('-').is_some_and(|(_, last)| hash(last)),
        _ => false,
    }
}

/// The folder's lock, held; `None`: another run has it.
fn lock(path: &Path) -> anyhow::Result<Option<File>> {
    let name = path.join(LOCK);
    loop {
        fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
        let lock = File::create(&name).with_context(|| format!("making {}", name.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", name.display()));
            }
        }
        // Another run may have swept the folder between the last lines, taking it for rubbish.
        if is_at(&lock, &name) {
            // When it was last of use.
            lock.set_modified(SystemTime::now()).with_context(|| format!("marking {}", name.display()))?;
            return Ok(Some(lock));
        }
    }
}

/// The user's own folder for working files, by the environment.
pub fn default_root(env: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    // A relative XDG path is invalid, says its specification, and to be passed over.
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("mr"))
}

fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(there)) => place(file) == place(there),
        _ => false,
    }
}

/// Removes what nobody has used for long, and what versions before this left of runs that were killed. Only folders that
/// a run of ours made are looked at.
fn sweep(root: &Path, own: &Path, keep: Duration) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path != own) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let (ours, once) = (is_name(name), job_id::is_one(name));
        if !ours && !once {
            continue;
        }
        let Ok(lock) = File::options().write(true).open(path.join(LOCK)) else { continue };
        let used = lock.metadata().and_then(|metadata| metadata.modified());
        let age = used.ok().and_then(|used| used.elapsed().ok()).unwrap_or_default();
        match lock.try_lock() {
            Ok(()) if once || age >= keep => remove(&path),
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => tracing::info!("looking at {}: {error}", path.display()),
        }
    }
}

/// Whether there is no file in a folder, however deep.
fn is_empty(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return true };
    entries.flatten().all(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_empty(&entry.path()))
}

/// The lock goes last, so that a folder that is removed only in part is found again.
fn remove(path: &Path) {
    let going = path.join(GOING);
    let gone = |name: &&str| match fs::rename(path.join(name), &going) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!("removing {}: {error}", path.join(name).display());
            false
        }
        _ => remove_inner(&going),
    };
    if !remove_inner(&going) || !["state", "scratch"].iter().all(gone) {
        return;
    }
    if let Err(error) = fs::remove_dir_all(path) {
        tracing::warn!("removing {}: {error}", path.display());
    }
}

fn remove_inner(path: &Path) -> bool {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!("removing working files in {}: {error}", path.display());
            false
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{Limits, Mode, Params, SplitSettings};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn spec(input: &str) -> JobSpec {
        JobSpec {
            job: "Toy job".into(),
            input: input.into(),
            output: "file:///out/".into(),
            mode: Mode::Fail,
            format: Default::default(),
            input_list: None,
            adopt: false,
            params: Params::new(),
            limits: Limits::default(),
            split: SplitSettings::default(),
            shuffle: Default::default(),
        }
    }

    fn left(root: &Path) -> Vec<String> {
        let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_job_finds_what_it_left_and_two_at_once_do_not_share_it() {
        let root = tempfile::tempdir().unwrap();
        let take = |input| StateFolder::take(root.path(), &spec(input), DAY).unwrap();
        let one = take("file:///a/");
        fs::create_dir_all(one.state().join("work/job")).unwrap();
        fs::write(one.state().join("work/job/kept"), "").unwrap();
        fs::create_dir(one.scratch()).unwrap();
        let (second, other) = (take("file:///a/"), take("file:///b/"));
        assert!(!second.state().exists() && !other.state().exists());
        assert!(second.path.to_str().unwrap().ends_with("-2"), "{second:?}");
        let emptied = second.path.clone();
        drop((one, second));
        assert!(!emptied.exists(), "nothing was done in it");
        // As one that was killed while it removed its state leaves it.
        fs::create_dir_all(root.path().join(name(&spec("file:///a/"))).join("going/journal")).unwrap();
        let again = take("file:///a/");
        assert!(again.state().exists() && !again.scratch().exists() && !again.path.join(GOING).exists());
        assert!(left(root.path()).iter().all(|name| is_name(name) && name.starts_with("toy-job-")));
    }

    #[test]
    fn what_is_not_to_be_kept_goes_with_its_run_and_the_rest_when_it_is_old() {
        let root = tempfile::tempdir().unwrap();
        let take = |input, keep| StateFolder::take(root.path(), &spec(input), keep).unwrap();
        let done = take("file:///a/", DAY);
        fs::create_dir_all(done.state().join("work")).unwrap();
        fs::write(done.state().join("work/kept"), "").unwrap();
        drop(done);
        let foreign = root.path().join("photos");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join(LOCK), "").unwrap();
        // As versions before this named them.
        let killed = root.path().join("20260101-000000-aaaaaa");
        fs::create_dir_all(killed.join("state/deep")).unwrap();
        fs::write(killed.join(LOCK), "").unwrap();
        drop(take("file:///b/", Duration::ZERO));
        let kept = left(root.path());
        assert_eq!(kept.len(), 2, "it took its own away, and what the version before left: {kept:?}");
        assert!(kept.iter().any(|name| is_name(name)) && kept.contains(&"photos".to_owned()), "{kept:?}");

        let old = take("file:///a/", DAY);
        old.lock.set_modified(SystemTime::now() - 4 * DAY).unwrap();
        let running = take("file:///b/", DAY);
        assert!(old.path.exists(), "it is in use");
        fs::create_dir_all(old.state().join("work")).unwrap();
        fs::write(old.state().join("work/kept"), "").unwrap();
        let path = old.path.clone();
        drop(old);
        drop(take("file:///c/", DAY));
        assert!(!path.exists() && running.path.exists());
    }

    #[test]
    fn working_files_go_to_the_users_cache() {
        let root = |cache: Option<&str>, home: Option<&str>| {
            default_root(|name| if name == "HOME" { home } else { cache }.map(Into::into))
        };
        assert_eq!(root(Some("/c"), Some("/h")), Some("/c/mr".into()));
        assert_eq!(root(Some("relative"), Some("/h")), Some("/h/.cache/mr".into()));
        assert_eq!(root(None, Some("/h")), Some("/h/.cache/mr".into()));
        assert_eq!(root(None, Some("")), None);
        assert_eq!(root(None, None), None);
    }
}
