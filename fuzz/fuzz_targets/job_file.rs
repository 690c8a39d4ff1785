//! `mr_fuzz::job_file` as a program of libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mr_fuzz::job_file(data));
