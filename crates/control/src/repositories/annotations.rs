//! The queue of calls that people are asked to label. Shows in no snapshot, so it does not bump the version.

use super::{repository, row};
use crate::database::failed;
use crate::records::{Annotation, HumanLabel, LabelledQueue, NewAnnotation, Said};
use crate::{ControlError, secrets, validate};
use contracts::{TenantId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

repository! {
    /// Calls that people are asked to label.
    Annotations
}

/// Most rows of a list.
const MOST: i64 = 10_000;

impl Annotations {
    /// Queues a call; returns it as it stands, which is as it was when it is queued already.
    pub async fn create(&self, new: NewAnnotation, now: Timestamp) -> Result<Annotation, ControlError> {
        validate::token("queue", &new.queue)?;
        let id = format!("ann_{}", secrets::random_hex::<12>()?);
        sqlx::query(
            "INSERT INTO annotations (id, tenant_id, queue, trace_id, span_id, subject, verdicts, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, queue, trace_id, span_id) DO NOTHING",
        )
        .bind(id.as_str())
        .bind(new.tenant.as_str())
        .bind(new.queue.as_str())
        .bind(new.trace_id.as_str())
        .bind(new.span_id.as_str())
        .bind(new.subject.to_string())
        .bind(new.verdicts.to_string())
        .bind(now.unix_nanos())
        .execute(self.db.pool())
        .await
        .map_err(failed("queue an annotation"))?;
        let row = sqlx::query(
            "SELECT * FROM annotations WHERE tenant_id = $1 AND queue = $2 AND trace_id = $3 AND span_id = $4",
        )
        .bind(new.tenant.as_str())
        .bind(new.queue.as_str())
        .bind(new.trace_id.as_str())
        .bind(new.span_id.as_str())
        .fetch_one(self.db.pool())
        .await
        .map_err(failed("read an annotation"))?;
        annotation(&row)
    }

    /// One of the tenant's.
    pub async fn get(&self, tenant: &TenantId, id: &str) -> Result<Option<Annotation>, ControlError> {
        let row = sqlx::query("SELECT * FROM annotations WHERE tenant_id = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id)
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("read an annotation"))?;
        row.as_ref().map(annotation).transpose()
    }

    /// The tenant's calls that want a label, oldest first.
    pub async fn open(
        &self,
        tenant: &TenantId,
        queue: &str,
        rows: u32,
    ) -> Result<Vec<Annotation>, ControlError> {
        let rows = sqlx::query(
            "SELECT * FROM annotations
             WHERE tenant_id = $1 AND queue = $2 AND labelled_at IS NULL AND skipped_at IS NULL
             ORDER BY created_at, id LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(queue)
        .bind(i64::from(rows).min(MOST))
        .fetch_all(self.db.pool())
        .await
        .map_err(failed("list annotations"))?;
        rows.iter().map(annotation).collect()
    }

    /// The tenant's labelled calls since `since`, newest first; 10,000 at most.
    pub async fn labelled(
        &self,
        tenant: &TenantId,
        queue: &str,
        since: Timestamp,
    ) -> Result<Vec<Annotation>, ControlError> {
        let sql = "SELECT * FROM annotations WHERE tenant_id = $1 AND queue = $2 AND labelled_at >= $3
             ORDER BY labelled_at DESC, id LIMIT $4";
        self.since(sql, tenant, queue, since).await?.iter().map(annotation).collect()
    }

    /// Every queue with a label since `since`: whose, how many labels, and when the last was given.
    pub async fn labelled_queues(&self, since: Timestamp) -> Result<Vec<LabelledQueue>, ControlError> {
        let rows = sqlx::query(
            "SELECT tenant_id, queue, count(*) AS labels, max(labelled_at) AS last_at FROM annotations
             WHERE labelled_at >= $1 GROUP BY tenant_id, queue ORDER BY tenant_id, queue",
        )
        .bind(since.unix_nanos())
        .fetch_all(self.db.pool())
        .await
        .map_err(failed("list queues"))?;
        let queue = |row| {
            Ok(LabelledQueue {
                tenant: row::parsed(row, "annotation", "tenant_id")?,
                queue: row::text(row, "queue")?,
                labels: row::integer(row, "labels")?,
                last_at: row::time(row, "last_at")?,
            })
        };
        rows.iter().map(queue).collect()
    }

    /// What people and judges said of the tenant's labelled calls since `since`, newest first; 10,000 at most.
    pub async fn said(
        &self,
        tenant: &TenantId,
        queue: &str,
        since: Timestamp,
    ) -> Result<Vec<Said>, ControlError> {
        let sql = "SELECT id, label, verdicts FROM annotations WHERE tenant_id = $1 AND queue = $2 AND labelled_at >= $3
             ORDER BY labelled_at DESC, id LIMIT $4";
        let rows = self.since(sql, tenant, queue, since).await?;
        let said = |row| {
            let (id, verdicts) = (row::text(row, "id")?, row::text(row, "verdicts")?);
            let verdicts = serde_json::from_str(&verdicts)
                .map_err(|error| ControlError::corrupt("annotation", &id, error))?;
            Ok(Said { label: row::text(row, "label")?, verdicts })
        };
        rows.iter().map(said).collect()
    }

    async fn since(
        &self,
        sql: &'static str,
        tenant: &TenantId,
        queue: &str,
        since: Timestamp,
    ) -> Result<Vec<AnyRow>, ControlError> {
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(queue).bind(since.unix_nanos()).bind(MOST);
        query.fetch_all(self.db.pool()).await.map_err(failed("list labelled calls"))
    }

    /// Labels a call, over what was said before.
    pub async fn label(
        &self,
        tenant: &TenantId,
        id: &str,
        label: &HumanLabel,
    ) -> Result<Annotation, ControlError> {
        validate::token("label", &label.label)?;
        // The score goes as text: `Any` gives a missing double another type (float4) than a present one, and PostgreSQL refuses
        // the second of the two that meets a statement prepared for the first.
        let score = label.score.map(|score| score.to_string());
        let done = sqlx::query(
            "UPDATE annotations
             SET label = $1, score = CAST($2 AS DOUBLE PRECISION), comment = $3, annotator = $4, labelled_at = $5, skipped_at = NULL
             WHERE tenant_id = $6 AND id = $7",
        )
        .bind(label.label.as_str())
        .bind(score)
        .bind(label.comment.as_str())
        .bind(label.annotator.as_str())
        .bind(label.at.unix_nanos())
        .bind(tenant.as_str())
        .bind(id)
        .execute(self.db.pool())
        .await
        .map_err(failed("label a call"))?;
        self.changed(tenant, id, done.rows_affected()).await
    }

    /// Nobody will label it.
    pub async fn skip(
        &self,
        tenant: &TenantId,
        id: &str,
        now: Timestamp,
    ) -> Result<Annotation, ControlError> {
        let done = sqlx::query(
            "UPDATE annotations SET skipped_at = $1 WHERE tenant_id = $2 AND id = $3 AND labelled_at IS NULL",
        )
        .bind(now.unix_nanos())
        .bind(tenant.as_str())
        .bind(id)
        .execute(self.db.pool())
        .await
        .map_err(failed("skip a call"))?;
        self.changed(tenant, id, done.rows_affected()).await
    }

    async fn changed(&self, tenant: &TenantId, id: &str, rows: u64) -> Result<Annotation, ControlError> {
        let missing = || ControlError::not_found("annotation", id);
        if rows == 0 && self.get(tenant, id).await?.is_none() {
            return Err(missing());
        }
        self.get(tenant, id).await?.ok_or_else(missing)
    }
}

fn annotation(row: &AnyRow) -> Result<Annotation, ControlError> {
    let id = row::text(row, "id")?;
    let json = |column: &str| {
        let text = row::text(row, column)?;
        serde_json::from_str(&text).map_err(|error| ControlError::corrupt("annotation", &id, error))
    };
    let label = match (row::optional_text(row, "label")?, row::optional_time(row, "labelled_at")?) {
        (Some(label), Some(at)) => Some(HumanLabel {
            label,
            score: row.try_get("score").map_err(failed("read a row"))?,
            comment: row::optional_text(row, "comment")?.unwrap_or_default(),
            annotator: row::optional_text(row, "annotator")?.unwrap_or_default(),
            at,
        }),
        _ => None,
    };
    Ok(Annotation {
        tenant: row::parsed(row, "annotation", "tenant_id")?,
        queue: row::text(row, "queue")?,
        trace_id: row::text(row, "trace_id")?,
        span_id: row::text(row, "span_id")?,
        subject: json("subject")?,
        verdicts: json("verdicts")?,
        created_at: row::time(row, "created_at")?,
        label,
        skipped_at: row::optional_time(row, "skipped_at")?,
        id,
    })
}
