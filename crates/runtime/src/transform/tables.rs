//! Tables and segments, kept so that they are part of the state.
//!
//! The engine tells nobody which function a table's entry is, or which segments were dropped. So a
//! module that changes its tables, or reads them, gets a memory of ours in which each table is
//! kept a second time, as numbers: a function's index and 1, or 0. Instructions that touch tables
//! become calls of functions of ours, which do to the table what was asked for (and trap as it
//! would) and then the same to the copy. Calls through tables stay as they are. One more table
//! holds each function that can be referred to at its number; from there a number becomes a
//! reference again, here and when a state is restored.
//!
//! Segments are never dropped: a bit in a global says that one was, and from then on an empty one
//! takes its place.
//!
//! The memory begins with the number of tables (4 bytes, then 12 of padding) and 16 bytes for each: its
//! entries now, its entries at most, where in the memory they are, 0. The entries take 4 bytes each.

use std::collections::BTreeMap;

use wasm_encoder::reencode::Reencode;
use wasm_encoder::{
    BlockType, ConstExpr, DataSection, ElementSection, Elements, Function as EncFunction, HeapType,
    Instruction as I, MemArg, RefType, TableSection, TableType, ValType,
};

use super::admit::{Admitted, Refusal};
use super::layout::{self, Layout};
use super::uses::{Helper, Uses};

/// Bytes of the header and of each table's line in it.
pub const LINE_BYTES: u64 = 16;

/// Where everything is that this module adds.
pub struct Tables<'m, 'a> {
    admitted: &'m Admitted<'a>,
    uses: &'m Uses,
    layout: Layout,
    /// Most entries of each table, and where they are.
    regions: Vec<(u64, u64)>,
    /// Bytes of the memory.
    bytes: u64,
    /// Function index of each helper.
    functions: BTreeMap<Helper, u32>,
    /// Passive data segments with the numbers of element segments.
    numbers: BTreeMap<u32, u32>,
    empty_data: u32,
    empty_elements: u32,
}

impl<'m, 'a> Tables<'m, 'a> {
    /// `first_function` is the index of the first helper.
    pub fn new(
        admitted: &'m Admitted<'a>,
        uses: &'m Uses,
        layout: Layout,
        first_function: u32,
    ) -> Self {
        let mut end = LINE_BYTES * (1 + admitted.tables.len() as u64);
        let mut regions = Vec::new();
        for (table, &(first, most)) in (0..).zip(&admitted.tables) {
            let grows = uses.helpers.contains(&Helper::TableGrow(table));
            let most = if grows { most.max(first) } else { first };
            regions.push((most, end));
            end += (4 * most).next_multiple_of(LINE_BYTES);
        }
        let functions = uses.helpers.iter().copied().zip(first_function..).collect();
        let mut segments = admitted.data.len() as u32;
        let mut numbers = BTreeMap::new();
        for helper in &uses.helpers {
            if let Helper::TableInit(_, segment) = *helper
                && admitted.elements.get(segment as usize).is_some_and(|segment| segment.passive)
            {
                numbers.entry(segment).or_insert_with(|| {
                    segments += 1;
                    segments - 1
                });
            }
        }
        Tables {
            admitted,
            uses,
            layout,
            regions,
            bytes: end,
            functions,
            numbers,
            empty_data: segments,
            empty_elements: admitted.elements.len() as u32,
        }
    }

    /// Whether there is a copy of the tables.
    pub fn are_kept(&self) -> bool {
        self.uses.tables()
    }

    /// Pages of the memory that they are kept in.
    pub fn pages(&self) -> u64 {
        self.bytes.div_ceil(65536)
    }

    /// The function that stands for an instruction.
    pub fn function(&self, helper: Helper) -> u32 {
        self.functions[&helper]
    }

    /// Globals that say which data segments, and which element segments, were dropped: how many.
    pub fn drop_globals(&self) -> u32 {
        self.data_words() + self.element_words()
    }

    fn data_words(&self) -> u32 {
        if self.uses.data_drop { self.admitted.data.len().div_ceil(64) as u32 } else { 0 }
    }

    fn element_words(&self) -> u32 {
        let words = self.admitted.elements.len().div_ceil(64) as u32;
        if self.uses.element_drop { words } else { 0 }
    }

    fn data_bit(&self, segment: u32) -> (u32, i64) {
        (self.layout.drops() + segment / 64, 1 << (segment % 64))
    }

    fn element_bit(&self, segment: u32) -> (u32, i64) {
        (self.layout.drops() + self.data_words() + segment / 64, 1 << (segment % 64))
    }

