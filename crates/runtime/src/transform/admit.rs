//! Admission: parses and validates a module and refuses, by name, whatever the runtime does not
//! capture. What passes here can be metered, stopped and resumed at every safepoint.

use wasmparser::{
    AbstractHeapType, ElementItems, ElementKind, Encoding, ExternalKind, FuncToValidate,
    FunctionBody, HeapType, Operator, Parser, Payload, RefType, TypeRef, ValType, ValidPayload,
    Validator, ValidatorResources, WasmFeatures,
};

use crate::world;

/// Why a module is not run. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no WebAssembly module.
    #[error("not a WebAssembly module: {reason}; build one with a wasm32-wasip1 target")]
    NotWasm {
        /// What was found.
        reason: String,
    },
    /// A component instead of a core module.
    #[error(
        "this is a WebAssembly component, which is not supported; build a wasm32-wasip1 command instead of wasip2"
    )]
    Component,
    /// It uses a proposal that is off; the validator's words name it.
    #[error("the module is not valid here: {0}; compile without that feature")]
    Invalid(String),
    /// No proposal would make it valid.
    #[error("the module is damaged: {0}; copy it again, or build it again")]
    Damaged(String),
    /// A valid module that uses something whose state is not captured yet.
    #[error("the module uses {what}, which is not supported; compile without it")]
    Unsupported {
        /// What.
        what: String,
    },
    /// An import that is not a WASI preview 1 function.
    #[error(
        "the module imports `{module}.{name}`, which is not provided; only functions of wasi_snapshot_preview1 are"
    )]
    UnknownImport {
        /// Its module.
        module: String,
        /// Its name.
        name: String,
    },
    /// A WASI import with a type of its own.
    #[error(
        "the module imports `{name}` with a type that WASI preview 1 does not give it; rebuild with a current toolchain"
    )]
    ImportType {
        /// The function.
        name: String,
    },
    /// No `_start`.
    #[error(
        "the module exports no function `_start`: it is a reactor or a library; build a command (an executable with a main function)"
    )]
    NoStart,
    /// `_start` is something else than `func()`.
    #[error("`_start` has parameters or results; build a command with a current toolchain")]
    StartType,
    /// More bytes than are taken.
    #[error(
        "the module has {bytes} bytes; at most {max} are taken: strip it, or pass data as inputs"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Its memory begins larger than the task may have.
    #[error(
        "the module begins with {pages} pages of memory, but the task's limit is {max}; raise the memory limit"
    )]
    MemoryLimit {
        /// What it wants.
        pages: u64,
        /// What it may have.
        max: u32,
    },
}

impl Refusal {
    /// From the parser's or validator's error, which names what it met and where.
    pub fn invalid(error: wasmparser::BinaryReaderError) -> Self {
        Refusal::Invalid(format!("{} (at byte {})", error.message(), error.offset()))
    }

    /// Tells a damaged module from one that uses what is off here: that one is valid elsewhere.
    pub fn explained(self, bytes: &[u8]) -> Self {
        match self {
            Refusal::Invalid(reason) => {
                let mut anything = Validator::new_with_features(WasmFeatures::all());
                match anything.validate_all(bytes) {
                    Ok(_) => Refusal::Invalid(reason),
                    Err(_) => Refusal::Damaged(reason),
                }
            }
            other => other,
        }
    }
}

/// Most table entries that a module may begin with, and most that one of its tables may grow to.
pub const TABLE_ENTRIES_MAX: u64 = 1 << 20;
/// Largest module.
pub const MODULE_BYTES_MAX: usize = 256 << 20;

/// Features whose state is captured.
fn features() -> WasmFeatures {
    WasmFeatures::MVP
        | WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::EXCEPTIONS
}

/// A module that may be run.
pub struct Admitted<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) functions: Vec<(FuncToValidate<ValidatorResources>, FunctionBody<'a>)>,
    pub(super) imports: Vec<world::Function>,
    /// Type index of each function, imports first.
    pub(super) function_types: Vec<u32>,
    /// Parameters and results of each type.
    pub(super) types: Vec<(Vec<ValType>, Vec<ValType>)>,
    pub(super) memory: Option<(u64, Option<u64>)>,
    pub(super) globals: Vec<(ValType, bool)>,
    pub(super) start: u32,
    /// The function that a start section names.
    pub(super) start_section: Option<u32>,
    /// Entries of each table: at first, and at most.
    pub(super) tables: Vec<(u64, u64)>,
    /// Whether each data segment is passive.
    pub(super) data: Vec<bool>,
    pub(super) elements: Vec<Elements<'a>>,
    /// Whether each exception tag carries an i32.
    pub(super) tags: Vec<bool>,
}

