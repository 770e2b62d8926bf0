//! Any bytes as a configuration: reading them must end, without a panic, with a configuration or diagnostics.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    sockeye_syntax::fuzz::read_anything(text);
    sockeye_config::fuzz::read_anything(text);
});
