"""The official openai and anthropic packages, unmodified but for base URL and key, against models of every provider's protocol.

Environment: CONTROL_TOWER_GATEWAY_URL (without /v1), CONTROL_TOWER_TENANT_KEY. The models are named after their providers'
protocols (`gemini`), and after what they do otherwise (`gemini-break`). Every promise is an assertion; the last line printed is
"all good".
"""

import json
import os

import anthropic
import openai

URL, KEY = os.environ["CONTROL_TOWER_GATEWAY_URL"], os.environ["CONTROL_TOWER_TENANT_KEY"]
# Tests talk to a machine that may be busy.
oai = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0, timeout=60)
ant = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=60)

PROTOCOLS = ["openai", "azure", "anthropic", "gemini", "bedrock"]
# These show their thoughts, and want them back as they were.
THINKING = ["anthropic", "gemini", "bedrock"]
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPj/HwADAgH/eL9GtQAAAABJRU5ErkJggg=="
)
TEXT = "Grüße, 漢字 and 🗼"
ASK = "get_weather and get_time in Oslo"
TOOLS = ["get_weather", "get_time"]
OSLO = {"city": "Oslo"}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}


class Chat:
    """Chat completions."""

    @staticmethod
    def image(text):
        url = f"data:image/png;base64,{PNG}"
        return [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]

    @staticmethod
    def ask(model, messages, stream, tools=False, schema=False, think=False):
        fields = {}
        if tools:
            fields["tools"] = [
                {"type": "function", "function": {"name": n, "parameters": SCHEMA, "strict": True}} for n in TOOLS
            ]
        if schema:
            form = {"name": "place", "schema": SCHEMA, "strict": True}
            fields["response_format"] = {"type": "json_schema", "json_schema": form}
        if think:
            fields["reasoning_effort"] = "high"
        call = {"model": model, "messages": messages, **fields}
        if not stream:
            answer = oai.chat.completions.create(**call)
            return answer.choices[0].message.to_dict(), answer.choices[0].finish_reason, answer.usage
        if think:
            return Chat.add_up(oai.chat.completions.create(**call, stream=True, stream_options={"include_usage": True}))
        with oai.chat.completions.stream(**call, stream_options={"include_usage": True}) as events:
            for _ in events:
                pass
            answer = events.get_final_completion()
        message = answer.choices[0].message.to_dict()
        for tool_call in message.get("tool_calls") or []:
            # What the package has parsed for its caller is no part of the protocol.
            tool_call.pop("index", None)
            tool_call["function"].pop("parsed_arguments", None)
        message.pop("parsed", None)
        return message, answer.choices[0].finish_reason, answer.usage

    @staticmethod
    def add_up(chunks):
        """A message of pieces, for what the package's own helper does not know: thoughts."""
        message = {"role": "assistant", "content": None, "thinking_blocks": [], "tool_calls": []}
        finish = usage = None

        def grown(items, index):
            while len(items) <= index:
                items.append({})
            return items[index]

        for chunk in chunks:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
                delta = choice.delta.to_dict()
                if delta.get("content"):
                    message["content"] = (message["content"] or "") + delta["content"]
                for piece in delta.get("thinking_blocks") or []:
                    block = grown(message["thinking_blocks"], piece.pop("index"))
                    block["thinking"] = block.get("thinking", "") + piece.pop("thinking", "")
                    block.update(piece)
                for piece in delta.get("tool_calls") or []:
                    call = grown(message["tool_calls"], piece.pop("index"))
                    function = call.setdefault("function", {"name": "", "arguments": ""})
                    for name, text in (piece.pop("function", None) or {}).items():
                        function[name] += text or ""
                    call.update(piece)
        message = {name: value for name, value in message.items() if value != []}
        return message, finish, usage

    @staticmethod
    def said(answer):
        calls = [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in answer[0].get("tool_calls") or []]
        return answer[0].get("content") or "", calls, answer[1], (answer[2].prompt_tokens, answer[2].completion_tokens)

    @staticmethod
    def follow(messages, answer, result):
        results = [{"role": "tool", "tool_call_id": c["id"], "content": result} for c in answer[0]["tool_calls"]]
        return [*messages, answer[0], *results]

    @staticmethod
    def has_thoughts(answer):
        message = answer[0]
        signed = any((c.get("extra_content") or {}).get("google") for c in message.get("tool_calls") or [])
        return bool(message.get("thinking_blocks")) or signed


class Responses:
    """Responses."""

    @staticmethod
    def image(text):
        url = f"data:image/png;base64,{PNG}"
        return [{"type": "input_text", "text": text}, {"type": "input_image", "image_url": url, "detail": "auto"}]

    @staticmethod
    def ask(model, messages, stream, tools=False, schema=False, think=False):
        fields = {"store": False}
        if tools:
            fields["tools"] = [{"type": "function", "name": n, "parameters": SCHEMA, "strict": True} for n in TOOLS]
        if schema:
            fields["text"] = {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}
        if think:
            fields["reasoning"] = {"effort": "high", "summary": "auto"}
            fields["include"] = ["reasoning.encrypted_content"]
        call = {"model": model, "input": messages, **fields}
        if not stream:
            return oai.responses.create(**call)
        with oai.responses.stream(**call) as events:
            text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
            answer = events.get_final_response()
        assert text == answer.output_text, (text, answer)
        return answer

    @staticmethod
    def said(answer):
        calls = [(i.name, json.loads(i.arguments)) for i in answer.output if i.type == "function_call"]
        finish = "tool_calls" if calls else {"completed": "stop"}.get(answer.status, answer.status)
        return answer.output_text, calls, finish, (answer.usage.input_tokens, answer.usage.output_tokens)

    @staticmethod
    def follow(messages, answer, result):
        items = [item.to_dict() for item in answer.output]
        for item in items:
            item.pop("parsed_arguments", None)
        results = [
            {"type": "function_call_output", "call_id": i.call_id, "output": result}
            for i in answer.output
            if i.type == "function_call"
        ]
        return [*messages, *items, *results]

    @staticmethod
    def has_thoughts(answer):
        return any(item.type == "reasoning" and item.encrypted_content for item in answer.output)


