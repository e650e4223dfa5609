//! Emits a function that can be on the stack at a safepoint: metered, able to save its frame
//! and to be resumed from it.
//!
//! A *site* is a position at which a frame may be saved: the entry, each loop header, each call
//! that may not return normally. Sites are numbered from 0 (the entry) in textual order.
//!
//! To jump back to a site, WebAssembly's structured control flow has to be made to reach it:
//! blocks that contain a site are opened early, at the beginning of their *region* (the
//! function, or the innermost loop around them), together with one block per site that ends
//! just before it; branching to that block's label continues at the site. Loops are entered
//! through their own headers, whose cold path branches on. Operands that are on the stack where
//! such a block begins or ends live in extra locals, *slots*, one per height and type.

use std::collections::BTreeMap;

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{BlockType, Instruction as I, MemArg, ValType as EncType};
use wasmparser::{Operator, ValType};

use super::cost;
use super::function::{BlockKind, Function};
use super::layout::{self, Layout};
use super::liveness::{self, Liveness};

/// What the emitter needs to know of the module around a function.
pub struct Context<'c> {
    pub layout: Layout,
    /// Whether a call to this function is a site.
    pub call_is_site: &'c dyn Fn(u32) -> bool,
    /// Parameter and result counts of a function and of a type.
    pub function_arity: &'c dyn Fn(u32) -> (usize, usize),
    pub type_arity: &'c dyn Fn(u32) -> (usize, usize),
    /// Keep the fuel global exact in every basic block, so that it can be read after a trap.
    pub exact: bool,
}

/// Labels of emitted blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Label {
    /// A block of the original.
    Block(usize),
    /// Ends where the `else` part of an original `if` begins.
    Else(usize),
    /// Ends just before the site, or just before the loop, that this instruction is.
    Before(usize),
    /// Ends where frames are saved.
    Save,
    /// Anything else.
    Inner(u32),
}

struct Site {
    /// The call or loop instruction; `None` for the entry.
    op: Option<usize>,
    /// Locals and slots to save, with their types.
    saved: Vec<(u32, ValType)>,
    /// The region (block) in which the site directly lies.
    region: usize,
}

/// An emitted body: extra locals after the original ones, and instructions.
pub struct Emitted<'a> {
    pub extra_locals: Vec<ValType>,
    pub code: Vec<I<'a>>,
}

struct Emitter<'f, 'a, 'c> {
    function: &'f Function<'a>,
    context: &'f Context<'c>,
    liveness: Liveness,
    code: Vec<I<'a>>,
    nest: Vec<Label>,
    inner_labels: u32,
    /// Types of the operands; the first `spilled` of them are in slots.
    stack: Vec<ValType>,
    spilled: usize,
    slots: BTreeMap<(usize, u8), u32>,
    extra_locals: Vec<ValType>,
    fuel: u32,
    scratch: BTreeMap<(u8, usize), u32>,
    sites: Vec<Site>,
    site_of_op: BTreeMap<usize, usize>,
    frame_depth: i64,
    function_index: u32,
}

fn type_key(ty: ValType) -> u8 {
    match ty {
        ValType::I32 => 0,
        ValType::I64 => 1,
        ValType::F32 => 2,
        ValType::F64 => 3,
        ValType::V128 => 4,
        ValType::Ref(_) => 5,
    }
}

/// Bytes that a value takes in a frame.
fn saved_bytes(ty: ValType) -> u64 {
    if ty == ValType::V128 { 16 } else { 8 }
}

/// The depth that a frame is charged for, in units of 16 bytes: all its locals and its highest
/// operand stack, as if none of them were in a register, and what a call costs in itself.
pub fn frame_depth(function: &Function<'_>) -> i64 {
    let wide = function.locals.contains(&ValType::V128)
        || function.ops.iter().any(|op| op.pushes.contains(&ValType::V128));
    let per_value = if wide { 16 } else { 8 };
    let values = function.locals.len() + function.height_max;
    ((64 + per_value * values) as i64 + 15) / 16
}

