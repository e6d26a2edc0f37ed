//! Compiled prompts: Jinja templates that see their variables and nothing else.
//!
//! A name that is not defined is an error, not an empty text. There are no includes and imports, so a template cannot reach another
//! one; fuel bounds the time and memory of a rendering, and the text that results is bounded too.

use crate::variables::{VariableError, Variables, cut};
use contracts::policy::InvalidPolicy;
use contracts::policy::prompt::{Defaults, Prompt, Role};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde::Serialize;
use serde_json::Value;
use std::io;

/// Bytes that all messages of a prompt together may have once rendered.
pub const MOST_RENDERED_BYTES: usize = 1024 * 1024;

/// Instructions of one template, where 64 bytes that it makes count as one. Ten times what the longest rendering needs.
const FUEL: u64 = 200_000;

/// A prompt that is ready to be rendered.
#[derive(Debug)]
pub struct Compiled {
    environment: Environment<'static>,
    parts: Vec<Part>,
    variables: Option<Variables>,
    defaults: Defaults,
}

#[derive(Debug)]
struct Part {
    role: Role,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Text that is the same for all.
    Fixed(String),
    /// The name of a template.
    Template(String),
}

/// One message of a rendered prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Why a prompt could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The caller's variables do not fit.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// The template failed with variables that its schema accepts.
    #[error("{field}, line {line}: {reason}")]
    Template {
        /// Which: `messages[1].content`.
        field: String,
        /// The line in it, from 1; 0 when unknown.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The rendered messages are longer than [`MOST_RENDERED_BYTES`].
    #[error("the rendered prompt is longer than {MOST_RENDERED_BYTES} bytes")]
    TooLong,
}

impl Compiled {
    /// Compiles templates and schema. Refuses templates that do not parse, that call a filter, test or function that does not exist
    /// where this can be told, and that use variables the schema does not know.
    pub fn new(prompt: &Prompt) -> Result<Self, InvalidPolicy> {
        prompt.validate()?;
        let variables = prompt.variables.as_ref().map(Variables::new).transpose()?;
        let mut environment = environment();
        let mut parts = Vec::with_capacity(prompt.messages.len());
        for (n, message) in prompt.messages.iter().enumerate() {
            let text = message.content.as_str();
            let content = if text.contains('{') {
                let field = format!("messages[{n}].content");
                add(&mut environment, &field, text, variables.as_ref())?;
                Content::Template(field)
            } else {
                Content::Fixed(text.to_owned())
            };
            parts.push(Part { role: message.role, content });
        }
        Ok(Self { environment, parts, variables, defaults: prompt.defaults.clone() })
    }

    /// Checks the variables and puts them into the templates. `null` means none.
    pub fn render(&self, variables: &Value) -> Result<Vec<Message>, RenderError> {
        let empty = Value::Object(serde_json::Map::new());
        let given = if variables.is_null() { &empty } else { variables };
        let context = match &self.variables {
            Some(schema) => minijinja::Value::from(Serde(&*schema.check(given)?)),
            None => none(given)?,
        };
        let mut left = MOST_RENDERED_BYTES;
        let mut messages = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let content = match &part.content {
                Content::Fixed(text) => text.clone(),
                Content::Template(field) => self.fill(field, &context, left)?,
            };
            left = left.checked_sub(content.len()).ok_or(RenderError::TooLong)?;
            messages.push(Message { role: part.role, content });
        }
        Ok(messages)
    }

    /// What a request gets that does not say otherwise.
    pub const fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    fn fill(&self, field: &str, context: &minijinja::Value, most: usize) -> Result<String, RenderError> {
        let failed = |error: &Error| RenderError::Template {
            field: field.to_owned(),
            line: error.line().unwrap_or(0),
            reason: reason(error),
        };
        let template = self.environment.get_template(field).map_err(|error| failed(&error))?;
        let mut text = Bounded { text: Vec::with_capacity(template.source().len()), most };
        match template.render_captured_to(context.clone(), &mut text) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WriteFailure => return Err(RenderError::TooLong),
            Err(error) => return Err(failed(&error)),
        }
        // Writes come at any byte, but what is written in all is text.
        String::from_utf8(text.text).map_err(|_| RenderError::TooLong)
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    // Deep enough for any prompt, and far from the end of a small stack.
    environment.set_recursion_limit(64);
    // It shows the engine's inside, which is nothing for a model.
    environment.remove_global("debug");
    // With it a loop could nest values deeper than the stack takes.
    environment.remove_global("namespace");
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment
}

fn add(
    environment: &mut Environment<'static>,
    field: &str,
    text: &str,
    variables: Option<&Variables>,
) -> Result<(), InvalidPolicy> {
    let invalid = |line: usize, text: &str, expected: String| {
        let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        InvalidPolicy::new(field, shown, expected)
    };
    if let Some((line, most)) = tags::too_much(text) {
        return Err(invalid(line, text, format!("at most {most}, but line {line} has more")));
    }
    if let Err(error) = environment.add_template_owned(field.to_owned(), text.to_owned()) {
        let line = error.line().unwrap_or(1);
        return Err(invalid(line, text, format!("a template, but line {line}: {}", reason(&error))));
    }
    let used = environment.get_template(field).map(|template| template.undeclared_variables(false));
    let mut used: Vec<String> = used.unwrap_or_default().into_iter().collect();
    used.sort_unstable();
    let is_known = |name: &str| {
        variables.is_some_and(|variables| variables.knows(name))
            || environment.globals().any(|(global, _)| global == name)
    };
    match used.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => {
            let line = text.lines().position(|line| line.contains(name.as_str())).map_or(1, |line| line + 1);
            let known = variables.map_or(&[][..], Variables::names).join(", ");
            let known = if known.is_empty() { String::from("it has none") } else { known };
            let expected = format!("variables of the schema ({known}), but line {line} uses `{name}`");
            Err(invalid(line, text, expected))
        }
    }
}

/// A prompt without variables is called without.
fn none(given: &Value) -> Result<minijinja::Value, VariableError> {
    let first = given.as_object().and_then(|map| map.iter().next());
    match (given, first) {
        (Value::Object(_), None) => Ok(minijinja::Value::from(Serde(given))),
        (_, Some((name, value))) => Err(VariableError {
            path: format!("variables.{name}"),
            value: cut(&value.to_string()),
            expected: "no variables, as the prompt has none".into(),
        }),
        (_, None) => Err(VariableError {
            path: "variables".into(),
            value: cut(&given.to_string()),
            expected: "an object".into(),
        }),
    }
}

fn reason(error: &Error) -> String {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    cut(&format!("{}{detail}", error.kind()))
}

/// Takes no more than so many bytes.
struct Bounded {
    text: Vec<u8>,
    most: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.most {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

mod tags;
#[cfg(test)]
mod tests;
