//! What is kept about who may do what.

use base::{AccountId, Digest};
use wire::{Act, Role, Scope, Standing};

/// A set of scopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes {
    /// [`Scope::Read`]
    pub read: bool,
    /// [`Scope::Trade`]
    pub trade: bool,
    /// [`Scope::Operate`]
    pub operate: bool,
}

impl Scopes {
    /// Every one.
    pub const ALL: Scopes = Scopes { read: true, trade: true, operate: true };

    /// Those in both.
    pub fn and(self, other: Scopes) -> Scopes {
        Scopes {
            read: self.read && other.read,
            trade: self.trade && other.trade,
            operate: self.operate && other.operate,
        }
    }

    /// As a list.
    pub fn list(self) -> Vec<Scope> {
        let all =
            [(self.read, Scope::Read), (self.trade, Scope::Trade), (self.operate, Scope::Operate)];
        all.into_iter().filter_map(|(has, scope)| has.then_some(scope)).collect()
    }

    /// Whether a scope is in it.
    pub fn has(self, scope: Scope) -> bool {
        match scope {
            Scope::Read => self.read,
            Scope::Trade => self.trade,
            Scope::Operate => self.operate,
        }
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut set = Scopes::default();
        for scope in scopes {
            match scope {
                Scope::Read => set.read = true,
                Scope::Trade => set.trade = true,
                Scope::Operate => set.operate = true,
            }
        }
        set
    }
}

/// A token to be kept: only the digest of it comes this far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKept {
    /// Of the token.
    pub digest: Digest,
    /// Whose.
    pub account: AccountId,
    /// What for.
    pub name: String,
    /// What it may do, if the account may.
    pub scopes: Scopes,
    /// Made when somebody signed in; so many are kept and no more.
    pub is_session: bool,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it ends, if ever.
    pub expires_at_ms: Option<i64>,
}

/// By which a token is listed and revoked: says nothing about the token.
pub fn token_id(digest: &Digest) -> String {
    digest.to_hex()[..16].to_owned()
}

/// How an account signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Whose.
    pub account: AccountId,
    /// The password's hash, as a PHC string.
    pub password: String,
}

/// What an account may do, and how it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// What it is for.
    pub role: Role,
    /// How it stands.
    pub standing: Standing,
}

/// What an operator did, to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActKept {
    /// When.
    pub at_ms: i64,
    /// Who.
    pub who: String,
    /// What.
    pub act: Act,
    /// Why.
    pub reason: String,
}
