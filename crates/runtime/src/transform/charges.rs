//! Where a function is charged for its basic blocks.
//!
//! A charge is an instruction in the hot path, and compilers make blocks of a few instructions. So
//! a block is charged together with an earlier one where it runs whenever that one does, or where
//! it is so small that it doesn't matter.

/// Most fuel that a block may cost to be charged with the one before it although it may be passed
/// by: with all that is charged with it.
const SMALL: i64 = 8;

/// What a block's charge is emitted behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind {
    Entry,
    Op(usize),
}

/// With which earlier block one may be charged.
#[derive(Clone, Copy, Debug)]
pub enum With {
    /// With none.
    Own,
    /// It runs whenever that one does.
    Always(usize),
    /// It may be passed by.
    IfSmall(usize),
}

struct Group {
    behind: Behind,
    cost: i64,
    with: With,
}

/// The basic blocks of a function, in the order of the text.
pub struct Charges(Vec<Group>);

impl Charges {
    pub fn new() -> Self {
        Charges(vec![Group { behind: Behind::Entry, cost: 0, with: With::Own }])
    }

    /// The block that is being read.
    pub fn current(&self) -> usize {
        self.0.len() - 1
    }

    pub fn add(&mut self, cost: i64) {
        let current = self.current();
        self.0[current].cost += cost;
    }

    /// The next block begins.
    pub fn begin(&mut self, behind: usize, with: With) {
        self.0.push(Group { behind: Behind::Op(behind), cost: 0, with });
    }

    /// A block is charged by itself after all.
    pub fn separate(&mut self, group: usize) {
        self.0[group].with = With::Own;
    }

    /// What is charged, and behind what.
    pub fn settle(mut self) -> impl Iterator<Item = (Behind, i64)> {
        // From the last on, so that what is charged with a block counts for its own size.
        for at in (1..self.0.len()).rev() {
            let with = match self.0[at].with {
                With::Always(with) => with,
                With::IfSmall(with) if self.0[at].cost <= SMALL => with,
                _ => continue,
            };
            let cost = std::mem::take(&mut self.0[at].cost);
            self.0[with].cost += cost;
        }
        self.0.into_iter().map(|group| (group.behind, group.cost))
    }
}

#[cfg(test)]
mod tests {
    use super::{Behind, Charges, With};

    #[test]
    fn small_blocks_go_with_the_one_before_and_sure_ones_always() {
        let mut charges = Charges::new();
        charges.add(3);
        charges.begin(1, With::IfSmall(0));
        charges.add(5);
        charges.begin(2, With::IfSmall(1));
        charges.add(4);
        charges.begin(3, With::IfSmall(2));
        charges.add(4);
        charges.begin(4, With::Always(0));
        charges.add(100);
        charges.begin(5, With::Own);
        charges.add(1);
        let settled: Vec<(Behind, i64)> = charges.settle().collect();
        // The third and the fourth are 8 together; with the second they would be 13.
        let expected = [
            (Behind::Entry, 103),
            (Behind::Op(1), 13),
            (Behind::Op(2), 0),
            (Behind::Op(3), 0),
            (Behind::Op(4), 0),
            (Behind::Op(5), 1),
        ];
        assert_eq!(settled, expected);
    }
}
