//! `cargo xtask mutants`: breaks the rules that make results checkable, one at a time, and sees
//! that a test fails each time. A rule without such a test is only a habit.
//!
//! The changes are made in a worktree of the last commit, in the target directory, and built in a
//! directory of their own there: the first run builds everything.

use std::path::Path;

use crate::{chores, run};

struct Mutant {
    name: &'static str,
    /// What is broken: the rule, as the specification has it.
    rule: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The tests among which one must fail.
    tests: &'static str,
}

const MUTANTS: [Mutant; 16] = [
    Mutant {
        name: "nan-unseen",
        rule: "floats: a NaN that was born sends the task to the canonical build",
        file: "crates/runtime/src/instance.rs",
        from: "float::invalid()",
        to: "false",
        tests: "determinism::floats",
    },
    Mutant {
        name: "nan-forgotten",
        rule: "floats: a task in the canonical build stays there when it is resumed",
        file: "crates/runtime/src/execution.rs",
        from: "let due = if manifest.canonical { Build::CANONICAL }",
        to: "let due = if manifest.canonical { Build::FAST }",
        tests: "determinism",
    },
    Mutant {
        name: "nan-as-it-comes",
        rule: "floats: the canonical build makes NaNs canonical",
        file: "crates/runtime/src/engine.rs",
        from: ".cranelift_nan_canonicalization(build.canonical)",
        to: ".cranelift_nan_canonicalization(false)",
        tests: "determinism::floats",
    },
    Mutant {
        name: "depth-unmetered",
        rule: "depth: the counter ends a recursion, on every engine at the same call",
        file: "crates/runtime/src/transform/layout.rs",
        from: "pub const ENTRY_MASK: i64 = i64::MIN | DEPTH_GUARD;",
        to: "pub const ENTRY_MASK: i64 = i64::MIN;",
        tests: "determinism::limits",
    },
    Mutant {
        name: "shortage-seen",
        rule: "shortage: what the host lacks is a fault, never what the guest sees",
        file: "crates/runtime/src/host.rs",
        from: "self.shortage = Some(format!(\"memory could not grow: {error:#}\"));",
        to: "drop(error);",
        tests: "determinism::limits",
    },
    Mutant {
        name: "clock-stands",
        rule: "clock: fuel moves it",
        file: "crates/runtime/src/world/process.rs",
        from: "self.fuel / FUEL_PER_NS",
        to: "self.fuel / FUEL_PER_NS / 1_000_000_000",
        tests: "determinism::limits",
    },
    Mutant {
        name: "sleep-lost",
        rule: "clock: sleep moves it",
        file: "crates/runtime/src/world/process.rs",
        from: "self.computed().saturating_add(self.slept_ns)",
        to: "self.computed()",
        tests: "determinism::limits",
    },
    Mutant {
        name: "clock-of-the-host",
        rule: "clock: nobody's own clock is seen",
        file: "crates/runtime/src/world/process.rs",
        from: "self.computed().saturating_add(self.slept_ns)",
        to: "self.computed().saturating_add(self.slept_ns) + std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| u64::from(now.subsec_nanos()))",
        tests: "determinism::limits",
    },
    Mutant {
        name: "one-seed",
        rule: "seeds: the tasks of a job draw different numbers",
        file: "crates/runtime/src/task.rs",
        from: "Digest::of_parts(\"jusha task seed v1\", &[&job_seed.0, &index.to_le_bytes()])",
        to: "{ let _ = index; Digest::of_parts(\"jusha task seed v1\", &[&job_seed.0, &[0; 4]]) }",
        tests: "determinism::limits",
    },
    Mutant {
        name: "seed-of-the-attempt",
        rule: "seeds: a resumed task draws what it would have drawn",
        file: "crates/runtime/src/world/state.rs",
        from: "world.random_position = parsed.random_position;",
        to: "world.random_position = 0;",
        tests: "determinism::limits",
    },
    Mutant {
        name: "trap-fuel-coarse",
        rule: "trap fuel: a trap costs what was begun, whatever was charged ahead",
        file: "crates/runtime/src/instance.rs",
        from: "if matches!(stop_reason, Stop::Trapped { exact: false, .. }) {",
        to: "let stop_reason = match stop_reason { Stop::Trapped { code, .. } => Stop::Trapped { code, exact: true }, other => other }; if false {",
        tests: "determinism::limits",
    },
    Mutant {
        name: "overshoot-dropped",
        rule: "overshoot: boundaries are at absolute fuel",
        file: "crates/runtime/src/execution.rs",
        from: "let boundary = (used / segment + 1).saturating_mul(segment);",
        to: "let boundary = used.saturating_add(segment);",
        tests: "determinism::limits",
    },
    Mutant {
        name: "frames-as-they-were",
        rule: "state: what a site doesn't save is zeros, however often the task was interrupted",
        file: "crates/runtime/src/instance.rs",
        from: "self.frames.data_mut(&mut self.store)[self.saved.clone()].fill(0);",
        to: "let _ = self.frames.data_mut(&mut self.store);",
        tests: "determinism",
    },
    Mutant {
        name: "base-unseeded",
        rule: "seeds: a task that begins in a base draws its own numbers",
        file: "crates/runtime/src/world/state.rs",
        from: "        Ok(world)\n    }\n}\n\nfn encode",
        to: "        world.config.seed = base::Digest::default();\n        Ok(world)\n    }\n}\n\nfn encode",
        tests: "tests::based",
    },
    Mutant {
        name: "directory-by-chance",
        rule: "world: directories are in the order of their names",
        file: "crates/runtime/src/world/tree.rs",
        from: "inputs.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));",
        to: "inputs.reverse();",
        tests: "world::",
    },
    Mutant {
        name: "write-missed",
        rule: "state: a capture has every write",
        file: "crates/runtime/src/dirty.rs",
        from: "leaf >= self.leaves() || get(&MAPS[self.slot].dirty, leaf)",
        to: "leaf >= self.leaves() || (leaf % 7 != 3 && get(&MAPS[self.slot].dirty, leaf))",
        tests: "tests::dirty",
    },
];

