//! Against the real engine: the counts of every table that follows from `spans`.

use super::*;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use warehouse::{InsertError, SpanKey, Warehouse, WarehouseError};
