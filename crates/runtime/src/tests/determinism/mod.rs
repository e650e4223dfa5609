//! The rules that make one task one chain on any machine, each with a test that fails without
//! it. Guests that compilers made are in [`guests`]; what floats may do in [`floats`].

mod floats;
mod guests;
mod limits;

use std::cell::OnceCell;

use super::{Traced, in_large_stack, trace};
use crate::checkpoint::{Checkpoint, GlobalValue};
use crate::engine::Compiler;
use crate::execution::Execution;
use crate::protocol::Outcome;
use crate::task::Task;
use crate::tests::InProcess;

/// No limit but the runtime's own.
const UNLIMITED: u64 = base::TASK_FUEL_MAX;

/// Two engines whose machine code differs, as that of two versions or processors does.
pub struct Engines {
    pub optimised: InProcess,
    pub unoptimised: InProcess,
}

impl Engines {
    /// Made once per thread: few tests need more than one.
    pub fn with<T: Send>(body: impl FnOnce(&Engines) -> T + Send) -> T {
        thread_local! {
            static ENGINES: OnceCell<Engines> = const { OnceCell::new() };
        }
        let directory = |name| Some(std::env::temp_dir().join(format!("jusha-test-{name}")));
        in_large_stack(|| {
            ENGINES.with(|engines| {
                body(engines.get_or_init(|| Engines {
                    optimised: InProcess::new(
                        Compiler::new().expect("an engine"),
                        directory("artefacts"),
                    ),
                    unoptimised: InProcess::new(
                        Compiler::unoptimised().expect("an engine"),
                        directory("artefacts-0"),
                    ),
                }))
            })
        })
    }

    /// Runs on both engines, whole and interrupted, and gives what all of that agrees on.
    pub fn agree(&self, name: &str, task: &Task, fuel_max: u64) -> Traced {
        let whole = trace(&self.optimised, task, None, fuel_max, &[])
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let fuel = whole.trace.end.usage.fuel;
        for (compiler, stops) in [
            (&self.optimised, vec![1, fuel / 3, fuel - fuel / 4]),
            (&self.optimised, (1..9).map(|piece| fuel * piece / 9).collect()),
            (&self.unoptimised, vec![]),
            (&self.unoptimised, vec![fuel / 2]),
        ] {
            let other = trace(compiler, task, None, fuel_max, &stops)
                .unwrap_or_else(|error| panic!("{name} stopped at {stops:?}: {error}"));
            let same = super::fuzz::same(&whole, &other);
            assert_eq!(same, Ok(()), "{name}: stopped at {stops:?}");
        }
        whole
    }

    /// The same in the canonical build from the beginning.
    pub fn canonical(&self, task: &Task, stops: &[u64]) -> [Traced; 2] {
        [&self.optimised, &self.unoptimised].map(|compiler| {
            let beginning = canonical_beginning(compiler, task);
            trace(compiler, task, Some(beginning), UNLIMITED, stops).expect("it runs")
        })
    }
}

/// The task's beginning, to be run in the canonical build.
pub fn canonical_beginning(compiler: &InProcess, task: &Task) -> Checkpoint {
    let checkpoint = Execution::new(task, compiler, None, None).expect("it is admitted").capture();
    let mut manifest = checkpoint.check().expect("just captured");
    manifest.canonical = true;
    Checkpoint::new(&manifest, checkpoint.leaves().clone())
}

/// The value of the last mutable global.
pub fn last_global(traced: &Traced) -> i64 {
    match traced.state.globals.last() {
        Some(GlobalValue::I64(value)) => *value,
        other => panic!("{other:?}"),
    }
}

fn exited(traced: &Traced) -> i32 {
    match traced.trace.end.outcome {
        Outcome::Exited(status) => status,
        ref other => panic!("{other:?}"),
    }
}
