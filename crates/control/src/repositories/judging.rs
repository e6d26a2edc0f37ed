//! What evaluators share while they judge: streams of calls, planned into chunks that workers take, each for as long as a
//! lease. They come and go all the time and show in no snapshot, so they do not bump the version.
//!
//! Times are those of the callers' clocks: evaluators on several machines must agree to within a fraction of a lease. A clock that
//! is wrong can make two workers judge the same chunk, never write it twice: the chunk's id names the batch.

mod spending;
mod upkeep;

use super::{repository, row};
use crate::ControlError;
use crate::database::failed;
use crate::records::{Chunk, JudgingStream, Lease, NewChunk, OpenChunk, StreamProgress};
use contracts::Timestamp;
use sqlx::any::AnyRow;
use std::time::Duration;

repository! {
    /// Streams, chunks and leases of the evaluator, and what its judges spend.
    Judging
}

impl Judging {
    /// As [`crate::Control::open`], for a role that writes nothing else.
    pub async fn open(url: &str) -> Result<Self, ControlError> {
        Ok(crate::Control::open(url).await?.judging())
    }

    /// The queue of annotations in the same database.
    pub fn annotations(&self) -> super::Annotations {
        super::Annotations::new(self.db.clone())
    }

    /// What was measured of experiments, in the same database.
    pub fn measurements(&self) -> super::Measurements {
        super::Measurements::new(self.db.clone())
    }

    /// Takes the lease `name` unless somebody else holds it.
    pub async fn acquire(
        &self,
        name: &str,
        holder: &str,
        lasts: Duration,
        now: Timestamp,
    ) -> Result<Option<Lease>, ControlError> {
        let expires_at = after(now, lasts);
        let row = sqlx::query(
            "INSERT INTO judging_leases (name, holder, fence, expires_at) VALUES ($1, $2, 1, $3)
             ON CONFLICT (name) DO UPDATE
             SET holder = excluded.holder, fence = judging_leases.fence + 1, expires_at = excluded.expires_at
             WHERE judging_leases.expires_at <= $4
             RETURNING fence",
        )
        .bind(name)
        .bind(holder)
        .bind(expires_at.unix_nanos())
        .bind(now.unix_nanos())
        .fetch_optional(self.db.pool())
        .await
        .map_err(failed("take a lease"))?;
        let Some(row) = row else { return Ok(None) };
        let fence = row::integer(&row, "fence")?;
        Ok(Some(Lease { name: name.to_owned(), holder: holder.to_owned(), fence, expires_at }))
    }

    /// Gives the lease back, if it is still held.
    pub async fn release(&self, lease: &Lease) -> Result<(), ControlError> {
        sqlx::query(
            "UPDATE judging_leases SET expires_at = 0 WHERE name = $1 AND holder = $2 AND fence = $3",
        )
        .bind(lease.name.as_str())
        .bind(lease.holder.as_str())
        .bind(lease.fence)
        .execute(self.db.pool())
        .await
        .map_err(failed("give a lease back"))?;
        Ok(())
    }

