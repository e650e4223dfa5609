//! Makes a command of a reactor, so that it can be run as it is.
//!
//! CPython with numpy and the packages around it is only to be had as a *reactor*: a module that
//! its host initialises and then calls, that asks the host for things through a *door* (an import
//! of its own, which takes a request and allocates the answer in the module's memory), and that
//! reads its library from the host's disk. Nothing of that needs a host: [`to_command`] adds a
//! `_start` that makes the calls, and a door behind which there is an *image*, bytes in a passive
//! segment of the module itself. So one blob has all that the program will ever read, and it is
//! metered, captured and resumed like any other.
//!
//! The same input gives the same bytes, since their digest is pinned. No function is renumbered:
//! what is added comes last, and the door's import stays as a name for a function of WASI that
//! nobody calls.

use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    BlockType, CodeSection, DataCountSection, DataSection, ExportKind, ExportSection, Function,
    FunctionSection, ImportSection, Instruction as I, MemArg, Module, SectionId, ValType,
};
use wasmparser::{Operator, Parser, Payload, TypeRef};

/// What a host would have to know of a reactor.
#[derive(Debug, Clone, Copy)]
pub struct Reactor<'a> {
    /// Runs the program and returns its exit status: an exported `func() -> i32`. What is
    /// exported as `_initialize` is called before it.
    pub run: &'a str,
    /// The door, by module and name: an imported `func(request, length, answer, length) -> i32`.
    /// The last two say where its place and length are put; 0 is success.
    pub door: (&'a str, &'a str),
    /// Allocates an answer: an exported `func(i32) -> i32`.
    pub allocate: &'a str,
    /// What is behind the door. A request is a place and a length in it, 4 little-endian bytes
    /// each, and the answer what is there.
    pub image: &'a [u8],
}

/// Why there is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReactorError {
    /// The bytes are no module that can be read.
    #[error("not a module that can be read: {0}")]
    Damaged(String),
    /// It is not the reactor that was described.
    #[error("the module has no {0}; is it of another version?")]
    Lacking(String),
}

impl<E: std::fmt::Display> From<reencode::Error<E>> for ReactorError {
    fn from(error: reencode::Error<E>) -> Self {
        ReactorError::Damaged(error.to_string())
    }
}

impl From<wasmparser::BinaryReaderError> for ReactorError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        ReactorError::Damaged(error.to_string())
    }
}

/// The door answers so to what is no request, or to one for what isn't there.
const NO_SUCH_PLACE: i32 = -1;
/// And so if there is no memory for the answer.
const NO_MEMORY: i32 = -2;
/// Stands for the door among the imports: of the same type, and not called through it.
const STAND_IN: (&str, &str) = ("wasi_snapshot_preview1", "fd_read");

/// Makes the command. Names and other custom sections are left out: nothing here reads them.
pub fn to_command(reactor: &[u8], described: Reactor<'_>) -> Result<Vec<u8>, ReactorError> {
    let mut adapter = Adapter::new(reactor, described)?;
    let mut module = Module::new();
    adapter.parse_core_module(&mut module, Parser::new(0), reactor)?;
    Ok(module.finish())
}

/// Where everything is.
struct Adapter<'a> {
    image: &'a [u8],
    /// Function indices.
    run: u32,
    initialize: Option<u32>,
    allocate: u32,
    exit: u32,
    door: u32,
    /// The door's own function; `_start` follows it.
    first_added: u32,
    door_type: u32,
    start_type: u32,
    segments: u32,
    has_data_count: bool,
}

