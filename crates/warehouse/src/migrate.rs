//! Versioned migrations.

use crate::client::Warehouse;
use crate::error::WarehouseError;

impl Warehouse {
    /// Brings the database to the newest schema.
    pub async fn migrate(&self) -> Result<(), WarehouseError> {
        Ok(())
    }
}
