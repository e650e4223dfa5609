//! What the network lets through. A partition cuts some of those who talk to the exchange off from
//! it, one or all of them at once, in both directions or in one: a machine may be heard that hears
//! nothing, and the other way round.

use crate::random::Random;

/// Machines, and after them all clients as one.
const ENDS: usize = crate::run::MACHINES + 1;
const CLIENTS: usize = ENDS - 1;

/// Who talks to the exchange.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// That agent.
    Agent(usize),
    /// Buyers and operators.
    Clients,
}

/// Until when nothing passes.
#[derive(Debug, Default)]
pub struct Network {
    to_exchange_until_ms: [i64; ENDS],
    from_exchange_until_ms: [i64; ENDS],
    /// Partitions of more than one end so far.
    pub splits: u64,
    /// Partitions of one direction so far.
    pub one_way: u64,
}

impl Network {
    /// Whether what is said to the exchange arrives.
    pub fn reaches_exchange(&self, end: End, now_ms: i64) -> bool {
        now_ms >= self.to_exchange_until_ms[place(end)]
    }

    /// Whether what the exchange says arrives.
    pub fn hears_exchange(&self, end: End, now_ms: i64) -> bool {
        now_ms >= self.from_exchange_until_ms[place(end)]
    }

    /// Whether a question is answered.
    pub fn answers(&self, end: End, now_ms: i64) -> bool {
        self.reaches_exchange(end, now_ms) && self.hears_exchange(end, now_ms)
    }

    /// Cuts off one end, any of them, or all.
    pub fn split(&mut self, until_ms: i64, random: &mut Random) {
        let all = (1 << ENDS) - 1;
        let cut_off = match random.below(4) {
            0 => all,
            1 => random.range(1, all),
            _ => 1 << random.below(ENDS as u64),
        };
        let (to, from) = match random.below(4) {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        self.splits += u64::from(cut_off.count_ones() > 1);
        self.one_way += u64::from(to != from);
        for end in (0..ENDS).filter(|end| cut_off >> end & 1 == 1) {
            if to {
                self.to_exchange_until_ms[end] = until_ms;
            }
            if from {
                self.from_exchange_until_ms[end] = until_ms;
            }
        }
    }
}

fn place(end: End) -> usize {
    match end {
        End::Agent(agent) => agent,
        End::Clients => CLIENTS,
    }
}
