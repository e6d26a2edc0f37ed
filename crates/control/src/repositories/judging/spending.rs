//! What judges spend, so that a budget holds over all evaluators and over their restarts, and the keys that they spend it with.

use super::Judging;
use crate::ControlError;
use crate::database::failed;
use crate::repositories::row;
use contracts::{KeyId, Timestamp, Usd};

impl Judging {
    /// Puts `amount` aside for a call of `judge` on `day` (days since the epoch), unless the judge would then have spent more than
    /// `budget` that day; whether it did. Of callers at the same time no two get the same rest.
    pub async fn reserve(
        &self,
        judge: &str,
        day: i64,
        amount: Usd,
        budget: Usd,
    ) -> Result<bool, ControlError> {
        if amount > budget {
            return Ok(false);
        }
        let row = sqlx::query(
            "INSERT INTO judge_spending (judge, day, picos) VALUES ($1, $2, $3)
             ON CONFLICT (judge, day) DO UPDATE SET picos = judge_spending.picos + excluded.picos
             WHERE judge_spending.picos <= $4
             RETURNING picos",
        )
        .bind(judge)
        .bind(day)
        .bind(picos("amount", amount)?)
        .bind(i64::try_from((budget - amount).picos()).unwrap_or(i64::MAX))
        .fetch_optional(self.db.pool())
        .await
        .map_err(failed("reserve a judge's budget"))?;
        Ok(row.is_some())
    }

    /// What the call cost in truth, in place of what was put aside for it.
    pub async fn settle(&self, judge: &str, day: i64, reserved: Usd, cost: Usd) -> Result<(), ControlError> {
        sqlx::query("UPDATE judge_spending SET picos = picos + $1 WHERE judge = $2 AND day = $3")
            .bind(picos("cost", cost - reserved)?)
            .bind(judge)
            .bind(day)
            .execute(self.db.pool())
            .await
            .map_err(failed("settle a judge's budget"))?;
        Ok(())
    }

    /// What the judge has spent on `day`, with what is put aside.
    pub async fn spent(&self, judge: &str, day: i64) -> Result<Usd, ControlError> {
        let row = sqlx::query("SELECT picos FROM judge_spending WHERE judge = $1 AND day = $2")
            .bind(judge)
            .bind(day)
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("read what a judge spent"))?;
        let picos = row.as_ref().map(|row| row::integer(row, "picos")).transpose()?;
        Ok(Usd::from_picos(i128::from(picos.unwrap_or(0))))
    }

    /// Remembers that judges ask models with this key.
    pub async fn note_key(&self, key: &KeyId, now: Timestamp) -> Result<(), ControlError> {
        sqlx::query(
            "INSERT INTO judge_keys (key_id, noted_at) VALUES ($1, $2) ON CONFLICT (key_id) DO NOTHING",
        )
        .bind(key.as_str())
        .bind(now.unix_nanos())
        .execute(self.db.pool())
        .await
        .map_err(failed("note a judge's key"))?;
        Ok(())
    }

    /// The ids of all keys with which judges ask or asked models.
    pub async fn keys(&self) -> Result<Vec<KeyId>, ControlError> {
        let rows = sqlx::query("SELECT key_id FROM judge_keys ORDER BY key_id")
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list judges' keys"))?;
        rows.iter().map(|row| row::parsed(row, "key of a judge", "key_id")).collect()
    }
}

/// As a column holds it: up to nine million dollars.
fn picos(field: &'static str, amount: Usd) -> Result<i64, ControlError> {
    i64::try_from(amount.picos())
        .map_err(|_| ControlError::invalid(field, &amount.to_string(), "less than 9,000,000 USD"))
}
