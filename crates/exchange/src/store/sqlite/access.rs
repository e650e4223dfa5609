//! The tables of who may do what.

use base::{AccountId, Digest};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::{OperatorAct, Role, TokenView};

use super::parse;
use crate::store::access::{Access, ActKept, Login, Scopes, TokenKept, token_id};
use crate::store::{CredentialChange, Principal, StoreError};

/// Sessions of one account: signing in once more ends the oldest.
const SESSIONS_KEPT: u32 = 20;

/// Schema 2. Tokens of before may do everything that their account may.
pub(super) const SCHEMA: &str = "
CREATE TABLE access (
    account TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    standing TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE logins (
    login TEXT PRIMARY KEY,
    account TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE tokens (
    token TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    is_session INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX tokens_account ON tokens (account);
INSERT INTO tokens
    SELECT token, substr(token, 1, 16), account, 'first', '[\"read\",\"trade\",\"operate\"]', 0, 0, NULL
    FROM account_tokens;
DROP TABLE account_tokens;
CREATE TABLE operator_acts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    who TEXT NOT NULL,
    act TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE blocked_blobs (digest TEXT PRIMARY KEY) WITHOUT ROWID;
";

/// Schema 6.
pub(super) const QUOTAS: &str = "
CREATE TABLE quotas (account TEXT PRIMARY KEY, blob_bytes INTEGER NOT NULL) WITHOUT ROWID;
";

/// Carries out a change of these tables.
pub(super) fn change(connection: &Connection, change: &CredentialChange) -> Result<(), StoreError> {
    let execute = |sql: &str, given: &[&dyn rusqlite::ToSql]| -> Result<(), StoreError> {
        connection.prepare_cached(sql)?.execute(given)?;
        Ok(())
    };
    match change {
        CredentialChange::AddToken(token) => add_token(connection, token),
        CredentialChange::RevokeToken { account, id } => execute(
            "DELETE FROM tokens WHERE account = ?1 AND id = ?2",
            &[&account.to_string(), id],
        ),
        CredentialChange::RevokeTokens { account } => {
            execute("DELETE FROM tokens WHERE account = ?1", &[&account.to_string()])
        }
        // A login that is taken stays whose it is: whoever asked looks afterwards.
        CredentialChange::SetLogin { login, kept } => execute(
            "INSERT INTO logins VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            &[login, &kept.account.to_string(), &kept.password],
        ),
        CredentialChange::SetAccess { account, access } => execute(
            "INSERT OR REPLACE INTO access VALUES (?1, ?2, ?3)",
            &[&account.to_string(), &word(&access.role)?, &word(&access.standing)?],
        ),
        CredentialChange::SetQuota { account, blob_bytes: Some(bytes) } => execute(
            "INSERT OR REPLACE INTO quotas VALUES (?1, ?2)",
            &[&account.to_string(), &(*bytes as i64)],
        ),
        CredentialChange::SetQuota { account, blob_bytes: None } => {
            execute("DELETE FROM quotas WHERE account = ?1", &[&account.to_string()])
        }
        CredentialChange::Log(ActKept { at_ms, who, act, reason }) => execute(
            "INSERT INTO operator_acts (at_ms, who, act, reason) VALUES (?1, ?2, ?3, ?4)",
            &[at_ms, who, &text(act)?, reason],
        ),
        CredentialChange::BlockBlob { digest } => {
            execute("INSERT OR IGNORE INTO blocked_blobs VALUES (?1)", &[&digest.to_string()])
        }
        _ => Ok(()),
    }
}

fn add_token(connection: &Connection, token: &TokenKept) -> Result<(), StoreError> {
    let account = token.account.to_string();
    connection
        .prepare_cached("INSERT INTO tokens VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            token.digest.to_string(),
            token_id(&token.digest),
            account,
            token.name,
            text(&token.scopes.list())?,
            token.is_session,
            token.created_at_ms,
            token.expires_at_ms,
        ])?;
    let stale = "DELETE FROM tokens WHERE account = ?1 AND is_session AND token NOT IN
                 (SELECT token FROM tokens WHERE account = ?1 AND is_session
                  ORDER BY created_at_ms DESC LIMIT ?2)";
    connection.prepare_cached(stale)?.execute(params![account, SESSIONS_KEPT])?;
    let over = "DELETE FROM tokens WHERE account = ?1 AND expires_at_ms <= ?2";
    connection.prepare_cached(over)?.execute(params![account, token.created_at_ms])?;
    Ok(())
}

/// The account whose token has this digest, and what it may do by it.
pub(super) fn principal(
    connection: &Connection,
    token: &Digest,
    now_ms: i64,
) -> Result<Option<Principal>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT account, scopes, role, standing FROM tokens LEFT JOIN access USING (account)
             WHERE token = ?1 AND (expires_at_ms IS NULL OR expires_at_ms > ?2)",
        )?
        .query_row(params![token.to_string(), now_ms], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, access_columns(row, 2)?))
        })
        .optional()?;
    let Some((account, scopes, access)) = found else { return Ok(None) };
    let Access { role, standing } = parse_access(access)?;
    let granted: Scopes = role.scopes().iter().copied().collect();
    let scopes: Vec<wire::Scope> = json(&scopes, "scopes")?;
    let scopes = scopes.into_iter().collect::<Scopes>().and(granted);
    let account = parse(account, "an account")?;
    Ok(Some(Principal::Account { account, scopes, is_whole: scopes == granted, standing }))
}

