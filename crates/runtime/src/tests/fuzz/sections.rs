//! A module as its sections: taken apart, changed where wanted, put together again.

use std::collections::BTreeMap;

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection,
    GlobalType, Instruction as I, Module, RawSection, TypeSection, ValType as EncType,
};
use wasmparser::{Parser, Payload, TypeRef, ValType};

use super::Random;

/// The name of the custom section that says where a module of the corpus is interrupted.
const STOPS: &str = "jusha-stops";

/// Sections in the order in which they have to come.
const ORDER: [u8; 13] = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];

/// What has to be known of a module in order to call its functions.
pub struct Sections<'a> {
    raw: BTreeMap<u8, &'a [u8]>,
    payloads: Vec<Payload<'a>>,
    types: Vec<(Vec<ValType>, Vec<ValType>)>,
    imports: u32,
    /// Type of each defined function.
    functions: Vec<u32>,
    /// Whether each global is mutable.
    globals: Vec<bool>,
    pub memory: bool,
}

impl<'a> Sections<'a> {
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut sections = Sections {
            raw: BTreeMap::new(),
            payloads: Vec::new(),
            types: Vec::new(),
            imports: 0,
            functions: Vec::new(),
            globals: Vec::new(),
            memory: false,
        };
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.ok()?;
            if let Some((id, range)) = payload.as_section()
                && id != 0
            {
                sections.raw.insert(id, &bytes[range]);
            }
            match &payload {
                Payload::TypeSection(types) => {
                    for ty in types.clone().into_iter_err_on_gc_types() {
                        let ty = ty.ok()?;
                        sections.types.push((ty.params().to_vec(), ty.results().to_vec()));
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.clone().into_imports() {
                        if matches!(import.ok()?.ty, TypeRef::Func(_)) {
                            sections.imports += 1;
                        }
                    }
                }
                Payload::FunctionSection(functions) => {
                    for ty in functions.clone() {
                        sections.functions.push(ty.ok()?);
                    }
                }
                Payload::MemorySection(memories) => sections.memory = memories.count() > 0,
                Payload::GlobalSection(globals) => {
                    for global in globals.clone() {
                        sections.globals.push(global.ok()?.ty.mutable);
                    }
                }
                _ => {}
            }
            sections.payloads.push(payload);
        }
        Some(sections)
    }

    fn assemble(&self, replaced: &BTreeMap<u8, Vec<u8>>) -> Vec<u8> {
        let mut module = Module::new();
        for id in ORDER {
            let data = match replaced.get(&id) {
                Some(own) => own.as_slice(),
                None => match self.raw.get(&id) {
                    Some(data) => data,
                    None => continue,
                },
            };
            module.section(&RawSection { id, data });
        }
        module.finish()
    }

    fn bodies(&self) -> Vec<&'a [u8]> {
        self.payloads
            .iter()
            .filter_map(|payload| match payload {
                Payload::CodeSectionEntry(body) => Some(body.as_bytes()),
                _ => None,
            })
            .collect()
    }

    /// The module with a `_start` that calls its functions again and again, at several depths
    /// and with operands below the calls, and folds their results into a global of its own.
    /// It exports its memory and every mutable global, so that a plain engine shows its state.
    pub fn driven(&self, random: &mut Random) -> Option<Vec<u8>> {
        if self.functions.is_empty() {
            return None;
        }
        let mut reencoder = RoundtripReencoder;
        let mut types = TypeSection::new();
        let mut functions = FunctionSection::new();
        let mut globals = GlobalSection::new();
        for payload in &self.payloads {
            match payload {
                Payload::TypeSection(section) => {
                    reencoder.parse_type_section(&mut types, section.clone()).ok()?;
                }
                Payload::GlobalSection(section) => {
                    reencoder.parse_global_section(&mut globals, section.clone()).ok()?;
                }
                _ => {}
            }
        }
        let driver_type = self.types.len() as u32;
        types.ty().function([EncType::I32], [EncType::I64]);
        types.ty().function([], []);
        for &ty in &self.functions {
            functions.function(ty);
        }
        functions.function(driver_type).function(driver_type + 1);
        let driver = self.imports + self.functions.len() as u32;
        let sum = self.globals.len() as u32;
        globals.global(
            GlobalType { val_type: EncType::I64, mutable: true, shared: false },
            &ConstExpr::i64_const(0),
        );
        let mut exports = ExportSection::new();
        exports.export("_start", ExportKind::Func, driver + 1);
        if self.memory {
            exports.export("memory", ExportKind::Memory, 0);
        }
        for (index, _) in self.globals.iter().enumerate().filter(|(_, mutable)| **mutable) {
            exports.export(&format!("g{index}"), ExportKind::Global, index as u32);
        }
        exports.export(&format!("g{sum}"), ExportKind::Global, sum);
        let mut code = CodeSection::new();
        for body in self.bodies() {
            code.raw(body);
        }
        code.function(&self.driver(driver, sum, random));
        let mut start = Function::new([]);
        start.instruction(&I::I32Const(random.below(5) as i32));
        start.instruction(&I::Call(driver)).instruction(&I::Drop).instruction(&I::End);
        code.function(&start);
        let replaced = BTreeMap::from([
            (1, section_bytes(&types)),
            (3, section_bytes(&functions)),
            (6, section_bytes(&globals)),
            (7, section_bytes(&exports)),
            (10, section_bytes(&code)),
        ]);
        Some(self.assemble(&replaced))
    }

    fn driver(&self, own: u32, sum: u32, random: &mut Random) -> Function {
        let mut body = Function::new([(1, EncType::I32)]);
        let mut put = |instruction: I<'_>| {
            body.instruction(&instruction);
        };
        put(I::Loop(wasm_encoder::BlockType::Empty));
        for _ in 0..1 + random.below(6) {
            let callee = random.below(self.functions.len() as u64) as usize;
            let (params, results) = &self.types[self.functions[callee] as usize];
            if params.iter().chain(results).any(|ty| matches!(ty, ValType::Ref(_))) {
                continue;
            }
            put(I::GlobalGet(sum));
            put(I::I64Const(1));
            put(I::I64Rotl);
            for ty in params {
                put(constant(*ty, random));
            }
            put(I::Call(self.imports + callee as u32));
            for ty in results.iter().rev() {
                match ty {
                    ValType::I32 => put(I::I64ExtendI32U),
                    ValType::F32 => {
                        put(I::I32ReinterpretF32);
                        put(I::I64ExtendI32U);
                    }
                    ValType::F64 => put(I::I64ReinterpretF64),
                    ValType::V128 => put(I::I64x2ExtractLane(1)),
                    _ => {}
                }
                put(I::GlobalGet(sum));
                put(I::I64Add);
                put(I::GlobalSet(sum));
            }
            put(I::GlobalGet(sum));
            put(I::I64Xor);
            put(I::GlobalSet(sum));
        }
        // Deeper, with an operand of ours waiting below the call.
        put(I::LocalGet(0));
        put(I::If(wasm_encoder::BlockType::Empty));
        put(I::GlobalGet(sum));
        put(I::LocalGet(0));
        put(I::I32Const(1));
        put(I::I32Sub);
        put(I::Call(own));
        put(I::I64Add);
        put(I::GlobalSet(sum));
        put(I::End);
        put(I::LocalGet(1));
        put(I::I32Const(1));
        put(I::I32Add);
        put(I::LocalTee(1));
        put(I::I32Const(1 + random.below(3) as i32));
        put(I::I32LtU);
        put(I::BrIf(0));
        put(I::End);
        put(I::GlobalGet(sum));
        put(I::End);
        body
    }

    /// How many functions the module defines.
    pub fn defined(&self) -> usize {
        self.functions.len()
    }

    /// The module with one function's body reduced to its results' zeros.
    pub fn without_body(&self, function: usize) -> Option<Vec<u8>> {
        let (_, results) = self.types.get(*self.functions.get(function)? as usize)?;
        let mut code = CodeSection::new();
        for (index, body) in self.bodies().into_iter().enumerate() {
            if index != function {
                code.raw(body);
                continue;
            }
            let mut empty = Function::new([]);
            for ty in results {
                if matches!(ty, ValType::Ref(_)) {
                    return None;
                }
                empty.instruction(&zero(*ty));
            }
            empty.instruction(&I::End);
            if empty.byte_len() >= body.len() {
                return None;
            }
            code.function(&empty);
        }
        Some(self.assemble(&BTreeMap::from([(10, section_bytes(&code))])))
    }
}

