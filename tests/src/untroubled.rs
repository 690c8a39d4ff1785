//! What a run that nobody troubles makes, and that others make the same.

use crate::{Output, Running, S3Server, Scratch, Submit, assert_same_bytes, drawn};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// How many photos there are.
pub const PHOTOS: u64 = 96;

const COMPONENTS: &str = "params.components=5";

/// All runs lie over an earlier table.
pub struct Untroubled {
    output: Output,
    earlier: Output,
    files: BTreeSet<String>,
    split: String,
}

impl Untroubled {
    /// The photos that are to be in the store.
    pub fn photos(scratch: &Scratch) -> PathBuf {
        drawn(scratch, "photos", PHOTOS, 11)
    }

    /// Runs the job in this process, with so many photos a split.
    pub fn run(scratch: &Scratch, s3: &S3Server, split: u32) -> Self {
        let few = drawn(scratch, "few", 24, 12);
        let earlier = Submit::over(scratch, &few, "s3://photos/earlier/", Some(s3));
        earlier.set("split.objects_max=8").set(COMPONENTS).run().done();
        let earlier = s3.output(scratch, "earlier/");
        s3.copy("earlier/", "out-untroubled/");
        let split = format!("split.objects_max={split}");
        let job = Submit::over(scratch, s3.input(), "s3://photos/out-untroubled/", Some(s3));
        job.set(&split).set(COMPONENTS).run().done();
        let output = s3.output(scratch, "out-untroubled/");
        assert_eq!(output.books(), [PHOTOS, PHOTOS, 0, 0]);
        let mut untroubled = Self { output, earlier, files: BTreeSet::new(), split };
        untroubled.files = untroubled.files(s3, &untroubled.output, "out-untroubled/");
        untroubled
    }

    /// The same job, to a folder of the bucket, with more patience than anyone needs.
    pub fn submit<'a>(&self, scratch: &'a Scratch, s3: &S3Server, output: &str, coordinators: &str) -> Submit<'a> {
        s3.copy("earlier/", output);
        let job = Submit::job(scratch, s3.input(), &format!("s3://photos/{output}"));
        let job = job.set(&self.split).set(COMPONENTS);
        job.args(["--patience", "120", "--coordinator", coordinators])
    }

    #[track_caller]
    pub fn ended_well(submitter: Running, limit: Duration) {
        let ended = submitter.wait(limit).done();
        assert!(ended.stdout.starts_with(&format!("{PHOTOS} images embedded, 0 quarantined")), "{ended}");
    }

    /// That output has the same bytes, books and files, and nothing else lies there.
    #[track_caller]
    pub fn is(&self, scratch: &Scratch, s3: &S3Server, output: &str) {
        let survived = s3.output(scratch, output);
        assert_same_bytes(&self.output, &survived);
        assert_eq!(survived.books(), self.output.books());
        assert_eq!(self.files(s3, &survived, output), self.files);
    }

    /// Names of all files in an output, with the ids of jobs made equal.
    fn files(&self, s3: &S3Server, output: &Output, prefix: &str) -> BTreeSet<String> {
        let (id, earlier) = (output.report.job_id.as_str(), self.earlier.report.job_id.as_str());
        s3.keys(prefix).into_iter().map(|name| name.replace(id, "JOB").replace(earlier, "EARLIER")).collect()
    }
}
