//! The bytes of one leaf, shared by everything that holds them.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::checkpoint::LEAF_BYTES;

/// At most 64 KiB of a state. Cloning one copies no bytes: consecutive checkpoints share the
/// leaves that did not change.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf(Arc<[u8]>);

/// A whole leaf of zeros, of which one is enough.
static ZERO: LazyLock<Leaf> = LazyLock::new(|| Leaf(Arc::from([0; LEAF_BYTES].as_slice())));

impl Leaf {
    pub(crate) fn zero() -> Leaf {
        ZERO.clone()
    }
}

impl From<&[u8]> for Leaf {
    fn from(bytes: &[u8]) -> Self {
        Leaf(Arc::from(bytes))
    }
}

impl From<Vec<u8>> for Leaf {
    fn from(bytes: Vec<u8>) -> Self {
        Leaf(Arc::from(bytes))
    }
}

impl Deref for Leaf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leaf({} bytes)", self.0.len())
    }
}

impl Serialize for Leaf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Leaf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Leaf;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("at most 64 KiB")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Leaf, E> {
                if bytes.len() > LEAF_BYTES {
                    return Err(E::invalid_length(bytes.len(), &self));
                }
                Ok(Leaf::from(bytes))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