fn section_bytes(section: &impl wasm_encoder::Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    section.encode(&mut bytes);
    // The length comes first; `RawSection` writes it again.
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).map_or(0, |at| at + 1);
    bytes.split_off(length)
}

fn zero(ty: ValType) -> I<'static> {
    match ty {
        ValType::I32 => I::I32Const(0),
        ValType::I64 => I::I64Const(0),
        ValType::F32 => I::F32Const(0f32.into()),
        ValType::F64 => I::F64Const(0f64.into()),
        _ => I::V128Const(0),
    }
}

/// Constants that programs stumble over, and any.
fn constant(ty: ValType, random: &mut Random) -> I<'static> {
    let any = random.next();
    let odd =
        [0, 1, u64::MAX, 1 << 31, 1 << 63, any, any & 0xff, any & 0xffff][random.below(8) as usize];
    let floats = [0.0, -0.0, 1.5, f64::INFINITY, f64::MIN_POSITIVE / 4.0, f64::MAX, -1e10];
    let float = floats[random.below(floats.len() as u64) as usize];
    match ty {
        ValType::I32 => I::I32Const(odd as i32),
        ValType::I64 => I::I64Const(odd as i64),
        ValType::F32 => I::F32Const((float as f32).into()),
        ValType::F64 => I::F64Const(float.into()),
        _ => I::V128Const(i128::from(odd) << 64 | i128::from(any)),
    }
}

/// A module with the stops at which it is to be interrupted.
pub fn with_stops(module: &[u8], stops: &[u64]) -> Vec<u8> {
    use wasm_encoder::Encode;
    let data: Vec<u8> = stops.iter().flat_map(|stop| stop.to_le_bytes()).collect();
    let section = wasm_encoder::CustomSection { name: STOPS.into(), data: data.into() };
    let mut bytes = module.to_vec();
    bytes.push(0);
    section.encode(&mut bytes);
    bytes
}

/// The stops that a module of the corpus carries.
pub fn stops_of(module: &[u8]) -> Option<Vec<u64>> {
    Parser::new(0).parse_all(module).find_map(|payload| match payload.ok()? {
        Payload::CustomSection(section) if section.name() == STOPS => {
            let stops = section.data().chunks_exact(8);
            Some(stops.map(|stop| u64::from_le_bytes(stop.try_into().expect("8 bytes"))).collect())
        }
        _ => None,
    })
}