/// An element segment.
pub(super) struct Elements<'a> {
    /// The table and offset it is put at when the module is instantiated.
    pub(super) active: Option<(u32, wasmparser::ConstExpr<'a>)>,
    /// Whether `table.init` can use it.
    pub(super) passive: bool,
    /// The functions, by index.
    pub(super) functions: Vec<Option<u32>>,
}

impl Admitted<'_> {
    fn check_import_types(&self) -> Result<(), Refusal> {
        for (function, &ty) in self.imports.iter().zip(&self.function_types) {
            let signature = function.signature();
            let wanted = (
                signature.params.iter().map(|&ty| value_type(ty)).collect::<Vec<_>>(),
                signature.results.iter().map(|&ty| value_type(ty)).collect::<Vec<_>>(),
            );
            if self.types[ty as usize] != wanted {
                return Err(Refusal::ImportType { name: function.name().to_owned() });
            }
        }
        Ok(())
    }

    /// Mutable globals: part of the state.
    pub fn mutable_globals(&self) -> Vec<u32> {
        (0..).zip(&self.globals).filter(|(_, global)| global.1).map(|(index, _)| index).collect()
    }
}

/// What a value is in the transformed module: references are numbers there, so that whatever holds
/// one is captured. A function is its index and 1, null is 0; an exception is its tag and 1 in the
/// high half and what it carries in the low one.
pub(super) fn lowered(ty: ValType) -> Result<ValType, Refusal> {
    let ValType::Ref(reference) = ty else { return Ok(ty) };
    match reference.heap_type() {
        HeapType::Abstract { ty: AbstractHeapType::Func, .. } => Ok(ValType::I32),
        // What `ref.func` leaves: no other type is declared by a module that is valid here.
        HeapType::Concrete(_) => Ok(ValType::I32),
        HeapType::Abstract { ty: AbstractHeapType::Exn, .. } => Ok(ValType::I64),
        HeapType::Abstract { ty: AbstractHeapType::Extern, .. } => {
            unsupported("external references (externref)")
        }
        _ => unsupported(format!("references of the type {reference}")),
    }
}

fn value_type(ty: world::ValueType) -> ValType {
    match ty {
        world::ValueType::I32 => ValType::I32,
        world::ValueType::I64 => ValType::I64,
    }
}

fn unsupported<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Unsupported { what: what.into() })
}

/// Parses and validates; bodies are validated when they are read.
pub fn admit(bytes: &[u8]) -> Result<Admitted<'_>, Refusal> {
    if bytes.len() > MODULE_BYTES_MAX {
        return Err(Refusal::TooLarge { bytes: bytes.len(), max: MODULE_BYTES_MAX });
    }
    if !bytes.starts_with(b"\0asm") {
        let first: Vec<String> = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect();
        let reason = if bytes.is_empty() {
            "the file is empty".to_owned()
        } else {
            format!("it begins with {} instead of 00 61 73 6d", first.join(" "))
        };
        return Err(Refusal::NotWasm { reason });
    }
    let mut validator = Validator::new_with_features(features());
    let mut admitted = Admitted {
        bytes,
        functions: Vec::new(),
        imports: Vec::new(),
        function_types: Vec::new(),
        types: Vec::new(),
        memory: None,
        globals: Vec::new(),
        start: u32::MAX,
        start_section: None,
        tables: Vec::new(),
        data: Vec::new(),
        elements: Vec::new(),
        tags: Vec::new(),
    };
    let mut start = None;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(Refusal::invalid)?;
        if let Payload::Version { encoding: Encoding::Component, .. } = payload {
            return Err(Refusal::Component);
        }
        if let ValidPayload::Func(function, body) =
            validator.payload(&payload).map_err(Refusal::invalid)?
        {
            admitted.functions.push((function, body));
        }
        admitted.section(&payload, &mut start)?;
    }
    admitted.check_import_types()?;
    admitted.start = start.ok_or(Refusal::NoStart)?;
    let start_type = admitted.function_types[admitted.start as usize];
    if admitted.types[start_type as usize] != (Vec::new(), Vec::new()) {
        return Err(Refusal::StartType);
    }
    if (admitted.start as usize) < admitted.imports.len() {
        return unsupported("an imported function as `_start`");
    }
    Ok(admitted)
}

