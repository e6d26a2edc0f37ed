//! Recorded answers of real models, looked up by the prompt's text.
//!
//! A file is JSON Lines, plain or gzip: `{"prompt": …, "context": …|null, "model": …, "answer": …}` and more fields,
//! which are ignored. A request matches a recording when its text contains the recorded context and the recorded prompt,
//! white space aside; of several, the one with the longest context and prompt wins.

use serde::Deserialize;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// All recordings.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// By model.
    models: HashMap<String, Vec<Recording>>,
}

#[derive(Debug)]
struct Recording {
    context: String,
    prompt: String,
    answer: String,
}

#[derive(Deserialize)]
struct Line {
    prompt: String,
    #[serde(default)]
    context: Option<String>,
    model: String,
    answer: String,
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
            answers.read(file.as_ref())?;
        }
        for recordings in answers.models.values_mut() {
            recordings.sort_by_key(|r| std::cmp::Reverse(r.context.len() + r.prompt.len()));
        }
        Ok(answers)
    }

    fn read(&mut self, file: &Path) -> Result<(), AnswersError> {
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
            let line: Line = serde_json::from_slice(&line).map_err(|source| AnswersError::Line {
                path: path.clone(),
                line: index + 1,
                source,
            })?;
            self.models.entry(line.model).or_default().push(Recording {
                context: squeeze(&line.context.unwrap_or_default()),
                prompt: squeeze(&line.prompt),
                answer: line.answer,
            });
        }
        Ok(())
    }

    /// The recorded models, sorted.
    pub(crate) fn models(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.models.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Whether `model` was recorded.
    pub(crate) fn knows(&self, model: &str) -> bool {
        self.models.contains_key(model)
    }

    /// What `model` answered to a prompt with this text.
    pub(crate) fn find(&self, model: &str, text: &str) -> Option<&str> {
        let text = squeeze(text);
        self.models
            .get(model)?
            .iter()
            .find(|r| text.contains(&r.context) && text.contains(&r.prompt))
            .map(|r| r.answer.as_str())
    }
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

    #[test]
    fn a_recording_is_found_by_context_and_prompt_in_any_order() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(LINES.as_bytes()).unwrap();
        for answers in [load(LINES.as_bytes()).unwrap(), load(&gzip.finish().unwrap()).unwrap()] {
            assert_eq!(answers.find("m/one", "Summarise.\n\nA long context."), Some("first"));
            assert_eq!(answers.find("m/one", "Context: Another context. \n Summarise."), Some("second"));
            assert_eq!(answers.find("m/two", "Who?"), Some("third"));
            assert_eq!(answers.find("m/one", "Summarise."), None);
            assert_eq!(answers.find("m/three", "Who?"), None);
            assert_eq!(answers.models(), ["m/one", "m/two"]);
        }
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = load(b"{\"prompt\":\"p\",\"model\":\"m\",\"answer\":\"a\"}\n{\"prompt\":1}").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
