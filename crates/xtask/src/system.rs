//! What has to be on the system beside Rust, and how it gets there.
//!
//! Whoever can build this program has a linker and nearly always a C compiler with it; but a
//! lone `ld` or `clang` will link Rust and not compile SQLite.

use std::path::Path;

use crate::run;

/// A program that is needed, and the Debian packages that bring it.
pub struct Need {
    program: &'static str,
    packages: &'static [&'static str],
    reason: &'static str,
}

/// For building anything.
pub const BUILD: &[Need] = &[Need {
    program: "cc",
    packages: &["gcc", "libc6-dev"],
    reason: "compiles the C of SQLite and zstd",
}];

/// For the tests, on top of that.
pub const TESTS: &[Need] = &[
    Need {
        program: "unshare",
        packages: &["util-linux"],
        reason: "gives the test of a full disk a disk of its own",
    },
    Need {
        program: "mount",
        packages: &["mount"],
        reason: "gives the test of a full disk a disk of its own",
    },
];

/// For rebuilding the guests.
pub const GUESTS: &[Need] = &[Need {
    program: "python3",
    packages: &["python3", "python3-venv"],
    reason: "installs the guests' compilers",
}];

/// For the guests in other languages, on top of that.
pub const LANGUAGES: &[Need] = &[Need {
    program: "npm",
    packages: &["nodejs", "npm"],
    reason: "installs and runs the AssemblyScript compiler",
}];

/// Installs what is missing, or says what to install.
pub fn provide(root: &Path, needs: &[&[Need]]) -> Result<(), String> {
    let missing: Vec<&Need> =
        needs.iter().copied().flatten().filter(|need| !is_there(need)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for Need { program, reason, .. } in &missing {
        eprintln!("xtask: `{program}` is missing (it {reason})");
    }
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    let asked = packages.join(" ");
    let by_hand = format!("install it yourself, on Debian and Ubuntu: apt-get install {asked}");
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| owner(&own) == 0);
    if !is_root || !on_path("apt-get") {
        return Err(by_hand);
    }
    eprintln!("xtask: installing {asked} with apt-get");
    let mut update = run::command(root, "apt-get", &["update", "-qq"]);
    let mut install = run::command(root, "apt-get", &["install", "-y", "-qq"]);
    install.arg("--no-install-recommends").args(&packages);
    for command in [&mut update, &mut install] {
        let command = command.env("DEBIAN_FRONTEND", "noninteractive");
        run::shown(command).map_err(|error| format!("{error}; {by_hand}"))?;
    }
    Ok(())
}

fn owner(metadata: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(metadata)
}

fn is_there(need: &Need) -> bool {
    // The variable that the build scripts of C code go by.
    (need.program == "cc" && std::env::var_os("CC").is_some()) || on_path(need.program)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // On Debian the administrator's programs are not on everybody's path.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_installed() {
        let shell = [Need { program: "sh", packages: &["dash"], reason: "runs scripts" }];
        assert_eq!(provide(Path::new("."), &[&shell]), Ok(()));
        assert!(!on_path("no-such-program-here"));
    }
}
