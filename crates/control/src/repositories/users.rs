//! Users of the console.

use super::audit::Change;
use super::row::{self, insert_failed};
use super::{repository, tenants};
use crate::database::{Tx, failed};
use crate::records::{NewUser, Role, User, UserChange};
use crate::{ControlError, passwords, secrets, validate};
use contracts::{TenantId, Timestamp};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

repository! {
    /// Users of the console.
    Users
}

impl Users {
    /// Creates a user.
    pub async fn create(&self, new: NewUser, now: Timestamp) -> Result<User, ControlError> {
        let username = validate::username(&new.username)?;
        validate::password(&new.password)?;
        let hash = passwords::hash(new.password).await?;
        let user = User {
            id: format!("usr_{}", secrets::random_hex::<8>()?),
            username,
            role: new.role,
            tenants: new.tenants.map(sorted),
            created_at: now,
        };
        let mut tx = self.db.write().await?;
        sqlx::query(
            "INSERT INTO users (id, username, password_hash, role, all_tenants, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(user.id.as_str())
        .bind(user.username.as_str())
        .bind(hash)
        .bind(user.role.as_str())
        .bind(i64::from(user.tenants.is_none()))
        .bind(now.unix_nanos())
        .execute(&mut *tx)
        .await
        .map_err(insert_failed("user", &user.username))?;
        write_tenants(&mut tx, &user).await?;
        self.db.commit(tx, Change::created("user", &user.id, &user)?).await?;
        Ok(user)
    }

    /// One user, by id.
    pub async fn get(&self, id: &str) -> Result<Option<User>, ControlError> {
        let mut tx = self.db.read().await?;
        find_by_id(&mut tx, id).await
    }

    /// One user, by sign-in name.
    pub async fn find_by_username(&self, username: &str) -> Result<Option<User>, ControlError> {
        let mut tx = self.db.read().await?;
        let row = sqlx::query("SELECT * FROM users WHERE username = $1")
            .bind(username.to_ascii_lowercase())
            .fetch_optional(&mut *tx)
            .await
            .map_err(failed("look up a user"))?;
        match row {
            Some(row) => from_row(&mut tx, &row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The user, if the password is right. Takes as long for a user that does not exist.
    pub async fn verify(&self, username: &str, password: &str) -> Result<Option<User>, ControlError> {
        let row = sqlx::query("SELECT id, password_hash FROM users WHERE username = $1")
            .bind(username.to_ascii_lowercase())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("look up a user"))?;
        let stored = row.as_ref().map(|row| row::text(row, "password_hash")).transpose()?;
        // A password longer than any that was ever accepted is not worth hashing.
        let too_long = password.len() > 1024;
        let given = if too_long { String::new() } else { password.to_owned() };
        let right = passwords::verify(given, stored).await? && !too_long;
        match row {
            Some(row) if right => self.get(&row::text(&row, "id")?).await,
            _ => Ok(None),
        }
    }

    /// All users, by sign-in name.
    pub async fn list(&self) -> Result<Vec<User>, ControlError> {
        let mut tx = self.db.read().await?;
        let rows = sqlx::query("SELECT * FROM users ORDER BY username")
            .fetch_all(&mut *tx)
            .await
            .map_err(failed("list users"))?;
        let mut users = Vec::with_capacity(rows.len());
        for row in &rows {
            users.push(from_row(&mut tx, row).await?);
        }
        Ok(users)
    }

    /// Changes a user. A new password ends all of the user's sessions.
    pub async fn update(&self, id: &str, change: UserChange) -> Result<User, ControlError> {
        let hash = match change.password {
            Some(password) => {
                validate::password(&password)?;
                Some(passwords::hash(password).await?)
            }
            None => None,
        };
        let mut tx = self.db.write().await?;
        let before = find_by_id(&mut tx, id).await?.ok_or_else(|| ControlError::not_found("user", id))?;
        let mut user = before.clone();
        let action = if hash.is_some() { "set password" } else { "update" };
        user.role = change.role.unwrap_or(user.role);
        change.tenants.map(sorted).apply(&mut user.tenants);
        sqlx::query("UPDATE users SET role = $1, all_tenants = $2 WHERE id = $3")
            .bind(user.role.as_str())
            .bind(i64::from(user.tenants.is_none()))
            .bind(id)
            .execute(&mut *tx)
            .await
            .map_err(failed("update a user"))?;
        if let Some(hash) = hash {
            sqlx::query("UPDATE users SET password_hash = $1 WHERE id = $2")
                .bind(hash)
                .bind(id)
                .execute(&mut *tx)
                .await
                .map_err(failed("set a password"))?;
            sqlx::query("DELETE FROM sessions WHERE user_id = $1")
                .bind(id)
                .execute(&mut *tx)
                .await
                .map_err(failed("end sessions"))?;
        }
        write_tenants(&mut tx, &user).await?;
        self.db.commit(tx, Change::updated("user", id, &before, &user)?.under(action)).await?;
        Ok(user)
    }

    /// Deletes a user and ends its sessions.
    pub async fn delete(&self, id: &str) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        let before = find_by_id(&mut tx, id).await?.ok_or_else(|| ControlError::not_found("user", id))?;
        sqlx::query("DELETE FROM users WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await
            .map_err(failed("delete a user"))?;
        self.db.commit(tx, Change::deleted("user", id, &before)?).await
    }
}

/// One user, by id, as `connection` sees it.
pub(super) async fn find_by_id(
    connection: &mut AnyConnection,
    id: &str,
) -> Result<Option<User>, ControlError> {
    let row = sqlx::query("SELECT * FROM users WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed("read a user"))?;
    match row {
        Some(row) => from_row(connection, &row).await.map(Some),
        None => Ok(None),
    }
}

fn sorted(mut tenants: Vec<TenantId>) -> Vec<TenantId> {
    tenants.sort();
    tenants.dedup();
    tenants
}

/// Replaces the list of tenants that a user sees; each must exist.
async fn write_tenants(tx: &mut Tx, user: &User) -> Result<(), ControlError> {
    sqlx::query("DELETE FROM user_tenants WHERE user_id = $1")
        .bind(user.id.as_str())
        .execute(&mut **tx)
        .await
        .map_err(failed("change a user's tenants"))?;
    for tenant in user.tenants.iter().flatten() {
        tenants::find(tx, tenant).await?;
        sqlx::query("INSERT INTO user_tenants (user_id, tenant_id) VALUES ($1, $2)")
            .bind(user.id.as_str())
            .bind(tenant.as_str())
            .execute(&mut **tx)
            .await
            .map_err(failed("change a user's tenants"))?;
    }
    Ok(())
}

async fn from_row(connection: &mut AnyConnection, row: &AnyRow) -> Result<User, ControlError> {
    let id = row::text(row, "id")?;
    let role = row::text(row, "role")?.parse::<Role>();
    let tenants = if row::integer(row, "all_tenants")? != 0 {
        None
    } else {
        let rows = sqlx::query("SELECT tenant_id FROM user_tenants WHERE user_id = $1 ORDER BY tenant_id")
            .bind(id.as_str())
            .fetch_all(connection)
            .await
            .map_err(failed("read a user's tenants"))?;
        let tenants: Result<Vec<TenantId>, ControlError> =
            rows.iter().map(|row| row::parsed(row, "user", "tenant_id")).collect();
        Some(tenants?)
    };
    Ok(User {
        username: row.try_get("username").map_err(failed("read a user"))?,
        role: role.map_err(|error| ControlError::corrupt("user", &id, error))?,
        tenants,
        created_at: row::time(row, "created_at")?,
        id,
    })
}