/// Emits `function`.
pub fn emit<'a>(
    function: &Function<'a>,
    function_index: u32,
    context: &Context<'_>,
) -> Emitted<'a> {
    let is_site = |index: usize| is_site(&function.ops[index].op, context);
    let liveness = liveness::compute(function, &is_site);
    let mut emitter = Emitter {
        function,
        context,
        liveness,
        code: Vec::new(),
        nest: Vec::new(),
        inner_labels: 0,
        stack: Vec::new(),
        spilled: 0,
        slots: BTreeMap::new(),
        extra_locals: Vec::new(),
        fuel: 0,
        scratch: BTreeMap::new(),
        sites: Vec::new(),
        site_of_op: BTreeMap::new(),
        frame_depth: frame_depth(function),
        function_index,
    };
    emitter.fuel = emitter.new_local(ValType::I64);
    emitter.number_sites();
    emitter.body();
    Emitted { extra_locals: emitter.extra_locals, code: emitter.code }
}

fn is_site(op: &Operator<'_>, context: &Context<'_>) -> bool {
    match op {
        Operator::Call { function_index } => (context.call_is_site)(*function_index),
        Operator::CallIndirect { .. } => true,
        _ => false,
    }
}

impl<'a> Emitter<'_, 'a, '_> {
    // --- locals -------------------------------------------------------------------------

    fn new_local(&mut self, ty: ValType) -> u32 {
        self.extra_locals.push(ty);
        (self.function.locals.len() + self.extra_locals.len() - 1) as u32
    }

    fn slot(&mut self, height: usize, ty: ValType) -> u32 {
        if let Some(&local) = self.slots.get(&(height, type_key(ty))) {
            return local;
        }
        let local = self.new_local(ty);
        self.slots.insert((height, type_key(ty)), local);
        local
    }

    fn scratch(&mut self, ty: ValType, which: usize) -> u32 {
        if let Some(&local) = self.scratch.get(&(type_key(ty), which)) {
            return local;
        }
        let local = self.new_local(ty);
        self.scratch.insert((type_key(ty), which), local);
        local
    }

    // --- the operand stack --------------------------------------------------------------

    /// Moves every operand into its slot.
    fn spill_all(&mut self) {
        for height in (self.spilled..self.stack.len()).rev() {
            let slot = self.slot(height, self.stack[height]);
            self.code.push(I::LocalSet(slot));
        }
        self.spilled = self.stack.len();
    }

    /// Makes the top `count` operands real.
    fn ensure(&mut self, count: usize) {
        let base = self.stack.len() - count;
        if base >= self.spilled {
            return;
        }
        self.spill_all();
        self.get_slots(base, self.stack.len());
        self.spilled = base;
    }

    fn get_slots(&mut self, from: usize, to: usize) {
        for height in from..to {
            let slot = self.slot(height, self.stack[height]);
            self.code.push(I::LocalGet(slot));
        }
    }

    fn pop(&mut self, count: usize) {
        self.stack.truncate(self.stack.len() - count);
        self.spilled = self.spilled.min(self.stack.len());
    }

    /// Sets the stack to what it is after a block: everything in slots.
    fn stack_in_slots(&mut self, height: usize, more: &[ValType]) {
        self.stack.truncate(height);
        self.stack.extend_from_slice(more);
        self.spilled = self.stack.len();
    }

    // --- labels -------------------------------------------------------------------------

    fn depth(&self, label: Label) -> u32 {
        let at = self.nest.iter().rposition(|&open| open == label).expect("label is open");
        (self.nest.len() - 1 - at) as u32
    }

    fn open(&mut self, label: Label) {
        self.code.push(I::Block(BlockType::Empty));
        self.nest.push(label);
    }

    fn close(&mut self, label: Label) {
        let top = self.nest.pop();
        debug_assert_eq!(top, Some(label));
        self.code.push(I::End);
    }

    fn open_inner(&mut self) -> Label {
        self.inner_labels += 1;
        let label = Label::Inner(self.inner_labels);
        self.open(label);
        label
    }

    fn open_if(&mut self) -> Label {
        self.inner_labels += 1;
        let label = Label::Inner(self.inner_labels);
        self.code.push(I::If(BlockType::Empty));
        self.nest.push(label);
        label
    }

    fn br(&mut self, label: Label) {
        let depth = self.depth(label);
        self.code.push(I::Br(depth));
    }

    fn br_if(&mut self, label: Label) {
        let depth = self.depth(label);
        self.code.push(I::BrIf(depth));
    }

    /// Whether the block's label is an empty-typed one of ours, with values in slots.
    fn hoisted(&self, block: usize) -> bool {
        self.function.blocks[block].resumable
    }

    fn arity(&self, block: usize) -> Vec<ValType> {
        let block = &self.function.blocks[block];
        if block.kind == BlockKind::Loop { block.params.clone() } else { block.results.clone() }
    }

