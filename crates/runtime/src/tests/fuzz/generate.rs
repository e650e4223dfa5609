//! Modules made up from a seed.
//!
//! What is generated follows what the transform admits: a feature that it refuses by name is
//! still tried now and then (the refusal must be one), one that it admits is tried often.

use std::sync::LazyLock;

use wasm_smith::{Config, InstructionKind, InstructionKinds, Module};

use super::Random;
use super::sections::Sections;
use crate::transform;

/// What a generated module may use beyond what is always on.
struct Admitted {
    start_section: bool,
    passive_data: bool,
    table_mutation: bool,
    references: bool,
    tail_calls: bool,
    exceptions: bool,
    relaxed_simd: bool,
    memories: bool,
}

static ADMITTED: LazyLock<Admitted> = LazyLock::new(|| {
    let admits = |body: &str| {
        let text = format!(r#"(module (func (export "_start")) {body})"#);
        let bytes = wat::parse_str(text).expect("the probe parses");
        transform::admit(&bytes).and_then(|module| transform::transform(&module, false)).is_ok()
    };
    Admitted {
        start_section: admits("(func $s) (start $s)"),
        passive_data: admits(
            r#"(memory 1) (data $d "x") (func (data.drop $d)
               (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0)))"#,
        ),
        table_mutation: admits(
            r#"(table 1 funcref) (elem $e func) (func (elem.drop $e)
               (table.init $e (i32.const 0) (i32.const 0) (i32.const 0))
               (table.copy (i32.const 0) (i32.const 0) (i32.const 0)))"#,
        ),
        references: admits(
            r#"(table 1 funcref) (func $f (param funcref) (result funcref)
               (table.set (i32.const 0) (local.get 0)) (table.get (i32.const 0)))"#,
        ),
        tail_calls: admits("(func $f (return_call $f))"),
        exceptions: admits("(tag $t) (func (throw $t))"),
        relaxed_simd: admits(
            "(func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))",
        ),
        memories: admits("(memory 1) (memory 1)"),
    }
});

/// WASI functions that any pointer may be given to.
const IMPORTS: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))))"#;

static AVAILABLE: LazyLock<Vec<u8>> =
    LazyLock::new(|| wat::parse_str(IMPORTS).expect("the imports parse"));

/// The module of a seed; `None` when the generator gave none.
pub fn module(seed: u64) -> Option<Vec<u8>> {
    let mut random = Random::new(seed);
    let may = |random: &mut Random, admitted: bool| random.one_in(if admitted { 2 } else { 48 });
    let admitted = &*ADMITTED;
    let passive_data = may(&mut random, admitted.passive_data);
    let table_mutation = may(&mut random, admitted.table_mutation);
    let references = may(&mut random, admitted.references);
    let config = Config {
        allow_start_export: may(&mut random, admitted.start_section) && random.one_in(2),
        tail_call_enabled: may(&mut random, admitted.tail_calls),
        // No engine at hand runs these as they are: they are only interrupted.
        exceptions_enabled: may(&mut random, admitted.exceptions) && random.one_in(4),
        relaxed_simd_enabled: may(&mut random, admitted.relaxed_simd),
        max_memories: if may(&mut random, admitted.memories) { 3 } else { 1 },
        reference_types_enabled: references,
        ..Config::default()
    };
    // The generator's bulk instructions come with segments and tables that may be refused.
    let bulk = random.one_in(2);
    let imports = random.one_in(4);
    let tables = !bulk || table_mutation || references;
    let mut kinds = InstructionKinds::all();
    if random.one_in(4) {
        // Control flow, variables and memory alone get deeper than a mixture of everything.
        kinds = InstructionKinds::new(&[
            InstructionKind::Numeric,
            InstructionKind::Variable,
            InstructionKind::Control,
            InstructionKind::MemoryInt,
        ]);
    }
    let config = Config {
        available_imports: imports.then(|| AVAILABLE.clone()),
        max_imports: if imports { 6 } else { 0 },
        allowed_instructions: kinds,
        bulk_memory_enabled: bulk || references,
        max_data_segments: if bulk && !passive_data { 0 } else { 4 },
        max_element_segments: if tables { 4 } else { 0 },
        max_tables: usize::from(tables),
        max_table_elements: 64,
        table_max_size_required: true,
        simd_enabled: random.one_in(2) || config.relaxed_simd_enabled,
        multi_value_enabled: !random.one_in(8),
        allow_floats: !random.one_in(4),
        disallow_traps: !random.one_in(3),
        extended_const_enabled: random.one_in(2),
        threads_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        memory_max_size_required: true,
        max_memory32_bytes: 1 << 20,
        min_memories: u32::from(random.one_in(2)),
        max_instructions: [20, 100, 400, 1500][random.below(4) as usize],
        min_funcs: 1 + random.below(6) as usize,
        max_funcs: 12,
        max_types: 12,
        ..config
    };
    let length = 1024 << random.below(4);
    let bytes = random.bytes(length);
    let module = Module::new(config, &mut arbitrary::Unstructured::new(&bytes)).ok()?.to_bytes();
    Sections::read(&module)?.driven(&mut random)
}
