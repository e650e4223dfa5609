//! Which functions can be on the stack at a safepoint.
//!
//! Safepoints are loop headers and the entries of functions that loop, call indirectly, throw or
//! catch, lie on a call cycle, are large, or call such a function. Everything else ends within a bounded amount
//! of fuel and native stack, and needs no way back in.

use wasmparser::Operator;

use super::admit::{Admitted, Refusal};
use super::cost;
use super::uses::{Helper, Uses};

/// Most fuel, and most values on the native stack, of a function without safepoints, with all it
/// calls: beyond it the function gets safepoints of its own.
const LEAF_FUEL_MAX: i64 = 1 << 17;
const LEAF_VALUES_MAX: usize = 1 << 13;

/// For each defined function, whether it can be on the stack at a safepoint. Notes what the
/// bodies use.
pub fn resumable(admitted: &Admitted<'_>, uses: &mut Uses) -> Result<Vec<bool>, Refusal> {
    let imports = admitted.imports.len();
    let count = admitted.functions.len();
    let mut resumable = vec![false; count];
    let mut calls: Vec<Vec<usize>> = vec![Vec::new(); count];
    // Own fuel and values; those of callees are added below.
    let mut sizes: Vec<(i64, usize)> = Vec::with_capacity(count);
    for (index, (_, body)) in admitted.functions.iter().enumerate() {
        let mut fuel = 0i64;
        let mut values = 0usize;
        for locals in body.get_locals_reader().map_err(Refusal::invalid)? {
            values = values.saturating_add(locals.map_err(Refusal::invalid)?.0 as usize);
        }
        let mut reader = body.get_operators_reader().map_err(Refusal::invalid)?;
        while !reader.eof() {
            let op = reader.read().map_err(Refusal::invalid)?;
            fuel = fuel.saturating_add(cost::of(&op));
            uses.note(&op, admitted)?;
            match op {
                Operator::Loop { .. } | Operator::CallIndirect { .. } => resumable[index] = true,
                // Exceptions go the way that leads back to a position.
                Operator::TryTable { .. } | Operator::Throw { .. } | Operator::ThrowRef => {
                    resumable[index] = true;
                }
                // What these take depends on their operands: as much as a safepoint may be away.
                Operator::MemoryFill { .. }
                | Operator::MemoryCopy { .. }
                | Operator::MemoryGrow { .. } => fuel = fuel.saturating_add(LEAF_FUEL_MAX / 8),
                Operator::Call { function_index } => {
                    match (function_index as usize).checked_sub(imports) {
                        Some(callee) => calls[index].push(callee),
                        None => fuel = fuel.saturating_add(LEAF_FUEL_MAX / 8),
                    }
                }
                op if Helper::of(&op).is_some() => {
                    fuel = fuel.saturating_add(LEAF_FUEL_MAX / 8);
                }
                _ => {}
            }
        }
        sizes.push((fuel, values));
    }
    for cycle in cycles(&calls) {
        resumable[cycle] = true;
    }
    bound_leaves(&calls, &sizes, &mut resumable);
    let mut callers: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (caller, callees) in calls.iter().enumerate() {
        for &callee in callees {
            if let Some(list) = callers.get_mut(callee) {
                list.push(caller);
            }
        }
    }
    let mut work: Vec<usize> = (0..count).filter(|&index| resumable[index]).collect();
    while let Some(callee) = work.pop() {
        for &caller in &callers[callee] {
            if !resumable[caller] {
                resumable[caller] = true;
                work.push(caller);
            }
        }
    }
    Ok(resumable)
}

/// Marks functions whose calls, without any loop, add up to too much: thirty functions that call
/// each the next one twice are a billion calls. Callees come before their callers.
fn bound_leaves(calls: &[Vec<usize>], sizes: &[(i64, usize)], resumable: &mut [bool]) {
    let mut total: Vec<Option<(i64, usize)>> = vec![None; calls.len()];
    for root in 0..calls.len() {
        let mut work = vec![(root, 0)];
        while let Some(&mut (node, ref mut edge)) = work.last_mut() {
            if resumable[node] {
                // It has safepoints: what it takes is no concern of its callers.
                total[node] = Some((0, 0));
            }
            if total[node].is_some() {
                work.pop();
                continue;
            }
            if let Some(&callee) = calls[node].get(*edge) {
                *edge += 1;
                if callee < calls.len() && total[callee].is_none() {
                    work.push((callee, 0));
                }
                continue;
            }
            let (mut fuel, mut below) = (sizes[node].0, 0);
            for callee in calls[node].iter().filter(|&&callee| callee < calls.len()) {
                let (callee_fuel, callee_values) = total[*callee].unwrap_or_default();
                fuel = fuel.saturating_add(callee_fuel);
                below = below.max(callee_values);
            }
            // Every frame takes some room, however few values it has.
            let values = sizes[node].1.saturating_add(8).saturating_add(below);
            resumable[node] = fuel > LEAF_FUEL_MAX || values > LEAF_VALUES_MAX;
            total[node] = Some(if resumable[node] { (0, 0) } else { (fuel, values) });
            work.pop();
        }
    }
}

/// Functions on a call cycle: members of strongly connected components of more than one
/// function, and self-callers. (Tarjan 1972, with an explicit stack.)
fn cycles(calls: &[Vec<usize>]) -> Vec<usize> {
    const UNSEEN: usize = usize::MAX;
    let count = calls.len();
    let mut index = vec![UNSEEN; count];
    let mut low = vec![0; count];
    let mut on_stack = vec![false; count];
    let mut stack = Vec::new();
    let mut next = 0;
    let mut found = Vec::new();
    for root in 0..count {
        if index[root] != UNSEEN {
            continue;
        }
        let mut work = vec![(root, 0)];
        while let Some(&mut (node, ref mut edge)) = work.last_mut() {
            if *edge == 0 && index[node] == UNSEEN {
                index[node] = next;
                low[node] = next;
                next += 1;
                stack.push(node);
                on_stack[node] = true;
            }
            if let Some(&callee) = calls[node].get(*edge) {
                *edge += 1;
                if callee >= count {
                    continue; // out of range: the validator will say so
                }
                if index[callee] == UNSEEN {
                    work.push((callee, 0));
                } else if on_stack[callee] {
                    low[node] = low[node].min(index[callee]);
                }
                continue;
            }
            work.pop();
            if let Some(&(parent, _)) = work.last() {
                low[parent] = low[parent].min(low[node]);
            }
            if low[node] == index[node] {
                let mut members = Vec::new();
                loop {
                    let member = stack.pop().expect("component on stack");
                    on_stack[member] = false;
                    members.push(member);
                    if member == node {
                        break;
                    }
                }
                if members.len() > 1 || calls[node].contains(&node) {
                    found.extend(members);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::cycles;

    #[test]
    fn cycles_are_found_and_nothing_else() {
        let calls = vec![vec![1], vec![2, 3], vec![1], vec![4], vec![4], vec![0, 6], vec![]];
        let mut found = cycles(&calls);
        found.sort_unstable();
        assert_eq!(found, [1, 2, 4]);
    }
}
