//! Debian's kernels, by apt's own client with a list of sources of its own: the machine's stays as it is, and no
//! privilege is needed. What is fetched stays in `target/kernels`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{checked, find_program, say, target};

/// Asks for the newest kernel that the archive has.
pub(super) const NEWEST: &str = "newest";

/// Debian's archives that hold these kernels: the oldest we support, the one after it, and the newest.
const SOURCES: [&str; 2] = [
    "http://deb.debian.org/debian-security bookworm-security main",
    "http://deb.debian.org/debian trixie-backports main",
];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The variant for virtual machines is half the size of the usual one.
const VARIANT: &str = "-cloud-amd64";
/// What the packages of one kernel begin with.
const PARTS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    /// As `uname -r` says.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// `lib/modules/RELEASE/kernel`.
    pub(super) modules: PathBuf,
}

/// Where everything of the kernel matrix is kept.
pub(super) fn folder() -> PathBuf {
    target().join("kernels")
}

/// Fetches and unpacks the kernels that are not there yet. Without a network those that are there are taken.
pub(super) fn kernels(wanted: &[&str]) -> Result<Vec<Kernel>> {
    for program in ["apt-get", "dpkg-deb"] {
        if find_program(program).is_none() {
            bail!("no {program}: the kernels come from Debian's archive, by apt's client");
        }
    }
    if !Path::new(KEYRING).is_file() {
        bail!("no {KEYRING}: install debian-archive-keyring");
    }
    let folder = folder();
    let apt = Apt::new(&folder)?;
    let names = match apt.names() {
        Ok(names) => names,
        Err(error) => {
            say(format_args!("{error:#}: taking kernels that are there"));
            unpacked(&folder)?
        }
    };
    let mut kernels = Vec::new();
    for version in wanted {
        let name = choose(&names, version).with_context(|| format!("no kernel {version} in {SOURCES:?}"))?;
        let place = folder.join(name);
        if Kernel::at(&place).is_err() {
            apt.unpack(name, &place)?;
        }
        kernels.push(Kernel::at(&place)?);
    }
    Ok(kernels)
}

impl Kernel {
    fn at(place: &Path) -> Result<Self> {
        // Newer packages have everything below usr.
        for lib in ["lib", "usr/lib"] {
            let Ok(releases) = fs::read_dir(place.join(lib).join("modules")) else { continue };
            for folder in releases.filter_map(|entry| Some(entry.ok()?.path())) {
                let release = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let images = [place.join("boot").join(format!("vmlinuz-{release}")), folder.join("vmlinuz")];
                if let Some(image) = images.into_iter().find(|image| image.is_file()) {
                    return Ok(Self { release, image, modules: folder.join("kernel") });
                }
            }
        }
        bail!("no kernel in {}", place.display())
    }
}

/// The newest package of the kernels whose version begins with these numbers.
fn choose<'a>(names: &'a [String], version: &str) -> Option<&'a str> {
    let prefix = numbers(version);
    let fits = |name: &&String| version == NEWEST || numbers(version_of(name)).starts_with(&prefix);
    names.iter().filter(fits).max_by_key(|name| numbers(version_of(name))).map(String::as_str)
}

/// `6.1.0-48` of `linux-image-6.1.0-48-cloud-amd64`.
fn version_of(name: &str) -> &str {
    name.trim_start_matches("linux-image-").trim_end_matches(VARIANT)
}

/// The numbers of a version, in order.
fn numbers(version: &str) -> Vec<u32> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// The kernels that were unpacked before.
fn unpacked(folder: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(names
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("linux-image-") && name.ends_with(VARIANT))
        .collect())
}

/// apt's client with its own lists and cache.
struct Apt {
    options: Vec<String>,
    downloads: PathBuf,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self> {
        let (lists, downloads) = (folder.join("lists"), folder.join("downloads"));
        for place in [lists.join("partial"), downloads.clone(), folder.join("cache/archives/partial")] {
            fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
        }
        let list: String =
            SOURCES.iter().map(|source| format!("deb [signed-by={KEYRING}] {source}\n")).collect();
        let sources = folder.join("sources.list");
        fs::write(&sources, list).with_context(|| format!("cannot write {}", sources.display()))?;
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        let options = vec![
            option("Dir::Etc::SourceList", &sources),
            option("Dir::Etc::SourceParts", Path::new("/dev/null")),
            option("Dir::State::Lists", &lists),
            option("Dir::Cache", &folder.join("cache")),
            // The folders are ours; another user could not write into them.
            "APT::Sandbox::User=root".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ];
        Ok(Self { options, downloads })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.downloads);
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }

    /// The names of all kernel packages of our variant.
    fn names(&self) -> Result<Vec<String>> {
        let update = self.command("apt-get").args(["-qq", "update"]).output().context("apt-get")?;
        if !update.status.success() {
            bail!("apt-get update: {}", String::from_utf8_lossy(&update.stderr).trim());
        }
        let names =
            self.command("apt-cache").args(["pkgnames", "linux-image-"]).output().context("apt-cache")?;
        let digit = |name: &str| version_of(name).starts_with(|c: char| c.is_ascii_digit());
        Ok(String::from_utf8_lossy(&names.stdout)
            .lines()
            // Without a digit behind the second number it is a package that only names another.
            .filter(|name| name.ends_with(VARIANT) && digit(name) && numbers(version_of(name)).len() > 2)
            .map(str::to_owned)
            .collect())
    }

    /// Fetches a kernel into a folder. Older ones are one package, newer ones an empty one that needs two others.
    fn unpack(&self, name: &str, place: &Path) -> Result<()> {
        let parts = PARTS.map(|part| name.replacen("linux-image-", part, 1));
        let exists = |part: &&String| {
            let shown = self.command("apt-cache").args(["show", part]).output();
            shown.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
        };
        let packages: Vec<&String> = parts.iter().filter(exists).collect();
        checked(self.command("apt-get").args(["-q", "download"]).args(packages))?;
        // Whole or not at all: an interrupted one would be taken for a kernel.
        let partial = self.downloads.join("unpacked");
        if partial.exists() {
            fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        for file in fs::read_dir(&self.downloads)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                checked(Command::new("dpkg-deb").arg("-x").arg(&path).arg(&partial))?;
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        if place.exists() {
            fs::remove_dir_all(place).with_context(|| format!("cannot remove {}", place.display()))?;
        }
        fs::rename(&partial, place).with_context(|| format!("cannot move {}", partial.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_of_a_version_is_chosen() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-48-cloud-amd64",
            "linux-image-6.12.100+deb12-cloud-amd64",
            "linux-image-6.12.9+deb12-cloud-amd64",
            "linux-image-7.1.13+deb13-cloud-amd64",
        ]
        .map(str::to_owned);
        for (version, expected) in [
            ("6.1", Some("linux-image-6.1.0-48-cloud-amd64")),
            ("6.12", Some("linux-image-6.12.100+deb12-cloud-amd64")),
            ("6.12.9", Some("linux-image-6.12.9+deb12-cloud-amd64")),
            (NEWEST, Some("linux-image-7.1.13+deb13-cloud-amd64")),
            ("5.10", None),
        ] {
            assert_eq!(choose(&names, version), expected, "{version}");
        }
    }
}
