//! All that was typed for one job: its file, and what the command line puts over it.

use crate::job_file::JobFile;
use crate::location::Place;
use crate::meant::{self, Meant};
use crate::mistake::{Mistake, Source, render};
use mr_core::JobSpec;
use mr_mapreduce::Registry;

pub struct Typed<'a> {
    pub source: &'a Source,
    /// Arguments of `--set`.
    pub set: &'a [String],
    /// Key, flag and value of the short forms.
    pub short: &'a [(&'a str, &'a str, &'a str)],
    pub adopt: bool,
}

impl Typed<'_> {
    /// # Errors
    /// Every mistake.
    pub fn resolve(&self, registry: &Registry, place: &Place) -> Result<(JobFile, Meant), Vec<Mistake>> {
        let mut file = JobFile::parse(self.source)?;
        let mut mistakes: Vec<_> = self.set.iter().filter_map(|set| file.set(set).err()).collect();
        for (key, flag, text) in self.short {
            file.put_text(key, flag, text);
        }
        match meant::resolve(&file, registry, self.adopt, place) {
            Ok(meant) if mistakes.is_empty() => Ok((file, meant)),
            Ok(_) => Err(mistakes),
            Err(others) => {
                mistakes.extend(others);
                Err(mistakes)
            }
        }
    }
}

/// A job file as `mr-submit` reads it before it touches anything, in a folder that is not there: for tests of files that
/// nobody would type.
///
/// # Errors
/// What `mr-submit` would say.
#[doc(hidden)]
pub fn job_spec(file: &[u8], set: &[String], registry: &Registry) -> Result<JobSpec, String> {
    let source = Source::of_bytes("job.toml".into(), file.to_vec())?;
    let place = Place { here: "/here/and/now".into(), home: Some("/here".into()) };
    let typed = Typed { source: &source, set, short: &[], adopt: false };
    match typed.resolve(registry, &place) {
        Ok((_, meant)) => Ok(meant.spec),
        Err(mistakes) => Err(render(&mistakes, &source)),
    }
}
