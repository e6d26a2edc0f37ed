//! Prompts by name: a body that asks for one gets it, rendered, before anything else reads it.
//!
//! `prompt: {name, version | label, variables}` in chat completions, responses and messages; `OpenAI`'s own form with `id` too. A prompt of
//! responses that is not ours is the upstream's, and passes.

use crate::endpoints::Endpoint;
use crate::errors::Failure;
use crate::stack::heavy;
use bytes::Bytes;
use contracts::policy::prompt::{Defaults, Prompt};
use contracts::policy::{KeyPolicy, Named, Snapshot};
use contracts::{PolicyName, TenantId};
use prompts::{Body, Call, Compiled, Form, MergeError, RenderError, merge};
use protocols::Dialect;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Compiled prompts that are kept; when there are more, all are compiled anew.
const MOST: usize = 4_096;

type Key = (Option<TenantId>, PolicyName, u64);

/// Compiles each version of a prompt once.
#[derive(Debug, Default)]
pub(crate) struct Prompter(Mutex<HashMap<Key, Arc<Compiled>>>);

/// The prompt that a call was made with.
#[derive(Debug, Clone)]
pub(crate) struct Prompted {
    pub(crate) name: PolicyName,
    pub(crate) version: u64,
}

impl Prompter {
    /// The body with the prompt that it asks for; as it is when it asks for none. A large one is filled off the async threads.
    pub(crate) async fn fill(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        key: &Arc<KeyPolicy>,
        endpoint: &'static Endpoint,
        body: Bytes,
    ) -> Result<(Bytes, Option<Prompted>), Failure> {
        let (prompter, snapshot, key) = (self.clone(), snapshot.clone(), key.clone());
        heavy(body.len(), move || prompter.filled(&snapshot, &key, endpoint, body)).await?
    }

    /// The body with a route's own prompt, which takes no variables. A large one is filled off the async threads.
    pub(crate) async fn add(
        self: &Arc<Self>,
        prompt: &Arc<Named<Prompt>>,
        endpoint: &'static Endpoint,
        body: &Bytes,
    ) -> Result<Option<(Bytes, Prompted)>, Failure> {
        let (prompter, prompt, body) = (self.clone(), prompt.clone(), body.clone());
        heavy(body.len(), move || prompter.added(&prompt, endpoint, &body)).await?
    }

    fn filled(
        &self,
        snapshot: &Snapshot,
        key: &KeyPolicy,
        endpoint: &Endpoint,
        body: Bytes,
    ) -> Result<(Bytes, Option<Prompted>), Failure> {
        let Some(form) = form(endpoint) else { return Ok((body, None)) };
        // Nearly no body has one.
        if memchr::memmem::find(&body, b"\"prompt\"").is_none() {
            return Ok((body, None));
        }
        // What is no request is refused by who reads it as one.
        let Ok(read) = Body::read(&body) else { return Ok((body, None)) };
        let asked = read.get("prompt").filter(|asked| asked.starts_with('{'));
        let Some(asked) = asked else { return Ok((body, None)) };
        let call = Call::parse(asked)
            .map_err(|error| Failure::BadPrompt { field: error.field.clone(), message: error.to_string() })?;
        let tenant = Some(&key.tenant.id);
        let Some(held) = snapshot.prompts.get(tenant, &call.prompt.name, call.prompt.selector()) else {
            if form == Form::Responses && snapshot.prompts.prompt(tenant, &call.prompt.name).is_none() {
                return Ok((body, None));
            }
            let message = format!(
                "prompt: there is no {:?} of this version or label: expected one that was created",
                call.prompt.name.as_str()
            );
            return Err(Failure::BadPrompt { field: "prompt".into(), message });
        };
        let prompt = held.clone().map_err(Failure::Unreadable)?;
        let filled = self.merged(&prompt, endpoint, form, &read, &call.variables)?;
        Ok((filled, Some(Prompted { name: prompt.name.clone(), version: prompt.revision })))
    }

    fn added(
        &self,
        prompt: &Arc<Named<Prompt>>,
        endpoint: &Endpoint,
        body: &Bytes,
    ) -> Result<Option<(Bytes, Prompted)>, Failure> {
        let Some(form) = form(endpoint) else { return Ok(None) };
        let read = Body::read(body).map_err(|error| wrong(&error))?;
        let filled = self.merged(prompt, endpoint, form, &read, &Value::Object(serde_json::Map::new()))?;
        Ok(Some((filled, Prompted { name: prompt.name.clone(), version: prompt.revision })))
    }

    fn merged(
        &self,
        prompt: &Arc<Named<Prompt>>,
        endpoint: &Endpoint,
        form: Form,
        body: &Body<'_>,
        variables: &Value,
    ) -> Result<Bytes, Failure> {
        let compiled = self.compiled(prompt)?;
        let messages = compiled.render(variables).map_err(|error| match error {
            RenderError::Variable(error) => Failure::BadPrompt {
                message: format!("prompt.{error}"),
                field: format!("prompt.{}", error.path),
            },
            RenderError::TooLong => {
                let field = String::from("prompt.variables");
                Failure::BadPrompt { message: format!("{field}: the rendered prompt is too long"), field }
            }
            template @ RenderError::Template { .. } => {
                Failure::BadTemplate(format!("prompt {}: {template}", prompt.name))
            }
        })?;
        // Where nothing is written, how it would be is not asked.
        let of_model = || Defaults { model: compiled.defaults().model.clone(), ..Defaults::default() };
        let defaults = if endpoint.max_output.is_empty() {
            Cow::Owned(of_model())
        } else {
            Cow::Borrowed(compiled.defaults())
        };
        let merged = merge(form, body, &messages, &defaults).map_err(|error| wrong(&error))?;
        Ok(merged.into())
    }

    fn compiled(&self, prompt: &Arc<Named<Prompt>>) -> Result<Arc<Compiled>, Failure> {
        let key = (prompt.tenant.clone(), prompt.name.clone(), prompt.revision);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = known.get(&key) {
            return Ok(compiled.clone());
        }
        let compiled = Compiled::new(&prompt.spec)
            .map_err(|error| Failure::BadTemplate(format!("prompt {}: {error}", prompt.name)))?;
        let compiled = Arc::new(compiled);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, compiled.clone());
        Ok(compiled)
    }
}

fn wrong(error: &MergeError) -> Failure {
    Failure::BadPrompt { field: error.field.to_owned(), message: error.to_string() }
}

fn form(endpoint: &Endpoint) -> Option<Form> {
    match endpoint.dialect? {
        Dialect::OpenAiChat => Some(Form::Chat),
        Dialect::OpenAiResponses => Some(Form::Responses),
        Dialect::Anthropic => Some(Form::Messages),
        Dialect::Gemini | Dialect::Bedrock => None,
    }
}
