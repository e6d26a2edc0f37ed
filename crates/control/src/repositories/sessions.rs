//! Sessions of users. They come and go with sign-ins and show in no snapshot, so they do not bump the version.

use super::{repository, row, users};
use crate::database::failed;
use crate::records::{CreatedSession, Session};
use crate::{ControlError, secrets};
use contracts::Timestamp;
use std::time::Duration;

repository! {
    /// Sessions of users.
    Sessions
}

impl Sessions {
    /// Opens a session of a user, which must exist; expired sessions of the same user are swept out.
    pub async fn create(
        &self,
        user_id: &str,
        lasts: Duration,
        now: Timestamp,
    ) -> Result<CreatedSession, ControlError> {
        let fresh = secrets::generate("ct-session-")?;
        let lasts = i64::try_from(lasts.as_nanos()).unwrap_or(i64::MAX);
        let expires_at = Timestamp::from_unix_nanos(now.unix_nanos().saturating_add(lasts));
        sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND expires_at <= $2")
            .bind(user_id)
            .bind(now.unix_nanos())
            .execute(self.db.pool())
            .await
            .map_err(failed("sweep sessions"))?;
        sqlx::query("INSERT INTO sessions (hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)")
            .bind(hex::encode(fresh.hash))
            .bind(user_id)
            .bind(now.unix_nanos())
            .bind(expires_at.unix_nanos())
            .execute(self.db.pool())
            .await
            .map_err(|error| match &error {
                sqlx::Error::Database(inner) if inner.is_foreign_key_violation() => {
                    ControlError::not_found("user", user_id)
                }
                _ => failed("open a session")(error),
            })?;
        Ok(CreatedSession { token: fresh.secret, expires_at })
    }

    /// The session of a token, unless it has ended.
    pub async fn find(&self, token: &str, now: Timestamp) -> Result<Option<Session>, ControlError> {
        let mut tx = self.db.read().await?;
        let row = sqlx::query("SELECT * FROM sessions WHERE hash = $1 AND expires_at > $2")
            .bind(hex::encode(secrets::hash(token)))
            .bind(now.unix_nanos())
            .fetch_optional(&mut *tx)
            .await
            .map_err(failed("look up a session"))?;
        let Some(row) = row else { return Ok(None) };
        let user = users::find_by_id(&mut tx, &row::text(&row, "user_id")?).await?;
        let (created_at, expires_at) = (row::time(&row, "created_at")?, row::time(&row, "expires_at")?);
        Ok(user.map(|user| Session { user, created_at, expires_at }))
    }

    /// Ends a session. Nothing happens when there is none.
    pub async fn delete(&self, token: &str) -> Result<(), ControlError> {
        sqlx::query("DELETE FROM sessions WHERE hash = $1")
            .bind(hex::encode(secrets::hash(token)))
            .execute(self.db.pool())
            .await
            .map_err(failed("end a session"))?;
        Ok(())
    }

    /// Sweeps out all expired sessions; returns how many there were.
    pub async fn delete_expired(&self, now: Timestamp) -> Result<u64, ControlError> {
        let result = sqlx::query("DELETE FROM sessions WHERE expires_at <= $1")
            .bind(now.unix_nanos())
            .execute(self.db.pool())
            .await
            .map_err(failed("sweep sessions"))?;
        Ok(result.rows_affected())
    }
}
