//! Whether the units of fixed leases are there, found by asking: every so often a probe goes to the
//! lease's machine, and the answer must be there before the next one goes. Owned by the sequencer,
//! never journaled; only a change of the verdict becomes a command. Time is an argument.
//!
//! After a start machines get time to come back before their first probe, and time in which the
//! exchange itself stood still is nobody's outage.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base::{Digest, LeaseId, MachineId};

/// What is known of one lease's unit.
#[derive(Debug)]
struct Probed {
    machine: MachineId,
    due: Instant,
    /// The probe that is on its way or was answered.
    nonce: Option<Digest>,
    /// Whether it was answered.
    answered: bool,
    counts: Counts,
}

/// How often a unit was asked, and how often it answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub asked: u64,
    pub answered: u64,
}

/// A probe to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub machine: MachineId,
    pub lease: LeaseId,
    pub nonce: Digest,
}

/// The open fixed leases, by when they are asked next.
#[derive(Debug)]
pub(crate) struct Probes {
    leases: BTreeMap<LeaseId, Probed>,
    due: BTreeSet<(Instant, LeaseId)>,
    /// Answered since the last look: found up.
    up: BTreeSet<LeaseId>,
    every: Duration,
}

impl Probes {
    pub fn new(every: Duration) -> Self {
        Probes { leases: BTreeMap::new(), due: BTreeSet::new(), up: BTreeSet::new(), every }
    }

    /// Asks for a lease's unit from `first` on.
    pub fn watch(&mut self, lease: LeaseId, machine: MachineId, first: Instant) {
        self.forget(lease);
        let (nonce, answered, counts) = (None, false, Counts::default());
        self.leases.insert(lease, Probed { machine, due: first, nonce, answered, counts });
        self.due.insert((first, lease));
    }

    /// The lease is over.
    pub fn forget(&mut self, lease: LeaseId) {
        if let Some(probed) = self.leases.remove(&lease) {
            self.due.remove(&(probed.due, lease));
            self.up.remove(&lease);
        }
    }

    /// The exchange stood still for so long, and could hear nobody.
    pub fn shift(&mut self, stall: Duration) {
        self.due.clear();
        for (lease, probed) in &mut self.leases {
            probed.due += stall;
            self.due.insert((probed.due, *lease));
        }
    }

    /// A machine answers. What another machine says, or to an older probe, is no answer.
    pub fn answered(&mut self, machine: MachineId, lease: LeaseId, nonce: Digest) {
        let Some(probed) = self.leases.get_mut(&lease) else { return };
        if probed.machine == machine && probed.nonce == Some(nonce) && !probed.answered {
            probed.answered = true;
            probed.counts.answered += 1;
            self.up.insert(lease);
        }
    }

    /// Units that were found there or not since the last look.
    pub fn verdicts(&mut self, now: Instant) -> Vec<(LeaseId, bool)> {
        let up = std::mem::take(&mut self.up).into_iter().map(|lease| (lease, true));
        let late = self.due.iter().take_while(|(due, _)| *due <= now).map(|(_, lease)| *lease);
        let silent = late.filter(|lease| {
            let probed = &self.leases[lease];
            probed.nonce.is_some() && !probed.answered
        });
        up.chain(silent.map(|lease| (lease, false))).collect()
    }

    /// Probes that are due, with a nonce each; the next is due after the period.
    pub fn questions(
        &mut self,
        now: Instant,
        mut nonce: impl FnMut() -> Option<Digest>,
    ) -> Vec<Question> {
        let mut questions = Vec::new();
        while let Some((due, lease)) = self.due.first().copied()
            && due <= now
        {
            let Some(nonce) = nonce() else { break };
            self.due.remove(&(due, lease));
            if let Some(probed) = self.leases.get_mut(&lease) {
                probed.due = now + self.every;
                (probed.nonce, probed.answered) = (Some(nonce), false);
                probed.counts.asked += 1;
                self.due.insert((probed.due, lease));
                questions.push(Question { machine: probed.machine, lease, nonce });
            }
        }
        questions
    }

    /// How a unit did since the exchange started.
    pub fn counts(&self, lease: LeaseId) -> Counts {
        self.leases.get(&lease).map(|probed| probed.counts).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: LeaseId = LeaseId(1);
    const MACHINE: MachineId = MachineId(2);
    const EVERY: Duration = Duration::from_secs(5);
    const NONE: [bool; 0] = [];

    struct World {
        probes: Probes,
        start: Instant,
        nonces: u8,
    }

    impl World {
        fn new() -> World {
            let (mut probes, start) = (Probes::new(EVERY), Instant::now());
            probes.watch(LEASE, MACHINE, start);
            World { probes, start, nonces: 0 }
        }

        /// The verdicts after so many seconds, and the nonce of the probe that goes out then.
        fn at(&mut self, seconds: u64) -> (Vec<bool>, Option<Digest>) {
            let now = self.start + Duration::from_secs(seconds);
            let verdicts = self.probes.verdicts(now).into_iter().map(|(_, up)| up).collect();
            let questions = self.probes.questions(now, || {
                self.nonces += 1;
                Some(Digest::of(&[self.nonces]))
            });
            assert!(questions.len() <= 1);
            (verdicts, questions.first().map(|question| question.nonce))
        }
    }

    #[test]
    fn an_answer_before_the_next_probe_is_a_sign_of_life() {
        let mut world = World::new();
        let (verdicts, first) = world.at(0);
        assert_eq!(verdicts, NONE, "it was not asked yet");
        world.probes.answered(MACHINE, LEASE, first.unwrap());
        world.probes.answered(MACHINE, LEASE, first.unwrap());
        assert_eq!(world.at(1), (vec![true], None));
        let (verdicts, second) = world.at(5);
        assert_eq!(verdicts, NONE);
        assert_eq!(world.at(9), (vec![], None), "it still has a second");
        let (verdicts, third) = world.at(10);
        assert_eq!(verdicts, [false]);
        world.probes.answered(MACHINE, LEASE, second.unwrap());
        world.probes.answered(MachineId(3), LEASE, third.unwrap());
        assert_eq!(world.at(14).0, NONE, "too late, or another's");
        world.probes.answered(MACHINE, LEASE, third.unwrap());
        assert_eq!(world.at(15).0, [true]);
        assert_eq!(world.probes.counts(LEASE), Counts { asked: 4, answered: 2 });
    }

    #[test]
    fn what_is_over_is_asked_no_more_and_a_stall_is_nobodys_outage() {
        let mut world = World::new();
        world.at(0);
        world.probes.shift(Duration::from_secs(60));
        assert_eq!(world.at(64), (vec![], None));
        assert_eq!(world.at(65).0, [false]);
        world.probes.forget(LEASE);
        assert_eq!(world.at(1_000), (vec![], None));
    }

    #[test]
    fn without_randomness_nothing_is_asked_and_nobody_is_down() {
        let mut world = World::new();
        assert_eq!(world.probes.questions(world.start, || None), []);
        assert_eq!(world.at(3).0, NONE);
        assert_eq!(world.at(8).0, [false]);
    }
}
