//! `mr_fuzz::journal` as a program of libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mr_fuzz::journal(data));
