//! Feeds [`callspool_fuzz::vrrp`] with what libFuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callspool_fuzz::vrrp(data));
