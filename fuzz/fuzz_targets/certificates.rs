//! Any bytes as the certificates of a connection and as a client's hello, under every sample fetch of TLS.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_fetch::fuzz::certificates(data));
