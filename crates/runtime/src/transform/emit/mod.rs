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

mod branches;
mod checks;
mod encode;
mod exceptions;
mod frames;
mod labels;
mod ops;
mod sites;
mod stack;

use std::collections::{BTreeMap, HashMap};

use wasm_encoder::Instruction as I;
use wasmparser::{Operator, ValType};

use super::admit::Refusal;
use super::function::{BlockKind, Function};
use super::layout::{self, Layout};
use super::liveness::{self, Liveness};
use super::tables::Tables;
use frames::Places;

pub use encode::{bulk, encode_block_type, encode_type, reencode};

/// What the emitter needs to know of the module around a function.
pub struct Context<'c> {
    pub layout: Layout,
    /// Whether a call to this function is a site.
    pub call_is_site: &'c dyn Fn(u32) -> bool,
    /// Parameter and result counts of a function and of a type.
    pub function_arity: &'c dyn Fn(u32) -> (usize, usize),
    pub type_arity: &'c dyn Fn(u32) -> (usize, usize),
    /// What to add to a type's index for the same type with fuel as its last parameter and result.
    pub metered_types: u32,
    /// Imported functions; they neither take nor return fuel.
    pub imports: u32,
    /// What stands for instructions on tables and segments.
    pub tables: &'c Tables<'c, 'c>,
    /// Whether each exception tag carries an i32.
    pub tags: &'c [bool],
    /// Whether calls may end by an exception.
    pub exceptions: bool,
    /// Keep the fuel global exact in every basic block, so that it can be read after a trap.
    pub exact: bool,
}

/// Labels of emitted blocks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Label {
    /// A block of the original.
    Block(usize),
    /// Ends where the `else` part of an original `if` begins.
    Else(usize),
    /// Ends just before the site, or just before the loop, that this instruction is.
    Before(usize),
    /// Ends where the function returns after its frame was saved.
    Save,
    /// The same for a frame whose callee seems to have been saved.
    Unwound,
    /// Ends where the function traps because its saved frame was forged.
    Damaged,
    /// Ends where the function is left by an exception.
    Thrown,
    /// Ends where this `try_table` looks at an exception.
    Handler(usize),
    /// Ends behind a loop.
    Exit(usize),
    /// Ends where a loop is begun again: see [`Emitter::end_loop`].
    Again(usize),
    /// Anything else.
    Inner(u32),
}

struct Site {
    /// The call or loop instruction; `None` for the entry.
    op: Option<usize>,
    /// Locals and slots to save, with their types.
    saved: Vec<(u32, ValType)>,
    /// The region at whose beginning each of them is loaded.
    homes: Vec<usize>,
    /// The region (block) in which the site directly lies.
    region: usize,
}

/// An emitted body: extra locals after the original ones, and instructions.
pub struct Emitted<'a> {
    pub extra_locals: Vec<ValType>,
    pub code: Vec<I<'a>>,
    /// Instructions that branch, by index, and whether they are likely to.
    pub hints: Vec<(usize, bool)>,
}

struct Emitter<'f, 'a, 'c> {
    function: &'f Function<'a>,
    context: &'f Context<'c>,
    liveness: Liveness,
    code: Vec<I<'a>>,
    hints: Vec<(usize, bool)>,
    nest: Vec<Label>,
    /// Where in `nest` a label is.
    open_at: HashMap<Label, usize>,
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
    places: Places,
    frame_depth: i64,
    function_index: u32,
    /// The `try_table`s around what is emitted.
    tries: Vec<usize>,
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

/// The depth that a frame is charged for, in units of 16 bytes: all its locals and its highest
/// operand stack, as if none of them were in a register, and what a call costs in itself.
pub fn frame_depth(function: &Function<'_>) -> i64 {
    let wide = function.locals.contains(&ValType::V128)
        || function.ops.iter().any(|op| op.pushes.contains(&ValType::V128));
    let per_value = if wide { 16 } else { 8 };
    // The fuel is no local of the original.
    let values = function.locals.len() - 1 + function.height_max;
    (((64 + per_value * values) as i64 + 15) / 16).min(layout::DEPTH_GUARD)
}

