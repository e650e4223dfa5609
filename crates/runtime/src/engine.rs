//! The WebAssembly engine and its two builds of a module.
//!
//! Which of two NaNs' bits an operation returns is up to the engine. The truth is the canonical
//! build, in which every NaN that arithmetic produces is the canonical one; the fast build
//! leaves that out and is right as long as no NaN was born, which the processor's sticky
//! invalid-operation flag tells ([`crate::float`]).

use std::cell::OnceCell;
use std::fs::File;
use std::io::{Read, Seek};

use serde::{Deserialize, Serialize};
use wasmtime::{Config, Engine, Module, OptLevel};

use crate::task::ModuleId;
use crate::transform::layout::export;
use crate::transform::{self, Refusal};

/// Native stack for guest frames. The metered depth is 8 MiB of locals and operands; compiled
/// frames have never been seen to take more than three times that.
pub const NATIVE_STACK_BYTES: usize = 96 << 20;

/// Which build of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

    /// As it is written in names of artefacts.
    pub fn name(self) -> &'static str {
        match (self.canonical, self.exact) {
            (false, false) => "fast",
            (true, false) => "canonical",
            (false, true) => "fast-exact",
            (true, true) => "canonical-exact",
        }
    }
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
    /// This process can load no other build than the one it has: the run goes on in a new one.
    #[error("this process has another build of the module")]
    Elsewhere,
}

/// Where a run gets the builds of its module from.
pub trait Modules {
    /// What the module is. Whoever has only what was compiled from it was told.
    fn id(&self, bytes: &[u8]) -> ModuleId {
        ModuleId::of(bytes)
    }

    /// The compiled module, if it keeps to `max_pages`.
    fn module(&self, bytes: &[u8], max_pages: u32, build: Build) -> Result<Module, CompileError>;
}

/// Compiles modules.
pub struct Compiler {
    fast: Engine,
    /// Made when it is first wanted: few tasks ever want it, and it takes a millisecond.
    canonical: OnceCell<Engine>,
    level: OptLevel,
}

/// The engine that compiles and runs a build.
pub fn engine(build: Build) -> Result<Engine, CompileError> {
    engine_at(build, OptLevel::Speed)
}

fn engine_at(build: Build, level: OptLevel) -> Result<Engine, CompileError> {
    Engine::new(&config(build, level)).map_err(|error| CompileError::Engine(error.to_string()))
}

/// How every engine is set up, so that what is compared differs in the module alone.
pub(crate) fn config(build: Build, level: OptLevel) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(level)
        .cranelift_nan_canonicalization(build.canonical)
        .async_stack_size(NATIVE_STACK_BYTES + (1 << 20))
        .max_wasm_stack(NATIVE_STACK_BYTES)
        .wasm_multi_memory(true)
        .wasm_branch_hinting(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_backtrace_max_frames(None)
        // Nobody asks where in the module an instruction came from, and it is much of an artefact.
        .generate_address_map(false);
    config
}

impl Compiler {
    /// A compiler with everything that doesn't depend on a module.
    pub fn new() -> Result<Self, CompileError> {
        Self::with_level(OptLevel::Speed)
    }

    /// Another compiler, whose results must be the same: for tests.
    #[cfg(test)]
    pub fn unoptimised() -> Result<Self, CompileError> {
        Self::with_level(OptLevel::None)
    }

    fn with_level(level: OptLevel) -> Result<Self, CompileError> {
        let fast = engine_at(Build::FAST, level)?;
        Ok(Compiler { fast, canonical: OnceCell::new(), level })
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

    /// Everything that compiled code depends on beside the module, its build and the transform's
    /// version: the engine and its settings, this processor's abilities, and, since the transform
    /// may differ under one version while it is developed, its sources.
    pub fn identity(&self) -> u64 {
        use std::hash::{Hash, Hasher};
        let mut hasher = std::hash::DefaultHasher::new();
        self.fast.precompile_compatibility_hash().hash(&mut hasher);
        env!("TRANSFORM_SOURCES").hash(&mut hasher);
        hasher.finish()
    }

    /// Admits, transforms and compiles a module: an artefact. Nothing of it is executed.
    pub fn compile(&self, bytes: &[u8], build: Build) -> Result<Vec<u8>, CompileError> {
        let engine = self.engine(build)?;
        let admitted = transform::admit(bytes).map_err(|refusal| refusal.explained(bytes))?;
        let transformed = transform::transform(&admitted, build.exact)
            .map_err(|refusal| refusal.explained(bytes))?;
        // Limits of the engine that only the transform made the module pass are the module's.
        if let Err(error) = Module::validate(engine, &transformed) {
            return Err(Refusal::Unsupported {
                what: format!("a function too large to be made resumable ({error:#})"),
            }
            .into());
        }
        // Likewise what it only finds while it compiles, such as a giant `br_table`.
        engine.precompile_module(&transformed).map_err(|error| {
            let what = format!("code that the compiler can't take ({})", error.root_cause());
            Refusal::Unsupported { what }.into()
        })
    }

    /// Makes an artefact executable. What comes from an artefact is trusted as much as a program
    /// that is started, so this happens where it runs: behind a worker's walls.
    pub fn load(&self, mut artefact: File, build: Build) -> Result<Loaded, CompileError> {
        let engine = self.engine(build)?;
        let failed = |error: &dyn std::fmt::Display| {
            CompileError::Engine(format!("a compiled module can't be loaded: {error:#}"))
        };
        let file = artefact.try_clone().map_err(|error| failed(&error))?;
        // SAFETY: the agent wrote the file once, from what a compile worker made of this very
        // module for this very engine, and nothing writes to it again (`crate::artefacts`).
        let mapped = unsafe { Module::deserialize_open_file(engine, file) };
        let module = match mapped {
            Ok(module) => module,
            // It may be on a file system from which nothing can be executed.
            Err(_) => {
                let mut bytes = Vec::new();
                artefact
                    .rewind()
                    .and_then(|()| artefact.read_to_end(&mut bytes))
                    .map_err(|error| failed(&error))?;
                // SAFETY: as above.
                unsafe { Module::deserialize(engine, bytes) }.map_err(|error| failed(&error))?
            }
        };
        Ok(Loaded { module, build, id: None })
    }
}

/// One build of one module, ready to run.
pub struct Loaded {
    module: Module,
    build: Build,
    id: Option<ModuleId>,
}

impl Loaded {
    /// Says what it was compiled from, so that nobody needs the bytes.
    pub fn known_as(self, id: ModuleId) -> Self {
        Loaded { id: Some(id), ..self }
    }
}

impl Modules for Loaded {
    fn id(&self, bytes: &[u8]) -> ModuleId {
        self.id.unwrap_or_else(|| ModuleId::of(bytes))
    }

    fn module(&self, _: &[u8], max_pages: u32, build: Build) -> Result<Module, CompileError> {
        if build != self.build {
            return Err(CompileError::Elsewhere);
        }
        check_memory(&self.module, max_pages)?;
        Ok(self.module.clone())
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
