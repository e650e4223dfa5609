//! Puts the transformed module together, section by section.

use std::collections::HashMap;

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    BlockType, BranchHint, BranchHints, CodeSection, ConstExpr, DataCountSection, ExportKind,
    ExportSection, Function as EncFunction, GlobalSection, GlobalType, Instruction as I,
    MemorySection, MemoryType, Module, TypeSection, ValType as EncType,
};
use wasmparser::{Operator, Parser, Payload};

use super::admit::{Admitted, Refusal, lowered};
use super::emit::{self, Context, Emitted};
use super::function::Function;
use super::genesis;
use super::graph;
use super::layout::{self, FRAME_MEMORY_PAGES, Layout, export};
use super::leaf;
use super::tables::Tables;
use super::uses::Uses;

/// Transforms an admitted module. With `exact`, the fuel global is right in every basic block,
/// so that it can be read after a trap; otherwise both builds behave alike, to the unit.
///
/// Functions follow the original ones in this order: what calls the start function and then
/// `_start`, if there is a start section; a wrapper for each import; what stands for instructions
/// on tables and segments; what restores tables; what the host calls.
pub fn transform(admitted: &Admitted<'_>, exact: bool) -> Result<Vec<u8>, Refusal> {
    let imports = admitted.imports.len();
    let mut uses = Uses::default();
    let resumable = graph::resumable(admitted, &mut uses)?;
    let layout = Layout {
        first_global: admitted.globals.len() as u32,
        frames: u32::from(admitted.memory.is_some()),
    };
    let originals = admitted.function_types.len() as u32;
    let first_wrapper = originals + u32::from(admitted.start_section.is_some());
    let tables = Tables::new(admitted, &uses, layout, first_wrapper + imports as u32);
    let call_is_site = |function: u32| {
        (function as usize).checked_sub(imports).is_some_and(|defined| resumable[defined])
    };
    let type_arity = |ty: u32| {
        let (params, results) = &admitted.types[ty as usize];
        (params.len(), results.len())
    };
    let function_arity = |function: u32| type_arity(admitted.function_types[function as usize]);
    let context = Context {
        layout,
        call_is_site: &call_is_site,
        function_arity: &function_arity,
        type_arity: &type_arity,
        metered_types: admitted.types.len() as u32,
        imports: imports as u32,
        tables: &tables,
        tags: &admitted.tags,
        exceptions: uses.exceptions,
        exact,
    };
    let is_site = |op: &wasmparser::Operator<'_>| match op {
        wasmparser::Operator::Call { function_index } => call_is_site(*function_index),
        wasmparser::Operator::CallIndirect { .. } => true,
        _ => false,
    };

    let mut block_types = BlockTypes {
        known: HashMap::new(),
        added: Vec::new(),
        next: 2 * admitted.types.len() as u32,
    };
    let mut code = CodeSection::new();
    let mut hints = BranchHints::new();
    let mut add = |read: &Function<'_>, index: u32, resumable: bool| {
        let emitted = if resumable {
            emit::emit(read, index, &context)?
        } else {
            leaf::emit(read, block_types.of(read), &context)
        };
        encode(read, index, &emitted, &mut code, &mut hints);
        Ok(())
    };
    for (defined, (to_validate, body)) in admitted.functions.iter().enumerate() {
        let read = Function::read(to_validate, body, &is_site)?;
        add(&read, (imports + defined) as u32, resumable[defined])?;
    }
    let mut first = admitted.start;
    if let Some(start) = admitted.start_section {
        first = originals;
        let both = Function::calling(start, admitted.start);
        add(&both, first, call_is_site(start) || call_is_site(admitted.start))?;
    }
    // Tables hold functions that take and return fuel: imports are called through these.
    for index in 0..imports {
        code.function(&import_wrapper(admitted, layout, index as u32));
    }
    for (_, helper) in tables.helpers() {
        code.function(&helper);
    }
    if tables.are_kept() {
        code.function(&tables.restore());
    }
    code.function(&start(first, layout));
    let added = Added { tables: &tables, block_types: &block_types.added, first_wrapper };
    assemble(admitted, layout, &added, &code, &hints)
}

