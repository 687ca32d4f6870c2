// The script of an invitation: reads its token from the fragment of the address, and shows what the server says as text.

import { events } from "{{answers.js}}";

const base = document.querySelector('meta[name="gptmock-base"]').content;
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const theme = localStorage.getItem("gptmock-theme");
if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;

let token = location.hash.slice(1);
let signIn = null;

const day = (moment) => new Date(moment).toLocaleString("en-GB", { day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit" });

function announce(text) {
  $("announce").textContent = text;
}

function show(name) {
  for (const step of document.querySelectorAll(".step")) step.hidden = step.id !== name;
  $(`${name}-head`).focus();
}

function facts(place, pairs) {
  $(place).replaceChildren(...pairs.flatMap(([term, value]) => {
    const [name, text] = [document.createElement("dt"), document.createElement("dd")];
    name.textContent = term;
    text.textContent = value;
    return [name, text];
  }));
}

// What the server answers; an error has its status, 0 if there was no answer.
async function post(path, body, accept = "application/json", signal = undefined) {
  let response;
  try {
    response = await fetch(`${base}/admin/${path}`, { method: "POST", credentials: "same-origin", cache: "no-store", signal,
      headers: { "content-type": "application/json", accept }, body: JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error("The server does not answer. Try again."), { status: 0 });
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw Object.assign(new Error(told.error?.message ?? "The server refused it."), { status: response.status });
}

function fail(error) {
  const final = error.status === 404 || error.status === 400;
  $("ended-head").textContent = final ? "This link cannot be used" : "That did not work";
  $("ended-text").textContent = error.message;
  $("ended-again").hidden = final;
  show("ended");
}

async function read() {
  if (!token) {
    fail({ status: 404, message: "The link is not complete: its last part, behind the # sign, is missing. Copy the whole link again, or ask whoever sent it for another one." });
    return;
  }
  try {
    const offer = await (await post("invitation", { token })).json();
    const limits = [[offer.rpm, "requests a minute"], [offer.tokens_per_day, "tokens in 24 hours"], [offer.tokens_per_week, "tokens in 7 days"], [offer.concurrency, "requests at once"]];
    $("offer-name").textContent = offer.name;
    facts("offer-terms", [
      ["Server", location.origin + base],
      ["Models", offer.models.length ? offer.models.join(", ") : "all of your account"],
      ["Limits", limits.filter(([amount]) => amount !== null).map(([amount, unit]) => `${number.format(amount)} ${unit}`).join(", ") || "only those of your account"],
      ["Key valid", offer.key_expires_at ? `until ${day(offer.key_expires_at)}` : "until you or an admin end it"],
      ["Link valid", `until ${day(offer.expires_at)}`],
    ]);
    show("offer");
  } catch (error) {
    fail(error);
  }
}

function left(seconds) {
  return seconds >= 60 ? `${Math.ceil(seconds / 60)} minutes` : `${seconds} seconds`;
}

function take(told) {
  if (told.user_code) {
    $("device-code").textContent = told.user_code;
    if (/^https?:\/\//.test(told.url)) $("device-link").href = told.url;
    $("device-link").textContent = told.url;
    $("device-state").textContent = "waiting for you…";
    announce(`Your code is ${told.user_code}.`);
  }
  if (told.left_seconds !== undefined) $("device-state").textContent = `waiting for you, ${left(told.left_seconds)} left`;
  if (told.error) throw Object.assign(new Error(told.error.message), { status: told.error.code === "invitation_not_found" ? 404 : 0 });
  if (told.key) finish(told);
}

function finish(made) {
  // The invitation is used up: nothing of it stays in the address or in the history.
  token = "";
  history.replaceState(null, "", location.pathname);
  $("done-key").textContent = made.key;
  facts("done-facts", [
    ["Name", made.name],
    ["Account", made.account],
    ["Base URL", `${location.origin}${base}/v1`],
    ["Valid", made.expires_at ? `until ${day(made.expires_at)}` : "until you or an admin end it"],
  ]);
  show("done");
}

$("begin").addEventListener("click", async () => {
  signIn = new AbortController();
  $("device-code").textContent = "…";
  $("device-link").textContent = "";
  $("device-link").removeAttribute("href");
  $("device-state").textContent = "asking for a code…";
  show("device");
  try {
    for await (const told of events(await post("invitation/redeem", { token }, "text/event-stream", signIn.signal))) take(told);
    if ($("done").hidden && $("ended").hidden) throw Object.assign(new Error("The connection ended. Try again."), { status: 0 });
  } catch (error) {
    if (error.name === "AbortError") show("offer");
    else fail(error.status === undefined ? Object.assign(new Error("The connection ended. Try again."), { status: 0 }) : error);
  }
});

$("device-stop").addEventListener("click", () => signIn?.abort());
$("ended-again").addEventListener("click", read);

async function copy(button, text) {
  // Pressed again within the time, it shows the result of the last press instead of its label.
  button.dataset.label ??= button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it and copy it";
  }
  announce(button.textContent);
  setTimeout(() => { button.textContent = button.dataset.label; }, 1500);
}
$("device-copy").addEventListener("click", (event) => copy(event.target, $("device-code").textContent));
$("done-copy").addEventListener("click", (event) => copy(event.target, $("done-key").textContent));

$("done-open").addEventListener("click", async () => {
  try {
    await post("session", { key: $("done-key").textContent });
    location.assign(`${base}/dashboard`);
  } catch (error) {
    $("done-error").textContent = error.message;
  }
});

document.querySelector("[data-skip]").addEventListener("click", (event) => {
  // Not by its address, whose fragment is the invitation.
  event.preventDefault();
  $("main").focus();
});
window.addEventListener("hashchange", () => {
  if (location.hash.length > 1) {
    signIn?.abort();
    token = location.hash.slice(1);
    read();
  }
});
read();