class Messages:
    """Anthropic's messages."""

    @staticmethod
    def image(text):
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        return [{"type": "text", "text": text}, {"type": "image", "source": source}]

    @staticmethod
    def ask(model, messages, stream, tools=False, schema=False, think=False):
        fields = {}
        if tools:
            fields["tools"] = [{"name": n, "description": "Tells it.", "input_schema": SCHEMA} for n in TOOLS]
        if schema:
            fields["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        if think:
            fields["thinking"] = {"type": "enabled", "budget_tokens": 2000}
        call = {"model": model, "max_tokens": 4096, "messages": messages, **fields}
        if not stream:
            return ant.messages.create(**call)
        with ant.messages.stream(**call) as events:
            for _ in events:
                pass
            return events.get_final_message()

    @staticmethod
    def said(answer):
        text = "".join(b.text for b in answer.content if b.type == "text")
        calls = [(b.name, b.input) for b in answer.content if b.type == "tool_use"]
        finish = {"end_turn": "stop", "tool_use": "tool_calls"}.get(answer.stop_reason, answer.stop_reason)
        usage = answer.usage
        cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        return text, calls, finish, (usage.input_tokens + cached, usage.output_tokens)

    @staticmethod
    def follow(messages, answer, result):
        content = [block.to_dict() for block in answer.content]
        for block in content:
            block.pop("parsed_output", None)
        results = [
            {"type": "tool_result", "tool_use_id": b.id, "content": result} for b in answer.content if b.type == "tool_use"
        ]
        return [*messages, {"role": "assistant", "content": content}, {"role": "user", "content": results}]

    @staticmethod
    def has_thoughts(answer):
        return any(block.type == "thinking" and block.signature for block in answer.content)


def user(content):
    return [{"role": "user", "content": content}]


def drive(api, protocol, stream):
    text, calls, finish, usage = api.said(api.ask(protocol, user(f"echo {TEXT}"), stream))
    assert (text, calls, finish) == (TEXT, [], "stop") and min(usage) > 0, (text, finish, usage)
    shown = api.said(api.ask(protocol, user(api.image(f"echo {TEXT}")), stream))
    # A picture costs tokens: it has arrived.
    assert shown[0] == TEXT and shown[3][0] > usage[0] + (50 if protocol in THINKING else -1), (shown, usage)

    answer = api.ask(protocol, user(ASK), stream, tools=True)
    _, calls, finish, _ = api.said(answer)
    assert (calls, finish) == ([(name, OSLO) for name in TOOLS], "tool_calls"), answer
    after = api.ask(protocol, api.follow(user(ASK), answer, "rain"), stream, tools=True)
    assert "rain" in api.said(after)[0] and api.said(after)[2] == "stop", after

    shaped = api.said(api.ask(protocol, user("Where?"), stream, schema=True))
    assert json.loads(shaped[0]) == OSLO, shaped

    answer = api.ask(protocol, user(ASK), stream, tools=True, think=True)
    assert api.has_thoughts(answer) == (protocol in THINKING), answer
    after = api.ask(protocol, api.follow(user(ASK), answer, "rain"), stream, tools=True, think=True)
    assert "rain" in api.said(after)[0], after


def fails(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind} was expected")


def failures(protocol):
    """Errors are what the packages take them for, before an answer and within one."""
    for api, package in ((Chat, openai), (Responses, openai), (Messages, anthropic)):
        for stream in (False, True):
            ask = lambda model: api.ask(model, user("Hi"), stream)
            error = fails(package.RateLimitError, lambda: ask(f"{protocol}-error-429"))
            assert error.status_code == 429 and error.body, error
            error = fails(package.BadRequestError, lambda: ask(f"{protocol}-error-400"))
            assert error.status_code == 400, error
            error = fails(package.APIStatusError, lambda: ask(f"{protocol}-error-529"))
            assert error.status_code == 529, error
        fails(package.NotFoundError, lambda: api.ask("nothing", user("Hi"), False))
    long = user("Tell me of lighthouses.")
    for fault in ("break", "cut"):
        model = f"{protocol}-{fault}"
        chunks = oai.chat.completions.create(model=model, messages=long, stream=True)
        assert fails(openai.APIError, lambda: list(chunks)).message
        fails(anthropic.APIStatusError, lambda: Messages.ask(model, long, True))
        try:
            events = list(oai.responses.create(model=model, input=long, stream=True))
            assert events[-1].type in ("error", "response.failed"), events[-1]
        except openai.APIError as error:
            assert error.message, error


def counts(protocol):
    counted = ant.messages.count_tokens(model=protocol, messages=user("How long is this?"))
    used = Messages.said(Messages.ask(protocol, user("How long is this?"), False))[3][0]
    if protocol in THINKING:
        assert counted.input_tokens == used, (counted, used)
    assert counted.input_tokens > 0


for protocol in PROTOCOLS:
    for api in (Chat, Responses, Messages):
        for stream in (False, True):
            drive(api, protocol, stream)
            print(api.__name__, "over", protocol, "streamed" if stream else "whole")
    failures(protocol)
    counts(protocol)
print("all good")
