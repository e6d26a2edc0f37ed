//! Gemini's stream, as events. Every chunk is a response of its own; the stream ends where the connection does.

use super::answer::{Chunk, Piece};
use crate::canonical::{Block, Event};
use crate::fault::UpstreamError;
use crate::finish::Finish;
use crate::ids::of_gemini;
use crate::problem::{Invalid, Path};
use crate::read::{Fields, document};
use crate::signature::Signature;

#[derive(Debug, Default)]
pub(crate) struct StreamReader {
    is_started: bool,
    id: String,
    next: usize,
    calls: usize,
    /// The open block, and whether it is a thought.
    open: Option<(usize, bool)>,
}

impl StreamReader {
    pub fn read(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), Invalid> {
        if data.is_empty() {
            return Ok(());
        }
        let raw = document(data)?;
        if raw.get().starts_with('[') || Fields::read(raw, Path::ROOT)?.raw("error").is_some() {
            let error = UpstreamError::from_json(raw, None);
            events.push(Event::Error(error.unwrap_or_else(|| UpstreamError::malformed(raw.get()))));
            return Ok(());
        }
        let chunk = Chunk::read(raw)?;
        if !self.is_started {
            self.is_started = true;
            self.id = chunk.id.clone().unwrap_or_default();
            events.push(Event::Start { id: chunk.id, model: chunk.model });
        }
        events.extend(chunk.usage.map(Event::Usage));
        for piece in chunk.pieces {
            match piece {
                Piece::Text { text, signature } => self.say(false, text, signature, events),
                Piece::Thought { text, signature } => self.say(true, text, signature, events),
                Piece::Call { id, name, arguments, signature } => {
                    self.close(events);
                    let block = self.next_block();
                    let id = of_gemini(id.as_deref(), &self.id, self.calls);
                    self.calls += 1;
                    events.push(Event::Open { block, kind: Block::ToolCall { id, name, signature } });
                    events.push(Event::Delta { block, text: arguments });
                    events.push(Event::Close { block });
                }
            }
        }
        let finish = match chunk.finish {
            Some(reason) => Some(Finish::from_gemini(&reason, self.calls > 0)),
            None => chunk.is_blocked.then_some(Finish::Filtered),
        };
        if let Some(finish) = finish {
            self.close(events);
            events.push(Event::Finish(finish));
        }
        Ok(())
    }

    fn say(&mut self, is_thought: bool, text: String, signature: Option<Signature>, events: &mut Vec<Event>) {
        if text.is_empty() && signature.is_none() {
            return;
        }
        let block = match self.open {
            Some((block, of_thought)) if of_thought == is_thought => block,
            _ => {
                self.close(events);
                let block = self.next_block();
                self.open = Some((block, is_thought));
                let kind = if is_thought { Block::Reasoning } else { Block::Text };
                events.push(Event::Open { block, kind });
                block
            }
        };
        if !text.is_empty() {
            events.push(Event::Delta { block, text });
        }
        if let Some(signature) = signature {
            events.push(Event::Signed { block, signature });
        }
    }

    const fn next_block(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    fn close(&mut self, events: &mut Vec<Event>) {
        if let Some((block, _)) = self.open.take() {
            events.push(Event::Close { block });
        }
    }
}
