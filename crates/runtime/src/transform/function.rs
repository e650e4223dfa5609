//! One function, read: its live instructions, their effect on the operand stack, its blocks
//! and its basic blocks' costs. Everything later passes need, and nothing of how they emit.

use wasmparser::{
    BlockType, Catch, FuncToValidate, FunctionBody, ModuleArity, Operator, RefType, ValType,
    ValidatorResources, WasmModuleResources,
};

use super::Refusal;
use super::admit::lowered;
use super::charges::{Behind, Charges, With};
use super::cost;

/// An instruction that can be reached, with what it does to the operand stack.
pub struct Op<'a> {
    pub op: Operator<'a>,
    /// Operands taken (not meaningful for control instructions).
    pub pops: usize,
    /// Types of the operands left in their place.
    pub pushes: Vec<ValType>,
    /// The block that a control instruction opens, divides or ends.
    pub block: usize,
    /// Blocks that a branch may go to, the default last; those that a `try_table`'s catches go to.
    pub targets: Vec<usize>,
    /// Types of the operands that a loop begins with, or that lie below a resumable call's own.
    pub below: Vec<ValType>,
    /// Fuel of the basic block that begins *after* this instruction (for `Loop`, `If`, `Else`,
    /// `End` and `BrIf`), if one does.
    pub charge: Option<i64>,
}

/// What opened a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockKind {
    Function,
    Block,
    Loop,
    If,
    /// `try_table`.
    Try,
}

/// A structured block. Block 0 is the function's body.
pub struct Block {
    pub kind: BlockKind,
    pub parent: usize,
    pub params: Vec<ValType>,
    pub results: Vec<ValType>,
    /// The original block type, for blocks that are emitted as they were.
    pub block_type: BlockType,
    /// Operand stack height below its parameters.
    pub height: usize,
    /// Index of the opening instruction (0 for the function).
    pub start: usize,
    /// Index of `Else`, if any.
    pub else_at: Option<usize>,
    /// Index of `End`.
    pub end: usize,
    /// Whether some branch goes to its label.
    pub targeted: bool,
    /// Whether a point at which the function may be resumed lies in it.
    pub resumable: bool,
    /// Whether its end, and its `Else`, are reached by falling through.
    pub end_live: bool,
    pub then_live: bool,
    /// Whether nothing reaches what follows its end.
    pub dead_after: bool,
    /// The basic blocks, as [`Charges`] counts them, in which it is opened and with which it begins.
    opened_in: usize,
    begins_with: usize,
    /// Whether something within leads elsewhere than to its end.
    escapes: bool,
}

/// A function, read.
pub struct Function<'a> {
    pub params: Vec<ValType>,
    pub results: Vec<ValType>,
    /// All locals: parameters, then the fuel (a parameter that the transform adds), then others.
    pub locals: Vec<ValType>,
    pub ops: Vec<Op<'a>>,
    pub blocks: Vec<Block>,
    /// Fuel of the first basic block.
    pub entry_charge: i64,
    /// Highest operand stack.
    pub height_max: usize,
}

