//! Every example of `configs/` is a configuration that the daemon accepts.

use std::path::Path;

use lb_tests::{Setup, is_haproxy};

#[tokio::test]
async fn every_example_passes_the_check() {
    if is_haproxy() {
        // The examples use our own words, too.
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("configs/") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "cfg") {
            continue;
        }
        let exit = Setup::new("").arg("-c").arg("-f").arg(path.to_string_lossy()).run_bare().await;
        assert_eq!(exit.code, Some(0), "{}:\n{}", path.display(), exit.stderr);
        count += 1;
    }
    assert!(count > 0, "no example in {}", folder.display());
}
