// The official openai library for Node. Numbers are those of the conformance checks (client contracts, section 8).

import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { GREETING, MODEL, PIXEL, SEPARATED, UNKNOWN_MODEL, WEATHER, all, failure, scene, user } from "./checking.mjs";

const City = z.object({ city: z.string(), temperature: z.number(), tags: z.array(z.string()) });
const tools = ["get_weather", "get_time"].map((name) => ({
  type: "function",
  function: { name, description: "d", parameters: WEATHER },
}));

/** A client that gives up at once, unless told otherwise. */
function opened(bench, options = {}) {
  return new OpenAI({ baseURL: bench.baseURL, apiKey: bench.apiKey, maxRetries: 0, timeout: 30_000, ...options });
}

const chat = (bench, messages, more = {}) => opened(bench).chat.completions.create({ model: MODEL, messages, ...more });

const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

/** 1, 14. */
export async function checkChat(bench) {
  const answer = await chat(bench, scene("text"));
  assert.equal(answer.object, "chat.completion");
  assert.match(answer.id, /^chatcmpl-/);
  assert.ok(Number.isInteger(answer.created));
  assert.equal(answer.choices[0].message.content, GREETING);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
}

/** 2, 12, 37. */
export async function checkChatStreamed(bench) {
  const chunks = await all(
    await chat(bench, scene("text"), { stream: true, stream_options: { include_usage: true } }),
  );
  assert.equal(textOf(chunks), GREETING);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.ok(chunks.at(-1).usage.total_tokens > 0);
  assert.equal(textOf(await all(await chat(bench, scene("separators"), { stream: true }))), SEPARATED);
}

/** 6: the helper, which is strict about indexes and ends. */
export async function checkChatStreamHelper(bench) {
  const stream = opened(bench).chat.completions.stream({ model: MODEL, messages: scene("tools2"), tools });
  const { message, finish_reason: reason } = (await stream.finalChatCompletion()).choices[0];
  assert.equal(reason, "tool_calls");
  assert.equal(message.role, "assistant");
  assert.deepEqual(
    message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
    [
      ["get_weather", { city: "Paris" }],
      ["get_time", { city: "Paris" }],
    ],
  );
  assert.equal(new Set(message.tool_calls.map((call) => call.id)).size, 2);
}

/** 8: the helper that calls the tools itself. */
export async function checkChatToolLoop(bench) {
  const called = [];
  const weather = {
    type: "function",
    function: {
      name: "get_weather",
      parse: JSON.parse,
      parameters: WEATHER,
      function: ({ city }) => {
        called.push(city);
        return `rain in ${city}`;
      },
    },
  };
  for (const stream of [false, true]) {
    const runner = opened(bench).chat.completions.runTools({
      model: MODEL,
      messages: user("What does get_weather say?"),
      tools: [weather],
      stream,
    });
    assert.match(await runner.finalContent(), /rain in Paris/);
    const [call, output] = (await bench.bodies()).at(-1).input.slice(-2);
    assert.equal(call.type, "function_call");
    assert.equal(output.type, "function_call_output");
    assert.equal(call.call_id, output.call_id);
  }
  assert.deepEqual(called, ["Paris", "Paris"]);
}

/** 41. */
export async function checkChatParse(bench) {
  const response_format = zodResponseFormat(City, "City");
  const answer = await opened(bench).chat.completions.parse({ model: MODEL, messages: user("A city"), response_format });
  City.parse(answer.choices[0].message.parsed);
  const { format } = (await bench.bodies())[0].text;
  assert.deepEqual([format.type, format.name, format.strict], ["json_schema", "City", true]);
}

