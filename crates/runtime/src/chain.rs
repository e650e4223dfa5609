//! The chain: digests over a task's states at multiples of S of its own fuel. Two machines that
//! ran the same task have the same chain, so re-running one segment checks it.

use std::collections::BTreeMap;

use base::{Digest, Usage};

use crate::protocol::{Outcome, Record};
use crate::world::World;

/// c₀: before the first instruction.
pub fn genesis(task: &Digest, state_root: &Digest) -> Digest {
    Digest::of_parts("jusha chain genesis v1", &[&task.0, &state_root.0])
}

/// cₙ from cₙ₋₁. Usage is in the chain, so audits see inflated bills as well as wrong results.
pub fn next(
    head: &Digest,
    segment_fuel: u64,
    state: &Digest,
    usage: &Usage,
    output_root: &Digest,
) -> Record {
    let k = usage.fuel / segment_fuel;
    let digest = Digest::of_parts(
        "jusha chain v1",
        &[
            &head.0,
            &k.to_le_bytes(),
            &usage.fuel.to_le_bytes(),
            &state.0,
            &usage.memory_page_fuel.to_le_bytes(),
            &usage.state_bytes.to_le_bytes(),
            &usage.traffic_bytes.to_le_bytes(),
            &output_root.0,
        ],
    );
    Record { k, fuel: usage.fuel, digest }
}

/// What stands for the state in a task's last record: how it ended, and no memories.
pub fn end_state(outcome: &Outcome) -> Digest {
    let (kind, value) = match outcome {
        Outcome::Exited(status) => (0u8, *status as u32),
        Outcome::Trapped(code) => (1, *code as u32),
        Outcome::FuelLimit => (2, 0),
    };
    Digest::of_parts("jusha end v1", &[&[kind], &value.to_le_bytes()])
}

/// Everything the program has put out so far.
pub fn output_root(world: &World) -> Digest {
    let outputs: BTreeMap<String, Vec<u8>> = world.outputs();
    let files: Vec<u8> = outputs
        .iter()
        .flat_map(|(name, content)| {
            let name = Digest::of(name.as_bytes());
            [name.0, Digest::of(content).0].concat()
        })
        .collect();
    Digest::of_parts(
        "jusha output v1",
        &[&Digest::of(world.stdout()).0, &Digest::of(world.stderr()).0, &files],
    )
}
