//! The WebAssembly engine and its two builds of a module.
//!
//! Which of two NaNs' bits an operation returns is up to the engine. The truth is the canonical
//! build, in which every NaN that arithmetic produces is the canonical one; the fast build
//! leaves that out and is right as long as no NaN was born, which the processor's sticky
//! invalid-operation flag tells ([`crate::float`]).

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use base::Digest;
use wasmtime::{Config, Engine, Module, OptLevel};

use crate::TRANSFORM_VERSION;
use crate::transform::layout::export;
use crate::transform::{self, Refusal};

/// Native stack for guest frames. The metered depth is 8 MiB of locals and operands; compiled
/// frames have never been seen to take more than three times that.
pub const NATIVE_STACK_BYTES: usize = 96 << 20;

/// Which build of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// NaNs are canonical, not as the processor makes them.
    pub canonical: bool,
    /// The fuel global is right in every basic block: for the fuel of a trap.
    pub exact: bool,
}

impl Build {
    /// What tasks begin in.
    pub const FAST: Build = Build { canonical: false, exact: false };
    /// What tasks go on in once a NaN was born.
    pub const CANONICAL: Build = Build { canonical: true, exact: false };
}

/// Why there is no compiled module.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The module is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine failed on a module that was admitted: a fault of this machine or program.
    #[error("the compiler failed: {0}")]
    Engine(String),
}

/// Compiles modules, and keeps what it compiled in a directory if it has one.
pub struct Compiler {
    fast: Engine,
    /// Made when it is first wanted: few tasks ever want it, and it takes a millisecond.
    canonical: OnceCell<Engine>,
    artefacts: Option<PathBuf>,
    level: OptLevel,
}

/// The engine that compiles and runs a build.
pub fn engine(build: Build) -> Result<Engine, CompileError> {
    engine_at(build, OptLevel::Speed)
}

fn engine_at(build: Build, level: OptLevel) -> Result<Engine, CompileError> {
    let mut config = Config::new();
    config
        .cranelift_opt_level(level)
        .cranelift_nan_canonicalization(build.canonical)
        .async_stack_size(NATIVE_STACK_BYTES + (1 << 20))
        .max_wasm_stack(NATIVE_STACK_BYTES)
        .wasm_multi_memory(true)
        .wasm_branch_hinting(true)
        .wasm_backtrace_max_frames(None);
    Engine::new(&config).map_err(|error| CompileError::Engine(error.to_string()))
}

impl Compiler {
    /// A compiler that keeps artefacts in `artefacts`. Nothing else may write there: loading
    /// compiled code is running it.
    pub fn new(artefacts: Option<PathBuf>) -> Result<Self, CompileError> {
        Self::with_level(artefacts, OptLevel::Speed)
    }

    /// Another compiler, whose results must be the same: for tests.
    #[cfg(test)]
    pub fn unoptimised(artefacts: Option<PathBuf>) -> Result<Self, CompileError> {
        Self::with_level(artefacts, OptLevel::None)
    }

    fn with_level(artefacts: Option<PathBuf>, level: OptLevel) -> Result<Self, CompileError> {
        let fast = engine_at(Build::FAST, level)?;
        Ok(Compiler { fast, canonical: OnceCell::new(), artefacts, level })
    }

    fn engine(&self, build: Build) -> Result<&Engine, CompileError> {
        if !build.canonical {
            return Ok(&self.fast);
        }
        if let Some(canonical) = self.canonical.get() {
            return Ok(canonical);
        }
        let canonical = engine_at(Build::CANONICAL, self.level)?;
        Ok(self.canonical.get_or_init(|| canonical))
    }

    /// The compiled module, from the artefacts if it is there.
    pub fn module(
        &self,
        bytes: &[u8],
        max_pages: u32,
        build: Build,
    ) -> Result<Module, CompileError> {
        let engine = self.engine(build)?;
        let path = self
            .artefacts
            .as_deref()
            .map(|directory| directory.join(artefact_name(engine, bytes, build)));
        if let Some(module) = path.as_deref().and_then(|path| load(engine, path)) {
            check_memory(&module, max_pages)?;
            return Ok(module);
        }
        let admitted = transform::admit(bytes).map_err(|refusal| refusal.explained(bytes))?;
        admitted.check_memory(max_pages)?;
        let transformed = transform::transform(&admitted, build.exact)
            .map_err(|refusal| refusal.explained(bytes))?;
        // Limits of the engine that only the transform made the module pass are the module's.
        if let Err(error) = Module::validate(engine, &transformed) {
            return Err(Refusal::Unsupported {
                what: format!("a function too large to be made resumable ({error:#})"),
            }
            .into());
        }
        let module = Module::new(engine, &transformed)
            .map_err(|error| CompileError::Engine(format!("{error:#}")))?;
        if let Some(path) = path {
            keep(&module, &path);
        }
        Ok(module)
    }
}

/// An artefact was admitted once, for whatever task came first: the limit is this task's own.
fn check_memory(module: &Module, max_pages: u32) -> Result<(), Refusal> {
    let memory = module.get_export(export::MEMORY);
    match memory.as_ref().and_then(|memory| memory.memory()).map(|memory| memory.minimum()) {
        Some(pages) if pages > u64::from(max_pages) => {
            Err(Refusal::MemoryLimit { pages, max: max_pages })
        }
        _ => Ok(()),
    }
}

fn artefact_name(engine: &Engine, bytes: &[u8], build: Build) -> String {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    // Another program may transform differently under the same version while it is developed.
    if let Ok(program) = std::env::current_exe().and_then(std::fs::metadata) {
        program.len().hash(&mut hasher);
        program.modified().ok().hash(&mut hasher);
    }
    let module = Digest::of(bytes);
    let build = match (build.canonical, build.exact) {
        (false, false) => "fast",
        (true, false) => "canonical",
        (false, true) => "fast-exact",
        (true, true) => "canonical-exact",
    };
    format!("{module}-t{TRANSFORM_VERSION}-{build}-{:016x}.cwasm", hasher.finish())
}

fn load(engine: &Engine, path: &Path) -> Option<Module> {
    if !path.exists() {
        return None;
    }
    // SAFETY: the file was written by `keep` below, from this program's own compiler, into a
    // directory that nothing else writes to; its name binds it to the module and the engine.
    unsafe { Module::deserialize_file(engine, path) }.ok()
}

/// A cache: failing to write it (a full disk) costs the next task its compilation, no more.
fn keep(module: &Module, path: &Path) {
    let Ok(bytes) = module.serialize() else { return };
    let Some(directory) = path.parent() else { return };
    let _ = std::fs::create_dir_all(directory);
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    if std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path)).is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
}
