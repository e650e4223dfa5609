//! A book that is too simple to be wrong: lists of orders and groups, sorted and scanned from
//! end to end for every question.

use base::{AccountId, OrderId};
use market::{
    Attributes, Capacity, GroupId, InstrumentId, Market, Order, Restriction, Side, Terms,
    TimeInForce,
};

use crate::driver::Fill;

#[derive(Debug, Clone)]
pub struct Row {
    pub order: Order,
    looked_at_ms: i64,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Group {
    pub capacity: Capacity,
    pub used: Capacity,
    pub attributes: Attributes,
}

#[derive(Default)]
pub struct Naive {
    /// Open orders, oldest first.
    pub rows: Vec<Row>,
    pub groups: Vec<(GroupId, Group)>,
    units: Vec<Capacity>,
    /// Orders to be looked at again.
    queue: Vec<OrderId>,
    pub fills: Vec<Fill>,
}

/// Where it stands at its side: a bid's price counts down.
fn rank(order: &Order) -> i64 {
    match order.side {
        Side::Ask => order.price_nanocredits,
        Side::Bid => -order.price_nanocredits,
    }
}

fn terms(order: &Order) -> Terms {
    order.terms.as_deref().cloned().unwrap_or_default()
}

fn restriction(bid: &Order, owner: AccountId) -> Restriction {
    terms(bid).restrictions.get(&owner).copied().unwrap_or_default()
}

impl Naive {
    pub fn new(market: &Market) -> Self {
        let units = market.instruments().map(|(_, found)| found.unit).collect();
        Naive { units, ..Naive::default() }
    }

    pub fn group(&mut self, id: GroupId) -> &mut Group {
        if !self.groups.iter().any(|(group, _)| *group == id) {
            self.groups.push((id, Group::default()));
        }
        &mut self.groups.iter_mut().find(|(group, _)| *group == id).unwrap().1
    }

    pub fn fits(&mut self, group: GroupId, instrument: InstrumentId) -> u32 {
        let unit = self.units[usize::from(instrument.0)];
        let group = self.group(group);
        let fit = |dimension: usize| {
            let free = group.capacity.0[dimension].saturating_sub(group.used.0[dimension]);
            free.checked_div(unit.0[dimension])
        };
        (0..4).filter_map(fit).min().unwrap_or(u32::MAX)
    }

    pub fn find(&self, order: OrderId) -> Option<&Order> {
        self.rows.iter().find(|row| row.order.order == order).map(|row| &row.order)
    }

    fn row(&mut self, order: OrderId) -> &mut Row {
        self.rows.iter_mut().find(|row| row.order.order == order).unwrap()
    }

    /// The price that two orders would meet at, the second resting, and whether reluctantly.
    fn meet(&self, incoming: &Order, resting: &Order, now_ms: i64) -> Option<(i64, bool)> {
        let (ask, bid) = match incoming.side {
            Side::Ask => (incoming, resting),
            Side::Bid => (resting, incoming),
        };
        let expired = |order: &Order| match order.time_in_force {
            TimeInForce::Gtt { until_ms } => now_ms >= until_ms,
            _ => false,
        };
        let restriction = restriction(bid, ask.owner);
        let mut most = bid.price_nanocredits;
        if now_ms < restriction.capped_until_ms {
            most = most.min(restriction.price_max_nanocredits_per_tfuel);
        }
        let terms = terms(bid);
        let named = match terms.only_ask {
            None => true,
            Some(named) if named == ask.order => true,
            Some(named) => self.find(named).is_none() && terms.only_group == ask.group,
        };
        let group = self.groups.iter().find(|(group, _)| Some(*group) == ask.group).unwrap();
        let attributes = group.1.attributes.0;
        let filtered =
            terms.filters.at_least.0.iter().zip(attributes).all(|(min, has)| has >= *min)
                && !terms.filters.excluded.contains(&group.0);
        let meets = ask.instrument == bid.instrument
            && ask.owner != bid.owner
            && ask.price_nanocredits <= most
            && now_ms >= restriction.barred_until_ms
            && named
            && filtered
            && !expired(ask)
            && !expired(bid);
        meets.then(|| {
            (resting.price_nanocredits.min(most), now_ms < restriction.passed_over_until_ms)
        })
    }

    fn partners(&self, incoming: &Order, now_ms: i64) -> Vec<(Order, i64)> {
        let mut found: Vec<_> = self
            .rows
            .iter()
            .map(|row| &row.order)
            .filter(|resting| resting.side != incoming.side)
            .filter_map(|resting| {
                let (price, reluctant) = self.meet(incoming, resting, now_ms)?;
                // A bid that names an ask doesn't choose.
                let reluctant = reluctant && terms(incoming).only_ask.is_none();
                Some((reluctant, rank(resting), resting.priority, resting.clone(), price))
            })
            .collect();
        found.sort_by_key(|(reluctant, rank, priority, ..)| (*reluctant, *rank, *priority));
        found.into_iter().map(|(.., resting, price)| (resting, price)).collect()
    }

