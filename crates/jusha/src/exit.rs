//! Exit statuses of `exec`, `run` and `map`.
//!
//! | status | meaning |
//! |---|---|
//! | 0–120, 126–255 | the program's own exit status (with `exec` and `run`) |
//! | 121 | the program trapped; standard error names the trap code |
//! | 122 | a limit: its fuel limit, or the job's budget |
//! | 123 | machine fault: the host failed; nothing is a result, nothing was billed |
//! | 124 | refused: not a module that can be run, an input or checkpoint that is missing, damaged or of another program |
//! | 125 | anything else in the way: no exchange, no money, a file that can't be written |
//! | 1 | `map`: a task's program ended with another status than 0; `verify`: the chain differs |
//! | 2 | the command line is wrong |
//! | 130 | interrupted by Ctrl-C or SIGTERM; the job is cancelled, or the message says why not |
//!
//! A program may exit with 121 to 125 itself: then the line on standard error that `jusha`
//! writes for those is absent. A status outside 0–255 becomes 255: an exit status that
//! silently turned into 0 would lie.

use crate::terminal::clean;

/// The program trapped.
pub const TRAPPED: u8 = 121;
/// A limit was reached.
pub const LIMIT: u8 = 122;
/// The host failed.
pub const MACHINE_FAULT: u8 = 123;
/// Refused by name.
pub const REFUSED: u8 = 124;
/// Anything else.
pub const FAILED: u8 = 125;
/// Ctrl-C or SIGTERM.
pub const INTERRUPTED: u8 = 130;

/// For `--help`.
pub const HELP: &str = "\
Exit status: the program's own; 121 it trapped; 122 a limit (fuel, budget); 123 machine fault;
124 refused (module, input or checkpoint); 125 anything else in the way; 2 wrong command line.";

/// The exit status of a finished program, and the line that explains it if it is not its own.
pub fn of_outcome(outcome: &wire::Outcome) -> (u8, Option<String>) {
    match outcome {
        wire::Outcome::Exited { status } => match u8::try_from(*status) {
            Ok(status) => (status, None),
            Err(_) => (255, Some(format!("the program's exit status is {status}, shown as 255"))),
        },
        wire::Outcome::Trapped { code } => {
            let code = clean(code);
            (TRAPPED, Some(format!("the program trapped: {code} (exit status {TRAPPED})")))
        }
        wire::Outcome::FuelLimit => (
            LIMIT,
            Some(format!(
                "the program was stopped at its fuel limit (exit status {LIMIT}); --fuel-max \
                 raises it"
            )),
        ),
    }
}

/// The runtime's outcome as it travels.
pub fn to_wire(outcome: &runtime::protocol::Outcome) -> wire::Outcome {
    use runtime::protocol::Outcome;
    match outcome {
        Outcome::Exited(status) => wire::Outcome::Exited { status: *status },
        Outcome::Trapped(code) => wire::Outcome::Trapped { code: code.name().to_owned() },
        Outcome::FuelLimit => wire::Outcome::FuelLimit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_becomes_a_success() {
        for (status, shown) in [(0, 0), (7, 7), (255, 255), (256, 255), (-1, 255)] {
            assert_eq!(of_outcome(&wire::Outcome::Exited { status }).0, shown);
        }
    }
}
