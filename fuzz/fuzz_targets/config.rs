//! Any bytes as a configuration: reading them must end, without a panic, with sections and diagnostics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_syntax::fuzz::read_anything;

fuzz_target!(|text: &[u8]| {
    read_anything(text);
});