    /// Adds a stream unless there is one of that id.
    pub async fn ensure_stream(&self, stream: &JudgingStream) -> Result<(), ControlError> {
        sqlx::query(
            "INSERT INTO judging_streams
                 (id, generation, judges, tenant_id, next_ns, until_ns, planned, created_at, finished_at)
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7, NULL) ON CONFLICT (id) DO NOTHING",
        )
        .bind(stream.id.as_str())
        .bind(stream.generation.as_str())
        .bind(json(&stream.judges)?)
        .bind(stream.tenant.as_ref().map(|tenant| tenant.as_str().to_owned()))
        .bind(stream.next_ns)
        .bind(stream.until_ns)
        .bind(stream.created_at.unix_nanos())
        .execute(self.db.pool())
        .await
        .map_err(failed("add a stream"))?;
        Ok(())
    }

    /// All streams of a generation, the one that goes on for ever first.
    pub async fn streams(&self, generation: &str) -> Result<Vec<JudgingStream>, ControlError> {
        let rows = sqlx::query(
            "SELECT * FROM judging_streams WHERE generation = $1
             ORDER BY CASE WHEN until_ns IS NULL THEN 0 ELSE 1 END, created_at, id",
        )
        .bind(generation)
        .fetch_all(self.db.pool())
        .await
        .map_err(failed("list streams"))?;
        rows.iter().map(stream).collect()
    }

    /// Every chunk that is not finished, or not forgotten yet, of whatever generation.
    pub async fn open_chunks(&self) -> Result<Vec<OpenChunk>, ControlError> {
        let rows =
            sqlx::query("SELECT stream_id, generation, judges, calls, finished_at FROM judging_chunks")
                .fetch_all(self.db.pool())
                .await
                .map_err(failed("list chunks"))?;
        let open = |row: &AnyRow| {
            Ok(OpenChunk {
                stream_id: row::text(row, "stream_id")?,
                generation: row::text(row, "generation")?,
                judges: parsed(row, "judges")?,
                calls: parsed(row, "calls")?,
                finished: row::optional_time(row, "finished_at")?.is_some(),
            })
        };
        rows.iter().map(open).collect()
    }

    /// Writes what was planned, as a whole, if `lease` is still held; whether it was.
    pub async fn commit_plan(
        &self,
        lease: &Lease,
        chunks: &[NewChunk],
        progress: &[StreamProgress],
        now: Timestamp,
    ) -> Result<bool, ControlError> {
        let mut tx = self.db.write_unversioned().await?;
        // Makes whoever wants to take the lease wait until this is done.
        let held = sqlx::query(
            "UPDATE judging_leases SET expires_at = expires_at WHERE name = $1 AND holder = $2 AND fence = $3",
        )
        .bind(lease.name.as_str())
        .bind(lease.holder.as_str())
        .bind(lease.fence)
        .execute(&mut *tx)
        .await
        .map_err(failed("check a lease"))?;
        if held.rows_affected() == 0 {
            return Ok(false);
        }
        for chunk in chunks {
            sqlx::query(
                "INSERT INTO judging_chunks
                     (id, stream_id, generation, judges, calls, planned_at, holder, fence, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, NULL, 0, 0)",
            )
            .bind(chunk.id.as_str())
            .bind(chunk.stream_id.as_str())
            .bind(chunk.generation.as_str())
            .bind(json(&chunk.judges)?)
            .bind(json(&chunk.calls)?)
            .bind(now.unix_nanos())
            .execute(&mut *tx)
            .await
            .map_err(failed("plan a chunk"))?;
        }
        for stream in progress {
            // A worker may have moved it back meanwhile, to calls that its judges did not look at.
            sqlx::query(
                "UPDATE judging_streams
                 SET planned = planned + $2,
                     finished_at = CASE WHEN next_ns = $5 THEN $3 ELSE finished_at END,
                     next_ns = CASE WHEN next_ns = $5 THEN $1 ELSE next_ns END
                 WHERE id = $4",
            )
            .bind(stream.next_ns)
            .bind(stream.planned)
            .bind(stream.finished.then_some(now.unix_nanos()))
            .bind(stream.id.as_str())
            .bind(stream.from_ns)
            .execute(&mut *tx)
            .await
            .map_err(failed("move a stream on"))?;
        }
        tx.commit().await.map_err(failed("commit a plan"))?;
        Ok(true)
    }

    /// Takes the oldest chunk of the generation that nobody holds.
    pub async fn take_chunk(
        &self,
        generation: &str,
        holder: &str,
        lasts: Duration,
        now: Timestamp,
    ) -> Result<Option<Chunk>, ControlError> {
        let row = sqlx::query(
            "UPDATE judging_chunks SET holder = $1, fence = fence + 1, expires_at = $2
             WHERE expires_at <= $3 AND id = (
                 SELECT id FROM judging_chunks
                 WHERE generation = $4 AND expires_at <= $3 AND finished_at IS NULL
                 ORDER BY planned_at, id LIMIT 1)
             RETURNING id, stream_id, generation, judges, calls, planned_at, fence, failures",
        )
        .bind(holder)
        .bind(after(now, lasts).unix_nanos())
        .bind(now.unix_nanos())
        .bind(generation)
        .fetch_optional(self.db.pool())
        .await
        .map_err(failed("take a chunk"))?;
        row.as_ref().map(chunk).transpose()
    }

    /// Holds the chunk for longer; `false` when somebody else has taken it.
    pub async fn renew_chunk(
        &self,
        id: &str,
        holder: &str,
        fence: i64,
        until: Timestamp,
    ) -> Result<bool, ControlError> {
        let sql = "UPDATE judging_chunks SET expires_at = $1
             WHERE id = $2 AND holder = $3 AND fence = $4 AND finished_at IS NULL";
        self.while_held(sql, "hold a chunk", (id, holder, fence), until).await
    }

    /// The chunk is written: nobody takes it any more. `false` when somebody else has taken it.
    pub async fn finish_chunk(
        &self,
        id: &str,
        holder: &str,
        fence: i64,
        now: Timestamp,
    ) -> Result<bool, ControlError> {
        let sql = "UPDATE judging_chunks SET finished_at = $1
             WHERE id = $2 AND holder = $3 AND fence = $4 AND finished_at IS NULL";
        self.while_held(sql, "finish a chunk", (id, holder, fence), now).await
    }

    /// The chunk could not be judged for a reason that lies in its calls: nobody takes it before `until`.
    pub async fn fail_chunk(
        &self,
        id: &str,
        holder: &str,
        fence: i64,
        until: Timestamp,
    ) -> Result<(), ControlError> {
        let sql = "UPDATE judging_chunks SET failures = failures + 1, expires_at = $1
             WHERE id = $2 AND holder = $3 AND fence = $4 AND finished_at IS NULL";
        self.while_held(sql, "put a chunk back", (id, holder, fence), until).await.map(|_| ())
    }

    /// Writes a time into a chunk, if its holder still has it; whether it had.
    async fn while_held(
        &self,
        sql: &'static str,
        doing: &'static str,
        (id, holder, fence): (&str, &str, i64),
        at: Timestamp,
    ) -> Result<bool, ControlError> {
        let query = sqlx::query(sql).bind(at.unix_nanos()).bind(id).bind(holder).bind(fence);
        let done = query.execute(self.db.pool()).await.map_err(failed(doing))?;
        Ok(done.rows_affected() > 0)
    }

    /// How many chunks of a generation are not finished.
    pub async fn count_chunks(&self, generation: &str) -> Result<u64, ControlError> {
        let row = sqlx::query(
            "SELECT count(*) AS chunks FROM judging_chunks WHERE generation = $1 AND finished_at IS NULL",
        )
        .bind(generation)
        .fetch_one(self.db.pool())
        .await
        .map_err(failed("count chunks"))?;
        Ok(row::integer(&row, "chunks")?.unsigned_abs())
    }
}

