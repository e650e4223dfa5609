//! Why a task has no result: what is refused, and what is the host's.

use crate::base_state::BaseError;
use crate::checkpoint::CheckpointError;
use crate::engine::CompileError;
use crate::instance::InstanceError;
use crate::protocol::Redo;
use crate::transform::Refusal;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Module, world or checkpoint are refused, by name.
    #[error("{0}")]
    Refused(String),
    /// The host failed.
    #[error("{0}")]
    Fault(String),
    /// It goes on in another process, from the last capture (`Execution::into_last`).
    #[error("the run goes on in another build")]
    Elsewhere(Redo),
}

impl From<CompileError> for RunError {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Refused(refusal) => refusal.into(),
            CompileError::Engine(_) | CompileError::Elsewhere => RunError::Fault(error.to_string()),
        }
    }
}

impl From<Refusal> for RunError {
    fn from(refusal: Refusal) -> Self {
        RunError::Refused(refusal.to_string())
    }
}

impl From<InstanceError> for RunError {
    fn from(error: InstanceError) -> Self {
        match error {
            InstanceError::World(_) | InstanceError::Checkpoint(_) | InstanceError::Segment => {
                RunError::Refused(error.to_string())
            }
            InstanceError::Fault(_) => RunError::Fault(error.to_string()),
        }
    }
}

impl From<BaseError> for RunError {
    fn from(error: BaseError) -> Self {
        RunError::Refused(error.to_string())
    }
}

impl From<CheckpointError> for RunError {
    fn from(error: CheckpointError) -> Self {
        RunError::Refused(error.to_string())
    }
}
