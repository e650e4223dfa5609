//! Who may do what: roles, tokens, sessions, and what operators do about accounts.

use base::{AccountId, Digest, JobId, PaymentId, TransferId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::PaymentDecision;

/// What an account is for. It bounds what its tokens may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Buys, sells and looks.
    #[default]
    Trader,
    /// Only looks.
    ReadOnly,
    /// Does everything, and what only operators do.
    Operator,
}

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at what is the account's.
    Read,
    /// Change something.
    Trade,
    /// What only operators do.
    Operate,
}

impl Role {
    /// The most that a token of such an account may do.
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Role::Trader => &[Scope::Read, Scope::Trade],
            Role::ReadOnly => &[Scope::Read],
            Role::Operator => &[Scope::Read, Scope::Trade, Scope::Operate],
        }
    }
}

/// How an account stands with the operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// As it should be.
    #[default]
    Active,
    /// It may look and cancel; what runs goes on, nothing new begins.
    Frozen,
    /// Nothing is left to it but its money.
    Banned,
}

/// Somebody opens an account for himself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignUp {
    /// What to sign in with: a name or an address, of its own kind on this exchange.
    pub login: String,
    /// At least 12 bytes.
    #[schema(min_length = 12, max_length = 1024)]
    pub password: String,
    /// Shown to people.
    pub name: String,
}

/// Somebody signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignIn {
    /// The account's login.
    pub login: String,
    /// Its password.
    pub password: String,
}

/// A session: a token with an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Whose.
    pub account: AccountId,
    /// Its bearer token, unless it went into a cookie.
    pub token: Option<String>,
    /// When it ends.
    pub expires_at_ms: i64,
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// What it is for, for people.
    pub name: String,
    /// What it may do: not more than the token that asks for it.
    pub scopes: Vec<Scope>,
    /// When it ends, if ever.
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
}

/// The only time a token is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenCreated {
    /// By which it is listed and revoked.
    pub id: String,
    /// The secret.
    pub token: String,
}

/// A token as its account sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// By which it is revoked.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do, if the account still may.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it ends.
    pub expires_at_ms: Option<i64>,
}

/// An account as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountView {
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// How it stands.
    pub standing: Standing,
    /// Free to use.
    pub available_nanocredits: i64,
    /// Set aside.
    pub escrow_nanocredits: i64,
}

/// An operator changes how an account stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewStanding {
    /// From now on.
    pub standing: Standing,
    /// Why: kept in the log.
    pub reason: String,
}

/// An operator sets what an account may hold in blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewQuota {
    /// How much; absent means what everybody may.
    #[serde(default)]
    pub blob_bytes: Option<u64>,
    /// Why: kept in the log.
    pub reason: String,
}

/// What an account may hold in blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaView {
    /// Whose.
    pub account: AccountId,
    /// How much it may be.
    pub blob_bytes: u64,
    /// How much it is.
    pub held_bytes: u64,
}

/// Why an operator does something: kept in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// In words.
    pub reason: String,
}

/// What an operator did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperatorAct {
    /// Counts up.
    pub number: u64,
    /// When.
    pub at_ms: i64,
    /// Who: an account, or `operator.token`.
    pub who: String,
    /// What was done.
    pub act: Act,
    /// Why, where a reason was asked for.
    pub reason: String,
}

/// What operators do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Act {
    /// Opened an account.
    AccountOpened {
        /// Which.
        account: AccountId,
        /// As what.
        role: Role,
    },
    /// Brought money in.
    Deposited {
        /// To whom.
        account: AccountId,
        /// By which transfer.
        transfer: TransferId,
        /// How much.
        amount_nanocredits: i64,
    },
    /// Changed how an account stands.
    StandingChanged {
        /// Whose.
        account: AccountId,
        /// To what.
        standing: Standing,
    },
    /// Cancelled somebody's job.
    JobKilled {
        /// Which.
        job: JobId,
    },
    /// Set what an account may hold in blobs.
    QuotaSet {
        /// Whose.
        account: AccountId,
        /// How much; absent means what everybody may.
        blob_bytes: Option<u64>,
    },
    /// Took a blob down.
    BlobRemoved {
        /// Which.
        digest: Digest,
    },
    /// Decided about a payment.
    PaymentDecided {
        /// Which.
        payment: PaymentId,
        /// How.
        decision: PaymentDecision,
    },
    /// Set what leases pay.
    FeesSet {
        /// Whose order rested.
        maker_basis_points: u32,
        /// Whose order met it.
        taker_basis_points: u32,
    },
    /// Said what is traded.
    InstrumentsSet {
        /// These, and nothing else takes orders.
        names: Vec<String>,
    },
}
