//! What a kernel under test boots into: ourselves as the first process, the tests, and every shared library that they
//! and the tools they call name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::archive::Archive;
use super::fetch::Kernel;
use super::guest;
use crate::workspace::{find_program, find_tool, output_of};

/// A test program.
#[derive(Debug, Clone)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) program: PathBuf,
}

/// Tools that tests call.
const TOOLS: [&str; 7] = ["ip", "tc", "ethtool", "unshare", "mount", "sh", "cat"];
/// Kernel modules that tests need, each after those that it needs; what a kernel has built in has no file.
const MODULES: [&str; 15] = [
    "veth",
    "dummy",
    "sch_ingress",
    "cls_bpf",
    "tunnel4",
    "ip_tunnel",
    "ipip",
    "tunnel6",
    "ip6_tunnel",
    "llc",
    "stp",
    "garp",
    "mrp",
    "8021q",
    "bridge",
];

/// Writes the archive. Tests run in the given order; `filter` narrows them by name.
pub(super) fn write(
    place: &Path,
    kernel: &Kernel,
    tests: &[Test],
    daemon: Option<&Path>,
    filter: Option<&str>,
    skip: &[&str],
) -> Result<()> {
    let file = File::create(place).with_context(|| format!("cannot create {}", place.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for folder in ["dev", "proc", "sys", "tmp", "run", "var", "etc", "bin", "tests", "modules"] {
        archive.folder(folder)?;
    }
    archive.device("dev/console", [5, 1])?;
    archive.device("dev/null", [1, 3])?;

    let mut programs = vec![("init".to_owned(), std::env::current_exe().context("our own path")?)];
    for tool in TOOLS {
        let path = find_tool(tool)
            .with_context(|| format!("no {tool}: install iproute2, ethtool and util-linux"))?;
        programs.push((format!("bin/{tool}"), path));
    }
    for test in tests {
        programs.push((format!("tests/{}", test.name), test.program.clone()));
    }
    if let Some(daemon) = daemon {
        programs.push((guest::DAEMON.trim_start_matches('/').to_owned(), daemon.to_owned()));
    }
    let mut libraries = BTreeMap::new();
    for (name, program) in &programs {
        archive.program(name, &stripped(program)?)?;
        for library in shared_libraries(program)? {
            let content = || fs::read(&library).with_context(|| format!("cannot read {}", library.display()));
            if !libraries.contains_key(&library) {
                libraries.insert(library.clone(), content()?);
            }
        }
    }
    let mut folders: Vec<String> = Vec::new();
    for (path, content) in &libraries {
        let name = path.to_string_lossy().trim_start_matches('/').to_owned();
        for (end, _) in name.match_indices('/') {
            let folder = name[..end].to_owned();
            if !folders.contains(&folder) {
                archive.folder(&folder)?;
                folders.push(folder);
            }
        }
        archive.program(&name, content)?;
    }

    let mut plan = guest::Plan::default();
    for module in MODULES {
        if let Some(path) = find_module(&kernel.modules, module)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            archive.file(&format!("modules/{name}"), &content)?;
            plan.modules.push(name);
        }
    }
    plan.tests = tests.iter().map(|test| test.name.clone()).collect();
    plan.filter = filter.map(str::to_owned);
    plan.skip = skip.iter().map(|&part| part.to_owned()).collect();
    archive.file(guest::PLAN.trim_start_matches('/'), &serde_json::to_vec(&plan)?)?;
    archive.finish().with_context(|| format!("cannot write {}", place.display()))
}

/// The program without its debug information, where `strip` is there: it is read into memory by each kernel.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let whole = || fs::read(program).with_context(|| format!("cannot read {}", program.display()));
    if find_program("strip").is_none() {
        return whole();
    }
    let out = tempfile::NamedTempFile::new().context("a temporary file")?;
    let status = Command::new("strip").arg("-o").arg(out.path()).arg(program).status().context("strip")?;
    if status.success() { Ok(fs::read(out.path())?) } else { whole() }
}

/// What `ldd` says that the program needs, the loader included.
fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let Some(text) = output_of("ldd", &[&program.to_string_lossy()]) else {
        bail!("ldd {}: failed", program.display());
    };
    Ok(library_paths(&text))
}

/// The absolute paths in the output of `ldd`.
fn library_paths(text: &str) -> Vec<PathBuf> {
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// The file of a module, compressed or not.
fn find_module(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if let Some(found) = find_module(&path, name)? {
                return Ok(Some(found));
            }
        } else if file.split_once(".ko").is_some_and(|(stem, _)| stem == name) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld.so.2 (0x3)\n";
        assert_eq!(library_paths(text), [Path::new("/lib/x/libc.so.6"), Path::new("/lib64/ld.so.2")]);
    }
}
