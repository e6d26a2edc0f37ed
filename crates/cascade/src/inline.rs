//! Requests that bring their context within the message: which part is the instruction, and which is what the answer may rest on.

/// Messages shorter than this hold no context worth checking against.
const LEAST_MESSAGE: usize = 400;

/// Instructions are shorter than this.
const MOST_INSTRUCTION: usize = 600;

/// Without a word that tells it, an instruction is shorter than this.
const MOST_UNMARKED: usize = 200;

/// A message in two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inline<'a> {
    /// The question or instruction: the first paragraph, the last, or both.
    pub prompt: String,
    /// The rest.
    pub context: &'a str,
}

/// Divides a message; `None` where it has no two parts that can be told apart. Only for requests that name no context of their own.
pub fn inline_context(message: &str) -> Option<Inline<'_>> {
    let message = message.trim();
    if message.len() < LEAST_MESSAGE {
        return None;
    }
    let (first, after) = message.split_once('\n').unwrap_or((message, ""));
    let (before, last) = message.rsplit_once('\n').unwrap_or(("", message));
    let opens = is_instruction(first) && !after.trim().is_empty();
    let closes = is_instruction(last) && !before.trim().is_empty();
    let (opens, closes) = match (opens, closes) {
        (false, false) => (
            !after.is_empty() && first.len() <= MOST_UNMARKED && last.len() > MOST_UNMARKED,
            !before.is_empty() && last.len() <= MOST_UNMARKED,
        ),
        marked => marked,
    };
    let (prompt, context) = match (opens, closes) {
        (true, true) => (format!("{first}\n{last}"), after.strip_suffix(last)?),
        (true, false) => (first.to_owned(), after),
        (false, true) => (last.to_owned(), before),
        (false, false) => return None,
    };
    let context = context.trim();
    (!context.is_empty()).then_some(Inline { prompt, context })
}

/// Whether a line tells or asks the reader something.
fn is_instruction(line: &str) -> bool {
    const OPENINGS: [&str; 41] = [
        "analyze",
        "answer",
        "are",
        "based",
        "briefly",
        "can",
        "classify",
        "compare",
        "could",
        "create",
        "describe",
        "did",
        "do",
        "does",
        "explain",
        "extract",
        "find",
        "generate",
        "give",
        "how",
        "identify",
        "instruction",
        "is",
        "list",
        "please",
        "provide",
        "question",
        "rewrite",
        "should",
        "summarise",
        "summarize",
        "task",
        "tell",
        "translate",
        "use",
        "using",
        "what",
        "when",
        "where",
        "who",
        "write",
    ];
    const MORE: [&str; 8] = ["which", "whose", "why", "will", "would", "was", "were", "you"];
    let line = line.trim();
    if line.is_empty() || line.len() > MOST_INSTRUCTION || line.starts_with(['{', '[']) {
        return false;
    }
    let word: String = line.chars().take_while(|c| c.is_alphabetic()).collect::<String>().to_lowercase();
    line.ends_with('?') || OPENINGS.contains(&word.as_str()) || MORE.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn instruction_and_context_are_told_apart_in_either_order() {
        let context = format!(
            "passage 1: {}\n\npassage 2: {}",
            "The bridge opened. ".repeat(20),
            "It rains. ".repeat(20)
        );
        let context = context.trim();
        let question = "how do technicians get paid";
        for message in [format!("{context}\n\n{question}"), format!("{question}\n\n{context}")] {
            let found = inline_context(&message).unwrap();
            assert_eq!((found.prompt.as_str(), found.context), (question, context));
        }
        let both = format!("Answer from the passages.\n\n{context}\n\nWho opened the bridge?");
        let found = inline_context(&both).unwrap();
        assert_eq!(found.prompt, "Answer from the passages.\nWho opened the bridge?");
        assert_eq!(found.context, context);
        let record = format!("{{\"name\": \"{}\"}}", "x".repeat(500));
        let message = format!("Write an overview of this business.\n{record}");
        assert_eq!(inline_context(&message).unwrap().context, record);
        assert_eq!(inline_context("What is the capital of France?"), None);
        assert_eq!(inline_context(&"one line without an end ".repeat(40)), None);
    }

    proptest! {
        #[test]
        fn parts_come_from_the_message(message in "(\\PC{0,80}\n?){0,20}") {
            if let Some(found) = inline_context(&message) {
                prop_assert!(message.contains(found.context));
                prop_assert!(found.prompt.lines().all(|line| message.contains(line)));
            }
        }
    }
}
