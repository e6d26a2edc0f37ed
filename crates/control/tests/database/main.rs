//! The control database from outside: one suite over SQLite and PostgreSQL, and what is peculiar to each.

#[cfg(test)]
mod backends;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod sqlite_file;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod support;
