//! The corpus: inputs that once failed, and those that were the first to show something.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base::Digest;

use super::check::Seen;

/// How to run the corpus again.
pub const AGAIN: &str = "cargo test --workspace --lib -- tests::fuzz::the_corpus_holds";

/// Largest module that is kept for being interesting: the corpus is read by people and by git.
const INTERESTING_BYTES_MAX: usize = 6 << 10;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// The files of one kind, in the order of their names.
pub fn files(kind: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(directory().join(kind)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| Some((path.clone(), std::fs::read(path).ok()?))).collect()
}

pub struct Corpus {
    /// What the corpus shows already: pairs of an outcome and something that a module uses.
    shown: BTreeSet<(String, String)>,
    /// Whether interesting modules are kept, too (`cargo xtask fuzz --grow`).
    grow: bool,
    /// Where the input at hand is put, so that it outlives a process that dies of it.
    scratch: Option<PathBuf>,
}

impl Corpus {
    pub fn open(scratch: Option<PathBuf>) -> Self {
        let mut shown = BTreeSet::new();
        for (path, _) in files("modules") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some((features, _)) = name.rsplit_once('-') {
                let mut words = features.split('.');
                let outcome = words.next().unwrap_or_default().to_owned();
                shown.extend(words.map(|word| (outcome.clone(), word.to_owned())));
            }
        }
        let grow = std::env::var_os("JUSHA_FUZZ_GROW").is_some();
        Corpus { shown, grow, scratch }
    }

    /// Notes the input that is tried next.
    pub fn about_to(&self, kind: &str, seed: u64, bytes: &[u8]) {
        if let Some(scratch) = &self.scratch {
            // Without it only a crash's input would have to be made again from its seed.
            let _ = std::fs::write(scratch.join("seed"), format!("{kind} {seed}"));
            let _ = std::fs::write(scratch.join("input"), bytes);
        }
    }

    /// Keeps a module that shows something new, if it is small and the corpus is to grow.
    pub fn consider(&mut self, module: &[u8], seen: &Seen) {
        if !self.grow || module.len() > INTERESTING_BYTES_MAX {
            return;
        }
        let outcome = seen.outcome.clone();
        let new: Vec<_> = seen
            .features
            .iter()
            .map(|feature| (outcome.clone(), (*feature).to_owned()))
            .filter(|pair| !self.shown.contains(pair))
            .collect();
        if new.is_empty() {
            return;
        }
        let words: Vec<&str> = seen.features.iter().copied().collect();
        let name = format!("{outcome}.{}-{}.wasm", words.join("."), short(module));
        self.shown.extend(new);
        write(&directory().join("modules").join(name), module);
    }

    /// Keeps a failing input.
    pub fn keep_failure(&self, kind: &str, extension: &str, bytes: &[u8]) -> PathBuf {
        let path = directory().join(kind).join(format!("failed-{}.{extension}", short(bytes)));
        write(&path, bytes);
        path
    }
}

fn short(bytes: &[u8]) -> String {
    Digest::of(bytes).to_hex()[..8].to_owned()
}

fn write(path: &Path, bytes: &[u8]) {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    if let Err(error) = made.and_then(|()| std::fs::write(path, bytes)) {
        eprintln!("fuzz: {} can't be kept: {error}", path.display());
    }
}
