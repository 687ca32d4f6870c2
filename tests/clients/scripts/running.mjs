// Runs the checks of a script by name until standard input ends. Arguments: script, base URL, key, URL of the simulator.
//
// A check is an exported function `check...(bench)`; a line of JSON tells what became of it: `{name, ok, detail}`.

import { createInterface } from "node:readline";
import { Bench } from "./checking.mjs";

const DETAIL_CHARACTERS = 6000;

const [script, ...places] = process.argv.slice(2);
const bench = new Bench(...places);
const answer = process.stdout.write.bind(process.stdout);
// A library that prints must not break the protocol.
process.stdout.write = process.stderr.write.bind(process.stderr);
// A promise that nobody waits for must not end the process: its check is told of it when its turn comes.
const strays = [];
process.on("unhandledRejection", (error) => strays.push(error));

const checks = await import(script);
for await (const line of createInterface({ input: process.stdin })) {
  const name = line.trim();
  const detail = await run(checks[name]);
  answer(`${JSON.stringify({ name, ok: detail === null, detail })}\n`);
}

async function run(check) {
  strays.length = 0;
  try {
    await bench.reset();
    await check(bench);
    const left = await bench.queued();
    if (left.length) throw new Error(`scenes that were never asked for: ${left}`);
    if (strays.length) throw strays[0];
    return null;
  } catch (error) {
    return `${error?.stack ?? error}\n${JSON.stringify(error, null, 1) ?? ""}`.slice(0, DETAIL_CHARACTERS);
  }
}