impl<'a> Function<'a> {
    /// Reads and validates a body. `is_site(op)` says which calls may be resumed into.
    pub fn read(
        to_validate: &FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'a>,
        is_site: &dyn Fn(&Operator<'_>) -> bool,
    ) -> Result<Self, Refusal> {
        let to_validate = FuncToValidate {
            resources: to_validate.resources.clone(),
            index: to_validate.index,
            ty: to_validate.ty,
            features: to_validate.features,
        };
        let mut validator = to_validate.into_validator(Default::default());
        let index = validator.index();
        validator.read_locals(&mut body.get_binary_reader()).map_err(Refusal::invalid)?;
        let mut reader = body.get_operators_reader().map_err(Refusal::invalid)?;
        let mut locals = (0..validator.len_locals())
            .map(|i| lowered(validator.get_local_type(i).expect("a declared local")))
            .collect::<Result<Vec<ValType>, _>>()?;
        let ty = function_type(validator.resources(), index);
        let (params, results) = ty;
        locals.insert(params.len(), ValType::I64);
        let mut reading = Reading {
            ops: Vec::new(),
            blocks: vec![Block {
                kind: BlockKind::Function,
                parent: 0,
                params: Vec::new(),
                results: results.clone(),
                block_type: BlockType::Empty,
                height: 0,
                start: 0,
                else_at: None,
                end: 0,
                targeted: false,
                resumable: true,
                end_live: false,
                then_live: false,
                dead_after: false,
                opened_in: 0,
                begins_with: 0,
                escapes: false,
            }],
            open: vec![0],
            dead: false,
            dead_nest: 0,
            charges: Charges::new(),
            height_max: 0,
        };
        while !reader.eof() {
            let offset = reader.original_position();
            let op = reader.read().map_err(Refusal::invalid)?;
            let metered = if reading.dead {
                op.clone()
            } else {
                renumber(&without_references(&op, &validator)?, params.len() as u32)
            };
            let (pops, _) = if reading.dead { (0, 0) } else { arity(&op, &validator)? };
            let height = validator.operand_stack_height() as usize;
            // Block parameters are still on the stack when a block opens.
            validator.op(offset, &op).map_err(Refusal::invalid)?;
            let after = validator.operand_stack_height() as usize;
            reading.height_max = reading.height_max.max(after);
            reading.step(metered, pops as usize, height, after, &validator, is_site)?;
        }
        reader.finish().map_err(Refusal::invalid)?;
        let Reading { mut ops, blocks, charges, height_max, .. } = reading;
        let mut entry_charge = 0;
        for (behind, cost) in charges.settle() {
            match behind {
                Behind::Entry => entry_charge = cost,
                Behind::Op(op) => ops[op].charge = Some(cost),
            }
        }
        Ok(Function { params, results, locals, ops, blocks, entry_charge, height_max })
    }

    /// A function without parameters or results that calls two like it: what a module with a
    /// start section begins with.
    pub fn calling(first: u32, second: u32) -> Self {
        let op = |op: Operator<'a>| Op {
            op,
            pops: 0,
            pushes: Vec::new(),
            block: 0,
            targets: Vec::new(),
            below: Vec::new(),
            charge: None,
        };
        let calls = [first, second].map(|function_index| Operator::Call { function_index });
        let entry_charge = calls.iter().map(cost::of).sum();
        let mut ops: Vec<Op<'a>> = calls.into_iter().map(op).collect();
        ops.push(op(Operator::End));
        let body = Block {
            kind: BlockKind::Function,
            parent: 0,
            params: Vec::new(),
            results: Vec::new(),
            block_type: BlockType::Empty,
            height: 0,
            start: 0,
            else_at: None,
            end: 2,
            targeted: false,
            resumable: true,
            end_live: true,
            then_live: false,
            dead_after: false,
            opened_in: 0,
            begins_with: 0,
            escapes: false,
        };
        Function {
            params: Vec::new(),
            results: Vec::new(),
            locals: vec![ValType::I64],
            ops,
            blocks: vec![body],
            entry_charge,
            height_max: 0,
        }
    }

    /// The local that holds the fuel.
    pub fn fuel(&self) -> u32 {
        self.params.len() as u32
    }

    /// Whether `inner` is `outer` or lies in it.
    pub fn within(&self, inner: usize, outer: usize) -> bool {
        let mut block = inner;
        loop {
            if block == outer {
                return true;
            }
            if block == 0 {
                return false;
            }
            block = self.blocks[block].parent;
        }
    }
}

/// References as numbers: see [`lowered`].
fn without_references<'a>(
    op: &Operator<'a>,
    validator: &wasmparser::FuncValidator<ValidatorResources>,
) -> Result<Operator<'a>, Refusal> {
    use Operator as O;
    let null = |ty: ValType| match ty {
        ValType::I32 => O::I32Const { value: 0 },
        _ => O::I64Const { value: 0 },
    };
    Ok(match *op {
        O::RefNull { hty } => {
            null(lowered(ValType::Ref(RefType::new(true, hty).unwrap_or(RefType::EXTERNREF)))?)
        }
        O::RefFunc { function_index } => O::I32Const { value: function_index as i32 + 1 },
        O::RefIsNull => match validator.get_operand_type(0).flatten().map(lowered).transpose()? {
            Some(ValType::I32) => O::I32Eqz,
            _ => O::I64Eqz,
        },
        O::TypedSelect { ty } => O::TypedSelect { ty: lowered(ty)? },
        _ => op.clone(),
    })
}

/// Makes room for the fuel among the locals.
fn renumber<'a>(op: &Operator<'a>, fuel: u32) -> Operator<'a> {
    use Operator as O;
    let moved = |local: u32| local + u32::from(local >= fuel);
    match *op {
        O::LocalGet { local_index } => O::LocalGet { local_index: moved(local_index) },
        O::LocalSet { local_index } => O::LocalSet { local_index: moved(local_index) },
        O::LocalTee { local_index } => O::LocalTee { local_index: moved(local_index) },
        _ => op.clone(),
    }
}

fn arity(op: &Operator<'_>, validator: &impl ModuleArity) -> Result<(u32, u32), Refusal> {
    op.operator_arity(validator)
        .ok_or_else(|| Refusal::Unsupported { what: format!("the instruction {op:?}") })
}

/// Parameter and result types of a function.
pub fn function_type(
    resources: &ValidatorResources,
    function: u32,
) -> (Vec<ValType>, Vec<ValType>) {
    let id = resources.type_id_of_function(function).expect("validated function index");
    let ty = resources.sub_type_at_id(id).unwrap_func();
    (ty.params().to_vec(), ty.results().to_vec())
}

