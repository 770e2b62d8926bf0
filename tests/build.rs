//! One test per scenario file: the list of files becomes test functions, so that each has its name in a run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = Path::new("scenarios");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in fs::read_dir(folder)? {
        let part = part?.path();
        if !part.is_dir() {
            continue;
        }
        println!("cargo::rerun-if-changed={}", part.display());
        let names = parts.entry(stem(&part)).or_default();
        for file in fs::read_dir(&part)? {
            names.push(stem(&file?.path()));
        }
        names.sort();
    }
    let mut out = String::new();
    for (part, names) in parts {
        let _ = writeln!(out, "mod {} {{", part.replace('-', "_"));
        for name in names {
            let _ = writeln!(
                out,
                "    #[tokio::test]\n    async fn {}() {{\n        lb_tests::scenario::scenario(\"{part}/{name}\").await;\n    }}",
                name.replace('-', "_")
            );
        }
        out.push_str("}\n");
    }
    let folder = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&folder).join("scenarios.rs"), out)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}