    /// `data.drop` and `elem.drop`.
    pub fn drop_data(&self, segment: u32) -> Vec<I<'static>> {
        set_bit(self.data_bit(segment))
    }

    pub fn drop_elements(&self, segment: u32) -> Vec<I<'static>> {
        set_bit(self.element_bit(segment))
    }

    fn all(&self) -> u32 {
        self.admitted.tables.len() as u32
    }

    fn at(&self, offset: u64) -> MemArg {
        MemArg { offset, align: 2, memory_index: self.layout.tables() }
    }

    /// Parameters and results of a helper.
    pub fn signature(helper: Helper) -> (Vec<ValType>, Vec<ValType>) {
        let (params, results) = match helper {
            Helper::TableGet(_) => (1, 1),
            Helper::TableSet(_) => (2, 0),
            Helper::TableGrow(_) => (2, 1),
            _ => (3, 0),
        };
        (vec![ValType::I32; params], vec![ValType::I32; results])
    }

    /// The helpers' types and bodies, in order.
    pub fn helpers(&self) -> impl Iterator<Item = (Helper, EncFunction)> + '_ {
        self.functions.keys().map(|&helper| (helper, self.helper(helper)))
    }

    fn helper(&self, helper: Helper) -> EncFunction {
        let mut code: Vec<I<'static>> = Vec::new();
        let mut locals = 0;
        match helper {
            Helper::MemoryInit(segment) => {
                let init = |data_index| I::MemoryInit { mem: 0, data_index };
                let passive = self.admitted.data.get(segment as usize) == Some(&true);
                let dropped = self.uses.data_drop.then(|| self.data_bit(segment));
                let here = passive.then_some([init(segment)]);
                either(&mut code, dropped, here.as_ref().map(|i| &i[..]), &[init(self.empty_data)]);
            }
            Helper::TableGet(table) => {
                let (_, base) = self.regions[table as usize];
                code.extend([I::LocalGet(0), I::TableGet(table), I::Drop]);
                code.extend([I::LocalGet(0), I::I32Const(2), I::I32Shl, I::I32Load(self.at(base))]);
            }
            Helper::TableSet(table) => {
                let (_, base) = self.regions[table as usize];
                code.extend([I::LocalGet(0), I::LocalGet(1), I::TableGet(self.all())]);
                code.extend([I::TableSet(table), I::LocalGet(0), I::I32Const(2), I::I32Shl]);
                code.extend([I::LocalGet(1), I::I32Store(self.at(base))]);
            }
            Helper::TableGrow(table) => {
                locals = 2;
                self.grow(table, &mut code);
            }
            Helper::TableFill(table) => {
                locals = 1;
                code.extend([I::LocalGet(0), I::LocalGet(1), I::TableGet(self.all())]);
                code.extend([I::LocalGet(2), I::TableFill(table)]);
                self.fill(table, Fill { at: 0, value: 1, count: 2, end: 3 }, &mut code);
            }
            Helper::TableCopy(to, from) => {
                let copy = I::TableCopy { src_table: from, dst_table: to };
                code.extend([I::LocalGet(0), I::LocalGet(1), I::LocalGet(2), copy]);
                self.entry_address(to, 0, &mut code);
                self.entry_address(from, 1, &mut code);
                let memory = self.layout.tables();
                code.extend([I::LocalGet(2), I::I32Const(2), I::I32Shl]);
                code.push(I::MemoryCopy { src_mem: memory, dst_mem: memory });
            }
            Helper::TableInit(table, segment) => {
                let init = |elem_index| I::TableInit { elem_index, table };
                let dropped = self.uses.element_drop.then(|| self.element_bit(segment));
                let here = self.numbers.get(&segment).map(|&numbers| {
                    let mut here = vec![init(segment)];
                    self.entry_address(table, 0, &mut here);
                    here.extend([I::LocalGet(1), I::I32Const(2), I::I32Shl]);
                    here.extend([I::LocalGet(2), I::I32Const(2), I::I32Shl]);
                    here.push(I::MemoryInit { mem: self.layout.tables(), data_index: numbers });
                    here
                });
                either(&mut code, dropped, here.as_deref(), &[init(self.empty_elements)]);
            }
        }
        code.push(I::End);
        let mut function = EncFunction::new([(locals, ValType::I32)]);
        for instruction in &code {
            function.instruction(instruction);
        }
        function
    }

    /// Address in the memory of the entry whose index is in a local.
    fn entry_address(&self, table: u32, index: u32, code: &mut Vec<I<'static>>) {
        let (_, base) = self.regions[table as usize];
        code.extend([I::LocalGet(index), I::I32Const(2), I::I32Shl]);
        code.extend([I::I32Const(base as u32 as i32), I::I32Add]);
    }

    /// Locals: the value, how many, and two more.
    fn grow(&self, table: u32, code: &mut Vec<I<'static>>) {
        let (most, _) = self.regions[table as usize];
        let (old, end) = (2, 3);
        code.extend([I::TableSize(table), I::LocalTee(old), I::I64ExtendI32U]);
        code.extend([I::LocalGet(1), I::I64ExtendI32U, I::I64Add, I::I64Const(most as i64)]);
        code.extend([I::I64GtU, I::If(BlockType::Empty), I::I32Const(-1), I::Return, I::End]);
        code.extend([I::LocalGet(0), I::TableGet(self.all()), I::LocalGet(1)]);
        code.extend([I::TableGrow(table), I::I32Const(-1), I::I32Eq]);
        code.extend([I::If(BlockType::Empty)]);
        code.extend(trap(self.layout, layout::TRAP_SHORTAGE));
        code.extend([I::End, I::I32Const(0), I::LocalGet(old), I::LocalGet(1), I::I32Add]);
        code.push(I::I32Store(self.at(LINE_BYTES * (1 + u64::from(table)))));
        // The loop counts in a local that still has to be returned.
        code.extend([I::LocalGet(old)]);
        self.fill(table, Fill { at: old, value: 0, count: 1, end }, code);
    }

    fn fill(&self, table: u32, fill: Fill, code: &mut Vec<I<'static>>) {
        let (_, base) = self.regions[table as usize];
        code.extend([I::LocalGet(fill.at), I::LocalGet(fill.count), I::I32Add]);
        code.extend([I::LocalSet(fill.end), I::Block(BlockType::Empty), I::Loop(BlockType::Empty)]);
        code.extend([I::LocalGet(fill.at), I::LocalGet(fill.end), I::I32GeU, I::BrIf(1)]);
        code.extend([I::LocalGet(fill.at), I::I32Const(2), I::I32Shl, I::LocalGet(fill.value)]);
        code.extend([I::I32Store(self.at(base)), I::LocalGet(fill.at), I::I32Const(1), I::I32Add]);
        code.extend([I::LocalSet(fill.at), I::Br(0), I::End, I::End]);
    }

    /// Makes the tables what the memory says, after a state was restored.
    pub fn restore(&self) -> EncFunction {
        let (index, size) = (0, 1);
        let mut code: Vec<I<'static>> = Vec::new();
        for (table, &(_, base)) in (0..).zip(&self.regions) {
            let line = LINE_BYTES * (1 + u64::from(table));
            code.extend([I::I32Const(0), I::I32Load(self.at(line)), I::LocalTee(size)]);
            code.extend([I::TableSize(table), I::I32GtU, I::If(BlockType::Empty)]);
            code.extend([I::RefNull(HeapType::FUNC), I::LocalGet(size), I::TableSize(table)]);
            code.extend([I::I32Sub, I::TableGrow(table), I::I32Const(-1), I::I32Eq]);
            code.push(I::If(BlockType::Empty));
            code.extend(trap(self.layout, layout::TRAP_SHORTAGE));
            code.extend([I::End, I::End, I::I32Const(0), I::LocalSet(index)]);
            code.extend([I::Block(BlockType::Empty), I::Loop(BlockType::Empty)]);
            code.extend([I::LocalGet(index), I::LocalGet(size), I::I32GeU, I::BrIf(1)]);
            let number = [I::LocalGet(index), I::I32Const(2), I::I32Shl, I::I32Load(self.at(base))];
            // A number of no function that can be referred to is none that was saved.
            code.extend(number.clone());
            code.extend([I::TableGet(self.all()), I::RefIsNull]);
            code.extend(number.clone());
            code.extend([I::I32Const(0), I::I32Ne, I::I32And, I::If(BlockType::Empty)]);
            code.extend(trap(self.layout, layout::TRAP_DAMAGED));
            code.extend([I::End, I::LocalGet(index)]);
            code.extend(number);
            code.extend([I::TableGet(self.all()), I::TableSet(table)]);
            code.extend([I::LocalGet(index), I::I32Const(1), I::I32Add, I::LocalSet(index)]);
            code.extend([I::Br(0), I::End, I::End]);
        }
        code.push(I::End);
        let mut function = EncFunction::new([(2, ValType::I32)]);
        for instruction in &code {
            function.instruction(instruction);
        }
        function
    }

    /// The table of everything that can be referred to.
    pub fn add_table(&self, tables: &mut TableSection) {
        let entries = self.admitted.function_types.len() as u64 + 1;
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: entries,
            maximum: Some(entries),
            shared: false,
        });
    }

    /// An empty segment, and the contents of that table. `named` gives the index of the function
    /// that stands for one in tables.
    pub fn add_elements(&self, elements: &mut ElementSection, named: &dyn Fn(u32) -> u32) {
        if !self.are_kept() {
            return;
        }
        elements.passive(Elements::Functions([].as_slice().into()));
        let listed = self.admitted.elements.iter().flat_map(|segment| &segment.functions);
        let mut all = self.uses.references.clone();
        all.extend(listed.flatten());
        let mut all = all.into_iter().peekable();
        while let Some(first) = all.next() {
            let mut run = vec![named(first)];
            while let Some(next) = all.next_if_eq(&(first + run.len() as u32)) {
                run.push(named(next));
            }
            let offset = ConstExpr::i32_const(first as i32 + 1);
            elements.active(Some(self.all()), &offset, Elements::Functions(run.into()));
        }
    }

    /// The numbers of passive element segments, an empty segment, and what the memory begins as.
    pub fn add_data(&self, data: &mut DataSection) -> Result<(), Refusal> {
        let mut numbers: Vec<(u32, u32)> =
            self.numbers.iter().map(|(&segment, &data)| (data, segment)).collect();
        numbers.sort_unstable();
        for (_, segment) in numbers {
            data.passive(numbers_of(&self.admitted.elements[segment as usize].functions));
        }
        data.passive([]);
        if !self.are_kept() {
            return Ok(());
        }
        let memory = self.layout.tables();
        let mut header = vec![0u8; LINE_BYTES as usize];
        header[..4].copy_from_slice(&(self.regions.len() as u32).to_le_bytes());
        for (&(first, _), &(most, base)) in self.admitted.tables.iter().zip(&self.regions) {
            for figure in [first, most, base, 0] {
                header.extend((figure as u32).to_le_bytes());
            }
        }
        data.active(memory, &ConstExpr::i32_const(0), header);
        for segment in &self.admitted.elements {
            let Some((table, offset)) = &segment.active else { continue };
            let (_, base) = self.regions[*table as usize];
            let offset = wasm_encoder::reencode::RoundtripReencoder
                .const_expr(offset.clone())
                .map_err(|_| Refusal::Unsupported { what: "an unusual segment offset".into() })?;
            let address = offset
                .with_i32_const(4)
                .with_i32_mul()
                .with_i32_const(base as u32 as i32)
                .with_i32_add();
            data.active(memory, &address, numbers_of(&segment.functions));
        }
        Ok(())
    }

    /// Whether segments of ours are needed.
    pub fn are_used(&self) -> bool {
        !self.uses.helpers.is_empty()
    }
}

