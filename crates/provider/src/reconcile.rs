//! After a connection: what to go on with, what to start, what to drop.
//!
//! The exchange's list is the truth about which attempts live. Pure, so that every case is a
//! row of a test.

use std::collections::BTreeMap;

use base::AttemptId;
use wire::AttemptStart;

/// What this process knows of one of its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ours {
    /// Sequence of a receipt that was sent and not answered.
    pub unacknowledged: Option<u64>,
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Lapsed, cancelled or finished meanwhile: stop, nothing more is paid for them.
    pub drop: Vec<AttemptId>,
    /// Ours by the exchange's word, but not running here: the agent was restarted, or the
    /// start got lost on the way.
    pub start: Vec<AttemptStart>,
    /// Their last receipt may have been lost: send it again.
    pub resend: Vec<AttemptId>,
    /// Their last receipt was accepted and only the answer was lost.
    pub accepted: Vec<(AttemptId, u64)>,
}

/// Compares the attempts that run here with those that the exchange lists.
pub(crate) fn reconcile(ours: &BTreeMap<AttemptId, Ours>, listed: &[AttemptStart]) -> Plan {
    let mut plan = Plan::default();
    for start in listed {
        match ours.get(&start.attempt) {
            None => plan.start.push(start.clone()),
            Some(Ours { unacknowledged: None }) => {}
            Some(Ours { unacknowledged: Some(sequence) }) => {
                if *sequence <= start.receipt_sequence {
                    plan.accepted.push((start.attempt, *sequence));
                } else {
                    plan.resend.push(start.attempt);
                }
            }
        }
    }
    plan.drop = ours
        .keys()
        .copied()
        .filter(|attempt| !listed.iter().any(|start| start.attempt == *attempt))
        .collect();
    plan
}

#[cfg(test)]
mod tests {
    use base::{Digest, JobId, LeaseId, TaskId, Usage};

    use super::*;

    fn listed(attempt: u128, receipt_sequence: u64) -> AttemptStart {
        AttemptStart {
            attempt: AttemptId(attempt),
            lease: LeaseId(1),
            job: JobId(1),
            task: TaskId(1),
            epoch: 1,
            spec: Digest::default(),
            checkpoint: None,
            usage: Usage::ZERO,
            receipt_sequence,
            fuel_allowance: u64::MAX,
        }
    }

    /// `ours` as (attempt, unacknowledged), `theirs` as (attempt, accepted).
    fn check(ours: &[(u128, Option<u64>)], theirs: &[(u128, u64)], expected: &str) {
        let ours = ours
            .iter()
            .map(|(attempt, unacknowledged)| {
                (AttemptId(*attempt), Ours { unacknowledged: *unacknowledged })
            })
            .collect();
        let theirs: Vec<AttemptStart> = theirs.iter().map(|(a, s)| listed(*a, *s)).collect();
        let plan = reconcile(&ours, &theirs);
        let mut words: Vec<String> = Vec::new();
        words.extend(plan.drop.iter().map(|a| format!("drop {}", a.0)));
        words.extend(plan.start.iter().map(|s| format!("start {}", s.attempt.0)));
        words.extend(plan.resend.iter().map(|a| format!("resend {}", a.0)));
        words.extend(plan.accepted.iter().map(|(a, s)| format!("accepted {} #{s}", a.0)));
        assert_eq!(words.join(", "), expected);
    }

    #[test]
    fn cases() {
        check(&[], &[], "");
        // Nothing happened while away.
        check(&[(1, None)], &[(1, 3)], "");
        // The lease lapsed meanwhile.
        check(&[(1, None)], &[], "drop 1");
        // A final receipt was accepted, and the answer got lost.
        check(&[(1, Some(4))], &[], "drop 1");
        // The agent was restarted.
        check(&[], &[(1, 3)], "start 1");
        // A receipt got lost on the way there, and on the way back.
        check(&[(1, Some(4))], &[(1, 3)], "resend 1");
        check(&[(1, Some(4))], &[(1, 4)], "accepted 1 #4");
        // All at once.
        check(&[(1, None), (2, Some(1))], &[(2, 0), (3, 0)], "drop 1, start 3, resend 2");
    }
}