/// How somebody signs in.
pub(super) fn login(connection: &Connection, login: &str) -> Result<Option<Login>, StoreError> {
    let found: Option<(String, String)> = connection
        .prepare_cached("SELECT account, password FROM logins WHERE login = ?1")?
        .query_row([login], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let login = found.map(|(account, password)| {
        Ok::<_, StoreError>(Login { account: parse(account, "an account")?, password })
    });
    login.transpose()
}

/// An account's tokens, newest first.
pub(super) fn tokens(
    connection: &Connection,
    account: AccountId,
) -> Result<Vec<TokenView>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, scopes, created_at_ms, expires_at_ms FROM tokens
         WHERE account = ?1 ORDER BY created_at_ms DESC, id",
    )?;
    let mut rows = statement.query([account.to_string()])?;
    let mut tokens = Vec::new();
    while let Some(row) = rows.next()? {
        tokens.push(TokenView {
            id: row.get(0)?,
            name: row.get(1)?,
            scopes: json(&row.get::<_, String>(2)?, "scopes")?,
            created_at_ms: row.get(3)?,
            expires_at_ms: row.get(4)?,
        });
    }
    Ok(tokens)
}

/// What one account may do; every account that was never spoken of is a trader.
pub(super) fn access(connection: &Connection, account: AccountId) -> Result<Access, StoreError> {
    let found = connection
        .prepare_cached("SELECT role, standing FROM access WHERE account = ?1")?
        .query_row([account.to_string()], |row| access_columns(row, 0))
        .optional()?;
    found.map_or_else(|| Ok(Access::default()), parse_access)
}

/// What an account may hold in blobs, if that was said of it.
pub(super) fn quota(
    connection: &Connection,
    account: AccountId,
) -> Result<Option<u64>, StoreError> {
    let found: Option<i64> = connection
        .prepare_cached("SELECT blob_bytes FROM quotas WHERE account = ?1")?
        .query_row([account.to_string()], |row| row.get(0))
        .optional()?;
    Ok(found.map(|bytes| bytes.max(0) as u64))
}

/// Accounts that were spoken of.
pub(super) fn spoken_of(connection: &Connection) -> Result<Vec<(AccountId, Access)>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT role, standing, account FROM access")?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let access = parse_access(access_columns(row, 0)?)?;
        all.push((parse(row.get(2)?, "an account")?, access));
    }
    Ok(all)
}

/// What operators did before number `before`, newest first.
pub(super) fn acts(
    connection: &Connection,
    before: u64,
    limit: u32,
) -> Result<Vec<OperatorAct>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT number, at_ms, who, act, reason FROM operator_acts
         WHERE number < ?1 ORDER BY number DESC LIMIT ?2",
    )?;
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![before, limit])?;
    let mut acts = Vec::new();
    while let Some(row) = rows.next()? {
        acts.push(OperatorAct {
            number: row.get::<_, i64>(0)? as u64,
            at_ms: row.get(1)?,
            who: row.get(2)?,
            act: json(&row.get::<_, String>(3)?, "an operator's act")?,
            reason: row.get(4)?,
        });
    }
    Ok(acts)
}

/// Whether an operator took the blob down.
pub(super) fn is_blocked(connection: &Connection, digest: &Digest) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM blocked_blobs WHERE digest = ?1";
    Ok(connection.prepare_cached(sql)?.exists([digest.to_string()])?)
}

type AccessText = (Option<String>, Option<String>);

fn access_columns(row: &Row<'_>, first: usize) -> rusqlite::Result<AccessText> {
    Ok((row.get(first)?, row.get(first + 1)?))
}

fn parse_access(text: AccessText) -> Result<Access, StoreError> {
    let (Some(role), Some(standing)) = text else { return Ok(Access::default()) };
    Ok(Access { role: of_word::<Role>(&role)?, standing: of_word(&standing)? })
}

/// A variant without fields, as it is called in JSON.
fn word(value: &impl Serialize) -> Result<String, StoreError> {
    Ok(text(value)?.trim_matches('"').to_owned())
}

fn of_word<T: DeserializeOwned>(word: &str) -> Result<T, StoreError> {
    json(&format!("\"{word}\""), "a role or a standing")
}

fn text(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::Encode)
}

fn json<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged { what, value: text.to_owned() })
}
