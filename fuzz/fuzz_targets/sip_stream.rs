//! Feeds [`callspool_fuzz::sip_stream`] with what libFuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callspool_fuzz::sip_stream(data));
