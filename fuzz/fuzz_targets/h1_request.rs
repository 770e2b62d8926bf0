//! Any bytes as an HTTP/1 request: no panic, and what is accepted goes on in one reading only.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_http::fuzz::h1_request(data));