impl<'a> Admitted<'a> {
    fn section(&mut self, payload: &Payload<'a>, start: &mut Option<u32>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(types) => {
                for ty in types.clone().into_iter_err_on_gc_types() {
                    let ty = ty.map_err(Refusal::invalid)?;
                    self.types.push((ty.params().to_vec(), ty.results().to_vec()));
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import.map_err(Refusal::invalid)?;
                    self.import(import.module, import.name, import.ty)?;
                }
            }
            Payload::FunctionSection(functions) => {
                for ty in functions.clone() {
                    let ty = ty.map_err(Refusal::invalid)?;
                    self.check_callable(ty)?;
                    self.function_types.push(ty);
                }
            }
            Payload::TableSection(tables) => {
                let mut entries = 0u64;
                for table in tables.clone() {
                    let table = table.map_err(Refusal::invalid)?.ty;
                    if table.element_type != RefType::FUNCREF {
                        return unsupported(format!("a table of {}", table.element_type));
                    }
                    entries = entries.saturating_add(table.initial);
                    let most = table.maximum.unwrap_or(u64::MAX).min(TABLE_ENTRIES_MAX);
                    self.tables.push((table.initial, most));
                }
                if entries > TABLE_ENTRIES_MAX {
                    return unsupported(format!(
                        "tables of {entries} entries (at most {TABLE_ENTRIES_MAX} in all)"
                    ));
                }
            }
            Payload::TagSection(tags) => {
                for tag in tags.clone() {
                    let ty = tag.map_err(Refusal::invalid)?.func_type_idx;
                    match self.types[ty as usize].0.as_slice() {
                        [] => self.tags.push(false),
                        [ValType::I32] => self.tags.push(true),
                        _ => {
                            return unsupported(
                                "an exception tag with parameters other than one i32",
                            );
                        }
                    }
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    let memory = memory.map_err(Refusal::invalid)?;
                    self.memory = Some((memory.initial, memory.maximum));
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals.clone() {
                    let global = global.map_err(Refusal::invalid)?;
                    self.globals.push((lowered(global.ty.content_type)?, global.ty.mutable));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export.map_err(Refusal::invalid)?;
                    if export.name == "_start" && export.kind == ExternalKind::Func {
                        *start = Some(export.index);
                    }
                }
            }
            Payload::StartSection { func, .. } => self.start_section = Some(*func),
            Payload::DataSection(segments) => {
                for segment in segments.clone() {
                    let segment = segment.map_err(Refusal::invalid)?;
                    self.data.push(matches!(segment.kind, wasmparser::DataKind::Passive));
                }
            }
            Payload::ElementSection(segments) => {
                for segment in segments.clone() {
                    let segment = segment.map_err(Refusal::invalid)?;
                    self.elements.push(elements(segment)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Types of functions keep no references: two that differ only in them would become one, and
    /// a call through a table could no longer tell.
    pub(super) fn check_callable(&self, ty: u32) -> Result<(), Refusal> {
        let holds_reference = self.types.get(ty as usize).is_some_and(|(params, results)| {
            params.iter().chain(results).any(|ty| matches!(ty, ValType::Ref(_)))
        });
        if holds_reference {
            return unsupported("a function with references as parameters or results");
        }
        Ok(())
    }

    fn import(&mut self, module: &str, name: &str, ty: TypeRef) -> Result<(), Refusal> {
        let unknown =
            || Refusal::UnknownImport { module: module.to_owned(), name: name.to_owned() };
        let TypeRef::Func(ty) = ty else { return Err(unknown()) };
        if module != "wasi_snapshot_preview1" {
            return Err(unknown());
        }
        self.imports.push(world::Function::from_name(name).ok_or_else(unknown)?);
        self.function_types.push(ty);
        Ok(())
    }
}

fn elements<'a>(segment: wasmparser::Element<'a>) -> Result<Elements<'a>, Refusal> {
    let functions = match segment.items {
        ElementItems::Functions(functions) => functions
            .into_iter()
            .map(|function| function.map(Some))
            .collect::<Result<_, _>>()
            .map_err(Refusal::invalid)?,
        ElementItems::Expressions(ty, expressions) => {
            lowered(ValType::Ref(ty))?;
            let mut functions = Vec::new();
            for expression in expressions {
                let mut reader = expression.map_err(Refusal::invalid)?.get_operators_reader();
                functions.push(match reader.read().map_err(Refusal::invalid)? {
                    Operator::RefFunc { function_index } => Some(function_index),
                    Operator::RefNull { .. } => None,
                    _ => return unsupported("a computed entry in an element segment"),
                });
            }
            functions
        }
    };
    let (active, passive) = match segment.kind {
        ElementKind::Passive => (None, true),
        ElementKind::Declared => (None, false),
        ElementKind::Active { table_index, offset_expr } => {
            (Some((table_index.unwrap_or(0), offset_expr)), false)
        }
    };
    Ok(Elements { active, passive, functions })
}
