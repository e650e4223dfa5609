//! What an exchange keeps, behind traits: the journal, the projections that REST reads, and the
//! credentials, which are no part of the journal since history must be publishable.
//!
//! One thread writes, through [`Store`], in transactions of its own making; any thread reads
//! what was committed, through a [`StoreReader`]. SQLite is the embedded default; PostgreSQL
//! takes its place behind the same two traits.

pub(crate) mod access;
mod candles;
mod sqlite;

use base::{AccountId, Digest, ExchangeId, MachineId};
use clearing::{Command, Event};
use wire::{CandleView, OperatorAct, Standing, Statement, TokenView, TradeView, TransferView};

use access::{Access, ActKept, Login, Scopes, TokenKept};

pub(crate) use candles::INTERVALS;
pub use sqlite::SqliteStore;

/// The store failed. Nothing of the transaction in question was kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space.
    #[error("the disk of the exchange is full; free some space and try again")]
    Full,
    /// The database failed otherwise.
    #[error("the database failed; see the exchange's log")]
    Database(#[source] rusqlite::Error),
    /// A journal entry can't be read.
    #[error(
        "journal entry {sequence} can't be read; restore the database from a backup, or run the \
         version of the program that wrote it"
    )]
    Entry {
        /// Which.
        sequence: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The database is of a later program.
    #[error("the database has schema {found}, this program knows {known}; run a newer program")]
    NewerSchema {
        /// In the file.
        found: i64,
        /// Here.
        known: i64,
    },
    /// A value in the database is not what this program wrote.
    #[error("the database holds `{value}` as {what}; restore it from a backup")]
    Damaged {
        /// What was expected.
        what: &'static str,
        /// What was found.
        value: String,
    },
    /// An entry can't be encoded.
    #[error("a journal entry can't be encoded")]
    Encode(#[source] serde_json::Error),
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counts up from 1, without gaps.
    pub sequence: u64,
    /// When it was decided.
    pub now_ms: i64,
    /// Version of the rules that decided it.
    pub rules_version: u32,
    /// What was asked.
    pub command: Command,
    /// What happened.
    pub events: Vec<Event>,
}

/// A change of credentials. Only digests of secrets come this far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialChange {
    /// A new account's token.
    AddAccountToken {
        /// Digest of the token.
        token: Digest,
        /// Whose.
        account: AccountId,
    },
    /// A join code.
    AddJoinCode {
        /// Digest of the code.
        code: Digest,
        /// Whose machines it enrols.
        account: AccountId,
        /// When it stops working.
        expires_at_ms: i64,
    },
    /// A machine used a join code, and has this token from now on.
    UseJoinCode {
        /// Digest of the code.
        code: Digest,
        /// The machine.
        machine: MachineId,
        /// Digest of its token; an earlier one stops working.
        token: Digest,
    },
    /// A token of limited use.
    AddToken(TokenKept),
    /// A token stops working.
    RevokeToken {
        /// Whose.
        account: AccountId,
        /// Which.
        id: String,
    },
    /// All tokens of an account stop working.
    RevokeTokens {
        /// Whose.
        account: AccountId,
    },
    /// How an account signs in, unless the login is taken.
    SetLogin {
        /// The login.
        login: String,
        /// Whose, and its password's hash.
        kept: Login,
    },
    /// What an account may do.
    SetAccess {
        /// Whose.
        account: AccountId,
        /// From now on.
        access: Access,
    },
    /// What an account may hold in blobs; without a figure, what everybody may.
    SetQuota {
        /// Whose.
        account: AccountId,
        /// From now on.
        blob_bytes: Option<u64>,
    },
    /// What an operator did.
    Log(ActKept),
    /// A blob that may not come again.
    BlockBlob {
        /// Which.
        digest: Digest,
    },
    /// All of them or none.
    Several(Vec<CredentialChange>),
    /// A retired machine's token stops working.
    RevokeMachine {
        /// Which.
        machine: MachineId,
    },
}

/// What kinds of things memory forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// A job, without its tasks.
    Job = 1,
    /// A job's tasks, under the job's id.
    Tasks = 2,
    /// A job's invoice, under the job's id.
    Invoice = 3,
    /// A lease of a job.
    Lease = 4,
    /// An order.
    Order = 5,
    /// An ask's id, under its client's own.
    ClientOrder = 6,
    /// A payment.
    Payment = 7,
    /// A lease for a fixed time.
    FixedLease = 8,
    /// A transfer whose id came from outside.
    Transfer = 9,
}

impl Past {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Past::Job => "a job that is over",
            Past::Tasks => "the tasks of a job that is over",
            Past::Invoice => "an invoice",
            Past::Lease => "a lease that is over",
            Past::Order => "an order that is over",
            Past::ClientOrder => "a client's order id",
            Past::Payment => "a payment that is over",
            Past::FixedLease => "a lease by the hour that is over",
            Past::Transfer => "a transfer's id",
        }
    }
}

/// Something that is over, as it was when memory forgot it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRow {
    /// Of which kind.
    pub past: Past,
    /// Its id.
    pub id: String,
    /// What it was, as JSON.
    pub view: String,
    /// Its place in lists, which grows with when it came.
    pub at: i64,
    /// In whose lists it is; absent is in that of everybody's.
    pub owners: Vec<Option<AccountId>>,
}

