// The AI SDK of Vercel with its two providers for chat. Numbers are those of the conformance checks.

import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, all, failure } from "./checking.mjs";

const City = z.object({ city: z.string(), temperature: z.number(), tags: z.array(z.string()) });

/** Both ways by which the SDK speaks chat; nobody asks again unless told so. */
function models(bench, name = MODEL) {
  const places = { baseURL: bench.baseURL, apiKey: bench.apiKey };
  const compatible = createOpenAICompatible({
    ...places,
    name: "gptmock",
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
  return { compatible: compatible(name), openai: createOpenAI(places).chat(name) };
}

const asked = (model, prompt, more = {}) => generateText({ model, prompt, maxRetries: 0, ...more });

/** A stream whose errors are found among its parts, and not printed. */
function streamed(model, prompt, more = {}) {
  return streamText({ model, prompt, maxRetries: 0, onError: () => {}, ...more });
}

function weather(called) {
  return tool({
    description: "Weather of a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      called.push(city);
      return `rain in ${city}`;
    },
  });
}

/** 1, 14. */
export async function checkText(bench) {
  for (const [way, model] of Object.entries(models(bench))) {
    const answer = await asked(model, "scene:text");
    assert.equal(answer.text, GREETING, way);
    assert.equal(answer.finishReason, "stop", way);
    assert.equal(answer.usage.totalTokens, answer.usage.inputTokens + answer.usage.outputTokens, way);
    assert.equal(answer.response.modelId, MODEL, way);
    assert.match(answer.response.id, /^chatcmpl-/, way);
  }
}

/** 2, 12, 37. */
export async function checkStream(bench) {
  for (const [way, model] of Object.entries(models(bench))) {
    const stream = streamed(model, "scene:text");
    const deltas = await all(stream.textStream);
    assert.ok(deltas.length > 3, way);
    assert.equal(deltas.join(""), GREETING, way);
    assert.equal(await stream.finishReason, "stop", way);
    assert.ok((await stream.usage).totalTokens > 0, way);
    assert.equal((await all(streamed(model, "scene:separators").textStream)).join(""), SEPARATED, way);
  }
}

/** 6, 8: several steps, collected and streamed. */
export async function checkToolLoop(bench) {
  for (const [way, model] of Object.entries(models(bench))) {
    for (const ask of [asked, streamed]) {
      const called = [];
      const tools = { get_weather: weather(called) };
      const answer = await ask(model, "What does get_weather say?", { tools, stopWhen: isStepCount(3) });
      assert.match(await answer.text, /rain in Paris/, way);
      assert.deepEqual(called, ["Paris"], way);
      assert.equal((await answer.steps).length, 2, way);
      const [call, output] = (await bench.bodies()).at(-1).input.slice(-2);
      assert.equal(call.type, "function_call", way);
      assert.equal(output.type, "function_call_output", way);
      assert.equal(call.call_id, output.call_id, way);
    }
  }
}

/** 44, 45: a named tool, and any tool. */
export async function checkToolChoice(bench) {
  for (const [way, model] of Object.entries(models(bench))) {
    const tools = { get_weather: weather([]) };
    await asked(model, "hello", { tools, toolChoice: { type: "tool", toolName: "get_weather" } });
    await asked(model, "hello", { tools, toolChoice: "required" });
    const choices = (await bench.bodies()).slice(-2).map((body) => body.tool_choice);
    assert.deepEqual(choices, [{ type: "function", name: "get_weather" }, "required"], way);
  }
}

/** 41. */
export async function checkStructuredOutput(bench) {
  for (const [way, model] of Object.entries(models(bench))) {
    const output = Output.object({ schema: City });
    City.parse((await asked(model, "A city", { output })).output);
    assert.equal((await bench.bodies()).at(-1).text.format.type, "json_schema", way);
    const stream = streamed(model, "A city", { output });
    await stream.consumeStream();
    City.parse(await stream.output);
  }
}

/** 40, 110: the reasons that it knows. */
export async function checkFinishReasons(bench) {
  for (const [way, model] of Object.entries(models(bench))) {
    assert.equal((await asked(model, "scene:incomplete")).finishReason, "length", way);
    const stream = streamed(model, "scene:filter");
    await stream.consumeStream();
    assert.equal(await stream.finishReason, "content-filter", way);
  }
}

/** 26, 27, 82. */
export async function checkErrors(bench) {
  for (const [way, model] of Object.entries(models(bench))) {
    const unknown = await failure(() => asked(models(bench, UNKNOWN_MODEL)[way], "hi"));
    assert.equal(unknown.statusCode, 404, way);
    const refused = await failure(() => asked(model, "scene:400-detail"));
    assert.equal(refused.statusCode, 400, way);
    assert.equal(refused.isRetryable, false, way);
    assert.match(refused.message, /Unsupported parameter/, way);
  }
  // The last, since it parks the account.
  const limited = await failure(() => asked(models(bench).compatible, "scene:429-usage"));
  assert.equal(limited.statusCode, 429);
  assert.match(limited.message, /resets in/);
}

/** 30, 31: a stream that breaks has an error part, and no finish that looks well. */
export async function checkBrokenStreams(bench) {
  for (const [way, model] of Object.entries(models(bench))) {
    for (const name of ["failed-mid", "eof-mid", "abort-mid"]) {
      const parts = await all(streamed(model, `scene:${name}`).stream);
      assert.ok(parts.some((part) => part.type === "error"), `${way} ${name}`);
      assert.deepEqual(
        parts.filter((part) => part.type === "finish" && part.finishReason !== "error"),
        [],
        `${way} ${name}`,
      );
    }
  }
}