/// Puts an emitted function where it belongs, with its branch hints.
fn encode(
    read: &Function<'_>,
    index: u32,
    emitted: &Emitted<'_>,
    code: &mut CodeSection,
    hints: &mut BranchHints,
) {
    let declared = read.locals[read.params.len() + 1..].iter().chain(&emitted.extra_locals);
    let mut function =
        EncFunction::new_with_locals_types(declared.map(|&ty| emit::encode_type(ty)));
    let mut hinted = emitted.hints.iter().peekable();
    let mut function_hints = Vec::new();
    for (at, instruction) in emitted.code.iter().enumerate() {
        if let Some((_, likely)) = hinted.next_if(|hint| hint.0 == at) {
            function_hints.push(BranchHint {
                branch_func_offset: function.byte_len() as u32,
                branch_hint_value: u32::from(*likely),
            });
        }
        function.instruction(instruction);
    }
    if !function_hints.is_empty() {
        hints.function_hints(index, function_hints);
    }
    code.function(&function);
}

/// An imported function, as one that takes and returns fuel.
fn import_wrapper(admitted: &Admitted<'_>, layout: Layout, import: u32) -> EncFunction {
    let (params, _) = &admitted.types[admitted.function_types[import as usize] as usize];
    let fuel = params.len() as u32;
    let mut function = EncFunction::new([]);
    function.instruction(&I::LocalGet(fuel)).instruction(&I::GlobalSet(layout.fuel()));
    for param in 0..fuel {
        function.instruction(&I::LocalGet(param));
    }
    function.instruction(&I::Call(import));
    function.instruction(&I::GlobalGet(layout.fuel())).instruction(&I::End);
    function
}

/// What the host calls: the module's beginning, its fuel from the global and back.
fn start(first: u32, layout: Layout) -> EncFunction {
    let mut function = EncFunction::new([(1, EncType::I64)]);
    let trap = |why| [I::I32Const(why), I::GlobalSet(layout.trap()), I::Unreachable];
    let mut body = vec![
        I::GlobalGet(layout.fuel()),
        I::Call(first),
        I::LocalTee(0),
        I::I64Const(layout::REWINDING),
        I::I64LtS,
        I::If(BlockType::Empty),
        I::LocalGet(0),
        I::I64Const(layout::THROWN),
        I::I64Eq,
        I::If(BlockType::Empty),
    ];
    body.extend(trap(layout::TRAP_UNCAUGHT));
    body.extend([I::End, I::LocalGet(0), I::I64Const(layout::UNWOUND), I::I64Ne]);
    body.push(I::If(BlockType::Empty));
    // It ended while frames were being restored: they were forged.
    body.extend(trap(layout::TRAP_DAMAGED));
    body.extend([I::End, I::Else, I::LocalGet(0), I::GlobalSet(layout.fuel()), I::End, I::End]);
    for instruction in &body {
        function.instruction(instruction);
    }
    function
}

/// Function indices of segments: tables hold an import's wrapper, not the import.
struct TableFunctions {
    imports: u32,
    first_wrapper: u32,
}

impl Reencode for TableFunctions {
    type Error = std::convert::Infallible;

    fn function_index(
        &mut self,
        function: u32,
    ) -> Result<u32, wasm_encoder::reencode::Error<Self::Error>> {
        Ok(if function < self.imports { self.first_wrapper + function } else { function })
    }
}

/// Block types for several results, which need an entry in the type section.
struct BlockTypes {
    known: HashMap<Vec<wasmparser::ValType>, u32>,
    added: Vec<Vec<wasmparser::ValType>>,
    next: u32,
}

impl BlockTypes {
    fn of(&mut self, function: &Function<'_>) -> BlockType {
        match function.results.as_slice() {
            [] => BlockType::Empty,
            [one] => BlockType::Result(emit::encode_type(*one)),
            many => {
                let next = self.next + self.added.len() as u32;
                let index = *self.known.entry(many.to_vec()).or_insert_with(|| {
                    self.added.push(many.to_vec());
                    next
                });
                BlockType::FunctionType(index)
            }
        }
    }
}

/// Types without references.
struct Types;

