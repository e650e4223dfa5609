//! What a module's code does to its tables and segments: instructions whose effect the engine
//! keeps where the host can't read it, so that the transform keeps it, too ([`super::tables`]).

use std::collections::BTreeSet;

use wasmparser::Operator;

use super::admit::{Admitted, Refusal};

/// An instruction that one of our own functions stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Helper {
    /// `memory.init` of a segment.
    MemoryInit(u32),
    TableGet(u32),
    TableSet(u32),
    TableGrow(u32),
    TableFill(u32),
    /// To the first table, from the second.
    TableCopy(u32, u32),
    /// Of the table, from the element segment.
    TableInit(u32, u32),
}

impl Helper {
    /// The one that stands for an instruction.
    pub fn of(op: &Operator<'_>) -> Option<Helper> {
        Some(match *op {
            Operator::MemoryInit { data_index, .. } => Helper::MemoryInit(data_index),
            Operator::TableGet { table } => Helper::TableGet(table),
            Operator::TableSet { table } => Helper::TableSet(table),
            Operator::TableGrow { table } => Helper::TableGrow(table),
            Operator::TableFill { table } => Helper::TableFill(table),
            Operator::TableCopy { dst_table, src_table } => Helper::TableCopy(dst_table, src_table),
            Operator::TableInit { table, elem_index } => Helper::TableInit(table, elem_index),
            _ => return None,
        })
    }
}

/// What the bodies use of all this.
#[derive(Default)]
pub struct Uses {
    pub helpers: BTreeSet<Helper>,
    /// Functions of which references are made.
    pub references: BTreeSet<u32>,
    pub data_drop: bool,
    pub element_drop: bool,
    /// Whether exceptions are thrown or caught.
    pub exceptions: bool,
}

impl Uses {
    /// Notes an instruction; refuses calls of types that can't be told apart.
    pub fn note(&mut self, op: &Operator<'_>, admitted: &Admitted<'_>) -> Result<(), Refusal> {
        self.helpers.extend(Helper::of(op));
        match *op {
            Operator::RefFunc { function_index } => {
                self.references.insert(function_index);
            }
            Operator::DataDrop { .. } => self.data_drop = true,
            Operator::ElemDrop { .. } => self.element_drop = true,
            Operator::TryTable { .. } | Operator::Throw { .. } | Operator::ThrowRef => {
                self.exceptions = true;
            }
            Operator::CallIndirect { type_index, .. } => admitted.check_callable(type_index)?,
            _ => {}
        }
        Ok(())
    }

    /// Whether tables can become others than they were, or are read.
    pub fn tables(&self) -> bool {
        self.helpers.iter().any(|helper| !matches!(helper, Helper::MemoryInit(_)))
    }
}
