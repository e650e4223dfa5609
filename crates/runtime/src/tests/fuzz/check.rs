//! What must hold of any module: transformed = plain, interrupted = not, optimised =
//! unoptimised, in outcome, globals, memory, usage, output and chain.

use std::collections::BTreeSet;
use std::fmt;

use wasmparser::{Operator, Parser, Payload};

use super::super::{Traced, trace};
use super::Random;
use crate::checkpoint::{Checkpoint, GlobalValue, Part};
use crate::engine::{Compiler, NATIVE_STACK_BYTES};
use crate::execution::{Execution, RunError};
use crate::protocol::{Outcome, TrapCode};
use crate::task::Task;
use crate::tests::InProcess;

/// Enough for loops to turn many times and for two boundaries of the shortest segment.
const FUEL_MAX: u64 = 3_000_000;
/// The plain engine counts otherwise: enough to get as far.
const PLAIN_FUEL: u64 = 30_000_000;
/// Memory limit of the task, above every generated memory's own maximum.
const MEMORY_PAGES: u32 = 32;

/// What went wrong, where it was interrupted.
#[derive(Debug)]
pub struct Failure {
    pub what: String,
    pub stops: Vec<u64>,
}

impl Failure {
    /// What stays the same while a failing input is made smaller.
    pub fn kind(&self) -> &str {
        self.what.split(':').next().unwrap_or_default()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (stops {:?})", self.what, self.stops)
    }
}

/// What a module showed.
#[derive(Debug, Default)]
pub struct Seen {
    pub refused: bool,
    pub trapped: bool,
    pub compared: bool,
    pub unoptimised: bool,
    pub carried: bool,
    pub interruptions: u64,
    /// How it ended, in a word.
    pub outcome: String,
    /// What it uses and what happened to it, in words.
    pub features: BTreeSet<&'static str>,
}

/// Engines, made once.
pub struct Bench {
    fast: InProcess,
    unoptimised: InProcess,
    plain: wasmtime::Engine,
    artefacts: [tempfile::TempDir; 2],
}

impl Bench {
    pub fn new() -> Self {
        let artefacts = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let kept = |at: usize| Some(artefacts[at].path().to_owned());
        let mut config = wasmtime::Config::new();
        config
            .cranelift_nan_canonicalization(true)
            .consume_fuel(true)
            .wasm_relaxed_simd(true)
            .relaxed_simd_deterministic(true)
            .async_stack_size(NATIVE_STACK_BYTES + (1 << 20))
            .max_wasm_stack(NATIVE_STACK_BYTES);
        Bench {
            fast: InProcess::new(Compiler::new().expect("an engine"), kept(0)),
            unoptimised: InProcess::new(Compiler::unoptimised().expect("an engine"), kept(1)),
            plain: wasmtime::Engine::new(&config).expect("an engine"),
            artefacts,
        }
    }

