//! One file per subcommand, each thin: options, a call, output.

pub mod admin;
pub mod doctor;
pub mod exchange;
pub mod exec;
pub mod jobs;
pub mod lease;
pub mod login;
pub mod machine;
pub mod map;
pub mod market;
pub mod order;
pub mod payments;
pub mod provide;
pub mod run;
pub mod runtime;
pub mod statement;
pub mod up;
pub mod verify;
pub mod wallet;
