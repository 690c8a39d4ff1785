//! `mr_fuzz::wire` as a program of libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mr_fuzz::wire(data));
