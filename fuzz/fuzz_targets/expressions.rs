//! Any text as expression, condition, ACL or rule, and any bytes as the request that they look at: no panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_config::fuzz::rules(data));
