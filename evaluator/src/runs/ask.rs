//! One row: ask, judge, and put the result together.

use super::gateway::Exchange;
use super::{ContextIn, Gateway, RunResult, Score, Target};
use crate::datasets::Row;
use crate::judges::{self, Judge, Subject, patience};
use contracts::{SubjectRef, TenantId};
use runtime::Clock;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What every row of a run is asked with.
#[derive(Clone)]
pub struct Asker {
    /// The run's id.
    pub run_id: String,
    /// Whose.
    pub tenant: TenantId,
    /// Where.
    pub target: Target,
    /// Whether the context goes before the messages.
    pub context: ContextIn,
    /// Through what.
    pub gateway: Gateway,
    /// Who judges.
    pub judges: Vec<Arc<dyn Judge>>,
    /// The time.
    pub clock: Clock,
}

impl Asker {
    /// The trace of a row's repetition: it follows from run, row and repetition, so that calls of a run can be found whatever happened.
    pub fn trace_id(&self, row_id: &str, repeat: u32) -> String {
        let digest = Sha256::digest(format!("{}\0{row_id}\0{repeat}", self.run_id));
        crate::datasets::hex(&digest[..16])
    }

    /// Asks and judges.
    pub(super) async fn ask(&self, row: &Row, repeat: u32) -> RunResult {
        let trace_id = self.trace_id(&row.id, repeat);
        let exchange = self.gateway.ask(&self.target.body(row, self.context), &trace_id).await;
        let mut result = RunResult {
            row_id: row.id.clone(),
            repeat,
            at: self.clock.now(),
            trace_id,
            calls: exchange.calls.clone(),
            model: String::new(),
            answer: String::new(),
            error: exchange.error.clone(),
            latency_ms: exchange.latency_ms,
            slices: row.slices.clone(),
            scores: Vec::new(),
        };
        if let Some(answer) = &exchange.answer {
            let subject = Arc::new(self.subject(row, answer, &result, &exchange));
            result.model = text(&answer["model"]);
            result.answer.clone_from(&subject.answer);
            for judge in &self.judges {
                result.scores.push(score(judge.clone(), subject.clone()).await);
            }
        }
        result
    }

    fn subject(&self, row: &Row, answer: &Value, result: &RunResult, exchange: &Exchange) -> Subject {
        let message = &answer["choices"][0]["message"];
        let reference = SubjectRef {
            tenant: self.tenant.clone(),
            trace_id: result.trace_id.clone(),
            span_id: String::new(),
            response_id: text(&answer["id"]),
        };
        let system = row.messages.iter().filter(|m| m.role == "system").map(|m| m.content.as_str());
        let question = row.messages.iter().rev().find(|m| m.role == "user");
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        let logprobs = answer["choices"][0]["logprobs"]["content"].as_array().into_iter().flatten();
        let wanted = row.params.get("response_format");
        let tools = row.params.get("tools").and_then(Value::as_array).into_iter().flatten();
        debug_assert!(exchange.answer.is_some(), "only an answer has a subject");
        Subject {
            route: self.target.to_string(),
            model: text(&answer["model"]),
            system: system.collect::<Vec<_>>().join("\n"),
            messages: row
                .messages
                .iter()
                .map(|m| judges::Message { role: m.role.clone(), text: m.content.clone() })
                .collect(),
            question: question.map(|m| m.content.clone()),
            context: row
                .context
                .iter()
                .map(|p| judges::Passage {
                    id: p.id.clone(),
                    text: p.text.clone(),
                    score: None,
                    source: String::new(),
                })
                .collect(),
            answer: text(&message["content"]),
            tools: tools
                .map(|tool| judges::Tool {
                    name: text(&tool["function"]["name"]),
                    parameters: tool["function"]["parameters"].clone(),
                })
                .collect(),
            tool_calls: calls
                .map(|call| judges::ToolCall {
                    name: text(&call["function"]["name"]),
                    arguments: text(&call["function"]["arguments"]),
                })
                .collect(),
            logprobs: logprobs.filter_map(|token| token["logprob"].as_f64()).collect(),
            wants_json: wanted.is_some_and(|w| w["type"] == "json_object" || w["type"] == "json_schema"),
            response_schema: wanted.map(|w| w["json_schema"]["schema"].clone()).filter(|s| !s.is_null()),
            expected: row.expected.clone(),
            ..Subject::new(reference, result.at)
        }
    }
}

async fn score(judge: Arc<dyn Judge>, subject: Arc<Subject>) -> Score {
    let verdict = patience::apart(judge, subject).await;
    Score {
        judge: verdict.judge,
        version: verdict.version,
        score: verdict.score,
        label: verdict.label,
        explanation: verdict.explanation,
        cost: verdict.cost,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