    // --- fuel ---------------------------------------------------------------------------

    fn flush(&mut self) {
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::GlobalSet(self.context.layout.fuel()));
    }

    fn reload(&mut self) {
        self.code.push(I::GlobalGet(self.context.layout.fuel()));
        self.code.push(I::LocalSet(self.fuel));
    }

    fn charge(&mut self, fuel: i64) {
        if fuel == 0 {
            return;
        }
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(fuel << layout::DEPTH_BITS));
        self.code.push(I::I64Sub);
        self.code.push(I::LocalSet(self.fuel));
        if self.context.exact {
            self.flush();
        }
    }

    // --- sites --------------------------------------------------------------------------

    /// The innermost loop (or the function) around a block.
    fn region(&self, mut block: usize) -> usize {
        while block != 0 && self.function.blocks[block].kind != BlockKind::Loop {
            block = self.function.blocks[block].parent;
        }
        block
    }

    fn number_sites(&mut self) {
        self.sites.push(Site { op: None, saved: Vec::new(), region: 0 });
        let mut open = vec![0];
        for (index, op) in self.function.ops.iter().enumerate() {
            match op.op {
                Operator::Block { .. } | Operator::If { .. } => open.push(op.block),
                Operator::Loop { .. } => {
                    open.push(op.block);
                    self.site_of_op.insert(index, self.sites.len());
                    self.sites.push(Site { op: Some(index), saved: Vec::new(), region: op.block });
                }
                Operator::End => {
                    open.pop();
                }
                _ if is_site(&op.op, self.context) => {
                    let region = self.region(*open.last().expect("open block"));
                    self.site_of_op.insert(index, self.sites.len());
                    self.sites.push(Site { op: Some(index), saved: Vec::new(), region });
                }
                _ => {}
            }
        }
        let params = self.function.params.len() as u32;
        self.sites[0].saved = self
            .liveness
            .entry
            .iter()
            .filter(|&local| local < params)
            .map(|local| (local, self.function.locals[local as usize]))
            .collect();
    }

    /// Notes what a site saves: live locals, and the operands below `height`.
    fn note_site(
        &mut self,
        index: usize,
        live: Vec<u32>,
        height: usize,
        also: Option<usize>,
    ) -> usize {
        let site = self.site_of_op[&index];
        let mut saved: Vec<(u32, ValType)> =
            live.into_iter().map(|local| (local, self.function.locals[local as usize])).collect();
        for at in (0..height).chain(also) {
            let ty = self.stack[at];
            saved.push((self.slot(at, ty), ty));
        }
        self.sites[site].saved = saved;
        site
    }

    // --- structure ----------------------------------------------------------------------

    fn body(&mut self) {
        let layout = self.context.layout;
        self.code.push(I::GlobalGet(layout.fuel()));
        let delta = self.frame_depth - (self.function.entry_charge << layout::DEPTH_BITS);
        self.code.push(I::I64Const(delta));
        self.code.push(I::I64Add);
        self.code.push(I::LocalSet(self.fuel));
        self.open(Label::Save);
        self.open(Label::Block(0));
        // The entry's restore code needs every site's saved values, which are known only after
        // the body was emitted: it is put in afterwards.
        self.open_region(0);
        let entry_at = self.code.len();
        let entry_nest = self.nest.clone();
        for index in 0..self.function.ops.len() {
            self.op(index);
        }
        debug_assert_eq!(self.nest, [Label::Save]);
        // After the function's own `End`: results are in slots.
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(self.frame_depth));
        self.code.push(I::I64Sub);
        self.code.push(I::GlobalSet(layout.fuel()));
        for (height, &ty) in self.function.results.clone().iter().enumerate() {
            let slot = self.slot(height, ty);
            self.code.push(I::LocalGet(slot));
        }
        self.code.push(I::Return);
        self.close(Label::Save);
        self.save_frames();
        self.code.push(I::End);

        let rest = self.code.split_off(entry_at);
        self.nest = entry_nest;
        self.entry_check();
        self.code.extend(rest);
    }

    /// Opens the blocks that lead into a region's sites and end with its blocks.
    fn open_region(&mut self, region: usize) {
        let function = self.function;
        let mut ends: Vec<(usize, Label)> = Vec::new();
        let block = &function.blocks[region];
        let from = if region == 0 { 0 } else { block.start + 1 };
        let mut index = from;
        while index < function.ops.len() && (region == 0 || index < block.end) {
            let op = &function.ops[index];
            match op.op {
                Operator::Loop { .. } => {
                    ends.push((index, Label::Before(index)));
                    index = function.blocks[op.block].end;
                }
                Operator::Block { .. } | Operator::If { .. } => {
                    let inner = &function.blocks[op.block];
                    if inner.resumable {
                        ends.push((inner.end, Label::Block(op.block)));
                        if let Some(at) = inner.else_at {
                            ends.push((at, Label::Else(op.block)));
                        }
                    } else {
                        index = inner.end;
                    }
                }
                _ if self.site_of_op.contains_key(&index) => {
                    ends.push((index, Label::Before(index)));
                }
                _ => {}
            }
            index += 1;
        }
        ends.sort_by_key(|&(at, _)| std::cmp::Reverse(at));
        for (_, label) in ends {
            self.open(label);
        }
    }

    /// The label that leads from `region`'s header towards a site; `None` for the header's own.
    fn towards(&self, region: usize, site: usize) -> Option<Label> {
        let site = &self.sites[site];
        let op = site.op?;
        if site.region == region {
            let own_header = matches!(self.function.ops[op].op, Operator::Loop { .. });
            return (!own_header).then_some(Label::Before(op));
        }
        // The outermost loop within `region` that contains the site.
        let mut inner = site.region;
        loop {
            let outer = self.region(self.function.blocks[inner].parent);
            if outer == region {
                return Some(Label::Before(self.function.blocks[inner].start));
            }
            inner = outer;
        }
    }

    fn begin_unwinding(&mut self, site: usize) {
        self.flush();
        self.code.push(I::I32Const(1));
        self.code.push(I::GlobalSet(self.context.layout.unwinding()));
        self.leave_through(site);
    }

    fn leave_through(&mut self, site: usize) {
        self.code.push(I::I32Const(site as i32));
        self.code.push(I::GlobalSet(self.context.layout.position()));
        self.br(Label::Save);
    }

    fn if_rewinding(&mut self) -> Label {
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(layout::REWINDING));
        self.code.push(I::I64LtS);
        self.open_if()
    }

    fn arrive(&mut self, normal: Label) {
        self.code.push(I::GlobalGet(self.context.layout.resume()));
        self.code.push(I::LocalSet(self.fuel));
        self.br(normal);
    }

    fn entry_check(&mut self) {
        let layout = self.context.layout;
        let normal = self.open_inner();
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(layout::ENTRY_MASK));
        self.code.push(I::I64And);
        self.code.push(I::I64Eqz);
        self.br_if(normal);

        let rewinding = self.if_rewinding();
        let base = self.scratch(ValType::I32, 0);
        // The frame ends with its position and function.
        self.code.push(I::GlobalGet(layout.frames_end()));
        self.code.push(I::I32Const(8));
        self.code.push(I::I32Sub);
        self.code.push(I::LocalTee(base));
        self.code.push(I::I32Load(self.frame_arg(0, 2)));
        self.code.push(I::GlobalSet(layout.position()));
        let cases: Vec<Label> = (0..self.sites.len()).map(|_| self.open_inner()).collect();
        // A position that is none of ours can only come from a damaged checkpoint: trap.
        let bad = self.open_inner();
        let depths: Vec<u32> = cases.iter().map(|&case| self.depth(case)).collect();
        self.code.push(I::GlobalGet(layout.position()));
        let default = self.depth(bad);
        self.code.push(I::BrTable(depths.into(), default));
        self.close(bad);
        self.code.push(I::Unreachable);
        for (site, &case) in cases.iter().enumerate().rev() {
            self.close(case);
            self.restore(site, base);
            match self.towards(0, site) {
                Some(label) => self.br(label),
                None => self.arrive(normal),
            }
        }
        self.close(rewinding);

        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(layout::DEPTH_GUARD));
        self.code.push(I::I64And);
        self.code.push(I::I64Eqz);
        self.code.push(I::I32Eqz);
        let too_deep = self.open_if();
        self.flush();
        self.code.push(I::I32Const(layout::TRAP_STACK));
        self.code.push(I::GlobalSet(layout.trap()));
        self.code.push(I::Unreachable);
        self.close(too_deep);
        self.begin_unwinding(0);
        self.close(normal);
        if self.context.exact {
            self.flush();
        }
    }

    fn header_check(&mut self, block: usize, site: usize) {
        let normal = self.open_inner();
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(0));
        self.code.push(I::I64GeS);
        self.br_if(normal);
        let rewinding = self.if_rewinding();
        let own = self.open_inner();
        let bad = self.open_inner();
        // The sites in a loop are numbered without a gap, its header first.
        let last = (site..self.sites.len())
            .take_while(|&at| self.function.within(self.sites[at].region, block))
            .last()
            .unwrap_or(site);
        let depths: Vec<u32> = (site..=last)
            .map(|at| match self.towards(block, at) {
                Some(label) => self.depth(label),
                None => self.depth(own),
            })
            .collect();
        self.code.push(I::GlobalGet(self.context.layout.position()));
        self.code.push(I::I32Const(site as i32));
        self.code.push(I::I32Sub);
        let default = self.depth(bad);
        self.code.push(I::BrTable(depths.into(), default));
        self.close(bad);
        self.code.push(I::Unreachable);
        self.close(own);
        self.arrive(normal);
        self.close(rewinding);
        self.begin_unwinding(site);
        self.close(normal);
        if self.context.exact {
            self.flush();
        }
    }

    // --- frames -------------------------------------------------------------------------

    fn frame_arg(&self, offset: u64, align: u32) -> MemArg {
        MemArg { offset, align, memory_index: self.context.layout.frames }
    }

    fn frame_bytes(&self, site: usize) -> u64 {
        self.sites[site].saved.iter().map(|&(_, ty)| saved_bytes(ty)).sum()
    }

    /// Loads what a site saved; `base` points behind its last value.
    fn restore(&mut self, site: usize, base: u32) {
        let bytes = self.frame_bytes(site);
        self.code.push(I::LocalGet(base));
        self.code.push(I::I32Const(bytes as i32));
        self.code.push(I::I32Sub);
        self.code.push(I::LocalTee(base));
        self.code.push(I::GlobalSet(self.context.layout.frames_end()));
        let mut offset = 0;
        for (local, ty) in self.sites[site].saved.clone() {
            self.code.push(I::LocalGet(base));
            self.code.push(match ty {
                ValType::I32 => I::I32Load(self.frame_arg(offset, 2)),
                ValType::I64 => I::I64Load(self.frame_arg(offset, 3)),
                ValType::F32 => I::F32Load(self.frame_arg(offset, 2)),
                ValType::F64 => I::F64Load(self.frame_arg(offset, 3)),
                ValType::V128 => I::V128Load(self.frame_arg(offset, 3)),
                ValType::Ref(_) => unreachable!("references are refused at admission"),
            });
            self.code.push(I::LocalSet(local));
            offset += saved_bytes(ty);
        }
    }

    fn save_frames(&mut self) {
        let layout = self.context.layout;
        let base = self.scratch(ValType::I32, 0);
        self.code.push(I::GlobalGet(layout.frames_end()));
        self.code.push(I::LocalSet(base));
        let done = self.open_inner();
        let cases: Vec<Label> = (0..self.sites.len()).map(|_| self.open_inner()).collect();
        let depths: Vec<u32> = cases.iter().map(|&case| self.depth(case)).collect();
        self.code.push(I::GlobalGet(layout.position()));
        let default = depths[0];
        self.code.push(I::BrTable(depths.into(), default));
        for (site, &case) in cases.iter().enumerate().rev() {
            self.close(case);
            let mut offset = 0;
            for (local, ty) in self.sites[site].saved.clone() {
                self.code.push(I::LocalGet(base));
                self.code.push(I::LocalGet(local));
                // Narrow values are widened, so that padding is zero and not what was there.
                match ty {
                    ValType::I32 => {
                        self.code.push(I::I64ExtendI32U);
                        self.code.push(I::I64Store(self.frame_arg(offset, 3)));
                    }
                    ValType::I64 => self.code.push(I::I64Store(self.frame_arg(offset, 3))),
                    ValType::F32 => {
                        self.code.push(I::I32ReinterpretF32);
                        self.code.push(I::I64ExtendI32U);
                        self.code.push(I::I64Store(self.frame_arg(offset, 3)));
                    }
                    ValType::F64 => self.code.push(I::F64Store(self.frame_arg(offset, 3))),
                    ValType::V128 => self.code.push(I::V128Store(self.frame_arg(offset, 3))),
                    ValType::Ref(_) => unreachable!("references are refused at admission"),
                }
                offset += saved_bytes(ty);
            }
            self.code.push(I::LocalGet(base));
            self.code.push(I::I32Const(self.frame_bytes(site) as i32));
            self.code.push(I::I32Add);
            self.code.push(I::LocalSet(base));
            self.br(done);
        }
        self.close(done);
        self.code.push(I::LocalGet(base));
        self.code.push(I::GlobalGet(layout.position()));
        self.code.push(I::I64ExtendI32U);
        self.code.push(I::I64Const(i64::from(self.function_index) << 32));
        self.code.push(I::I64Or);
        self.code.push(I::I64Store(self.frame_arg(0, 3)));
        self.code.push(I::LocalGet(base));
        self.code.push(I::I32Const(8));
        self.code.push(I::I32Add);
        self.code.push(I::GlobalSet(layout.frames_end()));
        for &ty in &self.function.results.clone() {
            self.code.push(match ty {
                ValType::I32 => I::I32Const(0),
                ValType::I64 => I::I64Const(0),
                ValType::F32 => I::F32Const(0f32.into()),
                ValType::F64 => I::F64Const(0f64.into()),
                ValType::V128 => I::V128Const(0),
                ValType::Ref(_) => unreachable!("references are refused at admission"),
            });
        }
    }

    // --- instructions -------------------------------------------------------------------

    fn op(&mut self, index: usize) {
        use Operator as O;
        let function = self.function;
        let op = &function.ops[index];
        match op.op {
            O::Block { .. } => {
                let block = &function.blocks[op.block];
                if self.hoisted(op.block) {
                    self.spill_all();
                } else {
                    self.ensure(block.params.len());
                    self.code.push(I::Block(encode_block_type(block.block_type)));
                    self.nest.push(Label::Block(op.block));
                }
            }
            O::Loop { .. } => {
                self.spill_all();
                self.close(Label::Before(index));
                self.code.push(I::Loop(BlockType::Empty));
                self.nest.push(Label::Block(op.block));
                let live: Vec<u32> = self.liveness.header[&op.block].iter().collect();
                let height = self.stack.len();
                let site = self.note_site(index, live, height, None);
                let cost = op.charge.unwrap_or(0);
                self.charge(cost);
                self.open_region(op.block);
                self.header_check(op.block, site);
            }
            O::If { .. } => self.op_if(index),
            O::Else => {
                let block = &function.blocks[op.block];
                if self.hoisted(op.block) {
                    if block.then_live {
                        self.spill_all();
                        self.br(Label::Block(op.block));
                    }
                    self.close(Label::Else(op.block));
                    self.stack_in_slots(block.height, &block.params);
                } else {
                    self.code.push(I::Else);
                    let spilled = self.spilled.min(block.height);
                    self.stack_in_slots(block.height, &block.params);
                    self.spilled = spilled;
                }
                self.charge(op.charge.unwrap_or(0));
            }
            O::End => {
                let block = &function.blocks[op.block];
                if self.hoisted(op.block) {
                    if block.end_live {
                        self.spill_all();
                    }
                    self.close(Label::Block(op.block));
                    self.stack_in_slots(block.height, &block.results);
                } else {
                    self.close(Label::Block(op.block));
                    let spilled = self.spilled.min(block.height);
                    self.stack_in_slots(block.height, &block.results);
                    self.spilled = spilled;
                }
                if block.dead_after {
                    // What followed was dropped; the validator has to know.
                    self.code.push(I::Unreachable);
                }
                self.charge(op.charge.unwrap_or(0));
            }
            O::Br { .. } | O::Return => self.branch(op.targets[0]),
            O::BrIf { .. } => {
                self.branch_if(op.targets[0]);
                self.charge(op.charge.unwrap_or(0));
            }
            O::BrTable { .. } => self.branch_table(&op.targets),
            O::Unreachable => self.code.push(I::Unreachable),
            O::Call { function_index } => {
                let (params, results) = (self.context.function_arity)(function_index);
                if (self.context.call_is_site)(function_index) {
                    self.call_site(index, I::Call(function_index), params, results, false);
                } else {
                    self.ensure(params);
                    self.flush();
                    self.code.push(I::Call(function_index));
                    self.pop(params);
                    self.reload();
                    self.stack.extend_from_slice(&op.pushes);
                }
            }
            O::CallIndirect { type_index, table_index } => {
                let (params, results) = (self.context.type_arity)(type_index);
                let call = I::CallIndirect { type_index, table_index };
                self.call_site(index, call, params + 1, results, true);
            }
            O::MemoryGrow { .. } => {
                self.ensure(1);
                self.pop(1);
                let pages = self.scratch(ValType::I32, 1);
                let old = self.scratch(ValType::I32, 2);
                self.code.extend(memory_grow(self.context.layout, self.fuel, pages, old));
                if self.context.exact {
                    self.flush();
                }
                self.stack.push(ValType::I32);
            }
            O::MemoryFill { .. } | O::MemoryCopy { .. } => {
                self.ensure(3);
                self.pop(3);
                let length = self.scratch(ValType::I32, 1);
                self.code.extend(bulk_charge(self.context.layout, self.fuel, length));
                if self.context.exact {
                    self.flush();
                }
                self.code.push(reencode(&op.op));
            }
            _ => {
                self.ensure(op.pops);
                self.code.push(reencode(&op.op));
                self.pop(op.pops);
                self.stack.extend_from_slice(&op.pushes);
            }
        }
    }

    fn op_if(&mut self, index: usize) {
        let function = self.function;
        let op = &function.ops[index];
        let block = &function.blocks[op.block];
        if self.hoisted(op.block) {
            self.spill_all();
            let condition = self.stack.len() - 1;
            self.get_slots(condition, condition + 1);
            self.pop(1);
            self.code.push(I::I32Eqz);
            if block.else_at.is_some() {
                self.br_if(Label::Else(op.block));
            } else {
                // Parameters are results: the same slots.
                self.br_if(Label::Block(op.block));
            }
        } else {
            self.ensure(block.params.len() + 1);
            self.pop(1);
            self.code.push(I::If(encode_block_type(block.block_type)));
            self.nest.push(Label::Block(op.block));
        }
        self.charge(op.charge.unwrap_or(0));
    }

    fn call_site(
        &mut self,
        index: usize,
        call: I<'a>,
        params: usize,
        results: usize,
        indirect: bool,
    ) {
        let base = self.stack.len() - params;
        self.spill_all();
        self.close(Label::Before(index));
        let live: Vec<u32> = self.liveness.after[&index].iter().collect();
        // Arguments may be anything when the call is made again to resume what it called; the
        // index of an indirect call may not.
        let also = indirect.then(|| self.stack.len() - 1);
        let site = self.note_site(index, live, base, also);
        self.get_slots(base, self.stack.len());
        self.flush();
        self.code.push(call);
        self.pop(params);
        self.stack.extend_from_slice(&self.function.ops[index].pushes);
        debug_assert_eq!(self.stack.len(), base + results);
        self.spilled = base;
        self.reload();
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(0));
        self.code.push(I::I64LtS);
        let spent = self.open_if();
        self.code.push(I::GlobalGet(self.context.layout.unwinding()));
        let unwinding = self.open_if();
        self.leave_through(site);
        self.close(unwinding);
        self.close(spent);
    }

    /// Moves a branch's values, which are real operands on top, to where the target has them.
    fn values_to_target(&mut self, target: usize, types: &[ValType]) {
        if !self.hoisted(target) {
            return;
        }
        let height = self.function.blocks[target].height;
        for (at, &ty) in types.iter().enumerate().rev() {
            let slot = self.slot(height + at, ty);
            self.code.push(I::LocalSet(slot));
        }
    }

    fn branch(&mut self, target: usize) {
        let types = self.arity(target);
        self.ensure(types.len());
        self.values_to_target(target, &types);
        self.br(Label::Block(target));
    }

    /// Puts the top `types.len()` real operands into scratch locals of their own.
    fn set_aside(&mut self, types: &[ValType]) -> Vec<u32> {
        let locals: Vec<u32> =
            types.iter().enumerate().map(|(at, &ty)| self.scratch(ty, 16 + at)).collect();
        for &local in locals.iter().rev() {
            self.code.push(I::LocalSet(local));
        }
        locals
    }

    fn branch_if(&mut self, target: usize) {
        let types = self.arity(target);
        self.ensure(types.len() + 1);
        self.pop(1);
        if types.is_empty() || !self.hoisted(target) {
            self.br_if(Label::Block(target));
            return;
        }
        let condition = self.scratch(ValType::I32, 3);
        self.code.push(I::LocalSet(condition));
        let values = self.set_aside(&types);
        self.code.push(I::LocalGet(condition));
        let taken = self.open_if();
        self.code.extend(values.iter().map(|&local| I::LocalGet(local)));
        self.values_to_target(target, &types);
        self.br(Label::Block(target));
        self.close(taken);
        self.code.extend(values.iter().map(|&local| I::LocalGet(local)));
    }

    fn branch_table(&mut self, targets: &[usize]) {
        let types = self.arity(targets[targets.len() - 1]);
        self.ensure(types.len() + 1);
        self.pop(1);
        let plain = types.is_empty() || targets.iter().all(|&target| !self.hoisted(target));
        if plain {
            let depths: Vec<u32> =
                targets.iter().map(|&target| self.depth(Label::Block(target))).collect();
            let (default, rest) = depths.split_last().expect("br_table has a default");
            self.code.push(I::BrTable(rest.to_vec().into(), *default));
            return;
        }
        let chosen = self.scratch(ValType::I32, 3);
        self.code.push(I::LocalSet(chosen));
        let values = self.set_aside(&types);
        let mut distinct: Vec<usize> = targets.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let cases: Vec<Label> = distinct.iter().map(|_| self.open_inner()).collect();
        let depths: Vec<u32> = targets
            .iter()
            .map(|target| self.depth(cases[distinct.binary_search(target).expect("listed")]))
            .collect();
        self.code.push(I::LocalGet(chosen));
        let (default, rest) = depths.split_last().expect("br_table has a default");
        self.code.push(I::BrTable(rest.to_vec().into(), *default));
        for (&target, &case) in distinct.iter().zip(&cases).rev() {
            self.close(case);
            self.code.extend(values.iter().map(|&local| I::LocalGet(local)));
            self.values_to_target(target, &types);
            self.br(Label::Block(target));
        }
    }
}