/// Emits `function`.
pub fn emit<'a>(
    function: &Function<'a>,
    function_index: u32,
    context: &Context<'_>,
) -> Result<Emitted<'a>, Refusal> {
    check_size(function)?;
    let is_site = |index: usize| is_site(&function.ops[index].op, context);
    let liveness = liveness::compute(function, &is_site);
    let mut emitter = Emitter {
        function,
        context,
        liveness,
        code: Vec::new(),
        hints: Vec::new(),
        nest: Vec::new(),
        open_at: HashMap::new(),
        inner_labels: 0,
        stack: Vec::new(),
        spilled: 0,
        slots: BTreeMap::new(),
        extra_locals: Vec::new(),
        fuel: function.fuel(),
        scratch: BTreeMap::new(),
        sites: Vec::new(),
        site_of_op: BTreeMap::new(),
        places: Places::default(),
        frame_depth: frame_depth(function),
        function_index,
        tries: Vec::new(),
    };
    emitter.number_sites();
    emitter.check_loops()?;
    emitter.assign_homes();
    emitter.places = Places::new(&emitter.sites);
    emitter.body();
    emitter.hints.sort_unstable();
    Ok(Emitted { extra_locals: emitter.extra_locals, code: emitter.code, hints: emitter.hints })
}

/// Most bits of liveness that are kept at once for a function.
const LIVENESS_BITS_MAX: usize = 1 << 31;
/// Most loops within loops.
const LOOP_NEST_MAX: usize = 256;
/// Most dispatch entries of a function: one per site and loop around it.
const DISPATCH_MAX: usize = 1 << 22;
/// Most values that a function's sites save, in all.
const SAVED_MAX: usize = 1 << 21;

fn too_large(what: &str) -> Refusal {
    Refusal::Unsupported { what: format!("a function with {what}") }
}

fn check_size(function: &Function<'_>) -> Result<(), Refusal> {
    if function.blocks.len().saturating_mul(function.locals.len()) > LIVENESS_BITS_MAX {
        return Err(too_large("too many blocks and locals to be made resumable"));
    }
    Ok(())
}

fn is_site(op: &Operator<'_>, context: &Context<'_>) -> bool {
    match op {
        Operator::Call { function_index } => (context.call_is_site)(*function_index),
        Operator::CallIndirect { .. } => true,
        _ => false,
    }
}

impl Emitter<'_, '_, '_> {
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

    /// No compiler nests loops this deeply; what follows takes time by their product.
    fn check_loops(&self) -> Result<(), Refusal> {
        let mut loops_around = vec![0; self.function.blocks.len()];
        for (index, block) in self.function.blocks.iter().enumerate().skip(1) {
            let own = usize::from(block.kind == BlockKind::Loop);
            loops_around[index] = loops_around[block.parent] + own;
        }
        if loops_around.iter().any(|&loops| loops > LOOP_NEST_MAX) {
            return Err(too_large(&format!("more than {LOOP_NEST_MAX} loops within loops")));
        }
        let entries: usize = self.sites.iter().map(|site| 1 + loops_around[site.region]).sum();
        if entries > DISPATCH_MAX {
            return Err(too_large("too many calls within loops to be made resumable"));
        }
        if self.sites.iter().map(|site| site.saved.len()).sum::<usize>() > SAVED_MAX {
            return Err(too_large("too many calls and live values to be made resumable"));
        }
        Ok(())
    }

    fn body(&mut self) {
        self.code.push(I::LocalGet(self.fuel));
        let delta = self.frame_depth - (self.function.entry_charge << layout::DEPTH_BITS);
        self.code.push(I::I64Const(delta));
        self.code.push(I::I64Add);
        self.code.push(I::LocalSet(self.fuel));
        self.open(Label::Damaged);
        self.open(Label::Save);
        self.open(Label::Unwound);
        if self.context.exceptions {
            self.open(Label::Thrown);
        }
        self.open(Label::Block(0));
        self.open_region(0);
        self.entry_check();
        for index in 0..self.function.ops.len() {
            self.op(index);
        }
        debug_assert_eq!(self.nest[..3], [Label::Damaged, Label::Save, Label::Unwound]);
        // After the function's own `End`: results are in slots.
        for (height, &ty) in self.function.results.clone().iter().enumerate() {
            let slot = self.slot(height, ty);
            self.code.push(I::LocalGet(slot));
        }
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(self.frame_depth));
        self.code.push(I::I64Sub);
        self.code.push(I::Return);
        if self.context.exceptions {
            self.leave_by_exception();
        }
        self.end_frame();
        self.no_results();
        self.code.push(I::I64Const(layout::UNWOUND));
        self.code.push(I::Return);
        self.close(Label::Damaged);
        self.trap_damaged();
        self.code.push(I::End);
    }
}
