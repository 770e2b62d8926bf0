//! Any request of HTTP/2: no panic, and what is translated is one request of HTTP/1.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_h2::fuzz::request(data));
