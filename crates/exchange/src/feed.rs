//! What a commit means to those who listen: per instrument what changed in its book and what was
//! traded, per account what became of its orders, leases, receipts and money.
//!
//! The sequencer makes one message per instrument and commit and hands it to a ring of bounded
//! length, from which each connection reads at its own pace. Whoever is further behind than the
//! ring is long is told so and dropped: nobody holds up the sequencer, and no queue grows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{AccountId, AttemptId, JobId, LeaseId, OrderId};
use clearing::Event;
use clearing::fixed::FixedEvent;
use market::{InstrumentId, Side};
use tokio::sync::broadcast;
use wire::{
    AccountSnapshot, AccountUpdate, BookSnapshot, BookUpdate, FeedMessage, FillView, JobNews,
    PriceLevel, ReceiptView, TradeView,
};

use crate::config::limits;
use crate::core::Core;
use crate::views::{self, fixed as fixed_views};

/// A message about an instrument, encoded once for everybody.
#[derive(Debug)]
pub(crate) struct InstrumentNews {
    pub instrument: String,
    pub sequence: u64,
    pub text: String,
}

/// What became of one account.
#[derive(Debug)]
pub(crate) struct AccountNews {
    pub account: AccountId,
    pub update: AccountUpdate,
}

/// The two rings, and where each instrument's chain stands.
#[derive(Debug)]
pub(crate) struct Feed {
    public: broadcast::Sender<Arc<InstrumentNews>>,
    private: broadcast::Sender<Arc<AccountNews>>,
    last: BTreeMap<InstrumentId, u64>,
    /// Where chains begin whose instruments had no news since the start.
    begin: u64,
}

/// What the events of one commit touched.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    levels: BTreeMap<InstrumentId, BTreeSet<(u8, i64)>>,
    trades: BTreeMap<InstrumentId, Vec<TradeView>>,
    accounts: BTreeMap<AccountId, TouchedAccount>,
}

#[derive(Debug, Default)]
struct TouchedAccount {
    orders: BTreeSet<OrderId>,
    jobs: BTreeSet<JobId>,
    fills: Vec<FillView>,
    leases: BTreeSet<LeaseId>,
    fixed_leases: BTreeSet<LeaseId>,
    attempts: BTreeSet<AttemptId>,
    wallet: bool,
}

impl Feed {
    pub fn new(ring: usize) -> Self {
        Feed {
            public: broadcast::channel(ring).0,
            private: broadcast::channel(ring).0,
            last: BTreeMap::new(),
            begin: 0,
        }
    }

    /// Memory was folded anew: chains that this process did not continue begin here.
    pub fn begin_at(&mut self, sequence: u64) {
        self.begin = sequence;
    }

    /// What is said from now on about all instruments.
    pub fn public(&self) -> broadcast::Receiver<Arc<InstrumentNews>> {
        self.public.subscribe()
    }

    /// What is said from now on about all accounts.
    pub fn private(&self) -> broadcast::Receiver<Arc<AccountNews>> {
        self.private.subscribe()
    }

    fn last(&self, instrument: InstrumentId) -> u64 {
        self.last.get(&instrument).copied().unwrap_or(self.begin)
    }
}

impl Touched {
    /// Notes what events touched. They are folded already.
    pub fn note(&mut self, core: &Core, events: &[Event]) {
        for event in events {
            self.note_event(core, event);
        }
    }

    fn account(&mut self, account: AccountId) -> &mut TouchedAccount {
        self.accounts.entry(account).or_default()
    }

    fn note_order(&mut self, core: &Core, order: OrderId) {
        let Some(info) = core.state.order(order) else { return };
        let found = info.order;
        self.account(found.owner).orders.insert(order);
        if !found.is_conditional() {
            let level = (u8::from(found.side == Side::Bid), found.price_nanocredits);
            self.levels.entry(found.instrument).or_default().insert(level);
        }
    }

    /// The buyer and the seller of a lease.
    fn note_lease(&mut self, core: &Core, lease: LeaseId, note: impl Fn(&mut TouchedAccount)) {
        let Some(found) = core.state.lease(lease) else { return };
        let buyer = core.state.job(found.job).map(|job| job.account);
        let seller = core.state.machine(found.machine).map(|machine| machine.owner);
        for account in buyer.into_iter().chain(seller) {
            note(self.account(account));
        }
    }

