// The openai library for Node at the WebSocket of responses. Numbers are those of the conformance checks.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";
import { GREETING, MODEL } from "./checking.mjs";

/** The last event of the next turn. */
async function lastOf(events) {
  for await (const { type, message } of events) {
    if (type === "message" && ["response.completed", "response.failed", "error"].includes(message.type)) return message;
    if (type === "error") throw new Error("the connection failed");
  }
  throw new Error("the connection is closed");
}

/** 324: turns on one connection, plain and compressed. */
export async function checkConnect(bench) {
  for (const perMessageDeflate of [false, true]) {
    const client = new OpenAI({ baseURL: bench.baseURL, apiKey: bench.apiKey, maxRetries: 0 });
    const socket = new ResponsesWS(client, { perMessageDeflate });
    const events = socket.stream();
    socket.send({ type: "response.create", model: MODEL, input: "scene:text", store: false });
    const first = await lastOf(events);
    assert.equal(first.response.output[0].content[0].text, GREETING);
    const more = { input: "and now?", previous_response_id: first.response.id, stream_id: "a" };
    socket.send({ type: "response.create", model: MODEL, store: false, ...more });
    const second = await lastOf(socket.stream());
    assert.equal(second.response.output.at(-1).content[0].text, "You said: and now?");
    assert.equal(second.stream_id, "a");
    socket.close();
  }
}
