//! Judges of one's own: over HTTP, or as a command.
//!
//! Both get the subject as JSON and give `{score, label, explanation, details, cost}` back, of which only `score` or `label` must be there.
//! A command gets it on standard input and answers on standard output; it is run without a shell, without our environment, and is killed
//! when its time is up.

use super::wire::Wire;
use super::{Judge, JudgeError, Judging, Subject};
use crate::config::SECTION;
use contracts::{Usd, Verdict};
use http::Uri;
use runtime::config::{InvalidSetting, duration};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// Most bytes of an answer.
const MAX_ANSWER: usize = 256 * 1024;

/// One custom judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomConfig {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// Its version; to be changed whenever it may judge differently.
    pub version: String,
    /// Where to post to; or a command.
    #[serde(default)]
    pub url: Option<String>,
    /// Program and arguments; or a URL.
    #[serde(default)]
    pub command: Vec<String>,
    /// How long a verdict may take.
    #[serde(default = "ten_seconds", with = "duration")]
    pub timeout: Duration,
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

impl CustomConfig {
    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let is_name = |text: &str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        SECTION.check(
            is_name(&self.name),
            "judges.custom.name",
            &self.name,
            "1 to 64 of A-Z a-z 0-9 . _ -",
        )?;
        SECTION.check(
            is_name(&self.version),
            "judges.custom.version",
            &self.version,
            "1 to 64 of A-Z a-z 0-9 . _ -",
        )?;
        SECTION.check(
            self.url.is_some() == self.command.is_empty(),
            "judges.custom",
            &self.name,
            "either url or command",
        )?;
        let url = self.url.as_deref().unwrap_or("http://unused");
        let is_url =
            url.parse::<Uri>().is_ok() && (url.starts_with("http://") || url.starts_with("https://"));
        SECTION.check(is_url, "judges.custom.url", url, "a URL such as http://127.0.0.1:9000/judge")
    }
}

/// A custom judge.
#[derive(Debug)]
pub struct Custom {
    config: CustomConfig,
    wire: Wire,
}

#[derive(Deserialize)]
struct Answer {
    score: Option<f64>,
    label: Option<String>,
    #[serde(default)]
    explanation: String,
    #[serde(default)]
    details: Value,
    #[serde(default)]
    cost: Usd,
}

impl Custom {
    /// By its configuration.
    pub fn new(config: CustomConfig, wire: Wire) -> Self {
        Self { config, wire }
    }

    fn failed(&self, reason: impl Into<String>, retryable: bool) -> JudgeError {
        JudgeError::Failed { judge: self.config.name.clone(), reason: reason.into(), retryable }
    }

    async fn look(&self, subject: &Subject) -> Result<Verdict, JudgeError> {
        let asked = serde_json::to_value(subject).map_err(|error| self.failed(error.to_string(), false))?;
        let said = match &self.config.url {
            Some(url) => self.post(url, &asked).await?,
            None => self.command(&asked).await?,
        };
        let answer: Answer = serde_json::from_value(said).map_err(|error| {
            self.failed(format!("its answer is not a verdict: {error}; expected score or label"), false)
        })?;
        if answer.score.is_none() && answer.label.is_none() {
            return Err(self.failed("its answer has neither score nor label", false));
        }
        if answer.score.is_some_and(|score| !score.is_finite()) {
            return Err(self.failed("its score is not a number", false));
        }
        if answer.cost < Usd::ZERO {
            return Err(self.failed(format!("its cost is {}, expected 0 or more", answer.cost), false));
        }
        let label = answer.label.unwrap_or_default();
        Ok(Verdict {
            explanation: answer.explanation,
            details: answer.details,
            cost: answer.cost,
            ..subject.verdict(self, answer.score, &label)
        })
    }

    async fn post(&self, url: &str, asked: &Value) -> Result<Value, JudgeError> {
        let uri: Uri = url.parse().map_err(|_| self.failed("its URL cannot be used", false))?;
        let answer = self.wire.post(&uri, &[], asked, self.config.timeout, MAX_ANSWER).await;
        answer.map(|answer| answer.value).map_err(|error| error.of(&self.config.name))
    }