impl<'a> Adapter<'a> {
    fn new(bytes: &[u8], described: Reactor<'a>) -> Result<Self, ReactorError> {
        let (mut imports, mut functions, mut segments) = (Vec::new(), 0, None);
        let mut exports = Vec::new();
        let (mut start_type, mut has_data_count) = (None, false);
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::TypeSection(types) => {
                    for (index, ty) in (0..).zip(types.into_iter_err_on_gc_types()) {
                        let ty = ty?;
                        if ty.params().is_empty() && ty.results().is_empty() {
                            start_type.get_or_insert(index);
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        let TypeRef::Func(ty) = import.ty else {
                            return Err(ReactorError::Lacking(
                                "imports that are functions only".to_owned(),
                            ));
                        };
                        imports.push(((import.module.to_owned(), import.name.to_owned()), ty));
                    }
                }
                Payload::FunctionSection(section) => functions = section.count(),
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if export.kind == wasmparser::ExternalKind::Func {
                            exports.push((export.name.to_owned(), export.index));
                        }
                    }
                }
                Payload::DataCountSection { .. } => has_data_count = true,
                Payload::DataSection(section) => segments = Some(section.count()),
                _ => {}
            }
        }
        let exported =
            |name: &str| exports.iter().find(|export| export.0 == name).map(|export| export.1);
        let imported = |module: &str, name: &str| {
            let found =
                (0u32..).zip(&imports).find(|(_, ((m, n), _))| (&**m, &**n) == (module, name));
            found.map(|(index, import)| (index, import.1))
        };
        let lacking = |what: &str| ReactorError::Lacking(what.to_owned());
        let (module, name) = described.door;
        let (door, door_type) =
            imported(module, name).ok_or_else(|| lacking(&format!("import `{module}.{name}`")))?;
        let function =
            |name: &str| exported(name).ok_or_else(|| lacking(&format!("function `{name}`")));
        Ok(Adapter {
            image: described.image,
            run: function(described.run)?,
            initialize: exported("_initialize"),
            allocate: function(described.allocate)?,
            exit: imported(STAND_IN.0, "proc_exit").ok_or_else(|| lacking("import `proc_exit`"))?.0,
            door,
            first_added: imports.len() as u32 + functions,
            door_type,
            start_type: start_type.ok_or_else(|| lacking("type `func()`"))?,
            segments: segments.ok_or_else(|| lacking("data"))?,
            has_data_count,
        })
    }

    /// Answers from the image.
    fn door(&self) -> Function {
        let (request, length, answer, answer_length) = (0, 1, 2, 3);
        let (at, size, to) = (4, 5, 6);
        let image = self.image.len() as i32;
        let word = |offset| MemArg { offset, align: 0, memory_index: 0 };
        let mut function = Function::new([(3, ValType::I32)]);
        let refuse_if = |function: &mut Function, why: i32| {
            function.instruction(&I::If(BlockType::Empty));
            function.instruction(&I::I32Const(why)).instruction(&I::Return).instruction(&I::End);
        };
        function.instruction(&I::LocalGet(length)).instruction(&I::I32Const(8));
        function.instruction(&I::I32Ne);
        refuse_if(&mut function, NO_SUCH_PLACE);
        function.instruction(&I::LocalGet(request)).instruction(&I::I32Load(word(0)));
        function.instruction(&I::LocalTee(at)).instruction(&I::I32Const(image));
        function.instruction(&I::I32GtU);
        refuse_if(&mut function, NO_SUCH_PLACE);
        function.instruction(&I::LocalGet(request)).instruction(&I::I32Load(word(4)));
        function.instruction(&I::LocalTee(size)).instruction(&I::I32Const(image));
        function.instruction(&I::LocalGet(at)).instruction(&I::I32Sub).instruction(&I::I32GtU);
        refuse_if(&mut function, NO_SUCH_PLACE);
        function.instruction(&I::LocalGet(size)).instruction(&I::Call(self.allocate));
        function.instruction(&I::LocalTee(to)).instruction(&I::I32Eqz);
        refuse_if(&mut function, NO_MEMORY);
        for local in [to, at, size] {
            function.instruction(&I::LocalGet(local));
        }
        function.instruction(&I::MemoryInit { mem: 0, data_index: self.segments });
        function.instruction(&I::LocalGet(answer)).instruction(&I::LocalGet(to));
        function.instruction(&I::I32Store(word(0)));
        function.instruction(&I::LocalGet(answer_length)).instruction(&I::LocalGet(size));
        function.instruction(&I::I32Store(word(0)));
        function.instruction(&I::I32Const(0)).instruction(&I::End);
        function
    }

    fn start(&self) -> Function {
        let mut function = Function::new([]);
        if let Some(initialize) = self.initialize {
            function.instruction(&I::Call(initialize));
        }
        function.instruction(&I::Call(self.run)).instruction(&I::Call(self.exit));
        function.instruction(&I::End);
        function
    }

    /// Whether a body goes through the door: one does, and the others are copied as they are.
    fn uses_door(&self, body: &wasmparser::FunctionBody<'_>) -> Result<bool, ReencodeError> {
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::Call { function_index } | Operator::RefFunc { function_index }
                    if function_index == self.door =>
                {
                    return Ok(true);
                }
                _ => {}
            }
        }
        Ok(false)
    }
}

type ReencodeError = reencode::Error<Infallible>;

impl Reencode for Adapter<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, ReencodeError> {
        Ok(if function == self.door { self.first_added } else { function })
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), ReencodeError> {
        for (index, import) in (0..).zip(section.into_imports()) {
            let import = import?;
            let (module, name) =
                if index == self.door { STAND_IN } else { (import.module, import.name) };
            imports.import(module, name, self.entity_type(import.ty)?);
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), ReencodeError> {
        reencode::utils::parse_function_section(self, functions, section)?;
        functions.function(self.door_type).function(self.start_type);
        Ok(())
    }

    /// What only a host would call isn't exported any more.
    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), ReencodeError> {
        for export in section {
            let export = export?;
            if export.kind == wasmparser::ExternalKind::Memory {
                self.parse_export(exports, export)?;
            }
        }
        exports.export("_start", ExportKind::Func, self.first_added + 1);
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), ReencodeError> {
        reencode::utils::parse_code_section(self, code, section)?;
        code.function(&self.door()).function(&self.start());
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: wasmparser::FunctionBody<'_>,
    ) -> Result<(), ReencodeError> {
        if self.uses_door(&body)? {
            return reencode::utils::parse_function_body(self, code, body);
        }
        code.raw(body.as_bytes());
        Ok(())
    }

    fn data_count(&mut self, count: u32) -> Result<u32, ReencodeError> {
        Ok(count + 1)
    }

    fn parse_data_section(
        &mut self,
        data: &mut DataSection,
        section: wasmparser::DataSectionReader<'_>,
    ) -> Result<(), ReencodeError> {
        reencode::utils::parse_data_section(self, data, section)?;
        data.passive(self.image.iter().copied());
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        _: &mut Module,
        _: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), ReencodeError> {
        Ok(())
    }

    /// Instructions that name a segment want their number in advance.
    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), ReencodeError> {
        if before == Some(SectionId::Code) && !self.has_data_count {
            module.section(&DataCountSection { count: self.segments + 1 });
        }
        Ok(())
    }
}
