//! Puts the kernel objects where the crate embeds them from; an empty file stands for one that was not built.
//!
//! `SOCKEYE_BPF_DIR` names another folder than `target/bpf`, where `cargo xtask build-ebpf` leaves them.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

/// One object per attach point, named as its source in `lb-ebpf`.
const OBJECTS: [&str; 3] = ["sockmap", "packet", "steer"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=SOCKEYE_BPF_DIR");
    let folder = match std::env::var_os("SOCKEYE_BPF_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../target/bpf");
            // Cargo runs this script every time if the folder that it watches does not exist.
            fs::create_dir_all(&folder)?;
            folder
        }
    };
    println!("cargo::rerun-if-changed={}", folder.display());
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for name in OBJECTS {
        let object = fs::read(folder.join(name)).unwrap_or_default();
        fs::write(out.join(name), object)?;
    }
    Ok(())
}
