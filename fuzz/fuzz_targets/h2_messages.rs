//! Any bytes on their way into HTTP/2, on either side: no panic, and the same however they are split.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_h2::fuzz::messages(data));