/// Breaks each rule, or those that are named.
pub fn mutants(root: &Path, names: &[String]) -> Result<(), String> {
    let known = |name: &String| MUTANTS.iter().any(|mutant| mutant.name == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        return Err(format!("there is no mutant `{name}`; there are {}", all.join(", ")));
    }
    let copy = chores::target(root).join("mutants");
    let path = copy.display().to_string();
    if copy.exists() {
        run::shown(&mut run::command(root, "git", &["worktree", "remove", "--force", &path]))?;
    }
    run::shown(&mut run::command(root, "git", &["worktree", "add", "--detach", &path, "HEAD"]))?;
    let mut survivors = Vec::new();
    for mutant in MUTANTS {
        if !names.is_empty() && !names.iter().any(|name| name == mutant.name) {
            continue;
        }
        eprintln!("mutants: {} ({})", mutant.name, mutant.rule);
        let killed = killed(root, &copy, &mutant)?;
        println!(
            "{:<20} {}  {}",
            mutant.name,
            if killed { "caught  " } else { "SURVIVED" },
            mutant.rule
        );
        if !killed {
            survivors.push(mutant.name);
        }
    }
    run::shown(&mut run::command(root, "git", &["worktree", "remove", "--force", &path]))?;
    if survivors.is_empty() {
        return Ok(());
    }
    Err(format!("no test noticed {}", survivors.join(", ")))
}

/// Whether a test fails with the rule broken. That it still compiles is checked, too.
fn killed(root: &Path, copy: &Path, mutant: &Mutant) -> Result<bool, String> {
    let file = copy.join(mutant.file);
    let say = |error: std::io::Error| format!("{}: {error}", file.display());
    let whole = std::fs::read_to_string(&file).map_err(say)?;
    if whole.matches(mutant.from).count() != 1 {
        return Err(format!(
            "{}: `{}` must be in {} once; mend the table in crates/xtask/src/mutants.rs",
            mutant.name, mutant.from, mutant.file
        ));
    }
    std::fs::write(&file, whole.replace(mutant.from, mutant.to)).map_err(say)?;
    // Of its own: to cargo, both trees are one workspace, and it would take code of one for the
    // other's.
    let target = chores::target(root).join("mutants-build");
    let cargo = |args: &[&str]| {
        let mut command = run::cargo(copy, args);
        command.env("CARGO_TARGET_DIR", &target);
        command
    };
    // All libraries, so that the engine is built with the features that it has everywhere.
    let common = ["test", "--workspace", "--lib", "--quiet"];
    let built = run::shown(&mut cargo(&[&common[..], &["--no-run"]].concat()));
    let works = built.is_ok().then(|| {
        let filter = [&common[..], &["--no-fail-fast", "--", mutant.tests]].concat();
        run::works(&mut cargo(&filter))
    });
    std::fs::write(&file, whole).map_err(say)?;
    works.map(|works| !works).ok_or_else(|| format!("{} does not compile", mutant.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_still_has_its_place() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        for mutant in MUTANTS {
            let text = std::fs::read_to_string(root.join(mutant.file)).unwrap();
            assert_eq!(text.matches(mutant.from).count(), 1, "{}", mutant.name);
        }
    }
}
