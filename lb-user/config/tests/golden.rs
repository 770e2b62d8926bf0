//! Whole configurations against what reading them gives: `tests/golden/config/ok` with the dump of the result,
//! `err` with the diagnostics. `UPDATE_EXPECT=1` rewrites the texts.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use expect_test::expect_file;
use sockeye_config::{NoNames, Options, Surroundings, dump, read, read_text};
use sockeye_syntax::condition::Facts;
use sockeye_syntax::diag::{Banner, Diagnostics};
use sockeye_syntax::source::{Disk, Environment};

/// A program without optional features.
struct Plain;

impl Facts for Plain {
    fn version(&self) -> &str {
        "3.4.0"
    }
    fn feature(&self, name: &str) -> bool {
        name == "EBPF"
    }
    fn enabled(&self, _: &str) -> bool {
        false
    }
    fn tls_library(&self) -> Option<(&str, &str)> {
        None
    }
    fn awslc_api(&self) -> Option<u32> {
        None
    }
}

fn golden(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/config").join(kind)
}

/// The configurations of a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cfg"))
        .collect();
    files.sort();
    files
}

fn read_file(path: &Path) -> (Option<sockeye_config::model::Config>, Diagnostics) {
    let around = Surroundings { loader: &Disk, resolver: &NoNames, facts: &Plain };
    let mut environment = Environment::new();
    let certificates = golden("tls");
    environment.set("CERTIFICATES", certificates.to_string_lossy().into_owned());
    let paths = [path.to_string_lossy().into_owned()];
    // Inside of what the certificates in the folder say of themselves.
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    read(&paths, &around, &mut environment, &Options { now: Some(now), ..Options::default() })
}

/// What is printed, without the parts that differ from run to run.
fn rendered(diags: &Diagnostics, folder: &Path) -> String {
    let banner = Banner { program: "sockeye", version: "VERSION", executable: "PATH" };
    let printed = diags.render(1, &banner, true).replace(&format!("{}/", folder.display()), "");
    printed.replace(&golden("tls").display().to_string(), "CERTIFICATES")
}

#[test]
fn good_configurations() {
    let folder = golden("ok");
    for path in files(&folder) {
        let (config, diags) = read_file(&path);
        let printed = rendered(&diags, &folder);
        let config = config.unwrap_or_else(|| panic!("{} is refused:\n{printed}", path.display()));
        let dump = dump::dump(&config).replace(&format!("{}/", folder.display()), "");
        let dump = dump.replace(&golden("tls").display().to_string(), "CERTIFICATES");
        let text = format!("{printed}{dump}");
        expect_file![path.with_extension("txt")].assert_eq(&text);
    }
}

#[test]
fn bad_configurations() {
    let folder = golden("err");
    for path in files(&folder) {
        let (config, diags) = read_file(&path);
        let printed = rendered(&diags, &folder);
        assert!(config.is_none(), "{} is accepted:\n{printed}", path.display());
        expect_file![path.with_extension("txt")].assert_eq(&printed);
    }
}

/// The examples are read without a warning.
#[test]
fn examples() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    for path in files(&folder) {
        let around = Surroundings { loader: &Disk, resolver: &NoNames, facts: &Plain };
        let mut environment = Environment::new();
        environment.set("HAPROXY_BRANCH", "3.4");
        // The examples name their maps as seen from the root of the checkout.
        let text = std::fs::read_to_string(&path).expect("the example");
        let text = text.replace("configs/maps/", &format!("{}/maps/", folder.display()));
        // Certificates are the administrator's own; ours stand for them, in a list as well.
        let own = tempfile::tempdir().expect("a folder");
        let site = golden("tls").join("site.pem");
        for name in ["site.pem", "client-ca.pem", "inner-ca.pem", "proxy.pem"] {
            std::fs::copy(&site, own.path().join(name)).expect("a copy");
        }
        std::fs::write(own.path().join("hosts.list"), format!("{} *.example.org\n", site.display()))
            .expect("a list");
        let text = text.replace("configs/tls/", &format!("{}/", own.path().display()));
        let name = path.to_string_lossy();
        let (config, diags) = read_text(
            &name,
            text.as_bytes(),
            &around,
            &mut environment,
            &Options { now: Some(now), ..Options::default() },
        );
        assert!(config.is_some() && diags.is_empty(), "{}", rendered(&diags, &folder));
    }
}