    async fn command(&self, asked: &Value) -> Result<Value, JudgeError> {
        let within = self.config.timeout;
        match tokio::time::timeout(within, self.exchange(asked.to_string())).await {
            Ok(said) => said,
            // The child is killed when its handle is dropped.
            Err(_) => {
                Err(JudgeError::Deadline { judge: self.config.name.clone(), millis: within.as_millis() })
            }
        }
    }

    async fn exchange(&self, asked: String) -> Result<Value, JudgeError> {
        let broken = |error: std::io::Error| self.failed(format!("the command failed: {error}"), false);
        let Some((program, arguments)) = self.config.command.split_first() else {
            return Err(self.failed("no command", false));
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(broken)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        // Both at once: a program may answer before it has read everything, or not read at all.
        let write = async move {
            if let Some(mut input) = input {
                // Whether it read everything is its own affair.
                let _ = input.write_all(asked.as_bytes()).await;
            }
        };
        let read = async move {
            let mut said = Vec::new();
            if let Some(output) = output {
                output.take(MAX_ANSWER as u64 + 1).read_to_end(&mut said).await?;
            }
            Ok::<_, std::io::Error>(said)
        };
        let ((), said) = tokio::join!(write, read);
        let said = said.map_err(broken)?;
        if said.len() > MAX_ANSWER {
            return Err(self.failed(format!("its answer is larger than {MAX_ANSWER} bytes"), false));
        }
        let status = child.wait().await.map_err(broken)?;
        if !status.success() {
            return Err(self.failed(format!("the command ended with {status}"), false));
        }
        serde_json::from_slice(&said)
            .map_err(|error| self.failed(format!("its answer is not JSON: {error}"), false))
    }
}

impl Judge for Custom {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn version(&self) -> &str {
        &self.config.version
    }

    fn judge<'a>(&'a self, subject: &'a Subject) -> Judging<'a> {
        Box::pin(self.look(subject))
    }

    fn is_remote(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::{SubjectRef, Timestamp};

    async fn by(script: &str, timeout: Duration) -> Result<Verdict, JudgeError> {
        let config = CustomConfig {
            name: "mine".to_owned(),
            version: "3".to_owned(),
            url: None,
            command: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
            timeout,
        };
        config.validate().unwrap();
        let reference = SubjectRef {
            tenant: "acme".parse().unwrap(),
            trace_id: String::new(),
            span_id: String::new(),
            response_id: String::new(),
        };
        let subject =
            Subject { answer: "Rome".repeat(50_000), ..Subject::new(reference, Timestamp::default()) };
        Custom::new(config, Wire::new().unwrap()).look(&subject).await
    }

    #[tokio::test]
    async fn a_command_judges_within_its_bounds() {
        let long = Duration::from_secs(20);
        let verdict = by(r#"grep -q Rome && echo '{"score": 0.5, "label": "so-so", "cost": "0.001"}'"#, long)
            .await
            .unwrap();
        assert_eq!(
            (verdict.judge.as_str(), verdict.version.as_str(), verdict.score),
            ("mine", "3", Some(0.5))
        );
        assert_eq!((verdict.label.as_str(), verdict.cost), ("so-so", "0.001".parse().unwrap()));
        // It need not read what it is given.
        assert_eq!(by(r#"echo '{"label": "x"}'"#, long).await.unwrap().score, None);
        for (script, expected) in [
            ("echo '{}'", "neither score nor label"),
            (r#"echo '{"score": 1, "cost": "-0.5"}'"#, "cost is -0.5"),
            ("echo no", "not JSON"),
            ("exit 3", "exit status: 3"),
            ("yes | head -c 400000", "larger than"),
        ] {
            let error = by(script, long).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{script}: {error}");
        }
        let error = by("sleep 30", Duration::from_millis(100)).await.unwrap_err();
        assert!(matches!(error, JudgeError::Deadline { .. }), "{error}");
    }
}
