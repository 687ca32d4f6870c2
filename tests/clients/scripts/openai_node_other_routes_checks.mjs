// The openai library for Node at responses and completions. Numbers are those of the conformance checks.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, WEATHER, all, failure, textsOf } from "./checking.mjs";

const City = z.object({ city: z.string(), temperature: z.number(), tags: z.array(z.string()) });
const tools = ["get_weather", "get_time"].map((name) => ({
  type: "function",
  name,
  description: "d",
  parameters: WEATHER,
  strict: false,
}));

const opened = (bench) =>
  new OpenAI({ baseURL: bench.baseURL, apiKey: bench.apiKey, maxRetries: 0, timeout: 30_000 });

const ask = (bench, input, more = {}) => opened(bench).responses.create({ model: MODEL, input, ...more });

/** 15, 16. */
export async function checkResponse(bench) {
  const response = await ask(bench, "scene:text");
  assert.equal(response.output_text, GREETING);
  assert.equal(response.status, "completed");
  assert.match(response.id, /^resp_/);
  const [item] = (await bench.bodies())[0].input;
  assert.deepEqual(item.content, [{ type: "input_text", text: "scene:text" }]);
}

/** 17, 18, 65, 66: with `create` and with the helper. */
export async function checkResponseStreamed(bench) {
  for (const name of ["text", "vendor-first", "noids", "done-only"]) {
    // These say more, and call a tool.
    const text = ["noids", "done-only", "filled"].includes(name) ? `${GREETING} See Example.` : GREETING;
    const events = await all(await ask(bench, `scene:${name}`, { stream: true }));
    assert.equal(events[0].type, "response.created", name);
    assert.deepEqual(
      events.map((event) => event.sequence_number),
      events.map((_, index) => index),
      name,
    );
    const deltas = events.filter((event) => event.type === "response.output_text.delta");
    assert.equal(deltas.map((event) => event.delta).join(""), text, name);
    const done = events.find((event) => event.type === "response.output_item.done");
    assert.ok(done.item.id, name);
    const helped = await opened(bench).responses.stream({ model: MODEL, input: `scene:${name}` }).finalResponse();
    assert.equal(helped.output_text, text, name);
    assert.equal(helped.output[0].id.length > 0, true, name);
  }
  const odd = await opened(bench).responses.stream({ model: MODEL, input: "scene:separators" }).finalResponse();
  assert.equal(odd.output_text, SEPARATED);
}

/** 67, 69, 70: a loop of tools by hand. */
export async function checkResponseToolLoop(bench) {
  const input = [{ role: "user", content: "What does get_weather say?" }];
  const first = await opened(bench).responses.stream({ model: MODEL, input, tools }).finalResponse();
  const call = first.output.at(-1);
  assert.equal(call.type, "function_call");
  assert.equal(call.name, "get_weather");
  assert.deepEqual(JSON.parse(call.arguments), { city: "Paris" });
  const output = { type: "function_call_output", call_id: call.call_id, output: "rain, 9 degrees" };
  const last = await ask(bench, [...input, ...first.output, output], { tools });
  assert.match(last.output_text, /rain, 9 degrees/);
}

/** 41. */
export async function checkResponseParse(bench) {
  const text = { format: zodTextFormat(City, "City") };
  const response = await opened(bench).responses.parse({ model: MODEL, input: "A city", text });
  City.parse(response.output_parsed);
}

/** 76, 80. */
export async function checkStoredResponses(bench) {
  const first = await ask(bench, "hello");
  const second = await ask(bench, "and now?", { previous_response_id: first.id });
  assert.deepEqual(textsOf((await bench.bodies()).at(-1)), ["hello", "You said: hello", "and now?"]);
  const client = opened(bench);
  assert.equal((await client.responses.retrieve(second.id)).output_text, second.output_text);
  assert.equal((await all(client.responses.inputItems.list(first.id))).length, 1);
  await client.responses.delete(first.id);
  assert.ok((await failure(() => client.responses.retrieve(first.id))) instanceof OpenAI.NotFoundError);
}

/** 26, 35, 82: silent about `response.failed`, unless an error comes before it. */
export async function checkResponseErrors(bench) {
  const unknown = await failure(() => opened(bench).responses.create({ model: UNKNOWN_MODEL, input: "hi" }));
  assert.ok(unknown instanceof OpenAI.NotFoundError);
  const refused = await failure(() => ask(bench, "scene:400-detail"));
  assert.ok(refused instanceof OpenAI.BadRequestError);
  for (const [name, code] of [
    ["failed-mid", /^server_error$/],
    ["eof-mid", /^upstream/],
    ["abort-mid", /^upstream/],
  ]) {
    const error = await failure(async () => all(await ask(bench, `scene:${name}`, { stream: true })));
    assert.ok(error instanceof OpenAI.APIError, name);
    assert.match(error.code, code, name);
    const stream = { model: MODEL, input: `scene:${name}` };
    const helped = await failure(() => opened(bench).responses.stream(stream).finalResponse());
    assert.ok(helped instanceof OpenAI.APIError, name);
    const collected = await failure(() => ask(bench, `scene:${name}`));
    assert.equal(collected.status, 502, name);
  }
}

/** 100. */
export async function checkCompletions(bench) {
  const whole = await opened(bench).completions.create({ model: MODEL, prompt: "scene:text" });
  assert.equal(whole.object, "text_completion");
  assert.equal(whole.choices[0].text, GREETING);
  const chunks = await all(await opened(bench).completions.create({ model: MODEL, prompt: "scene:text", stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join(""), GREETING);
}