    fn note_event(&mut self, core: &Core, event: &Event) {
        match event {
            Event::AskPlaced { order, .. }
            | Event::BidPlaced { order, .. }
            | Event::OrderReduced { order, .. } => self.note_order(core, *order),
            Event::Filled { ask, bid, price_nanocredits_per_tfuel, at_ms, .. } => {
                for order in [*ask, *bid] {
                    self.note_order(core, order);
                    let Some(info) = core.state.order(order) else { continue };
                    self.account(info.order.owner).fills.push(FillView {
                        order,
                        at_ms: *at_ms,
                        price_nanocredits_per_tfuel: *price_nanocredits_per_tfuel,
                        quantity: 1,
                    });
                }
                self.note_trade(core, *ask, *price_nanocredits_per_tfuel, *at_ms);
            }
            Event::JobSubmitted { job, .. }
            | Event::JobRunningLow { job, .. }
            | Event::JobToppedUp { job, .. }
            | Event::JobExhausted { job, .. }
            | Event::JobResumed { job, .. }
            | Event::JobDone { job, .. }
            | Event::JobCancelled { job, .. } => {
                let Some(found) = core.state.job(*job) else { return };
                self.account(found.account).jobs.insert(*job);
            }
            Event::LeaseOpened { lease, .. } | Event::LeaseClosed { lease, .. } => {
                self.note_lease(core, *lease, |account| {
                    account.leases.insert(*lease);
                });
            }
            Event::Fixed(event) => {
                let lease = match event {
                    FixedEvent::Offered { .. } | FixedEvent::Provided { .. } => return,
                    FixedEvent::Opened { lease } => lease.lease,
                    FixedEvent::Prolonged { lease, .. }
                    | FixedEvent::Warned { lease, .. }
                    | FixedEvent::NoticeGiven { lease, .. }
                    | FixedEvent::WentDown { lease, .. }
                    | FixedEvent::CameUp { lease, .. }
                    | FixedEvent::Closed { lease, .. } => *lease,
                };
                let Some(found) = core.state.fixed_lease(lease) else { return };
                for account in [found.account, core.state.seller_of(found)] {
                    self.account(account).fixed_leases.insert(lease);
                }
            }
            Event::ReceiptAccepted { attempt, .. } => {
                let Some(found) = core.state.attempt(*attempt) else { return };
                self.note_lease(core, found.lease, |account| {
                    account.attempts.insert(*attempt);
                });
            }
            Event::Transferred { from, to, .. } => {
                for key in [*from, *to] {
                    if let Some(account) = core.state.account_of(key) {
                        self.account(account).wallet = true;
                    }
                }
            }
            _ => {}
        }
    }

    /// Slots that went at one price in one moment are one line.
    fn note_trade(&mut self, core: &Core, ask: OrderId, price: i64, at_ms: i64) {
        let Some(info) = core.state.order(ask) else { return };
        let trades = self.trades.entry(info.order.instrument).or_default();
        match trades.last_mut() {
            Some(last) if last.price_nanocredits_per_tfuel == price && last.at_ms == at_ms => {
                last.quantity += 1;
            }
            _ => {
                trades.push(TradeView { at_ms, price_nanocredits_per_tfuel: price, quantity: 1 });
            }
        }
    }
}

impl Core {
    /// Says what a commit brought to those who listen.
    pub fn publish(&mut self, mut touched: Touched) {
        let sequence = self.sequence;
        let mut instruments: BTreeSet<_> = touched.levels.keys().copied().collect();
        instruments.extend(touched.trades.keys().copied());
        for instrument in instruments {
            let previous = self.feed.last(instrument);
            self.feed.last.insert(instrument, sequence);
            if self.feed.public.receiver_count() == 0 {
                continue;
            }
            let levels = touched.levels.remove(&instrument).unwrap_or_default();
            let changed = |bids: bool| -> Vec<PriceLevel> {
                let side = if bids { Side::Bid } else { Side::Ask };
                let prices = levels.iter().filter(|(of, _)| *of == u8::from(bids));
                let market = self.state.market();
                prices
                    .map(|(_, price)| views::level(market.level(instrument, side, *price)))
                    .collect()
            };
            let name = self.state.market().instrument_of(instrument).name.clone();
            let update = FeedMessage::Update(BookUpdate {
                instrument: name.clone(),
                previous,
                sequence,
                bids: changed(true),
                asks: changed(false),
                trades: touched.trades.remove(&instrument).unwrap_or_default(),
            });
            let Ok(text) = serde_json::to_string(&update) else { continue };
            let news = InstrumentNews { instrument: name, sequence, text };
            // The last listener may have just left.
            let _ = self.feed.public.send(Arc::new(news));
        }
        if self.feed.private.receiver_count() > 0 {
            for (account, touched) in touched.accounts {
                let update = self.account_update(account, touched);
                let _ = self.feed.private.send(Arc::new(AccountNews { account, update }));
            }
        }
    }

