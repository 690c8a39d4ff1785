//! `mr_fuzz::photo` as a program of libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mr_fuzz::photo(data));
