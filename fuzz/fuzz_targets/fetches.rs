//! Any bytes under every sample fetch: as a buffer, a request, a response. No panic, no value of a wrong type.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_fetch::fuzz::any_bytes(data));