    fn account_update(&self, account: AccountId, touched: TouchedAccount) -> AccountUpdate {
        let receipt = |attempt: AttemptId| {
            let found = self.state.attempt(attempt)?;
            Some(ReceiptView {
                lease: found.lease,
                attempt,
                receipt_sequence: found.receipt_sequence,
                usage: found.usage,
                lease_paid_nanocredits: self.state.lease(found.lease)?.paid_nanocredits,
            })
        };
        AccountUpdate {
            // Each connection counts for itself.
            previous: 0,
            sequence: self.sequence,
            wallet: touched.wallet.then(|| views::wallet(self, account)).flatten(),
            orders: touched
                .orders
                .into_iter()
                .filter_map(|order| views::own_order(self, account, order))
                .collect(),
            jobs: touched
                .jobs
                .into_iter()
                .filter_map(|job| self.state.job(job))
                .map(|job| JobNews {
                    job: job.job,
                    state: views::job_state(job),
                    exhaustion_at_ms: job.exhaustion_at_ms,
                })
                .collect(),
            fills: touched.fills,
            leases: touched
                .leases
                .into_iter()
                .filter_map(|lease| self.state.lease(lease).map(views::lease))
                .collect(),
            fixed_leases: touched
                .fixed_leases
                .into_iter()
                .filter_map(|lease| self.state.fixed_lease(lease))
                .map(|lease| fixed_views::lease(self, lease))
                .collect(),
            receipts: touched.attempts.into_iter().filter_map(receipt).collect(),
        }
    }

    /// A book for those who begin to listen; `None` when there is no such instrument.
    pub fn book_snapshot(&self, name: &str) -> Option<BookSnapshot> {
        let market = self.state.market();
        let (id, _) = market.instrument(name)?;
        let depth = market.depth(id, limits::FEED_LEVELS);
        let levels = |levels: Vec<market::Level>| levels.into_iter().map(views::level).collect();
        Some(BookSnapshot {
            instrument: name.to_owned(),
            sequence: self.feed.last(id),
            bids: levels(depth.bids),
            asks: levels(depth.asks),
            last_price_nanocredits_per_tfuel: market.last_price(id),
        })
    }

    /// An account for its owner who begins to listen.
    pub fn account_snapshot(&self, account: AccountId) -> Option<AccountSnapshot> {
        let orders: Vec<_> = self.state.market().owner_orders(account).collect();
        let job_leases = |job: JobId| self.state.job(job).map(|job| &job.open_leases);
        let bought = self.state.account(account)?.jobs.iter().filter_map(|job| job_leases(*job));
        let mut leases: BTreeSet<LeaseId> = bought.flatten().copied().collect();
        let mut fixed = self.state.account(account)?.fixed_bought.clone();
        for machine in self.state.account_machines(account) {
            leases.extend(&machine.open_leases);
            fixed.extend(self.state.fixed_offer(machine.machine).iter().flat_map(|o| &o.open));
        }
        Some(AccountSnapshot {
            sequence: self.sequence,
            wallet: views::wallet(self, account)?,
            orders: orders
                .into_iter()
                .filter_map(|order| self.state.order(order.order).map(views::order))
                .collect(),
            leases: leases
                .into_iter()
                .filter_map(|lease| self.state.lease(lease).map(views::lease))
                .collect(),
            fixed_leases: fixed
                .into_iter()
                .filter_map(|lease| self.state.fixed_lease(lease))
                .map(|lease| fixed_views::lease(self, lease))
                .collect(),
        })
    }
}
