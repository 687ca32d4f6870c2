// The official ollama library for JavaScript. Numbers are those of the conformance checks.

import assert from "node:assert/strict";
import { Ollama } from "ollama";
import { GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, WEATHER, all, failure, scene, user } from "./checking.mjs";

const tools = ["get_weather", "get_time"].map((name) => ({
  type: "function",
  function: { name, description: "d", parameters: WEATHER },
}));

const opened = (bench) => new Ollama({ host: bench.rootURL, headers: { authorization: `Bearer ${bench.apiKey}` } });

const ask = (bench, messages, more = {}) => opened(bench).chat({ model: MODEL, messages, ...more });

const streamed = async (bench, messages, more = {}) => all(await ask(bench, messages, { ...more, stream: true }));

const textOf = (lines) => lines.map((line) => line.message.content).join("");

/** 19, 37, 95. */
export async function checkChat(bench) {
  const answer = await ask(bench, scene("text"));
  assert.equal(answer.message.content, GREETING);
  assert.equal(answer.done_reason, "stop");
  assert.ok(!Number.isNaN(Date.parse(answer.created_at)));
  assert.ok(Number.isInteger(answer.eval_count));
  const lines = await streamed(bench, scene("text"));
  assert.equal(textOf(lines), GREETING);
  assert.deepEqual(
    lines.map((line) => line.done),
    lines.map((_, index) => index === lines.length - 1),
  );
  assert.ok(lines.every((line) => line.message.role === "assistant"));
  assert.equal(textOf(await streamed(bench, scene("separators"))), SEPARATED);
}

/** 20, 21. */
export async function checkToolLoop(bench) {
  const messages = user("What does get_weather say?");
  for (const first of [await ask(bench, messages, { tools }), ...(await streamed(bench, messages, { tools }))]) {
    for (const call of first.message.tool_calls ?? []) {
      assert.equal(call.function.name, "get_weather");
      assert.deepEqual(call.function.arguments, { city: "Paris" });
      const output = { role: "tool", tool_name: "get_weather", content: "rain, 9 degrees" };
      const last = await ask(bench, [...messages, first.message, output], { tools });
      assert.match(last.message.content, /rain, 9 degrees/);
    }
  }
  const bodies = await bench.bodies();
  assert.equal(bodies.length, 4);
  const [call, output] = bodies.at(-1).input.slice(-2);
  assert.equal(call.type, "function_call");
  assert.equal(output.type, "function_call_output");
  assert.equal(call.call_id, output.call_id);
}

/** 58. */
export async function checkThink(bench) {
  assert.match((await ask(bench, scene("reasoning"), { think: true })).message.thinking, /I look at what was asked/);
  assert.ok(!(await ask(bench, scene("reasoning"), { think: false })).message.thinking);
}

/** 43. */
export async function checkFormat(bench) {
  const answer = await ask(bench, user("A city"), { format: WEATHER });
  assert.equal(typeof JSON.parse(answer.message.content).city, "string");
  assert.equal((await bench.bodies())[0].text.format.type, "json_schema");
}

/** 22, 24, 94, 99. */
export async function checkModels(bench) {
  const client = opened(bench);
  const { models } = await client.list();
  assert.ok(models.some((model) => model.name === MODEL));
  const shown = await client.show({ model: `${MODEL}:latest` });
  const architecture = shown.model_info["general.architecture"];
  assert.ok(Number.isInteger(shown.model_info[`${architecture}.context_length`]));
  assert.ok(shown.capabilities.includes("tools"));
  assert.ok(Array.isArray((await client.ps()).models));
  assert.match((await client.version()).version, /^\d+\.\d+\.\d+/);
  assert.equal((await client.pull({ model: MODEL })).status, "success");
  assert.equal((await all(await client.pull({ model: MODEL, stream: true }))).at(-1).status, "success");
}

/** 98. */
export async function checkGenerate(bench) {
  const client = opened(bench);
  const whole = await client.generate({ model: MODEL, prompt: "scene:text", system: "Be kind." });
  assert.equal(whole.response, GREETING);
  const lines = await all(await client.generate({ model: MODEL, prompt: "scene:text", stream: true }));
  assert.equal(lines.map((line) => line.response).join(""), GREETING);
}

/** 34: it throws for an error line, and for an end that is none. */
export async function checkBrokenStreams(bench) {
  for (const name of ["eof-mid", "abort-mid", "failed-mid"]) {
    const error = await failure(() => streamed(bench, scene(name)));
    assert.ok(error.message, name);
    assert.doesNotMatch(error.message, /Did not receive done/, name);
  }
}

/** 82, 88, 99. */
export async function checkErrors(bench) {
  const unknown = await failure(() => opened(bench).chat({ model: UNKNOWN_MODEL, messages: user("hi") }));
  assert.equal(unknown.status_code, 404);
  assert.match(unknown.message, /not found/);
  const refused = await failure(() => ask(bench, scene("400-detail")));
  assert.equal(refused.status_code, 400);
  assert.match(refused.message, /Unsupported parameter/);
  const embedded = await failure(() => opened(bench).embed({ model: MODEL, input: "hi" }));
  assert.equal(embedded.status_code, 400);
  await failure(() => opened(bench).delete({ model: MODEL }));
  await failure(() => opened(bench).create({ model: "mine", from: MODEL }));
}