    /// No module comes twice.
    fn forget_artefacts(&self) {
        for directory in &self.artefacts {
            for entry in std::fs::read_dir(directory.path()).into_iter().flatten().flatten() {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Words of refusals that name what they refuse.
const REFUSALS: [&str; 5] = [
    "not supported",
    "not valid here",
    "is not provided",
    "lies outside its memory",
    "pages of memory",
];

/// Checks one module. `stops` are where it is interrupted, or else the seed decides.
pub fn module(
    bench: &Bench,
    module: &[u8],
    stops: Option<&[u64]>,
    seed: u64,
    thorough: bool,
) -> Result<Seen, Failure> {
    let seen = checked(bench, module, stops, seed, thorough);
    bench.forget_artefacts();
    seen
}

fn checked(
    bench: &Bench,
    module: &[u8],
    stops: Option<&[u64]>,
    seed: u64,
    thorough: bool,
) -> Result<Seen, Failure> {
    let mut task = Task::new(module.to_vec());
    task.segment_fuel = crate::SEGMENT_FUEL_MIN;
    task.memory_max_pages = MEMORY_PAGES;
    task.stdin = b"some input".to_vec();
    let mut seen = Seen { features: features(module), ..Seen::default() };
    let mut stops = stops.map(<[u64]>::to_vec);
    let failed = |what: String, stops: &[u64]| Failure { what, stops: stops.to_vec() };
    let whole = match trace(&bench.fast, &task, None, FUEL_MAX, &[]) {
        Ok(whole) => whole,
        Err(RunError::Refused(reason)) if REFUSALS.iter().any(|words| reason.contains(words)) => {
            seen.refused = true;
            seen.outcome = "refused".to_owned();
            return Ok(seen);
        }
        Err(error) => return Err(failed(format!("no result: {error}"), &[])),
    };
    seen.outcome = word(&whole.trace.end.outcome);
    seen.trapped = matches!(whole.trace.end.outcome, Outcome::Trapped(_));
    if whole.trace.records.len() > 1 {
        seen.features.insert("boundaries");
    }
    let canonical = |compiler: &InProcess, stops: &[u64]| {
        let begin = canonical_beginning(compiler, &task)?;
        trace(compiler, &task, Some(begin), FUEL_MAX, stops)
    };
    let carried = |one: Result<Traced, RunError>, other: Result<Traced, RunError>| matches!((one, other), (Ok(one), Ok(other)) if same(&one, &other).is_ok());

    if let Some(plain) = plainly(&bench.plain, module)
        && comparable(&plain.outcome, &whole.trace.end.outcome)
    {
        seen.compared = true;
        if let Err(difference) = plain.same(&whole) {
            let again = canonical(&bench.fast, &[])
                .map_err(|error| failed(format!("no canonical result: {error}"), &[]))?;
            plain
                .same(&again)
                .map_err(|_| failed(format!("transformed is not plain: {difference}"), &[]))?;
            seen.carried = true;
        }
    }

    let fuel = whole.trace.end.usage.fuel;
    let stops = stops.get_or_insert_with(|| choose_stops(seed, fuel));
    let stopped = trace(&bench.fast, &task, None, FUEL_MAX, stops)
        .map_err(|error| failed(format!("interrupted, no result: {error}"), stops))?;
    seen.interruptions = stopped.interruptions;
    if stopped.deepest_frames > 0 {
        seen.features.insert("frames");
    }
    if let Err(difference) = same(&whole, &stopped) {
        if !carried(canonical(&bench.fast, &[]), canonical(&bench.fast, stops)) {
            return Err(failed(format!("interrupted is not whole: {difference}"), stops));
        }
        seen.carried = true;
    }

    if thorough {
        seen.unoptimised = true;
        let slow = trace(&bench.unoptimised, &task, None, FUEL_MAX, stops)
            .map_err(|error| failed(format!("unoptimised, no result: {error}"), stops))?;
        if let Err(difference) = same(&whole, &slow) {
            if !carried(canonical(&bench.fast, &[]), canonical(&bench.unoptimised, stops)) {
                return Err(failed(format!("unoptimised is not optimised: {difference}"), stops));
            }
            seen.carried = true;
        }
    }
    if seen.carried {
        seen.features.insert("carried");
    }
    Ok(seen)
}

/// The task's beginning, to be run in the canonical build.
fn canonical_beginning(compiler: &InProcess, task: &Task) -> Result<Checkpoint, RunError> {
    let checkpoint = Execution::new(task, compiler, None, None)?.capture();
    let mut manifest = checkpoint.check()?;
    manifest.canonical = true;
    Ok(Checkpoint::new(&manifest, checkpoint.leaves().clone()))
}

/// Some anywhere, some in a row, some at either end.
fn choose_stops(seed: u64, fuel: u64) -> Vec<u64> {
    let mut random = Random::new(!seed);
    let from = random.below(fuel + 1);
    let mut stops: Vec<u64> = match random.below(3) {
        0 => (0..1 + random.below(8)).map(|_| 1 + random.below(fuel + 1)).collect(),
        1 => {
            let step = 1 + random.below(40);
            (0..16).map(|at| 1 + from + at * step).collect()
        }
        _ => vec![1, 2, fuel / 2, fuel.saturating_sub(1).max(1), fuel + 1],
    };
    stops.sort_unstable();
    stops
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited(_) => "exited".to_owned(),
        Outcome::Trapped(code) => code.name().to_owned(),
        Outcome::FuelLimit => "fuel_limit".to_owned(),
    }
}

/// Whether two runs of ours are the same, and what differs if not.
pub fn same(one: &Traced, other: &Traced) -> Result<(), String> {
    if one.trace.end.outcome != other.trace.end.outcome {
        return Err(format!("{:?} and {:?}", one.trace.end.outcome, other.trace.end.outcome));
    }
    if one.trace.end.usage != other.trace.end.usage {
        return Err(format!("usage {:?} and {:?}", one.trace.end.usage, other.trace.end.usage));
    }
    if one.state.globals != other.state.globals {
        return Err(format!("globals {:?} and {:?}", one.state.globals, other.state.globals));
    }
    if one.state.memory != other.state.memory {
        return Err("memories differ".to_owned());
    }
    if one.trace != other.trace {
        return Err("chains or outputs differ".to_owned());
    }
    Ok(())
}

/// How the engine alone ended, in its canonical mode, on the module as it is.
struct Plain {
    outcome: Outcome,
    /// `None` is a reference to some function.
    globals: Vec<Option<GlobalValue>>,
    memory: Option<Part>,
}

impl Plain {
    fn same(&self, ours: &Traced) -> Result<(), String> {
        if self.outcome != ours.trace.end.outcome {
            return Err(format!("{:?} and {:?}", self.outcome, ours.trace.end.outcome));
        }
        // Ours may be followed by some of the transform's own.
        let equal = self.globals.len() <= ours.state.globals.len()
            && self.globals.iter().zip(&ours.state.globals).all(|(plain, ours)| match plain {
                Some(plain) => plain == ours,
                None => *ours != GlobalValue::I32(0),
            });
        if !equal {
            return Err(format!("globals {:?} and {:?}", self.globals, ours.state.globals));
        }
        if self.memory != ours.state.memory {
            return Err("memories differ".to_owned());
        }
        Ok(())
    }
}

/// Where a limit cut it off, engines may differ; and only we say how deep a stack is.
fn comparable(plain: &Outcome, ours: &Outcome) -> bool {
    let cut = |outcome: &Outcome| {
        matches!(outcome, Outcome::FuelLimit | Outcome::Trapped(TrapCode::StackExhausted))
    };
    !cut(plain) && !cut(ours)
}

fn plainly(engine: &wasmtime::Engine, module: &[u8]) -> Option<Plain> {
    use wasmtime::{Instance, Module, Store, StoreLimitsBuilder, Trap, Val};
    let module = Module::new(engine, module).ok()?;
    if module.imports().len() > 0 {
        return None;
    }
    let limits = StoreLimitsBuilder::new().memory_size((MEMORY_PAGES as usize) << 16).build();
    let mut store = Store::new(engine, limits);
    store.limiter(|limits| limits);
    store.set_fuel(PLAIN_FUEL).ok()?;
    let instance = Instance::new(&mut store, &module, &[]).ok()?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start").ok()?;
    let outcome = match start.call(&mut store, ()) {
        Ok(()) => Outcome::Exited(0),
        Err(error) => match error.downcast_ref::<Trap>()? {
            Trap::OutOfFuel => Outcome::FuelLimit,
            Trap::StackOverflow => Outcome::Trapped(TrapCode::StackExhausted),
            Trap::UnreachableCodeReached => Outcome::Trapped(TrapCode::Unreachable),
            Trap::MemoryOutOfBounds => Outcome::Trapped(TrapCode::MemoryOutOfBounds),
            Trap::TableOutOfBounds => Outcome::Trapped(TrapCode::TableOutOfBounds),
            Trap::IndirectCallToNull => Outcome::Trapped(TrapCode::IndirectCallToNull),
            Trap::BadSignature => Outcome::Trapped(TrapCode::BadSignature),
            Trap::IntegerOverflow => Outcome::Trapped(TrapCode::IntegerOverflow),
            Trap::IntegerDivisionByZero => Outcome::Trapped(TrapCode::IntegerDivideByZero),
            Trap::BadConversionToInteger => Outcome::Trapped(TrapCode::BadConversionToInteger),
            _ => return None,
        },
    };
    let mut globals = Vec::new();
    for export in module.exports() {
        let Some(index) = export.name().strip_prefix('g') else { continue };
        let index: u32 = index.parse().ok()?;
        let value = match instance.get_global(&mut store, export.name())?.get(&mut store) {
            Val::I32(value) => Some(GlobalValue::I32(value)),
            Val::I64(value) => Some(GlobalValue::I64(value)),
            Val::F32(bits) => Some(GlobalValue::F32(bits)),
            Val::F64(bits) => Some(GlobalValue::F64(bits)),
            Val::V128(bits) => Some(GlobalValue::V128(bits.as_u128())),
            Val::FuncRef(None) => Some(GlobalValue::I32(0)),
            Val::FuncRef(Some(_)) => None,
            _ => return None,
        };
        globals.push((index, value));
    }
    globals.sort_by_key(|(index, _)| *index);
    let memory = instance
        .get_memory(&mut store, "memory")
        .map(|memory| Part::digest_of(memory.data(&store)));
    Some(Plain { outcome, globals: globals.into_iter().map(|(_, value)| value).collect(), memory })
}

/// What a module uses, in words.
fn features(module: &[u8]) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for payload in Parser::new(0).parse_all(module).flatten() {
        match payload {
            Payload::ImportSection(_) => {
                found.insert("wasi");
            }
            Payload::StartSection { .. } => {
                found.insert("start");
            }
            Payload::CodeSectionEntry(body) => {
                let Ok(mut reader) = body.get_operators_reader() else { continue };
                while let Ok(op) = reader.read() {
                    found.extend(feature(&op));
                }
            }
            _ => {}
        }
    }
    found
}

fn feature(op: &Operator<'_>) -> Option<&'static str> {
    use Operator as O;
    Some(match op {
        O::CallIndirect { .. } => "indirect",
        O::BrTable { .. } => "br_table",
        O::MemoryGrow { .. } => "grow",
        O::MemoryFill { .. } | O::MemoryCopy { .. } => "bulk",
        O::MemoryInit { .. } | O::DataDrop { .. } => "data",
        O::TableGet { .. } | O::TableSet { .. } | O::TableGrow { .. } | O::TableFill { .. } => {
            "table"
        }
        O::TableInit { .. } | O::TableCopy { .. } | O::ElemDrop { .. } => "elements",
        O::RefFunc { .. } | O::RefNull { .. } | O::RefIsNull => "references",
        O::TryTable { .. } => "catch",
        O::Throw { .. } | O::ThrowRef => "throw",
        O::I32DivS | O::I64DivS | O::I32RemS | O::I64RemS => "division",
        O::I32Extend8S | O::I64Extend32S => "sign",
        O::I32TruncSatF32S | O::I64TruncSatF64U => "saturating",
        O::F32Div | O::F64Div | O::F64Sqrt | O::F32Sqrt => "float",
        O::V128Load { .. } | O::V128Store { .. } => "simd",
        O::F32x4Div | O::F64x2Div | O::F32x4Sqrt => "simd_float",
        O::Loop { blockty: wasmparser::BlockType::FuncType(_) } => "multi_value",
        O::ReturnCall { .. } => "tail_call",
        _ => return None,
    })
}
