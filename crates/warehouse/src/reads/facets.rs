//! What the filters of the console offer.

use super::{Bind, check_range};
use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;
use contracts::reads::{Facets, TenantScope, TimeRange};

/// Values of each kind at most.
const TOP: u32 = 100;

#[derive(clickhouse::Row, serde::Deserialize)]
struct Columns {
    kind: String,
    name: String,
}

impl Warehouse {
    /// Values that filters can take within the range, most frequent first.
    pub async fn facets(&self, scope: &TenantScope, range: TimeRange) -> Result<Facets, WarehouseError> {
        let query = self
            .read(read::FACETS, Limits::NARROW)
            .tenants(scope)
            .range(check_range(range)?)
            .param("top", TOP);
        let rows: Vec<Columns> =
            within(query.fetch_all()).await.map_err(failed("read the values of the filters"))?;
        let mut facets = Facets::default();
        for row in rows {
            match row.kind.as_str() {
                "model" => facets.models.push(row.name),
                "route" => facets.routes.push(row.name),
                _ => facets.keys.push(row.name),
            }
        }
        Ok(facets)
    }
}
