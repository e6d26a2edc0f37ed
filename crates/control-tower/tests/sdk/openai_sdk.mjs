// The official openai package against a control tower, unmodified but for base URL and key.
//
// Environment: CONTROL_TOWER_GATEWAY_URL (without /v1), CONTROL_TOWER_TENANT_KEY. Every promise is an assertion; the last
// line printed is "all good".

import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const baseURL = `${process.env.CONTROL_TOWER_GATEWAY_URL}/v1`;
const apiKey = process.env.CONTROL_TOWER_TENANT_KEY;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 30_000 });
const user = (content) => [{ role: "user", content }];

const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 7 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const weather = { type: "function", function: { name: "get_weather", strict: true, parameters } };

const Solution = z.object({
  steps: z.array(z.object({ explanation: z.string(), output: z.string() })),
  answer: z.number(),
  sure: z.boolean(),
});

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

const parts = {
  async chat() {
    const { data, response } = await client.chat.completions
      .create({ model: "sim-small", messages: user("echo Hällo, wörld — 漢字!") })
      .withResponse();
    assert.equal(data.choices[0].message.content, "Hällo, wörld — 漢字!");
    assert.equal(data.choices[0].finish_reason, "stop");
    assert.ok(data.usage.prompt_tokens > 0 && data.usage.completion_tokens > 0);
    assert.ok(response.headers.get("x-request-id"));
    assert.equal(response.headers.get("x-control-tower-trace-id").length, 32);
    const short = await client.chat.completions.create({
      model: "sim-small", messages: user("Tell me much."), max_completion_tokens: 3,
    });
    assert.equal(short.choices[0].finish_reason, "length");
    assert.equal(short.usage.completion_tokens, 3);
  },

  async chat_stream() {
    const chunks = await all(
      await client.chat.completions.create({ model: "sim-small", messages: user("echo one two three"), stream: true }),
    );
    assert.equal(chunks.map((c) => c.choices[0]?.delta?.content ?? "").join(""), "one two three");
    assert.ok(chunks.every((c) => c.choices.length === 1 && !c.usage), "usage was not asked for and must stay hidden");
    const counted = await all(
      await client.chat.completions.create({
        model: "sim-small", messages: user("Hello"), stream: true, stream_options: { include_usage: true },
      }),
    );
    assert.ok(counted.at(-1).usage.completion_tokens > 0);
    const stream = client.chat.completions.stream({ model: "sim-small", messages: user("Stream with the helper.") });
    let text = "";
    stream.on("content", (delta) => (text += delta));
    const final = await stream.finalChatCompletion();
    assert.equal(text, final.choices[0].message.content);
  },

  async tools() {
    const messages = user("What is the weather in Oslo? Use get_weather.");
    const answer = await client.chat.completions.create({ model: "sim-small", messages, tools: [weather] });
    const call = answer.choices[0].message.tool_calls[0];
    assert.equal(call.function.name, "get_weather");
    const told = [...messages, answer.choices[0].message, { role: "tool", tool_call_id: call.id, content: "rain" }];
    const end = await client.chat.completions.create({ model: "sim-small", messages: told, tools: [weather] });
    assert.match(end.choices[0].message.content, /rain/);
    const runner = client.chat.completions.runTools({
      model: "sim-small", messages, stream: true,
      tools: [{ type: "function", function: { ...weather.function, parse: JSON.parse, function: async ({ city }) => `sun in ${city}` } }],
    });
    assert.match(await runner.finalContent(), /sun in/);
  },

  async structured() {
    const answer = await client.chat.completions.parse({
      model: "sim-small", messages: user("Solve 8x = 4."), response_format: zodResponseFormat(Solution, "solution"),
    });
    Solution.parse(answer.choices[0].message.parsed);
    const response = await client.responses.parse({
      model: "sim-small", input: "Solve 8x = 4.", text: { format: zodTextFormat(Solution, "solution") },
    });
    Solution.parse(response.output_parsed);
  },

  async completions() {
    const asked = { model: "sim-fast", prompt: "echo legacy text", max_tokens: 20 };
    assert.equal((await client.completions.create(asked)).choices[0].text, "legacy text");
    const chunks = await all(await client.completions.create({ ...asked, stream: true }));
    assert.equal(chunks.map((c) => c.choices[0]?.text ?? "").join(""), "legacy text");
  },

  async embeddings() {
    const asked = { model: "sim-embedding", input: ["a ship", "a lighthouse"], dimensions: 64 };
    const packed = await client.embeddings.create(asked);
    const plain = await client.embeddings.create({ ...asked, encoding_format: "float" });
    for (const [index, { embedding }] of packed.data.entries()) {
      assert.equal(embedding.length, 64);
      embedding.forEach((x, at) => assert.ok(Math.abs(x - plain.data[index].embedding[at]) < 1e-6));
    }
  },

  async responses() {
    const answer = await client.responses.create({ model: "sim-small", input: "echo a response" });
    assert.equal(answer.output_text, "a response");
    assert.ok(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0);
    const tool = { type: "function", name: "get_weather", strict: true, parameters };
    const called = await client.responses.create({ model: "sim-small", input: "Use get_weather.", tools: [tool] });
    assert.equal(called.output[0].type, "function_call");
  },

  async responses_stream() {
    const events = await all(
      await client.responses.create({ model: "sim-small", input: "echo streamed response", stream: true }),
    );
    assert.equal(events[0].type, "response.created");
    assert.equal(events.at(-1).type, "response.completed");
    const deltas = events.filter((e) => e.type === "response.output_text.delta").map((e) => e.delta);
    assert.equal(deltas.join(""), "streamed response");
    const final = await client.responses.stream({ model: "sim-reasoning", input: "Think aloud." }).finalResponse();
    assert.ok(final.output_text && final.usage.output_tokens_details.reasoning_tokens > 0);
  },

  async models() {
    const names = (await all(client.models.list())).map((model) => model.id);
    assert.ok(names.includes("sim-small") && names.includes("sim-embedding"));
    assert.equal((await client.models.retrieve("sim-small")).id, "sim-small");
  },

  async errors() {
    const create = (model, { using = client, ...fields } = {}) =>
      using.chat.completions.create({ model, messages: user("Hi"), ...fields });
    const stranger = new OpenAI({ baseURL, apiKey: "ct-wrong", maxRetries: 0 });
    await assert.rejects(create("sim-small", { using: stranger }), (error) => {
      assert.ok(error instanceof OpenAI.AuthenticationError && error.status === 401 && error.code === "invalid_api_key");
      assert.ok(error.requestID);
      return true;
    });
    await assert.rejects(create("no-such-model"), OpenAI.NotFoundError);
    await assert.rejects(client.models.retrieve("no-such-model"), OpenAI.NotFoundError);
    await assert.rejects(create("sim-error-400"), OpenAI.BadRequestError);
    await assert.rejects(create("sim-small", { messages: [] }), OpenAI.BadRequestError);
    await assert.rejects(create("sim-error-429"), (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError);
      assert.equal(error.headers.get("retry-after"), "1");
      return true;
    });
    await assert.rejects(create("sim-error-500"), OpenAI.InternalServerError);
    await assert.rejects(create("sim-error-503"), OpenAI.InternalServerError);
    const hasty = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 700 });
    await assert.rejects(create("sim-hang", { using: hasty }), OpenAI.APIConnectionTimeoutError);
    // A stream that breaks off must not look complete.
    await assert.rejects(async () => all(await create("sim-cut", { stream: true })), OpenAI.APIError);
  },
};

for (const [name, part] of Object.entries(parts)) {
  await part();
  console.log("ok", name);
}
console.log("all good");
