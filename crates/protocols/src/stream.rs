//! A provider's stream in the client's protocol, as it comes.

use crate::canonical::{Block, Event};
use crate::eventstream::FrameReader;
use crate::fault::UpstreamError;
use crate::finish::Finish;
use crate::problem::Invalid;
use crate::sse::SseReader;
use crate::translate::{Context, no_client, no_provider};
use crate::{Dialect, anthropic, bedrock, chat, gemini, responses};
use bytes::Bytes;
use contracts::TokenUsage;

/// A client of responses gets all of its answer again at the end; a longer one than this is cut with an error.
const MAX_REPEATED: usize = 32 << 20;

/// What a stream has said so far, whatever its protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The model that the provider names.
    pub model: Option<String>,
    /// The tier that the provider names.
    pub service_tier: Option<String>,
    /// Whether anything for the user has come: text, reasoning or a call.
    pub has_content: bool,
    /// Whether a tool is called.
    pub has_tool_call: bool,
    /// Tokens as of the provider's last word on them.
    pub usage: Option<TokenUsage>,
    /// Why the model stopped.
    pub finish: Option<Finish>,
    /// What went wrong; the client has been told.
    pub error: Option<UpstreamError>,
    /// The answer is whole and the client has its end.
    pub is_complete: bool,
}

/// Translates one stream. Feed it every chunk of the provider's body, then [`StreamTranslator::finish`] it.
#[derive(Debug)]
pub struct StreamTranslator {
    framing: Framing,
    reader: Reader,
    writer: Writer,
    facts: Facts,
    /// Bytes of text that the writer keeps.
    kept: usize,
}

#[derive(Debug)]
enum Framing {
    Sse(SseReader),
    EventStream(FrameReader),
}

#[derive(Debug)]
enum Reader {
    Chat(chat::StreamReader),
    Anthropic(anthropic::StreamReader),
    Gemini(gemini::StreamReader),
    Bedrock(bedrock::StreamReader),
}

#[derive(Debug)]
enum Writer {
    Chat(Box<chat::StreamWriter>),
    Anthropic(Box<anthropic::StreamWriter>),
    Responses(Box<responses::StreamWriter>),
}

impl StreamTranslator {
    /// From a provider's protocol to a client's.
    ///
    /// # Errors
    /// No provider speaks the one, or no client the other.
    pub fn new(from: Dialect, to: Dialect, context: Context) -> Result<Self, Invalid> {
        let sse = || Framing::Sse(SseReader::default());
        let (framing, reader) = match from {
            Dialect::OpenAiChat => (sse(), Reader::Chat(chat::StreamReader::default())),
            Dialect::Anthropic => (sse(), Reader::Anthropic(anthropic::StreamReader::default())),
            Dialect::Gemini => (sse(), Reader::Gemini(gemini::StreamReader::default())),
            Dialect::Bedrock => {
                let frames = Framing::EventStream(FrameReader::default());
                (frames, Reader::Bedrock(bedrock::StreamReader::default()))
            }
            Dialect::OpenAiResponses => return Err(no_provider(from)),
        };
        let writer = match to {
            Dialect::OpenAiChat => Writer::Chat(Box::new(chat::StreamWriter::new(context))),
            Dialect::Anthropic => Writer::Anthropic(Box::new(anthropic::StreamWriter::new(context))),
            Dialect::OpenAiResponses => Writer::Responses(Box::new(responses::StreamWriter::new(context))),
            Dialect::Gemini | Dialect::Bedrock => return Err(no_client(to)),
        };
        Ok(Self { framing, reader, writer, facts: Facts::default(), kept: 0 })
    }

    /// The next bytes of the provider's body; returns what the client gets for them, which may be nothing. What comes after the end
    /// or after an error is not read.
    pub fn push(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = Vec::new();
        if self.is_over() {
            return Bytes::new();
        }
        let mut stage =
            Stage { writer: &mut self.writer, facts: &mut self.facts, kept: &mut self.kept, out: &mut out };
        let reader = &mut self.reader;
        let read = match &mut self.framing {
            Framing::Sse(sse) => sse.push(bytes, &mut |data| stage.sse(reader, data)),
            Framing::EventStream(frames) => frames.push(bytes, &mut |frame| stage.frame(reader, &frame)),
        };
        if let Err(invalid) = read {
            stage.fail(UpstreamError::malformed(invalid));
        }
        out.into()
    }