impl Reencode for Types {
    type Error = std::convert::Infallible;

    fn val_type(
        &mut self,
        ty: wasmparser::ValType,
    ) -> Result<EncType, wasm_encoder::reencode::Error<Self::Error>> {
        RoundtripReencoder.val_type(lowered(ty).unwrap_or(ty))
    }
}

/// A global; a reference in it is a number.
fn add_global(
    globals: &mut GlobalSection,
    global: wasmparser::Global<'_>,
) -> Result<(), wasm_encoder::reencode::Error<std::convert::Infallible>> {
    let wasmparser::ValType::Ref(_) = global.ty.content_type else {
        return RoundtripReencoder.parse_global(globals, global);
    };
    let mutable = global.ty.mutable;
    let ty = lowered(global.ty.content_type).map_or(EncType::I64, emit::encode_type);
    let number = match global.init_expr.get_operators_reader().read()? {
        Operator::RefFunc { function_index } => i64::from(function_index) + 1,
        _ => 0,
    };
    let init = match ty {
        EncType::I32 => ConstExpr::i32_const(number as i32),
        _ => ConstExpr::i64_const(number),
    };
    globals.global(GlobalType { val_type: ty, mutable, shared: false }, &init);
    Ok(())
}

/// What is added beside code.
struct Added<'t, 'a> {
    tables: &'t Tables<'t, 'a>,
    block_types: &'t [Vec<wasmparser::ValType>],
    first_wrapper: u32,
}

