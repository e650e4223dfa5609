//! Compilers and programs from the registries, in pinned versions that are checked by their
//! digests. What is there already is not fetched again: each lies in a folder that gets its
//! name only when it is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Places;
use crate::run;

/// Where the pins are, below the workspace's root.
const PINS: &str = "guests/languages/pins";

impl Places {
    /// The unpacked files of a wheel from PyPI.
    pub fn wheel(&self, name: &str) -> Result<PathBuf, String> {
        let pins = self.pins("wheels.txt")?;
        let pin = pins
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with("==")))
            .ok_or_else(|| format!("{PINS}/wheels.txt has no `{name}`"))?;
        let version = pin.split_whitespace().next().unwrap_or(pin);
        self.once(version, |folder| {
            let python = self.python()?;
            let requirement = folder.with_extension("txt");
            write(&requirement, pin)?;
            let mut pip = run::command(&self.root, python, &["-m", "pip", "install", "--quiet"]);
            pip.args(["--no-deps", "--require-hashes", "--target"]).arg(folder);
            run::shown(pip.arg("--requirement").arg(requirement))
        })
    }

    /// A Python with pip, apart from the system's.
    pub fn python(&self) -> Result<PathBuf, String> {
        let environment = self.once("python", |folder| {
            run::shown(run::command(&self.root, "python3", &["-m", "venv"]).arg(folder))
        })?;
        Ok(environment.join("bin/python"))
    }

    /// Debian packages, unpacked over each other: what is installed stays as it is.
    pub fn debian(&self) -> Result<PathBuf, String> {
        self.once("debian", |folder| {
            let sums = self.pins("debs.sha256")?;
            let files = sums.lines().filter_map(|line| line.split_whitespace().nth(1));
            let mut packages = Vec::new();
            for file in files.clone() {
                let mut parts = file.split('_');
                let (name, version) = (parts.next(), parts.next());
                let version = version.unwrap_or_default().replace("%3a", ":");
                packages.push(format!("{}={version}", name.unwrap_or_default()));
            }
            make(folder)?;
            let inside = |program: &str, args: &[&str]| run::command(folder, program, args);
            run::shown(inside("apt-get", &["download", "-qq"]).args(packages))?;
            write(&folder.join("sums"), &sums)?;
            run::shown(&mut inside("sha256sum", &["--check", "--quiet", "sums"]))?;
            for file in files {
                run::shown(&mut inside("dpkg", &["-x", file, "."]))?;
                fs::remove_file(folder.join(file)).map_err(|error| error.to_string())?;
            }
            Ok(())
        })
    }

    /// The packages from npm, none of whose scripts are run.
    pub fn node_modules(&self) -> Result<PathBuf, String> {
        let folder = self.once("npm", |folder| {
            make(folder)?;
            for file in ["package.json", "package-lock.json"] {
                write(&folder.join(file), &self.pins(file)?)?;
            }
            run::shown(&mut run::command(
                folder,
                "npm",
                &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            ))
        })?;
        Ok(folder.join("node_modules"))
    }

    /// The sources of a crate that we depend on ourselves; cargo has fetched and checked them.
    pub fn crate_source(&self, name: &str) -> Result<PathBuf, String> {
        let metadata = output(&mut run::cargo(
            &self.root,
            &["metadata", "--locked", "--format-version", "1"],
        ))?;
        let manifests = metadata.split("\"manifest_path\":\"").skip(1);
        let mut paths = manifests.filter_map(|rest| rest.split('"').next()).map(Path::new);
        let belongs = |path: &Path| {
            let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
            let version = folder.to_str().and_then(|folder| folder.strip_prefix(name));
            version.is_some_and(|version| version.starts_with('-'))
        };
        let path = paths.find(|path| belongs(path)).and_then(Path::parent);
        path.map(Path::to_owned).ok_or_else(|| format!("the crate `{name}` is not used here"))
    }

    fn pins(&self, file: &str) -> Result<String, String> {
        let path = self.root.join(PINS).join(file);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The folder `name`, made by `make` unless it is there.
    fn once(
        &self,
        name: &str,
        make_it: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<PathBuf, String> {
        let folder = self.work.join(name);
        if folder.is_dir() {
            return Ok(folder);
        }
        make(&self.work)?;
        eprintln!("xtask: fetching {name}");
        let partial = self.work.join(format!("{name}.partial"));
        // Left by a run that was ended.
        let _ = fs::remove_dir_all(&partial);
        make_it(&partial)?;
        // A virtual environment's scripts know their path; its Python is a link and doesn't.
        fs::rename(&partial, &folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    }
}

/// What a program prints, when it succeeds.
pub fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("`{program}`: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{program}` ended with {}: {}", output.status, said.trim()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("`{program}`: {error}"))
}

pub fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

pub fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
