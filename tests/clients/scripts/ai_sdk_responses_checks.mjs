// The AI SDK with its default provider for OpenAI, which speaks the Responses API. Numbers are those of the conformance checks.

import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { Output, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, all, failure } from "./checking.mjs";

const City = z.object({ city: z.string(), temperature: z.number(), tags: z.array(z.string()) });

const opened = (bench, name = MODEL) => createOpenAI({ baseURL: bench.baseURL, apiKey: bench.apiKey })(name);

const asked = (model, prompt, more = {}) => generateText({ model, prompt, maxRetries: 0, ...more });

/** A stream whose errors are found among its parts, and not printed. */
const streamed = (model, prompt, more = {}) =>
  streamText({ model, prompt, maxRetries: 0, onError: () => {}, ...more });

const weather = (called) =>
  tool({
    description: "Weather of a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      called.push(city);
      return `rain in ${city}`;
    },
  });

/** 15, 17, 37, 66: also where the upstream forgets ids, or sends no deltas. */
export async function checkText(bench) {
  const model = opened(bench);
  for (const name of ["text", "noids", "done-only", "vendor-first", "filled"]) {
    // These say more, and call a tool.
    const text = ["noids", "done-only", "filled"].includes(name) ? `${GREETING} See Example.` : GREETING;
    const answer = await asked(model, `scene:${name}`);
    assert.equal(answer.text, text, name);
    assert.equal(answer.finishReason, text === GREETING ? "stop" : "tool-calls", name);
    assert.ok(answer.usage.totalTokens > 0, name);
    const stream = streamed(model, `scene:${name}`);
    assert.equal((await all(stream.textStream)).join(""), text, name);
    assert.equal(await stream.finishReason, answer.finishReason, name);
    assert.equal((await stream.response).modelId, MODEL, name);
  }
  assert.equal((await all(streamed(model, "scene:separators").textStream)).join(""), SEPARATED);
}

/** 81: it names its earlier items instead of repeating them, and the upstream gets them all the same. */
export async function checkToolLoopWithReferences(bench) {
  for (const ask of [asked, streamed]) {
    const called = [];
    const tools = { get_weather: weather(called) };
    const answer = await ask(opened(bench), "What does get_weather say?", { tools, stopWhen: isStepCount(3) });
    assert.match(await answer.text, /rain in Paris/);
    assert.deepEqual(called, ["Paris"]);
    const kinds = (await bench.bodies()).at(-1).input.map((item) => item.type);
    assert.deepEqual(kinds.slice(-2), ["function_call", "function_call_output"]);
    assert.ok(!kinds.includes("item_reference"));
  }
}

/** 70, 71: without a store it repeats them. */
export async function checkToolLoopWithoutStore(bench) {
  const called = [];
  const tools = { get_weather: weather(called) };
  const providerOptions = { openai: { store: false, reasoningSummary: "auto" } };
  const more = { tools, stopWhen: isStepCount(3), providerOptions };
  const answer = await asked(opened(bench), "What does get_weather say?", more);
  assert.match(answer.text, /rain in Paris/);
  assert.deepEqual(called, ["Paris"]);
  const [call, output] = (await bench.bodies()).at(-1).input.slice(-2);
  assert.equal(call.type, "function_call");
  assert.equal(output.type, "function_call_output");
  assert.equal(call.call_id, output.call_id);
}

/** 67: thinking comes as parts of its own. */
export async function checkReasoning(bench) {
  const providerOptions = { openai: { reasoningSummary: "auto", forceReasoning: true } };
  const answer = await asked(opened(bench), "scene:reasoning", { providerOptions });
  assert.equal(answer.text, GREETING);
  assert.match(answer.reasoningText, /I look at what was asked/);
  const parts = await all(streamed(opened(bench), "scene:reasoning", { providerOptions }).stream);
  assert.ok(parts.some((part) => part.type === "reasoning-delta"));
}

/** 41. */
export async function checkStructuredOutput(bench) {
  const output = Output.object({ schema: City });
  City.parse((await asked(opened(bench), "A city", { output })).output);
  assert.equal((await bench.bodies()).at(-1).text.format.type, "json_schema");
}

/** 26, 27, 82. */
export async function checkErrors(bench) {
  assert.equal((await failure(() => asked(opened(bench, UNKNOWN_MODEL), "hi"))).statusCode, 404);
  const refused = await failure(() => asked(opened(bench), "scene:400-detail"));
  assert.equal(refused.statusCode, 400);
  assert.match(refused.message, /Unsupported parameter/);
  // The last, since it parks the account.
  const limited = await failure(() => asked(opened(bench), "scene:429-usage"));
  assert.equal(limited.statusCode, 429);
  assert.match(limited.message, /resets in/);
}

/** 35: a silent end would be the reason "other"; an error comes once. */
export async function checkBrokenStreams(bench) {
  for (const name of ["failed-mid", "eof-mid", "abort-mid"]) {
    const parts = await all(streamed(opened(bench), `scene:${name}`).stream);
    assert.equal(parts.filter((part) => part.type === "error").length, 1, name);
    const good = parts.filter((part) => part.type === "finish" && part.finishReason !== "error");
    assert.deepEqual(good, [], name);
  }
}
