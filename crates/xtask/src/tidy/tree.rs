//! The project's files as the rules see them: text by path, with `/` between the parts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::manifest::Manifest;

/// Never looked into: what tools make.
const SKIPPED: [&str; 3] = ["target", "node_modules", ".git"];
/// What the rules read. Everything else is listed without its text.
const READ: [&str; 7] = ["rs", "toml", "md", "sh", "c", "yml", "yaml"];

/// Files by path below the root.
pub struct Tree {
    files: BTreeMap<String, String>,
}

/// One of our crates.
pub struct Crate<'t> {
    /// Its folder below `crates/`, which is its name.
    pub name: &'t str,
    /// Path of its manifest.
    pub path: &'t str,
    /// What its manifest says.
    pub manifest: Manifest,
}

impl Tree {
    /// All files below `root`.
    pub fn read(root: &Path) -> Result<Tree, String> {
        let mut tree = Tree { files: BTreeMap::new() };
        tree.add(root, "")?;
        Ok(tree)
    }

    fn add(&mut self, directory: &Path, prefix: &str) -> Result<(), String> {
        let failed = |error| format!("{} can't be read: {error}", directory.display());
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if entry.file_type().map_err(failed)?.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    self.add(&entry.path(), &format!("{path}/"))?;
                }
                continue;
            }
            let wanted = name.rsplit_once('.').is_none_or(|(_, end)| READ.contains(&end));
            let text = if wanted { fs::read_to_string(entry.path()).ok() } else { None };
            self.files.insert(path, text.unwrap_or_default());
        }
        Ok(())
    }

    /// A tree for tests.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Tree {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Tree { files: files.iter().map(own).collect() }
    }

    /// The text of a file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether there is a file or folder at `path`.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&folder))
    }

    /// Files whose path ends with `end`.
    pub fn ending(&self, end: &str) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.ends_with(end))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Our Rust files.
    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ending(".rs").filter(|(path, _)| path.starts_with("crates/"))
    }

    /// Our crates.
    pub fn crates(&self) -> impl Iterator<Item = Crate<'_>> {
        self.ending("/Cargo.toml").filter_map(|(path, text)| {
            let name = path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
            (!name.contains('/')).then(|| Crate { name, path, manifest: Manifest::parse(text) })
        })
    }
}
