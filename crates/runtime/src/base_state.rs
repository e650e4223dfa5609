//! Tasks that begin in the middle: after the start-up of their runtime.
//!
//! An interpreter spends most of a short task on its own start-up, which is the same every time.
//! So a *base* is made once: a checkpoint of a task that ran until it asked for the path
//! [`MARK`], which never exists. A program says so without knowing of Jusha (`os.path.exists` in
//! Python, `access` in C), and anywhere else the call does nothing.
//!
//! What belongs to whom:
//!
//! - **To the base**: everything before the first safepoint past the mark, at which it is made. A
//!   program that calls the host before it gets there is refused: what it drew or read would be in
//!   the base. Any loop or call of a function in between will do.
//! - **To the base** as well: the module, its arguments and environment, memory, globals and frames. A
//!   task must have the same module, arguments and environment.
//! - **To the task**: standard input, inputs, limits, segments, seed and clock. So a base is made
//!   without input, and must not have written or opened anything yet.
//! - **Anew**: the random stream, from its beginning and of the task's seed, before the program
//!   goes on. What a program drew before is in its memory: it seeds its generators after the
//!   mark. Clocks go on from where they were.
//! - **Fuel**: begins at 0; the start-up is not the task's, nor is the base its traffic.
//!
//! The task's digest covers the base by its state root, so a result from a base is never taken for
//! one without.

use base::Digest;

use crate::checkpoint::{CheckpointError, Manifest};
use crate::save::CheckpointFile;
use crate::task::Task;

/// Asking for this path, relative to the root or not, marks the point. It never exists.
pub const MARK: &str = ".jusha-base";

/// Whether a path that a program asks for is [`MARK`].
pub(crate) fn is_mark(path: &[u8]) -> bool {
    let path = path.strip_prefix(b"./").or_else(|| path.strip_prefix(b"/")).unwrap_or(path);
    path == MARK.as_bytes()
}

/// Why a task can't begin there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    /// The base is damaged.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It is not this task's.
    #[error("the base is of another {0}; make one with this task's")]
    Other(&'static str),
    /// It was made from a task with input.
    #[error("the base was made with standard input or input files; make it without")]
    Input,
}

/// Checks a base against the task, whose module has this digest, that is to begin in it. A base
/// without a module of its own has the task's.
pub(crate) fn check(
    base: &CheckpointFile,
    task: &Task,
    module: &Digest,
) -> Result<Manifest, BaseError> {
    if !base.task.module.is_empty() && base.task.module != task.module {
        return Err(BaseError::Other("program"));
    }
    if base.task.args != task.args {
        return Err(BaseError::Other("list of arguments"));
    }
    if base.task.env != task.env {
        return Err(BaseError::Other("environment"));
    }
    if !base.task.stdin.is_empty() || !base.task.inputs.is_empty() {
        return Err(BaseError::Input);
    }
    let manifest = base.checkpoint.check()?;
    if manifest.task != base.task.digest_with(module) {
        return Err(CheckpointError::Damaged("it is of another task".to_owned()).into());
    }
    Ok(manifest)
}

/// The identity of a task that begins in a base.
pub(crate) fn digest(task: &Digest, base: &Manifest) -> Digest {
    Digest::of_parts(
        "jusha based task v1",
        &[
            &task.0,
            &base.state_root().0,
            &base.usage.fuel.to_le_bytes(),
            &[u8::from(base.canonical)],
        ],
    )
}
