//! Typed 128-bit ids. In text an id carries its type's prefix (`job_…`), so that an id of
//! the wrong kind is refused where it is typed, not where it is used.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id: expected `{prefix}_` and 32 hex digits")]
pub struct IdParseError {
    /// What was given.
    pub text: String,
    /// The kind of id that was expected, in words.
    pub kind: &'static str,
    /// Its prefix in text.
    pub prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u128);

        impl $name {
            /// What an id of this kind begins with in text.
            pub const PREFIX: &'static str = $prefix;

            /// An id derived from `parts`: the same parts always give the same id, so that
            /// pure code can name things without a source of randomness.
            pub fn derive(parts: &[&[u8]]) -> Self {
                let digest = crate::Digest::of_parts(concat!("jusha id ", $prefix), parts);
                let mut bytes = [0u8; 16];
                bytes.copy_from_slice(&digest.0[..16]);
                $name(u128::from_be_bytes(bytes))
            }

            /// The first four hex digits: enough for a person to tell a few apart.
            pub fn short(self) -> String {
                format!("{:032x}", self.0)[..4].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{:032x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|hex| u128::from_str_radix(hex, 16).ok())
                    .map($name)
                    .ok_or_else(|| IdParseError {
                        text: text.to_owned(),
                        kind: $kind,
                        prefix: $prefix,
                    })
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                crate::schema::text(
                    concat!("The id of one ", $kind, "."),
                    concat!("^", $prefix, "_[0-9a-fA-F]{32}$"),
                    concat!($prefix, "_000000000000000000000000000000a1"),
                )
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::ToSchema for $name {}

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.to_be_bytes().serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?
                        .parse()
                        .map_err(serde::de::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(deserializer).map(|b| $name(u128::from_be_bytes(b)))
                }
            }
        }
    };
}

id!(
    /// One account: a buyer, a provider, or both.
    AccountId, "acct", "account"
);
id!(
    /// One exchange. Signed bytes carry it, since a machine may serve several.
    ExchangeId, "exch", "exchange"
);
id!(
    /// One machine: derived from its Ed25519 public key.
    MachineId, "mach", "machine"
);
id!(
    /// One order in a book.
    OrderId, "ord", "order"
);
id!(
    /// One lease.
    LeaseId, "lease", "lease"
);
id!(
    /// One job: what a buyer submits.
    JobId, "job", "job"
);
id!(
    /// One task of a job.
    TaskId, "task", "task"
);
id!(
    /// One machine's run of a task.
    AttemptId, "att", "attempt"
);
id!(
    /// One transfer between two accounts of the ledger. Also its idempotency key.
    TransferId, "xfer", "transfer"
);
id!(
    /// One deposit or withdrawal on its way between an account and the outside world.
    PaymentId, "pay", "payment"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_the_wrong_kind_is_refused() {
        let job = JobId::derive(&[b"a", b"1"]);
        assert_eq!(job.to_string().parse::<JobId>(), Ok(job));
        let error = job.to_string().parse::<TaskId>().unwrap_err();
        assert!(error.to_string().contains("is not a task id"), "{error}");
        for bad in ["", "job_", "job_12", "job_+0000000000000000000000000000000", "JOB_"] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn kinds_do_not_collide() {
        assert_ne!(JobId::derive(&[b"x"]).0, TaskId::derive(&[b"x"]).0);
    }
}