    pub fn would_take(&self, order: &Order, now_ms: i64) -> bool {
        !self.partners(order, now_ms).is_empty()
    }

    pub fn fillable(&mut self, order: &Order, now_ms: i64) -> u32 {
        let saved = self.groups.clone();
        let mut partners = self.partners(order, now_ms);
        // Reluctance has no part in how much there is.
        partners.sort_by_key(|(resting, _)| (rank(resting), resting.priority));
        let mut available = 0u32;
        for (resting, _) in partners {
            let mut units = resting.leaves_quantity;
            if let Some(group) = resting.group {
                units = units.min(self.fits(group, order.instrument));
                self.take(group, order.instrument, units);
            }
            available += units;
        }
        self.groups = saved;
        available
    }

    fn take(&mut self, group: GroupId, instrument: InstrumentId, units: u32) {
        let unit = self.units[usize::from(instrument.0)];
        for (used, unit) in self.group(group).used.0.iter_mut().zip(unit.0) {
            *used += unit * units;
        }
    }

    pub fn release(&mut self, group: GroupId, instrument: InstrumentId) {
        let unit = self.units[usize::from(instrument.0)];
        for (used, unit) in self.group(group).used.0.iter_mut().zip(unit.0) {
            *used = used.saturating_sub(unit);
        }
    }

    pub fn insert(&mut self, order: Order, now_ms: i64) {
        let id = order.order;
        let looked_at_ms = order.placed_at_ms;
        self.rows.push(Row { order, looked_at_ms });
        self.run(id, now_ms);
        let rests = self.find(id).map(|order| order.time_in_force);
        if matches!(rests, Some(TimeInForce::Ioc | TimeInForce::Fok)) {
            self.reduce(id, 0);
        }
    }

    fn run(&mut self, incoming: OrderId, now_ms: i64) {
        while let Some(order) = self.find(incoming).cloned() {
            let Some((resting, price)) = self.partners(&order, now_ms).into_iter().next() else {
                self.queue.retain(|waiting| *waiting != incoming);
                let row = self.row(incoming);
                row.looked_at_ms = row.looked_at_ms.max(now_ms);
                return;
            };
            let units = order.leaves_quantity.min(resting.leaves_quantity);
            let (ask, bid) = match order.side {
                Side::Ask => (order, resting),
                Side::Bid => (resting, order),
            };
            self.fills.push((ask.order, bid.order, price, units));
            let group = ask.group.unwrap();
            self.take(group, ask.instrument, units);
            for id in [ask.order, bid.order] {
                self.row(id).order.cumulative_quantity += units;
                let leaves = self.find(id).unwrap().leaves_quantity - units;
                self.reduce(id, leaves);
            }
            self.shrink(group);
        }
    }

    pub fn reduce(&mut self, order: OrderId, leaves: u32) {
        self.row(order).order.leaves_quantity = leaves;
        if leaves > 0 {
            return;
        }
        self.rows.retain(|row| row.order.order != order);
        self.queue.retain(|waiting| *waiting != order);
        let mut naming: Vec<_> = self
            .rows
            .iter()
            .filter(|row| terms(&row.order).only_ask == Some(order))
            .map(|row| row.order.order)
            .collect();
        naming.sort();
        naming.into_iter().for_each(|bid| self.look_again(bid));
    }

    pub fn look_again(&mut self, order: OrderId) {
        if !self.queue.contains(&order) {
            self.queue.push(order);
        }
    }

    pub fn shrink(&mut self, group: GroupId) {
        let of_group = self.rows.iter().filter(|row| row.order.group == Some(group));
        let mut asks: Vec<_> = of_group.map(|row| row.order.clone()).collect();
        asks.reverse();
        for ask in asks {
            let fits = self.fits(group, ask.instrument);
            if ask.leaves_quantity > fits {
                self.reduce(ask.order, fits);
            }
        }
    }

    pub fn tick(&mut self, now_ms: i64) {
        loop {
            let first = |due: Vec<(i64, OrderId)>| {
                due.into_iter().filter(|(at_ms, _)| *at_ms <= now_ms).min().map(|(_, id)| id)
            };
            let expired = self.rows.iter().filter_map(|row| match row.order.time_in_force {
                TimeInForce::Gtt { until_ms } => Some((until_ms, row.order.order)),
                _ => None,
            });
            if let Some(order) = first(expired.collect()) {
                self.reduce(order, 0);
                continue;
            }
            let rechecks = self.rows.iter().filter_map(|row| {
                let restrictions = terms(&row.order).restrictions;
                let times = restrictions.values().flat_map(|found| {
                    [found.passed_over_until_ms, found.barred_until_ms, found.capped_until_ms]
                });
                let next = times.filter(|at_ms| *at_ms > row.looked_at_ms).min()?;
                Some((next, row.order.order))
            });
            let due = first(rechecks.collect()).or_else(|| self.queue.first().copied());
            let Some(order) = due else { return };
            self.run(order, now_ms);
        }
    }
}
