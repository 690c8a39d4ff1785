//! The seeds are what they are meant to be: a fuzzer that begins with nothing but refusals stays outside the door.

use mr_fuzz::seeds::seeds;
use mr_vision::image::{Budget, DecodeOptions, MEMORY_MAX_BYTES, decode};

#[test]
fn every_photo_is_decoded() {
    for photo in seeds("photo") {
        let decoded = decode(&photo, &DecodeOptions::default(), &Budget::new(MEMORY_MAX_BYTES));
        assert!(decoded.is_ok(), "{:?} of {:?}", decoded.err(), &photo[..16]);
    }
}

#[test]
fn some_job_files_are_jobs_and_some_are_not() {
    let registry = mr_jobs::registry().unwrap();
    let is_job = |seed: &Vec<u8>| mr_cli::job_spec(seed, &[], &registry).is_ok();
    let jobs: Vec<_> = seeds("job_file").iter().map(is_job).collect();
    assert!(jobs[0] && jobs.contains(&false), "{jobs:?}");
}
