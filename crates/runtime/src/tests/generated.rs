//! Modules that a generator made up: whatever they do, the transform changes neither what they
//! compute nor, when they are stopped and resumed, anything at all.

use wasm_smith::{Config, Module};

use super::{compiler, in_large_stack, run, run_with_stops};
use crate::checkpoint::{GlobalValue, Part};
use crate::execution::{Execution, RunError};
use crate::protocol::Outcome;
use crate::task::Task;

const FUEL_MAX: u64 = 3_000_000;

/// What every generated module exports.
const SKELETON: &str = r#"(module
  (func (export "_start"))
  (memory (export "m") 1 16)
  (global (export "a") (mut i32) (i32.const 0))
  (global (export "b") (mut i64) (i64.const 0))
  (global (export "c") (mut f64) (f64.const 0)))"#;

fn rounds() -> u64 {
    std::env::var("JUSHA_TEST_MODULES").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
}

/// The module of a round; `None` when the generator gave none.
fn module(round: u64) -> Option<Vec<u8>> {
    let mut seed = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bytes: Vec<u8> = (0..4096)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 32) as u8
        })
        .collect();
    let config = Config {
        exports: Some(wat::parse_str(SKELETON).expect("the skeleton parses")),
        bulk_memory_enabled: true,
        reference_types_enabled: false,
        simd_enabled: round.is_multiple_of(2),
        relaxed_simd_enabled: false,
        multi_value_enabled: true,
        exceptions_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        extended_const_enabled: false,
        allow_start_export: false,
        max_imports: 0,
        max_memories: 0, // besides the exported one
        max_tables: 1,
        max_memory32_bytes: 1 << 20,
        memory_max_size_required: true,
        max_instructions: 400,
        min_funcs: 4,
        max_funcs: 12,
        ..Config::default()
    };
    Some(Module::new(config, &mut arbitrary::Unstructured::new(&bytes)).ok()?.to_bytes())
}

fn task(module: Vec<u8>) -> Task {
    let mut task = Task::new(module);
    task.segment_fuel = 1 << 20;
    task.memory_max_pages = 32;
    task
}

/// Whether a round may be passed over: the module is refused, or its data does not fit its own
/// memory or table, which no engine would start.
fn passed_over(round: u64, error: &RunError) -> bool {
    let text = error.to_string();
    let known = ["not supported", "no function `_start`", "memory", "out of bounds"];
    assert!(known.iter().any(|words| text.contains(words)), "round {round}: {text}");
    true
}

#[test]
fn generated_modules_do_not_notice_interruptions() {
    let mut ran = 0;
    for round in 0..rounds() {
        let Some(module) = module(round) else { continue };
        let task = task(module);
        let whole = match run(&task, FUEL_MAX) {
            Ok(whole) => whole,
            Err(error) if passed_over(round, &error) => continue,
            Err(error) => panic!("round {round}: {error}"),
        };
        ran += 1;
        let fuel = whole.end.usage.fuel;
        let stops: Vec<u64> = (1..8).map(|piece| fuel * piece / 8 + 1).collect();
        assert_eq!(run_with_stops(&task, FUEL_MAX, &stops).unwrap(), whole, "round {round}");
    }
    assert!(ran * 10 >= rounds(), "only {ran} of {} modules could be run", rounds());
}

/// The engine alone, in its canonical mode, on the module as it is.
fn plainly(module: &[u8]) -> Option<(Vec<GlobalValue>, Part)> {
    use wasmtime::{Config, Engine, Instance, Module, Store, StoreLimitsBuilder, Val};
    let mut config = Config::new();
    config.cranelift_nan_canonicalization(true).consume_fuel(true);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, module).ok()?;
    let limits = StoreLimitsBuilder::new().memory_size(32 << 16).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    store.set_fuel(FUEL_MAX).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).ok()?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start").ok()?;
    start.call(&mut store, ()).ok()?;
    let globals = ["a", "b", "c"]
        .map(|name| match instance.get_global(&mut store, name).unwrap().get(&mut store) {
            Val::I32(value) => GlobalValue::I32(value),
            Val::I64(value) => GlobalValue::I64(value),
            Val::F64(bits) => GlobalValue::F64(bits),
            other => panic!("{other:?}"),
        })
        .to_vec();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    let memory = Part::digest_of(memory.data(&store));
    Some((globals, memory))
}

#[test]
fn the_transform_keeps_the_meaning_of_generated_modules() {
    let mut compared = 0;
    let mut distinct = std::collections::BTreeSet::new();
    for round in 0..rounds() {
        let Some(module) = module(round) else { continue };
        let Some((globals, memory)) = plainly(&module) else { continue };
        let task = task(module.clone());
        let (outcome, state) = match in_large_stack(|| -> Result<_, RunError> {
            let compiler = compiler();
            let mut execution = Execution::new(&task, &compiler, None, None)?;
            loop {
                if let Some(end) = execution.slice(1 << 40, u64::MAX)?.end {
                    return Ok((end.outcome, execution.state()));
                }
            }
        }) {
            Ok(ended) => ended,
            Err(error) if passed_over(round, &error) => continue,
            Err(error) => panic!("round {round}: {error}"),
        };
        assert_eq!(outcome, Outcome::Exited(0), "round {round}");
        // The exported globals are among ours; which they are, the generator chose.
        for value in &globals {
            assert!(state.globals.contains(value), "round {round}: {value:?} {:?}", state.globals);
        }
        assert_eq!(state.memory.as_ref(), Some(&memory), "round {round}");
        distinct.insert(format!("{globals:?} {memory:?}"));
        compared += 1;
    }
    assert!(compared * 20 >= rounds(), "only {compared} of {} could be compared", rounds());
    assert!(distinct.len() > 3, "generated modules compute nothing: {}", distinct.len());
}
