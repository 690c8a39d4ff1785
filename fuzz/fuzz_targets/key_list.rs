//! `mr_fuzz::key_list` as a program of libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mr_fuzz::key_list(data));