fn assemble(
    admitted: &Admitted<'_>,
    layout: Layout,
    added: &Added<'_, '_>,
    code: &CodeSection,
    hints: &BranchHints,
) -> Result<Vec<u8>, Refusal> {
    let mut parts = Parts::default();
    let mut reencoder = RoundtripReencoder;
    let imports = admitted.imports.len();
    let mut tables = TableFunctions { imports: imports as u32, first_wrapper: added.first_wrapper };
    let failed = |what: &str| Refusal::Unsupported { what: format!("an unusual {what} section") };
    for payload in Parser::new(0).parse_all(admitted.bytes) {
        match payload.map_err(Refusal::invalid)? {
            Payload::TypeSection(section) => {
                Types.parse_type_section(&mut parts.types, section).map_err(|_| failed("type"))?
            }
            Payload::ImportSection(section) => reencoder
                .parse_import_section(&mut parts.imports, section)
                .map_err(|_| failed("import"))?,
            Payload::TableSection(section) => reencoder
                .parse_table_section(&mut parts.tables, section)
                .map_err(|_| failed("table"))?,
            Payload::MemorySection(section) => reencoder
                .parse_memory_section(&mut parts.memories, section)
                .map_err(|_| failed("memory"))?,
            Payload::GlobalSection(section) => {
                for global in section {
                    add_global(&mut parts.globals, global.map_err(Refusal::invalid)?)
                        .map_err(|_| failed("global"))?;
                }
            }
            Payload::ElementSection(section) => tables
                .parse_element_section(&mut parts.elements, section)
                .map_err(|_| failed("element"))?,
            Payload::DataSection(section) => reencoder
                .parse_data_section(&mut parts.data, section)
                .map_err(|_| failed("data"))?,
            _ => {}
        }
    }
    let without_references = |types: &[wasmparser::ValType]| -> Vec<EncType> {
        types.iter().map(|&ty| emit::encode_type(lowered(ty).unwrap_or(ty))).collect()
    };
    for (params, results) in &admitted.types {
        let (mut params, mut results) = (without_references(params), without_references(results));
        params.push(EncType::I64);
        results.push(EncType::I64);
        parts.types.ty().function(params, results);
    }
    let metered = admitted.types.len() as u32;
    let start_type = admitted.function_types[admitted.start as usize];
    for ty in &admitted.function_types[imports..] {
        parts.functions.function(ty + metered);
    }
    if admitted.start_section.is_some() {
        parts.functions.function(start_type + metered);
    }
    for ty in &admitted.function_types[..imports] {
        parts.functions.function(ty + metered);
    }
    for results in added.block_types {
        parts.types.ty().function([], without_references(results));
    }
    let first_helper_type = 2 * metered + added.block_types.len() as u32;
    let mut restore = added.first_wrapper + imports as u32;
    for (ty, (helper, _)) in (first_helper_type..).zip(added.tables.helpers()) {
        let (params, results) = Tables::signature(helper);
        parts.types.ty().function(params, results);
        parts.functions.function(ty);
        restore += 1;
    }
    if added.tables.are_kept() {
        parts.functions.function(start_type);
    }
    parts.functions.function(start_type);
    let start = restore + u32::from(added.tables.are_kept());
    parts.memories.memory(MemoryType {
        minimum: FRAME_MEMORY_PAGES,
        maximum: Some(FRAME_MEMORY_PAGES),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    if added.tables.are_kept() {
        let pages = added.tables.pages();
        parts.memories.memory(MemoryType {
            minimum: pages,
            maximum: Some(pages),
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        added.tables.add_table(&mut parts.tables);
    }
    if added.tables.are_used() {
        let wrapped = |function: u32| match function < imports as u32 {
            true => added.first_wrapper + function,
            false => function,
        };
        added.tables.add_elements(&mut parts.elements, &wrapped);
        added.tables.add_data(&mut parts.data)?;
    }
    let mut exports = ExportSection::new();
    if added.tables.are_kept() {
        exports.export(export::TABLES, ExportKind::Memory, layout.tables());
        exports.export(export::RESTORE_TABLES, ExportKind::Func, restore);
    }
    exports.export(export::START, ExportKind::Func, start);
    if admitted.memory.is_some() {
        exports.export(export::MEMORY, ExportKind::Memory, 0);
    }
    exports.export(export::FRAMES, ExportKind::Memory, layout.frames);
    if let Some(name) = genesis::export_name(admitted) {
        exports.export(&name, ExportKind::Memory, layout.frames);
    }
    let appended: [(&str, bool, u32); 10] = [
        (export::FUEL, true, layout.fuel()),
        ("position", false, layout.position()),
        (export::FRAMES_END, false, layout.frames_end()),
        (export::UNWINDING, false, layout.unwinding()),
        (export::RESUME, true, layout.resume()),
        (export::TRAP, false, layout.trap()),
        (export::GROWN, true, layout.grown()),
        (export::FLOOR, true, layout.floor()),
        ("thrown", true, layout.thrown()),
        (export::REWIND_AT, false, layout.rewind_at()),
    ];
    for (name, wide, index) in appended {
        let (val_type, init) = if wide {
            (EncType::I64, ConstExpr::i64_const(0))
        } else {
            (EncType::I32, ConstExpr::i32_const(0))
        };
        parts.globals.global(GlobalType { val_type, mutable: true, shared: false }, &init);
        exports.export(name, ExportKind::Global, index);
    }
    let drops = layout.drops()..layout.drops() + added.tables.drop_globals();
    for _ in drops.clone() {
        let ty = GlobalType { val_type: EncType::I64, mutable: true, shared: false };
        parts.globals.global(ty, &ConstExpr::i64_const(0));
    }
    for index in admitted.mutable_globals().into_iter().chain(drops) {
        exports.export(&format!("{}{index}", export::GLOBAL), ExportKind::Global, index);
    }

    let mut module = Module::new();
    module.section(&parts.types);
    if !parts.imports.is_empty() {
        module.section(&parts.imports);
    }
    module.section(&parts.functions);
    if !parts.tables.is_empty() {
        module.section(&parts.tables);
    }
    module.section(&parts.memories).section(&parts.globals).section(&exports);
    if !parts.elements.is_empty() {
        module.section(&parts.elements);
    }
    if added.tables.are_used() {
        module.section(&DataCountSection { count: parts.data.len() });
    }
    module.section(hints);
    module.section(code);
    if !parts.data.is_empty() {
        module.section(&parts.data);
    }
    Ok(module.finish())
}

#[derive(Default)]
struct Parts {
    types: TypeSection,
    imports: wasm_encoder::ImportSection,
    functions: wasm_encoder::FunctionSection,
    tables: wasm_encoder::TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    elements: wasm_encoder::ElementSection,
    data: wasm_encoder::DataSection,
}
