// The AI SDK of Vercel with its provider for Anthropic. Numbers are those of next doors, section G.

import assert from "node:assert/strict";
import { readFileSync, readdirSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createAnthropic } from "@ai-sdk/anthropic";
import { Output, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { GREETING, PDF, PIXEL, UNKNOWN_MODEL, all, failure } from "./checking.mjs";

const model = (bench, name = "claude-opus-5-5") =>
  createAnthropic({ baseURL: bench.baseURL, apiKey: bench.apiKey })(name);
const asked = (bench, prompt, more = {}) => generateText({ model: model(bench), prompt, maxRetries: 0, ...more });
const streamed = (bench, prompt, more = {}) =>
  streamText({ model: model(bench), prompt, maxRetries: 0, onError: () => {}, ...more });

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

/** 215. */
export async function checkText(bench) {
  const answer = await asked(bench, "scene:text");
  assert.equal(answer.text, GREETING);
  assert.equal(answer.finishReason, "stop");
  assert.ok(answer.usage.inputTokens > 0);
}

/** 215, 313. */
export async function checkEveryStreamIsInItsSchema(bench) {
  const scenes = ["text", "reasoning", "interleaved", "tools2", "text+tool", "search", "refusal", "incomplete", "filter"];
  for (const scene of [...scenes, "done-only", "noids", "custom", "unknown", "sealed"]) {
    const options = { anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } } };
    const result = streamed(bench, `scene:${scene}`, {
      providerOptions: options,
      tools: { get_weather: tool({ inputSchema: z.object({ city: z.string() }) }) },
    });
    const kinds = [];
    for await (const part of result.stream ?? result.fullStream) kinds.push([part.type, part.error]);
    const errors = kinds.filter(([kind]) => kind === "error");
    assert.deepEqual(errors, [], scene);
    assert.equal(kinds.at(-1)[0], "finish", scene);
  }
}

/** 313: the recorded streams of every scene, as files; an error stands only where the stream has an error event. */
export async function checkEveryRecordedStreamIsInItsSchema() {
  const goldens = join(realpathSync(dirname(fileURLToPath(import.meta.url))), "../../goldens");
  for (const scene of readdirSync(goldens)) {
    const body = readFileSync(join(goldens, scene, "messages.stream.txt"));
    const fetch = async () => new Response(body, { headers: { "content-type": "text/event-stream" } });
    const given = createAnthropic({ baseURL: "http://localhost/v1", apiKey: "k", fetch })("claude-opus-5-5");
    const tools = { get_weather: tool({ inputSchema: z.object({ city: z.string() }) }) };
    const result = streamText({ model: given, prompt: "hi", maxRetries: 0, onError: () => {}, tools });
    const errors = [];
    for await (const part of result.stream ?? result.fullStream) if (part.type === "error") errors.push(part.error);
    const expected = body.includes("event: error\n") ? 1 : 0;
    assert.equal(errors.length, expected, `${scene}: ${errors.map(String)}`);
    for (const error of errors) assert.doesNotMatch(String(error), /validation|parse/i, scene);
  }
}

/** 215. */
export async function checkToolLoop(bench) {
  const called = [];
  const answer = await asked(bench, "use get_weather", {
    tools: { get_weather: weather(called) },
    stopWhen: isStepCount(3),
  });
  assert.deepEqual(called, ["Paris"]);
  assert.match(answer.text, /rain in Paris/);
}

/** 206, 215. */
export async function checkObject(bench) {
  const City = z.object({ city: z.string() });
  const answer = await asked(bench, "where?", { output: Output.object({ schema: City }) });
  assert.deepEqual(answer.output, { city: "Paris" });
}

/** 204, 215. */
export async function checkSources(bench) {
  const provider = createAnthropic({ baseURL: bench.baseURL, apiKey: bench.apiKey });
  const tools = { web_search: provider.tools.webSearch_20250305({ maxUses: 2 }) };
  const answer = await asked(bench, "search for gptmock", { tools });
  assert.ok(answer.sources.some((source) => source.url === "https://example.test/source"));
}

/** 202, 215, 236. */
export async function checkImagesAndDocuments(bench) {
  const content = [
    { type: "image", image: Buffer.from(PIXEL, "base64"), mediaType: "image/png" },
    { type: "file", data: Buffer.from(PDF, "base64"), mediaType: "application/pdf", filename: "one.pdf" },
    { type: "text", text: "?" },
  ];
  await asked(bench, undefined, { messages: [{ role: "user", content }] });
  const [first, second, third] = (await bench.bodies())[0].input[0].content;
  assert.deepEqual([first.type, first.image_url], ["input_image", `data:image/png;base64,${PIXEL}`]);
  assert.deepEqual([second.type, second.file_data], ["input_file", `data:application/pdf;base64,${PDF}`]);
  assert.deepEqual([second.filename, third.text], ["one.pdf", "?"]);
}

/** 119, 215. */
export async function checkFailures(bench) {
  for (const [more, prompt, status, told] of [
    [{}, "scene:400-detail", 400, /Unsupported parameter/],
    [{ model: model({ ...bench, apiKey: "wrong" }) }, "hi", 401, /Incorrect API key/],
    [{ model: model(bench, UNKNOWN_MODEL) }, "hi", 404, /gpt-5\.5/],
    [{}, "scene:429-burst", 429, /Rate limit/],
    [{}, "scene:eof-mid", 502, /ended before/],
    [{}, "scene:402", 503, /deactivated_workspace/],
    [{}, "scene:503-overload", 529, /overloaded/],
  ]) {
    const error = await failure(() => asked(bench, prompt, more));
    assert.equal(error.statusCode, status, String(error));
    assert.match(error.message, told);
  }
}

/** 119, 211, 215: an error among the parts, never a clean end. */
export async function checkBrokenStreams(bench) {
  for (const scene of ["eof-mid", "failed-mid", "abort-mid"]) {
    const result = streamed(bench, `scene:${scene}`);
    const kinds = (await all(result.stream ?? result.fullStream)).map((part) => part.type);
    assert.ok(kinds.includes("error"), scene);
    assert.equal(await result.finishReason.catch(() => "error"), "error", scene);
  }
}