struct Reading<'a> {
    ops: Vec<Op<'a>>,
    blocks: Vec<Block>,
    open: Vec<usize>,
    /// Code that cannot be reached is dropped; it still has to be nested rightly.
    dead: bool,
    dead_nest: usize,
    charges: Charges,
    height_max: usize,
}

impl<'a> Reading<'a> {
    fn push(&mut self, op: Operator<'a>, pops: usize, pushes: Vec<ValType>, block: usize) -> usize {
        self.ops.push(Op {
            op,
            pops,
            pushes,
            block,
            targets: Vec::new(),
            below: Vec::new(),
            charge: None,
        });
        self.ops.len() - 1
    }

    fn target(&mut self, depth: u32) -> usize {
        let at = self.open.len() - 1 - depth as usize;
        for &inner in &self.open[at + 1..] {
            self.blocks[inner].escapes = true;
        }
        let block = self.open[at];
        self.blocks[block].targeted = true;
        block
    }

    /// No open block goes on to its end from here.
    fn leave(&mut self) {
        for &block in &self.open {
            self.blocks[block].escapes = true;
        }
    }

    fn mark_resumable(&mut self) {
        for &block in &self.open {
            self.blocks[block].resumable = true;
        }
    }

    fn step(
        &mut self,
        op: Operator<'a>,
        pops: usize,
        height: usize,
        after: usize,
        validator: &wasmparser::FuncValidator<ValidatorResources>,
        is_site: &dyn Fn(&Operator<'_>) -> bool,
    ) -> Result<(), Refusal> {
        use Operator as O;
        if self.dead {
            match op {
                O::Block { .. } | O::Loop { .. } | O::If { .. } | O::TryTable { .. } => {
                    self.dead_nest += 1;
                    return Ok(());
                }
                O::End if self.dead_nest > 0 => {
                    self.dead_nest -= 1;
                    return Ok(());
                }
                O::Else if self.dead_nest == 0 => {}
                O::End => {}
                _ => return Ok(()),
            }
        }
        self.charges.add(cost::of(&op));
        match op {
            O::Block { .. } | O::Loop { .. } | O::If { .. } | O::TryTable { .. } => {
                let (kind, blockty) = match op {
                    O::Block { blockty } => (BlockKind::Block, blockty),
                    O::Loop { blockty } => (BlockKind::Loop, blockty),
                    O::If { blockty } => (BlockKind::If, blockty),
                    O::TryTable { ref try_table } => (BlockKind::Try, try_table.ty),
                    _ => unreachable!("the four that open a block"),
                };
                // What catches go to lies outside of the block.
                let catches = match &op {
                    O::TryTable { try_table } => try_table.catches.clone(),
                    _ => Vec::new(),
                };
                let targets = catches.iter().map(|catch| self.target(label(catch))).collect();
                let (params, results, block_type) = block_types(validator.resources(), blockty)?;
                let condition = usize::from(kind == BlockKind::If);
                let block = self.blocks.len();
                let at = self.push(op, condition, Vec::new(), block);
                self.ops[at].targets = targets;
                self.blocks.push(Block {
                    kind,
                    parent: *self.open.last().expect("open block"),
                    height: height - condition - params.len(),
                    params,
                    results,
                    block_type,
                    start: at,
                    else_at: None,
                    end: 0,
                    targeted: false,
                    resumable: false,
                    end_live: false,
                    then_live: false,
                    dead_after: false,
                    opened_in: self.charges.current(),
                    begins_with: self.charges.current(),
                    // An exception leaves it before its end.
                    escapes: kind == BlockKind::Try,
                });
                self.open.push(block);
                if kind == BlockKind::Loop {
                    self.ops[at].below = operand_types(validator, 0..after)?;
                }
                // What is thrown goes to a label of ours, as what is restored does.
                if matches!(kind, BlockKind::Loop | BlockKind::Try) {
                    self.mark_resumable();
                }
                if matches!(kind, BlockKind::Loop | BlockKind::If) {
                    let with = match kind {
                        BlockKind::If => With::IfSmall(self.charges.current()),
                        _ => With::Own,
                    };
                    self.charges.begin(at, with);
                    self.blocks[block].begins_with = self.charges.current();
                }
            }
            O::Else => {
                let block = *self.open.last().expect("open block");
                let at = self.push(op, 0, Vec::new(), block);
                self.charges.separate(self.blocks[block].begins_with);
                self.blocks[block].then_live = !self.dead;
                self.blocks[block].else_at = Some(at);
                self.dead = false;
                self.charges.begin(at, With::Own);
            }
            O::End => {
                let block = self.open.pop().expect("open block");
                let live = !self.dead;
                let joined = self.blocks[block].targeted
                    && self.blocks[block].kind != BlockKind::Loop
                    || self.blocks[block].kind == BlockKind::If;
                if live && !joined {
                    // One path in, one path out: the basic block goes on.
                    let at = self.push(op, 0, Vec::new(), block);
                    self.blocks[block].end = at;
                    self.blocks[block].end_live = true;
                    return Ok(());
                }
                let at = self.push(op, 0, Vec::new(), block);
                self.blocks[block].end = at;
                self.blocks[block].end_live = live;
                let else_less = self.blocks[block].kind == BlockKind::If
                    && self.blocks[block].else_at.is_none();
                if else_less && !live {
                    self.blocks[block].then_live = false;
                }
                let then_reaches = self.blocks[block].kind == BlockKind::If
                    && (else_less || self.blocks[block].then_live);
                let forward =
                    self.blocks[block].targeted && self.blocks[block].kind != BlockKind::Loop;
                self.dead = !(live || then_reaches || forward);
                self.blocks[block].dead_after = self.dead;
                if !self.dead {
                    let with = match self.blocks[block].escapes {
                        true => With::Own,
                        false => With::Always(self.blocks[block].opened_in),
                    };
                    self.charges.begin(at, with);
                }
            }
            O::Br { relative_depth } => {
                let target = self.target(relative_depth);
                let at = self.push(op, pops, Vec::new(), 0);
                self.ops[at].targets.push(target);
                self.dead = true;
            }
            O::BrIf { relative_depth } => {
                let target = self.target(relative_depth);
                let at = self.push(op, 1, Vec::new(), 0);
                self.ops[at].targets.push(target);
                // What follows a loop's turn is not for every turn.
                let with = match self.blocks[target].kind {
                    BlockKind::Loop => With::Own,
                    _ => With::IfSmall(self.charges.current()),
                };
                self.charges.begin(at, with);
            }
            O::BrTable { ref targets } => {
                let mut depths = Vec::with_capacity(targets.len() as usize + 1);
                for depth in targets.targets() {
                    depths.push(depth.map_err(Refusal::invalid)?);
                }
                depths.push(targets.default());
                let blocks = depths.into_iter().map(|depth| self.target(depth)).collect();
                let at = self.push(op, 1, Vec::new(), 0);
                self.ops[at].targets = blocks;
                self.dead = true;
            }
            O::Return => {
                self.target(self.open.len() as u32 - 1);
                let at = self.push(op, 0, Vec::new(), 0);
                self.ops[at].targets.push(0);
                self.dead = true;
            }
            O::Unreachable => {
                self.leave();
                self.push(op, 0, Vec::new(), 0);
                self.dead = true;
            }
            O::Throw { .. } | O::ThrowRef => {
                self.leave();
                self.mark_resumable();
                self.push(op, pops, Vec::new(), 0);
                self.dead = true;
            }
            _ => {
                let base = height - pops;
                let pushes = operand_types(validator, base..after)?;
                let below = if is_site(&op) {
                    self.mark_resumable();
                    operand_types(validator, 0..base)?
                } else {
                    Vec::new()
                };
                let at = self.push(op, pops, pushes, 0);
                self.ops[at].below = below;
            }
        }
        Ok(())
    }
}

/// Types of the operands at these heights.
fn operand_types(
    validator: &wasmparser::FuncValidator<ValidatorResources>,
    heights: std::ops::Range<usize>,
) -> Result<Vec<ValType>, Refusal> {
    let top = validator.operand_stack_height() as usize;
    heights
        .map(|height| match validator.get_operand_type(top - 1 - height) {
            Some(Some(ty)) => lowered(ty),
            _ => Err(Refusal::Unsupported { what: "an operand of no known type".to_owned() }),
        })
        .collect()
}

/// Parameters and results of a block, and its type without references.
fn block_types(
    resources: &ValidatorResources,
    block_type: BlockType,
) -> Result<(Vec<ValType>, Vec<ValType>, BlockType), Refusal> {
    let all = |types: &[ValType]| types.iter().map(|&ty| lowered(ty)).collect::<Result<_, _>>();
    Ok(match block_type {
        BlockType::Empty => (Vec::new(), Vec::new(), block_type),
        BlockType::Type(ty) => (Vec::new(), vec![lowered(ty)?], BlockType::Type(lowered(ty)?)),
        BlockType::FuncType(index) => {
            let ty = resources.sub_type_at(index).expect("validated type index").unwrap_func();
            (all(ty.params())?, all(ty.results())?, block_type)
        }
    })
}

/// The label that a catch goes to.
fn label(catch: &Catch) -> u32 {
    match *catch {
        Catch::One { label, .. }
        | Catch::OneRef { label, .. }
        | Catch::All { label }
        | Catch::AllRef { label } => label,
    }
}
