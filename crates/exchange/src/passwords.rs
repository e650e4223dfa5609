//! Passwords: kept as Argon2id hashes, hashed a few at a time since each takes memory.

use argon2::password_hash::{PasswordHash, SaltString};
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::error::ApiError;
use crate::secrets;

/// Of a password, in bytes. The upper one only bounds the work.
pub(crate) const LENGTH_MIN: usize = 12;
const LENGTH_MAX: usize = 1024;
/// Hashes under way: 19 MiB each, by the library's defaults, which are OWASP's.
const AT_ONCE: usize = 2;

/// The way to hash and compare.
#[derive(Debug)]
pub(crate) struct Passwords {
    turns: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Passwords { turns: Semaphore::new(AT_ONCE) }
    }
}

impl Passwords {
    /// A hash to keep.
    pub async fn hash(&self, password: String) -> Result<String, ApiError> {
        let bytes = password.len();
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&bytes) {
            let (min, max) = (LENGTH_MIN, LENGTH_MAX);
            return Err(ApiError::InvalidPassword { bytes, min, max });
        }
        self.with_turn(move || hash(&password)).await?
    }

    /// Whether the password is the one that was hashed. Takes as long when there is no hash to
    /// compare with, so that nobody learns from the time whether there is such a login.
    pub async fn fits(&self, password: String, kept: Option<String>) -> Result<bool, ApiError> {
        if password.len() > LENGTH_MAX {
            return Ok(false);
        }
        self.with_turn(move || {
            let Some(kept) = kept else {
                hash(&password)?;
                return Ok(false);
            };
            let kept = PasswordHash::new(&kept).map_err(|_| ApiError::Internal)?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &kept).is_ok())
        })
        .await?
    }

    async fn with_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let _turn = self.turns.acquire().await.map_err(|_| ApiError::Internal)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::Internal)
    }
}

fn hash(password: &str) -> Result<String, ApiError> {
    let salt = secrets::random::<16>().map_err(|_| ApiError::Internal)?;
    let salt = SaltString::encode_b64(&salt).map_err(|_| ApiError::Internal)?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(|_| ApiError::Internal)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::default();
        let (one, other) = ("correct horse battery", "correct horse batteru");
        let kept = passwords.hash(one.to_owned()).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(passwords.hash(one.to_owned()).await.unwrap(), kept, "each has its own salt");
        assert!(passwords.fits(one.to_owned(), Some(kept.clone())).await.unwrap());
        assert!(!passwords.fits(other.to_owned(), Some(kept)).await.unwrap());
        assert!(!passwords.fits(one.to_owned(), None).await.unwrap());
        for bad in ["short".to_owned(), "x".repeat(LENGTH_MAX + 1)] {
            let refused = passwords.hash(bad).await.unwrap_err();
            assert_eq!(refused.code(), "invalid_password");
        }
    }
}
