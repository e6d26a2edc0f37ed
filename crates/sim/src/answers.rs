//! Recorded answers of real models, looked up by the prompt's text.
//!
//! A file is JSON Lines, plain or gzip, each line a [`Row`]. A request means a recording when, in this order,
//!
//! 1. its metadata says so: `prompt_id` is the recording's;
//! 2. its last message is what [`Row::message`] makes of the recording, white space aside;
//! 3. its text contains the recorded context and the recorded prompt, white space aside; of several, the one with the
//!    longest context and prompt.
//!
//! A model is named as in the file (`meta-llama/Llama-3.1-8B-Instruct`), by the last part of that name, or, in any case
//! of letters, by as much of the last part as is unambiguous and ends before a hyphen (`Llama-3.1-8B`).

use crate::ask::Ask;
use crate::hash;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// What a model was asked and answered: a line of a file of recordings. Other fields are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Names the prompt and its context; the same for all models.
    #[serde(default)]
    pub prompt_id: Option<String>,
    /// What was asked.
    pub prompt: String,
    /// What it was asked about.
    #[serde(default)]
    pub context: Option<String>,
    /// The model.
    pub model: String,
    /// What it answered.
    pub answer: String,
    /// 1 when the answer is good, 0 when not, as far as somebody judged it.
    #[serde(default)]
    pub quality: Option<f64>,
    /// Tokens of prompt and context, as the recording counts them.
    #[serde(default)]
    pub tokens_in_est: Option<u64>,
    /// Tokens of the answer, as the recording counts them.
    #[serde(default)]
    pub tokens_out_est: Option<u64>,
    /// Rows of one group share their context.
    #[serde(default)]
    pub group: Option<String>,
}

impl Row {
    /// The message that asks for this answer: prompt, empty line, context.
    pub fn message(&self) -> String {
        match &self.context {
            Some(context) if !context.is_empty() => format!("{}\n\n{context}", self.prompt),
            _ => self.prompt.clone(),
        }
    }

    /// A chat completion that asks `model` for its answer to this row's prompt.
    pub fn chat_request(&self, model: &str) -> Value {
        json!({"model": model, "messages": [{"role": "user", "content": self.message()}]})
    }
}

/// All rows of a file of recordings, plain or gzip. Lines end at `\n` only.
pub fn rows(file: &Path) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    each_row(file, |row| rows.push(row))?;
    Ok(rows)
}

/// All recordings.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// By model.
    models: HashMap<String, Model>,
}

/// What one model answered.
#[derive(Debug, Default)]
struct Model {
    /// Longest first.
    recordings: Vec<Recording>,
    /// Places of recordings by the hash of their message.
    messages: HashMap<u64, usize>,
    /// Places of recordings by `prompt_id`.
    ids: HashMap<String, usize>,
}

/// One answer.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    id: Option<String>,
    message: u64,
    context: String,
    prompt: String,
    pub(crate) answer: String,
    /// Tokens of prompt and context, where the file says.
    pub(crate) tokens_in: Option<u64>,
    /// Tokens of the answer, where the file says.
    pub(crate) tokens_out: Option<u64>,
}

/// Why a file of recordings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswersError {
    #[error("sim.answers: {path} cannot be read")]
    Read { path: String, source: std::io::Error },
    #[error(
        "sim.answers: line {line} of {path} is not valid: expected an object with prompt, model and answer"
    )]
    Line { path: String, line: usize, source: serde_json::Error },
}

impl Answers {
    /// Reads all `files`.
    pub(crate) fn load<P: AsRef<Path>>(files: &[P]) -> Result<Self, AnswersError> {
        let mut answers = Self::default();
        for file in files {
            each_row(file.as_ref(), |row| answers.add(row))?;
        }
        for model in answers.models.values_mut() {
            model.recordings.sort_by_key(|r| std::cmp::Reverse(r.context.len() + r.prompt.len()));
            for (place, recording) in model.recordings.iter().enumerate() {
                model.messages.entry(recording.message).or_insert(place);
                if let Some(id) = &recording.id {
                    model.ids.entry(id.clone()).or_insert(place);
                }
            }
        }
        Ok(answers)
    }

    fn add(&mut self, row: Row) {
        let recording = Recording {
            message: hash::of(&squeeze(&row.message())),
            id: row.prompt_id,
            context: squeeze(&row.context.unwrap_or_default()),
            prompt: squeeze(&row.prompt),
            answer: row.answer,
            tokens_in: row.tokens_in_est,
            tokens_out: row.tokens_out_est,
        };
        self.models.entry(row.model).or_default().recordings.push(recording);
    }

