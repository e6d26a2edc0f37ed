//! Passwords of people: argon2id with the OWASP parameters that the `argon2` crate defaults to (19 MiB, 2 passes).
//!
//! A hash takes tens of milliseconds of one core, so it runs on the blocking pool.

use crate::ControlError;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

/// The PHC string of a password, with a fresh salt.
pub(crate) async fn hash(password: String) -> Result<String, ControlError> {
    blocking(move || {
        let salt = SaltString::generate(&mut OsRng);
        let hash = argon2id().hash_password(password.as_bytes(), &salt);
        hash.map(|hash| hash.to_string()).map_err(|error| ControlError::Password(error.to_string()))
    })
    .await
}

/// Whether `password` is the one that `stored` was made from. Without a stored hash (no such user) the same work is done
/// and the answer is no, so that the time taken does not tell which users exist.
pub(crate) async fn verify(password: String, stored: Option<String>) -> Result<bool, ControlError> {
    let Some(stored) = stored else {
        hash(password).await?;
        return Ok(false);
    };
    blocking(move || {
        let parsed = PasswordHash::new(&stored).map_err(|error| ControlError::Password(error.to_string()))?;
        Ok(argon2id().verify_password(password.as_bytes(), &parsed).is_ok())
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
) -> Result<T, ControlError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ControlError::Password(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_is_told_from_the_wrong_one() {
        let stored = hash("correct horse".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$"), "{stored}");
        assert!(verify("correct horse".into(), Some(stored.clone())).await.unwrap());
        assert!(!verify("correct horsf".into(), Some(stored)).await.unwrap());
        assert!(!verify("correct horse".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn equal_passwords_have_different_hashes() {
        assert_ne!(hash("same".into()).await.unwrap(), hash("same".into()).await.unwrap());
    }

    #[tokio::test]
    async fn a_damaged_hash_is_an_error_and_not_a_no() {
        assert!(matches!(verify("x".into(), Some("garbage".into())).await, Err(ControlError::Password(_))));
    }
}
