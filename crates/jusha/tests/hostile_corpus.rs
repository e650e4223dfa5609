//! The hostile corpus: programs, modules and workers made to do harm, run by the real program in
//! real worker processes. Each test is one of them, and ends in a typed outcome within the limits
//! that were set. (Workers that lie on their pipe are in `runtime`'s `launch::tests`; modules and
//! checkpoints altered at every byte in its `tests::hostile`; what a liar can do to the bill in
//! `exchange` and `clearing`.)

mod hostile;
mod stage;