/** 26, 27, 82: the class of each error, its code, and who asks again. */
export async function checkChatErrors(bench) {
  const unknown = await failure(() => opened(bench).chat.completions.create({ model: UNKNOWN_MODEL, messages: user("hi") }));
  assert.ok(unknown instanceof OpenAI.NotFoundError);
  assert.equal(unknown.code, "model_not_found");
  const refused = await failure(() => chat(bench, scene("400-detail")));
  assert.ok(refused instanceof OpenAI.BadRequestError);
  assert.match(refused.message, /Unsupported parameter/);
  // The last, since it parks the account.
  const before = (await bench.bodies()).length;
  const patient = opened(bench, { maxRetries: 2 });
  const limited = await failure(() => patient.chat.completions.create({ model: MODEL, messages: scene("429-usage") }));
  assert.ok(limited instanceof OpenAI.RateLimitError);
  assert.equal(limited.code, "usage_limit_reached");
  assert.equal((await bench.bodies()).length, before + 1);
}

/** 30, 31: with `create` and with the helper; neither takes the end for one. */
export async function checkChatBrokenStreams(bench) {
  for (const [name, code] of [
    ["failed-mid", /^server_error$/],
    ["eof-mid", /^upstream/],
    ["abort-mid", /^upstream/],
  ]) {
    const error = await failure(async () => all(await chat(bench, scene(name), { stream: true })));
    assert.ok(error instanceof OpenAI.APIError, name);
    assert.match(error.code, code, name);
    const helped = await failure(() =>
      opened(bench).chat.completions.stream({ model: MODEL, messages: scene(name) }).finalChatCompletion(),
    );
    assert.ok(helped instanceof OpenAI.OpenAIError, name);
  }
}

/** 25. */
export async function checkModels(bench) {
  const models = await all(opened(bench).models.list());
  assert.ok(models.some((model) => model.id === MODEL));
  for (const model of models) {
    assert.equal(model.object, "model");
    assert.ok(Number.isInteger(model.created));
    assert.ok(model.owned_by);
  }
}

/** An image of one pixel as a file. */
const pixel = (name = "pixel.png") => toFile(Buffer.from(PIXEL, "base64"), name, { type: "image/png" });

/** 260, 261. */
export async function checkImages(bench) {
  const { images } = opened(bench);
  const one = await images.generate({ model: "gpt-image-1", prompt: "a cat", size: "1024x1536" });
  assert.equal(one.size, "1024x1536");
  assert.ok(Buffer.from(one.data[0].b64_json, "base64").toString("latin1").startsWith("\x89PNG"));
  assert.equal((await images.generate({ prompt: "a cat", n: 2 })).data.length, 2);
  assert.equal((await images.edit({ image: await pixel(), prompt: "a hat" })).data.length, 1);
  const several = [await pixel("a.png"), await pixel("b.png")];
  assert.equal((await images.edit({ image: several, prompt: "a hat", n: 2 })).data.length, 2);
}

/** 260: the events of both routes have names of their own. */
export async function checkImagesStreamed(bench) {
  const { images } = opened(bench);
  const asked = { prompt: "a cat", stream: true, partial_images: 2 };
  for (const [prefix, stream] of [
    ["image_generation", await images.generate(asked)],
    ["image_edit", await images.edit({ image: await pixel(), ...asked })],
  ]) {
    const events = await all(stream);
    assert.deepEqual(
      events.map((event) => event.type),
      [`${prefix}.partial_image`, `${prefix}.partial_image`, `${prefix}.completed`],
    );
    assert.ok(events.at(-1).usage.total_tokens > 0);
  }
}

/** 262, 341. */
export async function checkImagesRefused(bench) {
  const { images } = opened(bench);
  const cut = await toFile(Buffer.from(PIXEL, "base64").subarray(0, -20), "cut.png", { type: "image/png" });
  for (const [call, param] of [
    [async () => images.edit({ image: cut, prompt: "a hat" }), "image[0]"],
    [async () => images.edit({ image: await pixel(), mask: await pixel(), prompt: "a hat" }), "mask"],
    [() => images.generate({ prompt: "a cat", style: "vivid" }), "style"],
  ]) {
    const error = await failure(call);
    assert.ok(error instanceof OpenAI.BadRequestError, param);
    assert.equal(error.param, param);
  }
}
