//! The stream of commands that both books get: a walking price, most orders near it, as many
//! cancelled as filled, a few that take.

/// What a trader does.
pub enum Command {
    Limit(Limit),
    Cancel { order: u64 },
    Market { order: u64, owner: u64, ask: bool, quantity: u32 },
}

pub struct Limit {
    pub order: u64,
    pub owner: u64,
    pub ask: bool,
    /// In ticks.
    pub price: i64,
    pub quantity: u32,
    pub ioc: bool,
    pub post_only: bool,
    /// The least attribute that a bid wants of a seller, from 1 to 9; 0: none.
    pub wants: u32,
}

pub const OWNERS: u64 = 5_000;

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// So many commands. With `filters`, a fifth of the bids wants something of the seller.
pub fn commands(count: usize, filters: bool) -> Vec<Command> {
    let mut random = Random(7);
    let mut middle: i64 = 10_000;
    let (mut order, mut placed) = (0u64, Vec::<u64>::new());
    let mut commands = Vec::with_capacity(count);
    for _ in 0..count {
        if random.below(50) == 0 {
            middle = (middle + random.below(3) as i64 - 1).clamp(5_000, 15_000);
        }
        let kind = random.below(100);
        if kind < 42 && placed.len() > 20_000 {
            let at = random.below(placed.len() as u64) as usize;
            commands.push(Command::Cancel { order: placed.swap_remove(at) });
            continue;
        }
        order += 1;
        let (owner, ask) = (1 + random.below(OWNERS), random.below(2) == 0);
        let quantity = 1 + random.below(16) as u32;
        if kind >= 98 {
            commands.push(Command::Market { order, owner, ask, quantity });
            continue;
        }
        // Near the middle often, far away seldom: the least of two draws.
        let far = 1 + random.below(200).min(random.below(200)) as i64;
        let ioc = kind >= 90;
        let away = if ioc || kind >= 86 { -(random.below(4) as i64) } else { far };
        let price = if ask { middle + away } else { middle - away };
        let wants = match filters && !ask && random.below(5) == 0 {
            true => 1 + random.below(9) as u32,
            false => 0,
        };
        let post_only = (84..86).contains(&kind);
        commands.push(Command::Limit(Limit {
            order,
            owner,
            ask,
            price,
            quantity,
            ioc,
            post_only,
            wants,
        }));
        if !ioc {
            placed.push(order);
        }
    }
    commands
}