    /// The provider's body is over. A stream that says itself when it is whole and did not is an error, which the client gets
    /// in its protocol's own form.
    pub fn finish(&mut self) -> Bytes {
        let mut out = Vec::new();
        if self.is_over() {
            return Bytes::new();
        }
        let mut stage =
            Stage { writer: &mut self.writer, facts: &mut self.facts, kept: &mut self.kept, out: &mut out };
        let reader = &mut self.reader;
        let read = match &mut self.framing {
            Framing::Sse(sse) => sse.finish(&mut |data| stage.sse(reader, data)),
            Framing::EventStream(frames) => frames.finish(),
        };
        match read {
            Err(invalid) => stage.fail(UpstreamError::malformed(invalid)),
            Ok(()) if stage.facts.is_complete || stage.facts.error.is_some() => {}
            // Gemini's streams have no other end, and servers of chat completions may leave out `[DONE]`.
            Ok(()) if stage.facts.finish.is_some() => stage.take(Event::End),
            Ok(()) => stage.fail(UpstreamError::malformed("the stream broke off")),
        }
        out.into()
    }

    /// Ends the stream with an error of the gateway's own (a deadline, a guard), in the client's form.
    pub fn fail(&mut self, error: UpstreamError) -> Bytes {
        let mut out = Vec::new();
        if !self.is_over() {
            Stage { writer: &mut self.writer, facts: &mut self.facts, kept: &mut self.kept, out: &mut out }
                .fail(error);
        }
        out.into()
    }

    /// What has been said so far.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    const fn is_over(&self) -> bool {
        self.facts.is_complete || self.facts.error.is_some()
    }
}

/// Where events go.
struct Stage<'s> {
    writer: &'s mut Writer,
    facts: &'s mut Facts,
    kept: &'s mut usize,
    out: &'s mut Vec<u8>,
}

impl Stage<'_> {
    fn sse(&mut self, reader: &mut Reader, data: &[u8]) -> Result<(), Invalid> {
        let mut events = Vec::new();
        let read = match reader {
            Reader::Chat(reader) => reader.read(data, &mut events),
            Reader::Anthropic(reader) => reader.read(data, &mut events),
            Reader::Gemini(reader) => reader.read(data, &mut events),
            Reader::Bedrock(_) => Ok(()),
        };
        self.take_all(events);
        read
    }

    fn frame(&mut self, reader: &mut Reader, frame: &crate::eventstream::Frame<'_>) -> Result<(), Invalid> {
        let mut events = Vec::new();
        let read = match reader {
            Reader::Bedrock(reader) => reader.read(frame, &mut events),
            _ => Ok(()),
        };
        self.take_all(events);
        read
    }

    fn take_all(&mut self, events: Vec<Event>) {
        for event in events {
            self.take(event);
        }
        if !self.facts.is_complete
            && self.facts.error.is_none()
            && let Writer::Anthropic(writer) = &mut self.writer
        {
            writer.flush(self.out);
        }
    }

    fn take(&mut self, event: Event) {
        if self.facts.is_complete || self.facts.error.is_some() {
            return;
        }
        if let (Writer::Responses(_), Event::Delta { text, .. }) = (&self.writer, &event) {
            *self.kept += text.len();
            if *self.kept > MAX_REPEATED {
                return self.fail(UpstreamError::malformed("an answer of more than 32 MiB"));
            }
        }
        self.facts.learn(&event);
        match &mut self.writer {
            Writer::Chat(writer) => writer.write(event, self.out),
            Writer::Anthropic(writer) => writer.write(event, self.out),
            Writer::Responses(writer) => writer.write(event, self.out),
        }
    }

    fn fail(&mut self, error: UpstreamError) {
        self.take(Event::Error(error));
    }
}

impl Facts {
    fn learn(&mut self, event: &Event) {
        match event {
            Event::Start { id, model } => {
                self.id.clone_from(id);
                self.model.clone_from(model);
            }
            Event::Open { kind, .. } => {
                let is_call = matches!(kind, Block::ToolCall { .. });
                self.has_tool_call |= is_call;
                self.has_content |= is_call;
            }
            Event::Delta { .. } => self.has_content = true,
            Event::Signed { .. } | Event::Close { .. } => {}
            Event::Finish(finish) => self.finish = Some(finish.clone()),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Tier(tier) => self.service_tier = Some(tier.clone()),
            Event::Error(error) => self.error = Some(error.clone()),
            Event::End => self.is_complete = true,
        }
    }
}
