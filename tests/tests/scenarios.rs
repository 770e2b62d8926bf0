//! Behaviour shared with HAProxy: every file of `tests/scenarios` is a test, made by `build.rs`.

use lb_tests::scenario::{names, pending};

include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

#[test]
fn pending_scenarios_exist() {
    let names = names();
    for name in pending() {
        assert!(names.contains(&name), "pending.txt names {name}, which is not there");
    }
}
