//! Compiled modules depend on the engine, which says what it is, and on how the transform is
//! written: a digest of that is built in, so that they outlive programs that differ elsewhere.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{fs, io};

fn main() -> io::Result<()> {
    // The last for the versions of what it is written with.
    let mut files: BTreeSet<PathBuf> =
        ["src/engine.rs", "../../Cargo.lock"].map(PathBuf::from).into();
    collect(Path::new("src/transform"), &mut files)?;
    let mut hasher = DefaultHasher::new();
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        fs::read(file)?.hash(&mut hasher);
    }
    println!("cargo::rerun-if-changed=src/transform");
    println!("cargo::rustc-env=TRANSFORM_SOURCES={:016x}", hasher.finish());
    Ok(())
}

fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}
