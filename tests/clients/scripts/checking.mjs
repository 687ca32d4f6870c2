// What the check scripts for Node share, as checking.py does for those for Python. It knows Node itself only.

import assert from "node:assert/strict";

export const MODEL = "gpt-5.5";
export const UNKNOWN_MODEL = "gpt-4-classic";
export const GREETING = "Hello from the simulator. Zażółć gęślą jaźń, 你好, 🙂!";
export const SEPARATED = "next\u0085line\u2028line\u2029paragraph\x0bvertical\x0cform\x1cend";
/** An image of one pixel, in base64. */
export const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
/** The beginning of a document, in base64. */
export const PDF = "JVBERi0xLjQK";
const MODEL_PATH = "/backend-api/codex/responses";

export const WEATHER = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

/** Where a check works. */
export class Bench {
  constructor(baseURL, apiKey, simulatorURL) {
    /** Of gptmock, `/v1` included. */
    this.baseURL = baseURL;
    /** The same without `/v1`: where Ollama's routes are. */
    this.rootURL = baseURL.slice(0, -"/v1".length);
    this.apiKey = apiKey;
    this.simulatorURL = simulatorURL;
  }

  /** What the next model calls meet, whatever they say. */
  async queue(...scenes) {
    await this.#control("/simulator/scenes", { scenes });
  }

  /** Scenes that nobody has met yet. */
  async queued() {
    return (await this.#control("/simulator/scenes")).queued;
  }

  /** The bodies of this check's model calls as the upstream received them, oldest first. */
  async bodies() {
    const { requests } = await this.#control(`/simulator/requests?path=${MODEL_PATH}`);
    return requests.map((request) => request.body);
  }

  /** No records, no queue; logins stay. */
  async reset() {
    await this.#control("/simulator/reset", {});
  }

  async #control(path, body) {
    const headers = { "content-type": "application/json" };
    const order = body === undefined ? {} : { method: "POST", headers, body: JSON.stringify(body) };
    const answer = await fetch(this.simulatorURL + path, order);
    assert.equal(answer.status, 200, path);
    return answer.json();
  }
}

/** A conversation of one message. */
export const user = (content) => [{ role: "user", content }];

/** A conversation that the simulator answers with this scene. */
export const scene = (name) => user(`Please play scene:${name}`);

/** The texts of the messages that a model call has, oldest first; thinking stands between them. */
export const textsOf = (body) =>
  body.input.filter((item) => item.type === "message").map((item) => item.content[0].text);

/** All that an iterable gives. */
export async function all(stream) {
  const found = [];
  for await (const each of stream) found.push(each);
  return found;
}

/** The error that a call raises. */
export async function failure(call) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: `no error but ${JSON.stringify(answer)?.slice(0, 200)}` });
}
