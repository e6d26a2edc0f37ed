//! What becomes of judging when judges change or cannot be asked: chunks that nobody works any more, streams that are moved back or taken over,
//! pauses.

use super::{Judging, json, parsed, row, stream};
use crate::ControlError;
use crate::database::failed;
use crate::records::{ChunkCall, JudgingStream};
use contracts::{TenantId, Timestamp};
use std::collections::BTreeSet;

impl Judging {
    /// Forgets chunks that were finished before `before`.
    pub async fn forget_finished(&self, before: Timestamp) -> Result<u64, ControlError> {
        let gone = sqlx::query("DELETE FROM judging_chunks WHERE finished_at < $1")
            .bind(before.unix_nanos())
            .execute(self.db.pool())
            .await
            .map_err(failed("forget chunks"))?;
        Ok(gone.rows_affected())
    }

    /// Forgets the chunks of other generations of which no chunk was held after `before`: no evaluator with these judges runs any more.
    /// Back-fills go back to where their calls began.
    pub async fn forget_generations(&self, generation: &str, before: Timestamp) -> Result<u64, ControlError> {
        let rows = sqlx::query(
            "SELECT id, stream_id, calls FROM judging_chunks
             WHERE generation <> $1 AND finished_at IS NULL AND planned_at < $2
               AND generation NOT IN (SELECT generation FROM judging_chunks WHERE expires_at > $2)",
        )
        .bind(generation)
        .bind(before.unix_nanos())
        .fetch_all(self.db.pool())
        .await
        .map_err(failed("look for abandoned chunks"))?;
        if rows.is_empty() {
            return Ok(0);
        }
        let mut tx = self.db.write_unversioned().await?;
        let mut gone = 0;
        for found in &rows {
            // Somebody may have taken it meanwhile.
            let deleted = sqlx::query(
                "DELETE FROM judging_chunks WHERE id = $1 AND expires_at <= $2 AND finished_at IS NULL",
            )
            .bind(row::text(found, "id")?)
            .bind(before.unix_nanos())
            .execute(&mut *tx)
            .await
            .map_err(failed("forget a chunk"))?;
            let calls: Vec<ChunkCall> = parsed(found, "calls")?;
            if deleted.rows_affected() > 0
                && let Some(first_ns) = calls.iter().map(|call| call.1).min()
            {
                gone += 1;
                sqlx::query(REWIND)
                    .bind(first_ns)
                    .bind(row::text(found, "stream_id")?)
                    .execute(&mut *tx)
                    .await
                    .map_err(failed("move a stream back"))?;
            }
        }
        tx.commit().await.map_err(failed("forget chunks"))?;
        Ok(gone)
    }

    /// Moves a back-fill back, so that calls from `to_ns` on are looked at again.
    pub async fn rewind(&self, stream_id: &str, to_ns: i64) -> Result<(), ControlError> {
        sqlx::query(REWIND)
            .bind(to_ns)
            .bind(stream_id)
            .execute(self.db.pool())
            .await
            .map_err(failed("move a stream back"))?;
        Ok(())
    }

    /// Takes over the unfinished back-fills of other generations that have no open chunk, for those of their judges that are still there
    /// (each `name@version`); those without such a judge stay as they are.
    pub async fn adopt_backfills(&self, generation: &str, judges: &[String]) -> Result<u64, ControlError> {
        let rows = sqlx::query(
            "SELECT * FROM judging_streams
             WHERE generation <> $1 AND until_ns IS NOT NULL AND finished_at IS NULL
               AND id NOT IN (SELECT stream_id FROM judging_chunks WHERE finished_at IS NULL)",
        )
        .bind(generation)
        .fetch_all(self.db.pool())
        .await
        .map_err(failed("list back-fills"))?;
        let mut adopted = 0;
        for found in &rows {
            let found = stream(found)?;
            let kept: Vec<&String> = found.judges.iter().filter(|judge| judges.contains(judge)).collect();
            if kept.is_empty() {
                continue;
            }
            let done = sqlx::query(
                "UPDATE judging_streams SET generation = $1, judges = $2 WHERE id = $3 AND generation = $4",
            )
            .bind(generation)
            .bind(json(&kept)?)
            .bind(found.id.as_str())
            .bind(found.generation.as_str())
            .execute(self.db.pool())
            .await
            .map_err(failed("take over a back-fill"))?;
            adopted += done.rows_affected();
        }
        Ok(adopted)
    }

    /// The tenant's back-fills of every generation, oldest first.
    pub async fn backfills(&self, tenant: &TenantId) -> Result<Vec<JudgingStream>, ControlError> {
        let rows = sqlx::query(
            "SELECT * FROM judging_streams WHERE tenant_id = $1 AND until_ns IS NOT NULL ORDER BY created_at, id",
        )
        .bind(tenant.as_str())
        .fetch_all(self.db.pool())
        .await
        .map_err(failed("list back-fills"))?;
        rows.iter().map(stream).collect()
    }

    /// How far the stream that goes on for ever is of whichever other generation came furthest.
    pub async fn furthest_live(&self, generation: &str) -> Result<Option<i64>, ControlError> {
        let row = sqlx::query(
            "SELECT next_ns FROM judging_streams WHERE generation <> $1 AND until_ns IS NULL
             ORDER BY next_ns DESC LIMIT 1",
        )
        .bind(generation)
        .fetch_optional(self.db.pool())
        .await
        .map_err(failed("look for the stream of earlier judges"))?;
        row.as_ref().map(|found| row::integer(found, "next_ns")).transpose()
    }

    /// Nobody asks `judge` (a `name@version`) before `until`.
    pub async fn pause_judge(&self, judge: &str, until: Timestamp, reason: &str) -> Result<(), ControlError> {
        sqlx::query(
            "INSERT INTO judge_pauses (judge, until_at, reason) VALUES ($1, $2, $3)
             ON CONFLICT (judge) DO UPDATE SET until_at = excluded.until_at, reason = excluded.reason
             WHERE judge_pauses.until_at < excluded.until_at",
        )
        .bind(judge)
        .bind(until.unix_nanos())
        .bind(reason)
        .execute(self.db.pool())
        .await
        .map_err(failed("pause a judge"))?;
        Ok(())
    }

    /// The judges that are not asked now, each `name@version`.
    pub async fn paused_judges(&self, now: Timestamp) -> Result<BTreeSet<String>, ControlError> {
        let rows = sqlx::query("SELECT judge FROM judge_pauses WHERE until_at > $1")
            .bind(now.unix_nanos())
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list paused judges"))?;
        rows.iter().map(|found| row::text(found, "judge")).collect()
    }
}

/// Only a stream that ends is moved back: the one that goes on for ever looks back by itself.
const REWIND: &str = "UPDATE judging_streams SET next_ns = $1, finished_at = NULL
    WHERE id = $2 AND until_ns IS NOT NULL AND next_ns > $1";