/// An instruction as it was.
pub fn reencode<'a>(op: &Operator<'a>) -> I<'a> {
    RoundtripReencoder.instruction(op.clone()).expect("admitted instructions can be encoded")
}

/// A block type as it was.
pub fn encode_block_type(ty: wasmparser::BlockType) -> BlockType {
    RoundtripReencoder.block_type(ty).expect("admitted block types can be encoded")
}

/// A value type as it was.
pub fn encode_type(ty: ValType) -> EncType {
    RoundtripReencoder.val_type(ty).expect("admitted types can be encoded")
}

/// `memory.grow`, charged and noted when it succeeded. Takes and leaves one operand.
pub fn memory_grow<'a>(layout: Layout, fuel: u32, pages: u32, old: u32) -> Vec<I<'a>> {
    vec![
        I::LocalTee(pages),
        I::MemoryGrow(0),
        I::LocalTee(old),
        I::I32Const(-1),
        I::I32Ne,
        I::If(BlockType::Empty),
        I::LocalGet(fuel),
        I::LocalGet(pages),
        I::I64ExtendI32U,
        I::I64Const(cost::PAGE_GROWN << layout::DEPTH_BITS),
        I::I64Mul,
        I::I64Sub,
        I::LocalTee(fuel),
        I::I64Const(i64::from(layout::DEPTH_BITS)),
        I::I64ShrS,
        I::LocalGet(pages),
        I::I64ExtendI32U,
        I::I64Mul,
        I::GlobalGet(layout.grown()),
        I::I64Add,
        I::GlobalSet(layout.grown()),
        I::End,
        I::LocalGet(old),
    ]
}

/// Charges a bulk instruction for its length, the topmost operand, which stays. One that would
/// pass the task's own limit is not run.
pub fn bulk_charge<'a>(layout: Layout, fuel: u32, length: u32) -> Vec<I<'a>> {
    vec![
        I::LocalTee(length),
        I::LocalGet(fuel),
        I::LocalGet(length),
        I::I32Const(cost::BULK_BYTES_SHIFT as i32),
        I::I32ShrU,
        I::I64ExtendI32U,
        I::I64Const(i64::from(layout::DEPTH_BITS)),
        I::I64Shl,
        I::I64Sub,
        I::LocalTee(fuel),
        I::GlobalGet(layout.floor()),
        I::I64LtS,
        I::If(BlockType::Empty),
        I::LocalGet(fuel),
        I::GlobalSet(layout.fuel()),
        I::I32Const(layout::TRAP_FUEL),
        I::GlobalSet(layout.trap()),
        I::Unreachable,
        I::End,
    ]
}