/// Locals of a loop that fills a table's copy.
struct Fill {
    at: u32,
    value: u32,
    count: u32,
    end: u32,
}

fn numbers_of(functions: &[Option<u32>]) -> Vec<u8> {
    let numbers = functions.iter().map(|function| function.map_or(0, |function| function + 1));
    numbers.flat_map(u32::to_le_bytes).collect()
}

fn set_bit((global, bit): (u32, i64)) -> Vec<I<'static>> {
    vec![I::GlobalGet(global), I::I64Const(bit), I::I64Or, I::GlobalSet(global)]
}

fn trap(layout: Layout, why: i32) -> [I<'static>; 3] {
    [I::I32Const(why), I::GlobalSet(layout.trap()), I::Unreachable]
}

/// Three parameters to `here`, unless there is nothing or its bit says that it was dropped.
fn either(
    code: &mut Vec<I<'static>>,
    dropped: Option<(u32, i64)>,
    here: Option<&[I<'static>]>,
    empty: &[I<'static>],
) {
    let params = [I::LocalGet(0), I::LocalGet(1), I::LocalGet(2)];
    let Some(here) = here else {
        code.extend(params);
        code.extend_from_slice(empty);
        return;
    };
    if let Some((global, bit)) = dropped {
        code.extend([I::GlobalGet(global), I::I64Const(bit), I::I64And, I::I64Eqz]);
        code.extend([I::I32Eqz, I::If(BlockType::Empty)]);
        code.extend(params.clone());
        code.extend_from_slice(empty);
        code.extend([I::Return, I::End]);
    }
    code.extend(params);
    code.extend_from_slice(here);
}
