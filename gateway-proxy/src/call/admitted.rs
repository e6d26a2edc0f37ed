//! What is known of a call when it is admitted: who asks, where, and under which policy. All else it learns on its way.

use super::{Facts, Turn};
use crate::endpoints::Endpoint;
use crate::govern::Governed;
use crate::identity::Identity;
use crate::meter::Answer;
use crate::resume::OnDisconnect;
use contracts::policy::{KeyPolicy, Snapshot};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

impl Facts {
    /// A call that was just admitted.
    pub(crate) fn new(
        identity: Arc<Identity>,
        endpoint: &'static Endpoint,
        snapshot: Arc<Snapshot>,
        key: Arc<KeyPolicy>,
    ) -> Self {
        Self {
            identity,
            endpoint,
            snapshot,
            key,
            ask: None,
            resolved: None,
            asked_at: None,
            first_content: None,
            room: None,
            attempts: Vec::with_capacity(1),
            given: None,
            answer: Answer::default(),
            status: None,
            prompted: None,
            guarding: None,
            assigned: None,
            found: None,
            lead: None,
            place: None,
            response_id: None,
            on_disconnect: OnDisconnect::default(),
            whole: None,
            wants_logprobs: false,
            warnings: Vec::new(),
            governed: Governed::default(),
            turn: Turn::default(),
            slot: None,
            queued: Duration::ZERO,
            lease: None,
            prompt_sent: false,
            answer_started: false,
            beside: Vec::new(),
            pools: OnceLock::new(),
        }
    }
}
