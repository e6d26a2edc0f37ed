"""The official openai package against a control tower, unmodified but for base URL and key.

Environment: CONTROL_TOWER_GATEWAY_URL (without /v1), CONTROL_TOWER_TENANT_KEY. Every promise is an assertion; the last line
printed is "all good".
"""

import os
import struct

import openai
from openai import OpenAI
from pydantic import BaseModel

BASE_URL = os.environ["CONTROL_TOWER_GATEWAY_URL"] + "/v1"
client = OpenAI(base_url=BASE_URL, api_key=os.environ["CONTROL_TOWER_TENANT_KEY"], max_retries=0, timeout=30)
# Tests talk to a machine that may be busy; only the timeout test is short of patience.


def user(text):
    return [{"role": "user", "content": text}]


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}


class Step(BaseModel):
    explanation: str
    output: str


class Solution(BaseModel):
    steps: list[Step]
    answer: float
    sure: bool


def chat():
    raw = client.chat.completions.with_raw_response.create(model="sim-small", messages=user("echo Hällo, wörld — 漢字!"))
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hällo, wörld — 漢字!", answer
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0
    assert raw.headers["x-request-id"], raw.headers
    assert len(raw.headers["x-control-tower-trace-id"]) == 32, raw.headers
    assert float(raw.headers["x-control-tower-cost-usd"]) > 0, raw.headers
    short = client.chat.completions.create(model="sim-small", messages=user("Tell me much."), max_completion_tokens=3)
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 3
    two = client.chat.completions.create(
        model="sim-fast", messages=user("Twice, please."), n=2, logprobs=True, top_logprobs=2
    )
    assert [c.index for c in two.choices] == [0, 1]
    assert all(t.logprob < 0 for c in two.choices for t in c.logprobs.content)
    thought = client.chat.completions.create(model="sim-reasoning", messages=user("Think."))
    assert thought.usage.completion_tokens_details.reasoning_tokens > 0


def chat_stream():
    chunks = list(client.chat.completions.create(model="sim-small", messages=user("echo one two three"), stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three"
    assert all(c.choices and c.usage is None for c in chunks), "usage was not asked for and must stay hidden"
    counted = list(
        client.chat.completions.create(
            model="sim-small", messages=user("Hello"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert counted[-1].choices == [] and counted[-1].usage.completion_tokens > 0
    with client.chat.completions.stream(model="sim-small", messages=user("Stream with the helper.")) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == final.choices[0].message.content


def tools():
    asked = user("What is the weather in Oslo? Use get_weather.")
    answer = client.chat.completions.create(model="sim-small", messages=asked, tools=[WEATHER])
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls" and call.function.name == "get_weather"
    told = asked + [
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    end = client.chat.completions.create(model="sim-small", messages=told, tools=[WEATHER])
    assert "rain" in end.choices[0].message.content
    forced = client.chat.completions.create(
        model="sim-small",
        messages=user("Hello"),
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    assert forced.choices[0].message.tool_calls[0].function.name == "get_weather"
    with client.chat.completions.stream(model="sim-small", messages=asked, tools=[WEATHER]) as stream:
        final = stream.get_final_completion()
    parsed = final.choices[0].message.tool_calls[0].function.parsed_arguments
    assert isinstance(parsed["city"], str) and 1 <= parsed["days"] <= 7, parsed


def structured():
    answer = client.chat.completions.parse(model="sim-small", messages=user("Solve 8x = 4."), response_format=Solution)
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Solution) and parsed.steps, parsed
    response = client.responses.parse(model="sim-small", input="Solve 8x = 4.", text_format=Solution)
    assert isinstance(response.output_parsed, Solution)


def completions():
    answer = client.completions.create(model="sim-fast", prompt="echo legacy text", max_tokens=20)
    assert answer.choices[0].text == "legacy text"
    chunks = list(client.completions.create(model="sim-fast", prompt="echo legacy text", max_tokens=20, stream=True))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == "legacy text"


def embeddings():
    packed = client.embeddings.create(model="sim-embedding", input=["a ship", "a lighthouse"], dimensions=64)
    plain = client.embeddings.create(
        model="sim-embedding", input=["a ship", "a lighthouse"], dimensions=64, encoding_format="float"
    )
    assert [len(e.embedding) for e in packed.data] == [64, 64]
    for one, other in zip(packed.data, plain.data):
        single = [struct.unpack("f", struct.pack("f", x))[0] for x in other.embedding]
        assert all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, single))
    assert packed.usage.prompt_tokens > 0


def responses():
    answer = client.responses.create(model="sim-small", input="echo a response")
    assert answer.output_text == "a response" and answer.status == "completed"
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0
    flat = {"type": "function", "name": "get_weather", "strict": True, "parameters": WEATHER["function"]["parameters"]}
    called = client.responses.create(model="sim-small", input="Use get_weather for Oslo.", tools=[flat])
    assert called.output[0].type == "function_call" and called.output[0].name == "get_weather"
    cut = client.responses.create(model="sim-small", input="Tell me much.", max_output_tokens=2)
    assert cut.status == "incomplete" and cut.incomplete_details.reason == "max_output_tokens"


def responses_stream():
    events = list(client.responses.create(model="sim-small", input="echo streamed response", stream=True))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "streamed response" == events[-1].response.output_text
    assert events[-1].response.usage.output_tokens > 0
    with client.responses.stream(model="sim-reasoning", input="Think aloud.") as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.output_text and final.usage.output_tokens_details.reasoning_tokens > 0


def models():
    names = [model.id for model in client.models.list()]
    assert "sim-small" in names and "sim-embedding" in names, names
    one = client.models.retrieve("sim-small")
    assert one.id == "sim-small" and one.object == "model"


def fails(kind, call, **expected):
    try:
        call()
    except kind as error:
        for name, value in expected.items():
            assert getattr(error, name) == value, (name, getattr(error, name), error)
        return error
    raise AssertionError(f"expected {kind.__name__}")


def errors():
    def create(model="sim-small", with_client=client, **fields):
        return lambda: with_client.chat.completions.create(**{"model": model, "messages": user("Hi"), **fields})

    stranger = OpenAI(base_url=BASE_URL, api_key="ct-wrong", max_retries=0)
    error = fails(openai.AuthenticationError, create(with_client=stranger), status_code=401, code="invalid_api_key")
    assert error.request_id
    fails(openai.NotFoundError, create("no-such-model"), status_code=404, code="model_not_found")
    fails(openai.NotFoundError, lambda: client.models.retrieve("no-such-model"), status_code=404)
    fails(openai.BadRequestError, create("sim-error-400"), status_code=400)
    fails(openai.BadRequestError, create(messages=[]), status_code=400)
    fails(openai.BadRequestError, create(messages="hello"), status_code=400)
    limited = fails(openai.RateLimitError, create("sim-error-429"), status_code=429)
    assert limited.response.headers["retry-after"] == "1"
    fails(openai.InternalServerError, create("sim-error-500"))
    fails(openai.InternalServerError, create("sim-error-503"))
    hasty = OpenAI(base_url=BASE_URL, api_key=client.api_key, max_retries=0, timeout=0.7)
    fails(openai.APITimeoutError, create("sim-hang", with_client=hasty))
    # A stream that breaks off must not look complete.
    def broken():
        for _ in client.chat.completions.create(model="sim-cut", messages=user("Hi"), stream=True):
            pass

    fails(openai.APIError, broken)


for part in [
    chat, chat_stream, tools, structured, completions, embeddings, responses, responses_stream, models, errors,
]:
    part()
    print("ok", part.__name__, flush=True)
print("all good")