    /// The recorded models, sorted.
    pub(crate) fn models(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.models.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Whether `model` was recorded.
    pub(crate) fn knows(&self, model: &str) -> bool {
        self.model(model).is_some()
    }

    fn model(&self, name: &str) -> Option<&Model> {
        if self.models.is_empty() {
            return None;
        }
        if let Some(model) = self.models.get(name) {
            return Some(model);
        }
        let last_part = |full: &str| full.rsplit('/').next().unwrap_or_default().to_lowercase();
        let asked = name.to_lowercase();
        if let Some((_, model)) = self.models.iter().find(|(full, _)| last_part(full) == asked) {
            return Some(model);
        }
        let meant =
            |full: &str| last_part(full).strip_prefix(&asked).is_some_and(|rest| rest.starts_with('-'));
        let mut models = self.models.iter().filter(|(full, _)| meant(full)).map(|(_, model)| model);
        models.next().filter(|_| models.next().is_none())
    }

    /// What `model` answered to this.
    pub(crate) fn find(&self, model: &str, ask: &Ask) -> Option<&Recording> {
        let model = self.model(model)?;
        if let Some(id) = &ask.prompt_id {
            return model.ids.get(id).and_then(|place| model.recordings.get(*place));
        }
        let last = squeeze(&ask.last);
        if let Some(place) = model.messages.get(&hash::of(&last)) {
            return model.recordings.get(*place);
        }
        let text = squeeze(&ask.text);
        model.recordings.iter().find(|r| text.contains(&r.context) && text.contains(&r.prompt))
    }
}

fn each_row(file: &Path, mut use_row: impl FnMut(Row)) -> Result<(), AnswersError> {
    let path = file.display().to_string();
    let unreadable = |source| AnswersError::Read { path: path.clone(), source };
    let mut reader = BufReader::new(std::fs::File::open(file).map_err(unreadable)?);
    let gzip = reader.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    let source: Box<dyn Read> =
        if gzip { Box::new(flate2::read::MultiGzDecoder::new(reader)) } else { Box::new(reader) };
    for (index, line) in BufReader::new(source).split(b'\n').enumerate() {
        let line = line.map_err(unreadable)?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        use_row(serde_json::from_slice(&line).map_err(|source| AnswersError::Line {
            path: path.clone(),
            line: index + 1,
            source,
        })?);
    }
    Ok(())
}

/// The text with each run of white space as one space.
fn squeeze(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !squeezed.is_empty() {
            squeezed.push(' ');
        }
        squeezed.push_str(word);
    }
    squeezed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LINES: &str = concat!(
        r#"{"prompt":"Summarise.","context":"A  long\ncontext.","model":"m/one","answer":"first","quality":1.0}"#,
        "\n\n",
        r#"{"prompt":"Summarise.","context":"Another context.","model":"m/one","answer":"second"}"#,
        "\n",
        r#"{"prompt":"Who?","context":null,"model":"m/two","answer":"third"}"#,
    );

    fn load(bytes: &[u8]) -> Result<Answers, AnswersError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Answers::load(&[file.path()])
    }

    fn ask(text: &str) -> Ask {
        let mut ask = Ask::default();
        ask.say("user", text);
        ask
    }

    fn found<'a>(answers: &'a Answers, model: &str, text: &str) -> Option<&'a str> {
        answers.find(model, &ask(text)).map(|r| r.answer.as_str())
    }

    #[test]
    fn a_recording_is_found_by_context_and_prompt_in_any_order() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(LINES.as_bytes()).unwrap();
        for answers in [load(LINES.as_bytes()).unwrap(), load(&gzip.finish().unwrap()).unwrap()] {
            assert_eq!(found(&answers, "m/one", "Summarise.\n\nA long context."), Some("first"));
            assert_eq!(found(&answers, "m/one", "Context: Another context. \n Summarise."), Some("second"));
            assert_eq!(found(&answers, "m/two", "Who?"), Some("third"));
            assert_eq!(found(&answers, "m/one", "Summarise."), None);
            assert_eq!(found(&answers, "m/three", "Who?"), None);
            assert_eq!(answers.models(), ["m/one", "m/two"]);
        }
    }

    #[test]
    fn the_message_of_a_row_and_its_id_find_it() {
        let lines = [("p-1", "What?", "Ships sail."), ("p-2", "What?", "Ships sail. And sink.")].map(
            |(id, prompt, context)| {
                json!({"prompt_id": id, "prompt": prompt, "context": context, "model": "m", "answer": id})
                    .to_string()
            },
        );
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        let answers = Answers::load(&[file.path()]).unwrap();
        for row in rows(file.path()).unwrap() {
            let body = row.chat_request("m");
            let asked = ask(body["messages"][0]["content"].as_str().unwrap());
            assert_eq!(answers.find("m", &asked).unwrap().answer, row.answer);
            let by_id = Ask { prompt_id: row.prompt_id, ..ask("whatever") };
            assert_eq!(answers.find("m", &by_id).unwrap().answer, row.answer);
        }
        let unknown = Ask { prompt_id: Some("p-3".to_owned()), ..ask("What?\n\nShips sail.") };
        assert!(answers.find("m", &unknown).is_none());
    }

    #[test]
    fn a_model_is_known_by_as_much_of_its_name_as_is_unambiguous() {
        let line = |model: &str| json!({"prompt": "p", "model": model, "answer": model}).to_string();
        let lines = ["a/Llama-3.1-8B-Instruct", "a/Llama-3.2-1B-Instruct", "o/gpt-4o-mini", "o/gpt-4o-large"]
            .map(line);
        let answers = load(lines.join("\n").as_bytes()).unwrap();
        for known in ["a/Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct", "llama-3.1-8b", "gpt-4o-mini"] {
            assert!(answers.knows(known), "{known}");
        }
        for unknown in ["Llama", "gpt-4", "gpt-4o", "Llama-3", "", "Instruct"] {
            assert!(!answers.knows(unknown), "{unknown}");
        }
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = load(b"{\"prompt\":\"p\",\"model\":\"m\",\"answer\":\"a\"}\n{\"prompt\":1}").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
