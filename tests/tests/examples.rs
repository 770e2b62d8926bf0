//! Every file of `configs/` is a valid configuration, as the daemon itself says.

use std::path::{Path, PathBuf};

use lb_tests::Setup;

fn examples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root of the checkout");
    let entries = std::fs::read_dir(root.join("configs")).expect("the folder of examples");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "cfg"));
    files.sort();
    files
}

#[tokio::test]
async fn every_example_configuration_is_valid() {
    let files = examples();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read(&file).expect("the example");
        let setup = Setup::new("").file("example.cfg", text);
        let copy = setup.dir().join("example.cfg");
        let exit = setup.arg("-c").arg("-f").arg(copy.to_string_lossy()).run_bare().await;
        assert_eq!(exit.code, Some(0), "{}: {exit:?}", file.display());
        let complaints = exit.stderr.contains("[WARNING]") || exit.stderr.contains("[ALERT]");
        assert!(!complaints, "{}: {exit:?}", file.display());
    }
}
