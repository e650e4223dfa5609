//! What is wrong is refused, and harms nobody: the real program in every role, on loopback.
//!
//! Each case shows a message with the offending value and what to do about it, the exit status
//! that `jusha::exit` documents or the HTTP status that the API does, and then that nothing was
//! lost and nothing was paid that was not done.

mod bad;
mod stage;