fn after(now: Timestamp, lasts: Duration) -> Timestamp {
    let nanos = i64::try_from(lasts.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_unix_nanos(now.unix_nanos().saturating_add(nanos))
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, ControlError> {
    serde_json::to_string(value).map_err(|error| ControlError::corrupt("record of judging", "", error))
}

fn parsed<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, ControlError> {
    let text = row::text(row, column)?;
    serde_json::from_str(&text).map_err(|error| ControlError::corrupt("record of judging", column, error))
}

fn stream(row: &AnyRow) -> Result<JudgingStream, ControlError> {
    let until: Option<i64> = row::optional_time(row, "until_ns")?.map(Timestamp::unix_nanos);
    Ok(JudgingStream {
        id: row::text(row, "id")?,
        generation: row::text(row, "generation")?,
        judges: parsed(row, "judges")?,
        tenant: row::optional_parsed(row, "stream", "tenant_id")?,
        next_ns: row::integer(row, "next_ns")?,
        until_ns: until,
        planned: row::integer(row, "planned")?,
        created_at: row::time(row, "created_at")?,
        finished_at: row::optional_time(row, "finished_at")?,
    })
}

fn chunk(row: &AnyRow) -> Result<Chunk, ControlError> {
    let plan = NewChunk {
        id: row::text(row, "id")?,
        stream_id: row::text(row, "stream_id")?,
        generation: row::text(row, "generation")?,
        judges: parsed(row, "judges")?,
        calls: parsed(row, "calls")?,
    };
    Ok(Chunk {
        plan,
        planned_at: row::time(row, "planned_at")?,
        fence: row::integer(row, "fence")?,
        failures: row::integer(row, "failures")?,
    })
}
