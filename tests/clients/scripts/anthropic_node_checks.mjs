// The official anthropic library for Node. Numbers are those of next doors, section G.

import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";
import { GREETING, PDF, PIXEL, UNKNOWN_MODEL, WEATHER, all, failure, scene, user } from "./checking.mjs";

const MODEL = "claude-opus-5-5";
/** Of a login of ChatGPT that stands in the place of a key. */
const FOREIGN = { "chatgpt-account-id": "account" };
const tools = ["get_weather", "get_time"].map((name) => ({ name, description: "d", input_schema: WEATHER }));

/** A client that gives up at once. */
function opened(bench, options = {}) {
  return new Anthropic({ baseURL: bench.rootURL, apiKey: bench.apiKey, maxRetries: 0, timeout: 30_000, ...options });
}

const asked = (bench, messages, more = {}, options = {}) =>
  opened(bench, options).messages.create({ model: MODEL, max_tokens: 2048, messages, ...more });

/** 213, 318. */
export async function checkMessage(bench) {
  const message = await asked(bench, scene("text"));
  assert.equal(message.content[0].text, GREETING);
  assert.equal(message.stop_reason, "end_turn");
  assert.equal(message.model, MODEL);
  assert.ok(message.usage.output_tokens > 0);
  assert.ok(message._request_id);
}

/** 213, 229. */
export async function checkStreamHelper(bench) {
  const stream = opened(bench).messages.stream({ model: MODEL, max_tokens: 64, messages: scene("text") });
  const message = await stream.finalMessage();
  assert.equal(message.content[0].text, GREETING);
  const events = await all(await asked(bench, scene("text"), { stream: true }));
  assert.equal(events[0].type, "message_start");
  assert.equal(events.at(-1).type, "message_stop");
}

/** 118, 213. */
export async function checkToolLoop(bench) {
  const messages = user("use get_weather");
  const first = await asked(bench, messages, { tools });
  const call = first.content.find((block) => block.type === "tool_use");
  assert.deepEqual([call.name, call.input], ["get_weather", { city: "Paris" }]);
  const result = { type: "tool_result", tool_use_id: call.id, content: "18 degrees" };
  const history = [...messages, { role: "assistant", content: first.content }, { role: "user", content: [result] }];
  const last = await asked(bench, history, { tools });
  assert.equal(last.content[0].text, "The tools answered: 18 degrees");
}

/** 207, 213, 228. */
export async function checkThinkingStreamed(bench) {
  const thinking = { type: "enabled", budget_tokens: 1024 };
  const stream = opened(bench).messages.stream({
    model: MODEL,
    max_tokens: 2048,
    messages: scene("tools2"),
    tools,
    thinking,
  });
  const message = await stream.finalMessage();
  assert.deepEqual(
    message.content.map((block) => block.type),
    ["thinking", "tool_use", "tool_use"],
  );
  assert.match(message.content[0].signature, /^gms1\./);
}

/** 206, 213. */
export async function checkStructuredOutput(bench) {
  const format = zodOutputFormat(z.object({ city: z.string() }));
  const wanted = { model: MODEL, max_tokens: 64, messages: user("where?"), output_config: { format } };
  assert.deepEqual((await opened(bench).messages.parse(wanted)).parsed_output, { city: "Paris" });
  const streamed = await opened(bench).messages.stream(wanted).finalMessage();
  assert.deepEqual(streamed.parsed_output, { city: "Paris" });
  for (const body of await bench.bodies()) {
    assert.equal(body.text.format.type, "json_schema");
    assert.deepEqual(body.text.format.schema.required, ["city"]);
  }
}

/** 202, 213, 236. */
export async function checkImagesAndDocuments(bench) {
  const image = { type: "base64", media_type: "image/png", data: PIXEL };
  const pdf = { type: "base64", media_type: "application/pdf", data: PDF };
  const content = [
    { type: "image", source: image },
    { type: "document", source: pdf, title: "one.pdf" },
    { type: "text", text: "?" },
  ];
  await asked(bench, user(content));
  const [first, second, third] = (await bench.bodies())[0].input[0].content;
  assert.deepEqual([first.type, first.image_url], ["input_image", `data:image/png;base64,${PIXEL}`]);
  assert.deepEqual([second.type, second.file_data], ["input_file", `data:application/pdf;base64,${PDF}`]);
  assert.deepEqual([second.filename, third.text], ["one.pdf", "?"]);
}

/** 204, 213. */
export async function checkWebSearch(bench) {
  const search = { type: "web_search_20250305", name: "web_search" };
  const message = await asked(bench, user("search for gptmock"), { tools: [search] });
  assert.equal(message.content[1].content[0].url, "https://example.test/source");
  assert.equal(message.content[2].citations[0].title, "Example");
}

/** 212, 213, 235, 310. */
export async function checkCountsAndModels(bench) {
  const count = await opened(bench).messages.countTokens({ model: MODEL, messages: user("word ".repeat(100)) });
  assert.ok(count.input_tokens > 90 && count.input_tokens < 200);
  const models = await all(opened(bench).models.list({ limit: 5 }));
  assert.ok(models.some((model) => model.id === "claude-gpt-5.5"));
}

/** 119, 213. */
export async function checkErrors(bench) {
  const computer = { type: "computer_20250124", name: "c", display_width_px: 1, display_height_px: 1 };
  for (const [call, kind, status] of [
    [() => asked(bench, user("hi"), { tools: [computer] }), Anthropic.BadRequestError],
    [() => asked(bench, user("hi"), {}, { apiKey: "wrong" }), Anthropic.AuthenticationError],
    [() => asked(bench, user("hi"), {}, { apiKey: "wrong", defaultHeaders: FOREIGN }), Anthropic.PermissionDeniedError],
    [() => asked(bench, user("hi"), { model: UNKNOWN_MODEL }), Anthropic.NotFoundError],
    [() => asked(bench, scene("429-burst")), Anthropic.RateLimitError],
    [() => asked(bench, scene("402")), Anthropic.InternalServerError, 503],
    [() => asked(bench, scene("503-overload")), Anthropic.InternalServerError, 529],
    [() => asked(bench, scene("eof-mid")), Anthropic.InternalServerError],
  ]) {
    const error = await failure(call);
    assert.ok(error instanceof kind, String(error));
    if (status) assert.equal(error.status, status);
    assert.ok(error.requestID);
  }
  const cut = await failure(async () => all(await asked(bench, scene("eof-mid"), { stream: true })));
  assert.ok(cut instanceof Anthropic.APIError, String(cut));
}
