// The official client of OpenAI for Node.js.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat, zodFunction } from "openai/helpers/zod";
import { z } from "zod";

const base = (process.env.BASE_URL ?? "http://127.0.0.1:8080").replace(/\/$/, "");
const client = new OpenAI({ baseURL: base + "/v1", apiKey: process.env.OPENAI_API_KEY ?? "none", maxRetries: 0, timeout: 120_000 });
const model = process.env.MODEL ?? (await client.models.list()).data[0].id;
const messages = [{ role: "user", content: "Nenne eine Farbe." }];
const Animal = z.object({ kind: z.enum(["Hund", "Katze"]), legs: z.literal(4), tame: z.boolean() });
const weather = { type: "function", function: { name: "get_weather", parameters: { type: "object",
  properties: { city: { type: "string", maxLength: 10 } }, required: ["city"], additionalProperties: false } } };

const checks = {
  async chat() {
    const a = await client.chat.completions.create({ model, messages, max_tokens: 16, temperature: 0 });
    assert.ok(a.choices[0].message.content);
    assert.equal(a.usage.total_tokens, a.usage.prompt_tokens + a.usage.completion_tokens);
  },

  async streamed_chat() {
    const ask = { model, messages, max_tokens: 16, temperature: 0 };
    const whole = (await client.chat.completions.create(ask)).choices[0];
    let text = "", last;
    for await (const c of await client.chat.completions.create({ ...ask, stream: true })) {
      text += c.choices[0].delta.content ?? "";
      last = c.choices[0].finish_reason;
    }
    assert.deepEqual([text, last], [whole.message.content, whole.finish_reason]);
  },

  async streamed_with_helpers() {
    const s = client.chat.completions.stream({ model, messages, max_tokens: 16, temperature: 0, stream_options: { include_usage: true } });
    let deltas = "";
    s.on("content", (d) => (deltas += d));
    const a = await s.finalChatCompletion();
    assert.equal(a.choices[0].message.content, deltas);
    assert.ok((await s.totalUsage()).completion_tokens > 0);
  },

  async tools() {
    const s = client.chat.completions.stream({ model, messages, tools: [weather], tool_choice: "required", max_tokens: 120, temperature: 0 });
    const a = await s.finalChatCompletion();
    const call = a.choices[0].message.tool_calls[0];
    assert.equal(a.choices[0].finish_reason, "tool_calls");
    assert.equal(call.function.name, "get_weather");
    assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
    const next = [...messages, a.choices[0].message, { role: "tool", tool_call_id: call.id, content: "Regen" }];
    await client.chat.completions.create({ model, messages: next, tools: [weather], max_tokens: 8 });
  },

  async run_tools() {
    const r = client.chat.completions.runTools({ model, messages, max_tokens: 60, temperature: 0, tool_choice: "auto", tools: [
      { type: "function", function: { name: "get_weather", parse: JSON.parse, parameters: weather.function.parameters, function: () => "Regen" } }] },
    { maxChatCompletions: 3 });
    await r.done();
  },

  async parse() {
    const format = zodResponseFormat(Animal, "animal");
    const a = await client.chat.completions.parse({ model, messages, response_format: format, max_tokens: 200, temperature: 0 });
    assert.equal(a.choices[0].message.parsed.legs, 4);
    await assert.rejects(client.chat.completions.parse({ model, messages, response_format: format, max_tokens: 3, temperature: 0 }),
      OpenAI.LengthFinishReasonError);
    const b = await client.chat.completions.parse({ model, messages, tools: [zodFunction({ name: "animal", parameters: Animal })],
      tool_choice: "required", max_tokens: 200, temperature: 0 });
    assert.equal(b.choices[0].message.tool_calls[0].function.parsed_arguments.legs, 4);
  },

  async embeddings() {
    const a = await client.embeddings.create({ model, input: ["Hund", "Katze"] }); // asks for base64
    const b = await client.embeddings.create({ model, input: ["Hund", "Katze"], encoding_format: "float" });
    a.data.forEach((d, i) => d.embedding.forEach((x, j) => assert.ok(Math.abs(x - b.data[i].embedding[j]) < 1e-6)));
    assert.ok(a.data[0].embedding.length > 8);
  },

  async errors() {
    await assert.rejects(client.chat.completions.create({ model, messages, temperature: 9 }),
      (e) => e instanceof OpenAI.BadRequestError && e.param === "temperature");
    await assert.rejects(client.chat.completions.create({ model: "nobody", messages }),
      (e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
    await assert.rejects(client.chat.completions.create({ model, messages: [{ role: "user", content: "Wort ".repeat(100000) }], stream: true }),
      (e) => e instanceof OpenAI.BadRequestError && e.code === "context_length_exceeded");
  },

  async cancellation() {
    for (let i = 0; i < 10; i++) {
      const s = await client.chat.completions.create({ model, messages, max_tokens: 800, temperature: 1, stream: true });
      for await (const _ of s) break; // ends the request
      const t = await client.chat.completions.create({ model, messages, max_tokens: 800, temperature: 1, stream: true });
      t.controller.abort();
    }
    await client.chat.completions.create({ model, messages, max_tokens: 2 });
  },

  async responses() {
    const ask = { model, input: "Nenne eine Farbe.", max_output_tokens: 16, temperature: 0 };
    const a = await client.responses.create(ask);
    assert.ok(a.output_text);
    const s = client.responses.stream(ask);
    let text = "";
    s.on("response.output_text.delta", (e) => (text += e.delta));
    assert.equal((await s.finalResponse()).output_text, a.output_text);
    assert.equal(text, a.output_text);
    const b = await client.responses.parse({ model, input: "Nenne ein Tier.", max_output_tokens: 200, temperature: 0,
      text: { format: zodTextFormat(Animal, "animal") } });
    assert.equal(b.output_parsed.legs, 4);
  },

  async models() {
    assert.equal((await client.models.retrieve(model)).id, model);
    await assert.rejects(client.models.retrieve("nobody"), OpenAI.NotFoundError);
  },
};

let failed = 0, passed = 0;
for (const [name, f] of Object.entries(checks)) {
  if (!name.includes(process.argv[2] ?? "")) continue;
  const start = Date.now();
  try {
    await f();
    passed++;
    console.log(`ok   ${name} (${((Date.now() - start) / 1000).toFixed(2)} s)`);
  } catch (e) {
    failed++;
    const line = /openai_client\.mjs:(\d+)/.exec(e.stack ?? "")?.[1] ?? "?";
    console.log(`FAIL ${name} (line ${line}): ${e.name}: ${String(e.message).slice(0, 600)}`);
  }
}
console.log(`openai_client.mjs: ${passed} passed, ${failed} failed, 0 skipped`);
process.exit(failed > 0 ? 1 : 0);
