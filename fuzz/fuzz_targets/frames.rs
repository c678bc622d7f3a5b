//! Feeds [`callspool_fuzz::frames`] with what libFuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callspool_fuzz::frames(data));