/// What a join code is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinCodeState {
    /// There is no such code.
    Unknown,
    /// Its time is over.
    Expired,
    /// Another machine used it.
    Used,
    /// It enrols the machine for this account. True also for the machine that used it already,
    /// so that one that lost the answer may ask again.
    Valid(AccountId),
}

/// Where something happened: the journal entry's sequence, and the event's position in it.
pub type Place = (u64, u32);

/// A place in an account's statement: the time comes first.
pub type StatementPlace = (i64, u64, u32);

/// Who shows a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal {
    /// An account.
    Account {
        /// Which.
        account: AccountId,
        /// What it may do by this token.
        scopes: Scopes,
        /// Whether that is all that the account may.
        is_whole: bool,
        /// How it stands.
        standing: Standing,
    },
    /// A machine.
    Machine(MachineId),
}

/// The writing side. One transaction at a time, by one thread.
pub trait Store: Send {
    /// The exchange's id; made when the store was.
    fn exchange(&self) -> ExchangeId;
    /// Opens a transaction that may write.
    fn begin(&mut self) -> Result<(), StoreError>;
    /// Adds an entry to the journal and its events to the projections.
    fn append(&mut self, entry: &Entry) -> Result<(), StoreError>;
    /// Looks a join code up, as the open transaction has it.
    fn join_code(
        &mut self,
        code: &Digest,
        machine: MachineId,
        now_ms: i64,
    ) -> Result<JoinCodeState, StoreError>;
    /// Writes down what memory is about to forget.
    fn keep_past(&mut self, rows: &[PastRow]) -> Result<(), StoreError>;
    /// What was written down, as the open transaction has it.
    fn past(&mut self, past: Past, id: &str) -> Result<Option<String>, StoreError>;
    /// Whether anything was.
    fn has_past(&mut self) -> Result<bool, StoreError>;
    /// Changes credentials.
    fn change(&mut self, change: &CredentialChange) -> Result<(), StoreError>;
    /// Makes the transaction durable.
    fn commit(&mut self) -> Result<(), StoreError>;
    /// Undoes the transaction. Never fails: what can't be undone now is undone on opening.
    fn rollback(&mut self);
    /// Makes readers of what is committed, also after the store moved to its thread.
    fn reader_maker(&self) -> NewReader;
}

/// Makes a reader of a store.
pub type NewReader = Box<dyn Fn() -> Result<Box<dyn StoreReader>, StoreError> + Send + Sync>;

/// The reading side.
pub trait StoreReader: Send {
    /// Hands over every journal entry behind `after`, up to and with `through`, in order.
    fn entries(
        &mut self,
        after: u64,
        through: u64,
        each: &mut dyn FnMut(Entry),
    ) -> Result<(), StoreError>;
    /// Whose token has this digest, if it did not end.
    fn principal(&mut self, token: &Digest, now_ms: i64) -> Result<Option<Principal>, StoreError>;
    /// Whose login it is.
    fn login(&mut self, login: &str) -> Result<Option<Login>, StoreError>;
    /// An account's tokens, newest first.
    fn tokens(&mut self, account: AccountId) -> Result<Vec<TokenView>, StoreError>;
    /// What an account may do.
    fn access(&mut self, account: AccountId) -> Result<Access, StoreError>;
    /// What an account may hold in blobs, if that was said of it.
    fn quota(&mut self, account: AccountId) -> Result<Option<u64>, StoreError>;
    /// Accounts that are, or were, anything else than traders as they should be.
    fn spoken_of(&mut self) -> Result<Vec<(AccountId, Access)>, StoreError>;
    /// What operators did before act number `before`, newest first.
    fn acts(&mut self, before: u64, limit: u32) -> Result<Vec<OperatorAct>, StoreError>;
    /// Whether an operator took the blob down.
    fn is_blocked(&mut self, digest: &Digest) -> Result<bool, StoreError>;
    /// An account's transfers before a place, newest first.
    fn transfers(
        &mut self,
        account: AccountId,
        before: Place,
        limit: u32,
    ) -> Result<Vec<(Place, TransferView)>, StoreError>;
    /// An account's statement from a place on, up to a time, and where it goes on.
    fn statement(
        &mut self,
        account: AccountId,
        from: StatementPlace,
        to_ms: i64,
        limit: u32,
    ) -> Result<(Statement, Option<StatementPlace>), StoreError>;
    /// An instrument's trades before a place, newest first.
    fn trades(
        &mut self,
        instrument: &str,
        before: Place,
        limit: u32,
    ) -> Result<Vec<(Place, TradeView)>, StoreError>;
    /// An instrument's candles that begin in `[from_ms, to_ms)`, newest first.
    fn candles(
        &mut self,
        instrument: &str,
        interval_ms: i64,
        from_ms: i64,
        to_ms: i64,
        limit: u32,
    ) -> Result<Vec<CandleView>, StoreError>;
    /// What memory has forgotten, if this is of it.
    fn past(&mut self, past: Past, id: &str) -> Result<Option<String>, StoreError>;
    /// An owner's list of what memory has forgotten, before a place, newest first: place, id and
    /// what was written down.
    fn past_list(
        &mut self,
        past: Past,
        owner: Option<AccountId>,
        before: Option<(i64, String)>,
        limit: usize,
    ) -> Result<Vec<(i64, String, String)>, StoreError>;
    /// Number of transfers up to and with journal entry `through`, and what they add up to per
    /// ledger account (all that were ever touched).
    fn balances(&mut self, through: u64) -> Result<(u64, Vec<(String, i64)>), StoreError>;
}
