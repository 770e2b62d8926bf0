//! Any bytes as a PROXY protocol header of any version, whole and in pieces: no panic, and one meaning.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_proxyproto::fuzz::any_bytes(data));
