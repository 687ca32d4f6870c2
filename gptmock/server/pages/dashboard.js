// The page's script: asks the admin API, shows what it says as text, and nothing as HTML.

import { events } from "{{answers.js}}";

const base = document.querySelector('meta[name="gptmock-base"]').content;
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const number = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const HINTS = {
  usage_limit_reached: "The account's window is used up: wait for its reset, or add an account to the pool.",
  rate_limit_exceeded: "A limit was reached; clients repeat the request by themselves.",
  login_required: "Sign in to the account again.",
  login_refused: "Sign in to the account again.",
  auth_unavailable: "The sign-in service or the store does not answer; it is tried again.",
  model_not_found: "The client asks for a model that no account has; the list of models is on this page.",
  model_not_allowed: "The key may not use this model.",
  invalid_api_key: "The client sends a wrong or revoked key.",
  upstream_stream_truncated: "The backend ended its answer too early; the client should try again.",
  upstream_timeout: "The backend did not answer in time.",
  store_unavailable: "The store does not answer; see the server's log.",
};
const state = {};
let me = null;
let source = null;
let freshKey = null;

// --- Elements ---------------------------------------------------------------------------------

function make(tag, members = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(members)) {
    if (name === "class") element.className = value;
    else if (name === "click") element.addEventListener("click", value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Replaces what a place shows; focus and scroll position stay where they were.
function fill(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.id : undefined;
  const top = place.scrollTop;
  place.replaceChildren(...children);
  place.scrollTop = top;
  if (focused !== undefined) refocus(place, focused);
}

// What had the focus may be gone: then another button of its row gets it, or else the heading of the section.
function refocus(place, id) {
  const elements = [...place.querySelectorAll("[data-id]")];
  const subject = (text) => text.slice(text.indexOf(" ") + 1);
  const found = elements.find((one) => one.dataset.id === id) ?? elements.find((one) => subject(one.dataset.id) === subject(id));
  if (found) return found.focus();
  const head = place.closest("section").querySelector("h2");
  head.tabIndex = -1;
  head.focus();
}

function button(text, id, click, about) {
  return make("button", { type: "button", class: "small", "data-id": id, "aria-label": about, click }, text);
}

function table(heads, rows, numbers = []) {
  const kind = (index) => (numbers.includes(index) ? "number" : "");
  return make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((head, index) => make("th", { scope: "col", class: kind(index) }, head)))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell, index) =>
      make("td", { class: kind(index), "data-head": heads[index] }, ...(Array.isArray(cell) ? cell : [cell])))))));
}

function meter(name, percent, text, about) {
  const share = Math.max(0, Math.min(100, percent));
  const kind = share >= 100 ? "meter full" : share >= 80 ? "meter high" : "meter";
  const bar = draw("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("rect", { x: 0, y: 0, width: share, height: 8 }));
  return make("div", { class: kind }, make("div", { class: "line" },
    make("span", {}, `${name}  ${about}`), make("span", { class: "soft" }, text)), bar);
}

const empty = (text) => make("p", { class: "empty" }, text);

// --- Time -------------------------------------------------------------------------------------

const now = () => Date.now();

function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

// Dates have the name of their month: 3/4 is March to some and April to others.
const date = (moment) => new Date(moment).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
const day = (moment) => `${date(moment)}, ${new Date(moment).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })}`;
const clock = (moment) => (date(moment) === date(now()) ? new Date(moment).toLocaleTimeString("en-GB") : day(moment));

function resets(moment) {
  if (!moment) return "";
  const left = Date.parse(moment) - now();
  if (left <= 0) return "was reset";
  const when = new Date(moment);
  return left < 20 * 3600e3 ? `resets in ${span(left)}`
    : `resets ${when.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" })} ${when.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })}`;
}

// --- Words to screen readers: at most one in ten seconds -----------------------------------------

let spokenAt = 0;
let toSay = null;
function announce(text) {
  const wait = spokenAt + 10000 - Date.now();
  if (wait <= 0) {
    spokenAt = Date.now();
    $("announce").textContent = text;
  } else {
    if (toSay === null) setTimeout(() => { const said = toSay; toSay = null; announce(said); }, wait);
    toSay = text;
  }
}

function banner(text) {
  $("banner").hidden = !text;
  if ($("banner").textContent !== (text ?? "")) $("banner").textContent = text ?? "";
}

// --- The API ----------------------------------------------------------------------------------

async function api(method, path, body) {
  const options = { method, headers: { accept: "application/json" }, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(`${base}/admin/${path}`, options);
  const document_ = await response.json();
  if (!response.ok) throw Object.assign(new Error(document_.error?.message ?? "The server refused it."), { status: response.status });
  return document_;
}

const part = encodeURIComponent;

// An element with the attribute "disabled" loses the focus.
const isBusy = (element) => element.ariaDisabled === "true";
const setBusy = (element, busy) => { element.ariaDisabled = busy ? "true" : null; };

async function act(element, work) {
  if (isBusy(element)) return;
  setBusy(element, true);
  try {
    await work();
    banner(null);
  } catch (error) {
    banner(error.message);
  } finally {
    setBusy(element, false);
  }
}

let asked = null;
function ask(title, text, word, work) {
  const opener = document.activeElement;
  asked = opener.dataset.id === undefined ? null : { place: opener.closest(".rows"), id: opener.dataset.id };
  $("ask-head").textContent = title;
  $("ask-text").textContent = text;
  $("ask-error").textContent = "";
  $("ask-yes").textContent = word;
  $("ask-yes").onclick = async () => {
    try {
      await work();
      $("ask-dialog").close();
    } catch (error) {
      $("ask-error").textContent = error.message;
    }
  };
  $("ask-dialog").showModal();
}

// A dialog gives the focus back to the element that opened it, which may have been replaced meanwhile.
for (const dialog of [$("ask-dialog"), $("shown-dialog")]) {
  dialog.addEventListener("close", () => {
    const focused = document.activeElement;
    if (asked && (focused === document.body || focused.closest("dialog:not([open])"))) refocus(asked.place, asked.id);
  });
}

// --- Sections ---------------------------------------------------------------------------------

const isAdmin = () => me?.role === "admin";

function showAccounts({ accounts, broken, any }) {
  const rows = accounts.map((one) => {
    const tags = [one.plan && make("span", { class: "tag" }, one.plan), one.default && make("span", { class: "tag" }, "default"), one.member && make("span", { class: "tag" }, "member"),
      one.paused && make("span", { class: "tag warn" }, "paused"), one.refused && make("span", { class: "tag bad" }, "sign-in ended")].filter(Boolean);
    const windows = one.windows.map((window_) => {
      const over = window_.resets_at && Date.parse(window_.resets_at) <= now();
      const used = over ? 0 : window_.used_percent;
      return meter(window_.name, used, resets(window_.resets_at), `${Math.round(used)} %`);
    });
    if (!windows.length) windows.push(make("span", { class: "soft meter" }, "no limits known yet"));
    const path = `accounts/${part(one.id)}`;
    const buttons = isAdmin() || one.member ? make("div", { class: "buttons" },
      !isAdmin() ? null : one.paused
        ? button("Resume", `resume ${one.id}`, (event) => act(event.target, () => api("POST", `${path}/resume`)), `Resume ${one.label}`)
        : button("Pause", `pause ${one.id}`, (event) => act(event.target, () => api("POST", `${path}/pause`)), `Pause ${one.label}`),
      one.member && me.role !== "viewer" ? button("Sign out", `leave ${one.id}`, () => leave(one), `Sign out of ${one.label}`) : null,
      one.default || !isAdmin() ? null : button("Make default", `default ${one.id}`, (event) => act(event.target, () => api("POST", `${path}/default`)), `Make ${one.label} the default`)) : null;
    const notes = [
      one.refused && make("p", { class: "error wide" }, `${one.refused} Sign in to this account again.`),
      one.parked_until && Date.parse(one.parked_until) > now() && make("span", { class: "tag warn" }, `waits until ${clock(one.parked_until)}`),
    ].filter(Boolean);
    return make("div", { class: "row" }, make("span", { class: "name" }, one.label, ...tags), ...windows, ...notes, buttons);
  });
  for (const one of broken) {
    rows.push(make("div", { class: "row" }, make("span", { class: "name" }, one.label, make("span", { class: "tag bad" }, "unreadable")), make("span", {}, one.reason)));
  }
  if (!rows.length) {
    rows.push(empty(any ? "Your key is not bound to an account: any account of the server serves it."
      : "No ChatGPT account is signed in yet. Sign in here, or on the server with: gptmock login, gptmock login --device, or gptmock accounts import auth.json."));
  }
  fill($("accounts"), ...rows);
  $("add-account").textContent = any ? "Sign in to another account" : "Sign in to an account";
  $("add-account").classList.toggle("main", !any);
}

// An estimate, and only for keys with limits: it costs work for each token.
function soFar({ output_tokens: tokens, sent_bytes: bytes }) {
  if (tokens) return `about ${compact.format(tokens)} ${tokens === 1 ? "token" : "tokens"}`;
  return bytes ? `${compact.format(bytes)}B` : "–";
}

function showNow(shown) {
  const first = shown.first_seconds_p50 === null ? "" : ` · first token p50 ${shown.first_seconds_p50} s, p95 ${shown.first_seconds_p95} s`;
  $("now-facts").textContent = `${shown.count} ${shown.count === 1 ? "turn" : "turns"}${first}`;
  $("facts").textContent = `${shown.servers} ${shown.servers === 1 ? "server" : "servers"} · ${shown.workers} ${shown.workers === 1 ? "worker" : "workers"}${shown.draining ? ` · ${shown.draining} draining` : ""}`;
  const rows = shown.turns.map((turn) => [clock(turn.started_at), turn.model ?? "–", turn.dialect, turn.key, span(now() - Date.parse(turn.started_at)),
    soFar(turn)]);
  fill($("now"), rows.length ? table(["Since", "Model", "API", "Key", "Age", "So far"], rows, [4, 5]) : empty("No model call is in progress."));
}

function showUsage(shown) {
  const days = [];
  for (let day = Date.parse(shown.from); day <= Date.parse(shown.to); day += 86400e3) days.push(new Date(day).toISOString().slice(0, 10));
  const found = new Map(shown.usage.map((row) => [row.day, row]));
  const bars = days.map((day) => {
    const row = found.get(day) ?? { input_tokens: 0, cached_tokens: 0, output_tokens: 0, requests: 0 };
    return { day, requests: row.requests, fresh: row.input_tokens - row.cached_tokens, cached: row.cached_tokens, out: row.output_tokens };
  });
  const most = Math.max(1, ...bars.map((bar) => bar.fresh + bar.cached + bar.out));
  const [width, height] = [Math.max(260, $("chart").clientWidth || 560), 140];
  const step = width / days.length;
  const say = (bar) => `${bar.day}: ${number.format(bar.fresh + bar.cached)} in (${number.format(bar.cached)} cached), ${number.format(bar.out)} out, ${number.format(bar.requests)} requests`;
  const groups = bars.map((bar, index) => {
    let y = height;
    const parts = [["in", bar.fresh], ["cached", bar.cached], ["out", bar.out]].map(([kind, amount]) => {
      const size = (amount / most) * (height - 16);
      y -= size;
      return draw("rect", { class: kind, x: index * step + step / 5, y, width: (step * 3) / 5, height: size });
    });
    const group = draw("g", { tabindex: 0, role: "img", "aria-label": say(bar), "data-id": `day ${bar.day}` },
      draw("rect", { class: "hit", x: index * step + 2, y: 0, width: step - 4, height }), ...parts);
    if ((days.length - 1 - index) % (width < 420 ? 4 : 2) === 0) {
      const last = index === days.length - 1;
      const label = draw("text", { x: last ? width : index * step + step / 2, y: height + 16, "text-anchor": last ? "end" : "middle" });
      label.textContent = new Date(bar.day).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
      group.append(label);
    }
    for (const kind of ["mouseenter", "focus"]) group.addEventListener(kind, () => { $("chart-text").textContent = say(bar); });
    for (const kind of ["mouseleave", "blur"]) group.addEventListener(kind, summary);
    return group;
  });
  const today = bars.at(-1);
  function summary() {
    const total = today.fresh + today.cached;
    const share = total ? ` (${Math.round((100 * today.cached) / total)} % cached)` : "";
    $("chart-text").replaceChildren(`today ${compact.format(total)} in${share}, ${compact.format(today.out)} out`,
      make("span", { class: "key" }, "in"), make("span", { class: "key cached" }, "cached"), make("span", { class: "key out" }, "out"));
  }
  fill($("chart"), draw("svg", { viewBox: `0 0 ${width} ${height + 22}`, role: "group", "aria-label": "Tokens by day" },
    draw("line", { x1: 0, x2: width, y1: height, y2: height }), ...groups));
  if (!$("chart").contains(document.activeElement)) summary();
}

const KINDS = { requests: "per minute", tokens_per_day: "tokens, 24 h", tokens_per_week: "tokens, 7 d", turns: "at once" };

function showKeys(keys) {
  const rows = keys.map((key) => {
    const tokens = key.today.input_tokens + key.today.output_tokens;
    const limits = key.limits.map((limit) => meter(KINDS[limit.kind] ?? limit.kind, (100 * limit.used) / limit.limit,
      resets(limit.resets_at), `${compact.format(limit.used)} of ${compact.format(limit.limit)}`));
    const facts = [key.owner, key.account && `account ${key.account}`, key.models.length && `models ${key.models.join(", ")}`,
      key.expires_at && `until ${date(key.expires_at)}`].filter(Boolean).join(" · ");
    const own = isAdmin() || me?.name === key.name;
    return make("div", { class: "row" },
      make("span", { class: "name" }, key.name, make("span", { class: "tag" }, key.role), facts && make("small", { class: "soft" }, ` ${facts}`)),
      make("span", { class: "soft" }, `today ${number.format(key.today.requests)} requests, ${compact.format(tokens)} tokens`), ...limits,
      make("div", { class: "buttons" },
        isAdmin() ? button("Replace", `rotate ${key.id}`, () => rotate(key), `Replace the secret of ${key.name}`) : null,
        own ? button("Revoke", `revoke ${key.id}`, () => revoke(key), `Revoke ${key.name}`) : null));
  });
  if (!rows.length) {
    rows.push(empty(isAdmin() ? "No keys yet. A key lets a person or program use this server from elsewhere, with limits and usage of its own." : "You have no key of your own."));
  }
  fill($("keys"), ...rows);
}

function leave(one) {
  ask(`Sign out of ${one.label}?`, "This server forgets the login, and ends it at ChatGPT. Keys of this account do not work until somebody signs in to it again.", "Sign out", async () => {
    await api("POST", `accounts/${part(one.id)}/sign-out`);
    announce(`${one.label} is signed out.`);
  });
}

function rotate(key) {
  ask(`Replace the secret of ${key.name}?`, "The old key ends at once; the new one is shown once.", "Replace", async () => showKey(await api("POST", `keys/${part(key.id)}/rotate`, {})));
}

function revoke(key) {
  ask(`Revoke ${key.name}?`, "Every server refuses it within a second. This cannot be undone.", "Revoke", async () => {
    await api("DELETE", `keys/${part(key.id)}`);
    announce(`${key.name} is revoked.`);
  });
}

function showInvitations(invitations) {
  $("invitations").hidden = $("invitations-head").hidden = !invitations.length;
  fill($("invitations"), ...invitations.map((one) => {
    const facts = [one.owner, one.models.length && `models ${one.models.join(", ")}`].filter(Boolean).join(" · ");
    return make("div", { class: "row" },
      make("span", { class: "name" }, one.name, make("span", { class: "tag" }, one.role), facts && make("small", { class: "soft" }, ` ${facts}`)),
      make("span", { class: "soft" }, `link ends ${day(one.expires_at)}`),
      make("div", { class: "buttons" }, isAdmin() ? button("Revoke", `uninvite ${one.id}`, () => uninvite(one), `Revoke the invitation of ${one.name}`) : null));
  }));
}

function uninvite(one) {
  ask(`Revoke the invitation of ${one.name}?`, "The link does not work any more. A key that somebody got by it is not affected.", "Revoke", async () => {
    await api("DELETE", `invitations/${part(one.id)}`);
    announce(`The invitation of ${one.name} is revoked.`);
  });
}

function showModels(models) {
  fill($("models"), models.length ? table(["Model", "Context", "Efforts", "Input"],
    models.map((one) => [one.model, `${compact.format(one.context_window)}`, one.efforts.join(" "), one.input.join(", ")]), [1]) : empty("No models are known yet."));
  const chosen = $("try-model").value;
  $("try-model").replaceChildren(...models.map((one) => make("option", { value: one.model }, one.model)));
  if (models.some((one) => one.model === chosen)) $("try-model").value = chosen;
  showEfforts();
}

function showEfforts() {
  const model = (state.models ?? []).find?.((one) => one.model === $("try-model").value);
  const chosen = $("try-effort").value;
  $("try-effort").replaceChildren(make("option", { value: "" }, "default"), ...(model?.efforts ?? []).map((effort) => make("option", { value: effort }, effort)));
  if (model?.efforts.includes(chosen)) $("try-effort").value = chosen;
}

function showProblems(problems) {
  const rows = problems.map((one) => [clock(one.at),
    [`${one.status} ${one.code}`, make("small", {}, HINTS[one.code] ?? "See the server's log for this request.")],
    [one.key, one.account ? make("small", {}, `account ${one.account}`) : null].filter(Boolean),
    [one.model ?? "–", make("small", {}, make("code", {}, one.request_id))]]);
  fill($("problems"), rows.length ? table(["When", "What", "Whose", "Request"], rows) : empty("No model call has failed lately."));
}

function showWorkers(workers) {
  $("workers-panel").hidden = me?.role === "user";
  fill($("workers"), table(["Server", "Process", "Version", "Running for", "Turns", "Streams", "Connections", "State"], workers.map((one) =>
    [one.server, String(one.pid), one.version, span(now() - Date.parse(one.started_at)), number.format(one.turns), number.format(one.streams),
      number.format(one.connections), one.draining ? "draining" : "serving"]), [4, 5, 6]));
}

function showStatus({ ready, reasons }) {
  $("state").className = `state ${ready ? "good" : "bad"}`;
  if ($("state-text").textContent !== (ready ? "ready" : "not ready")) {
    $("state-text").textContent = ready ? "ready" : "not ready";
    announce(ready ? "The server is ready." : "The server is not ready.");
  }
  $("state").title = reasons.join("\n");
}

const SECTIONS = { accounts: showAccounts, now: showNow, usage: showUsage, keys: showKeys, invitations: showInvitations, models: showModels, problems: showProblems, workers: showWorkers, status: showStatus };

// --- The stream -------------------------------------------------------------------------------

const failed = new Map();

function take(sections) {
  for (const [name, section] of Object.entries(sections)) {
    if (section?.error && section?.message) {
      failed.set(name, { message: section.message, at: failed.get(name)?.at ?? Date.now() });
      continue;
    }
    failed.delete(name);
    state[name] = section;
    SECTIONS[name]?.(section);
  }
  const [trouble] = failed.values();
  document.body.classList.toggle("stale", failed.size > 0);
  banner(trouble ? `${trouble.message} The numbers are those of ${new Date(trouble.at).toLocaleTimeString("en-GB")}.` : null);
}

function listen() {
  source?.close();
  source = new EventSource(`${base}/admin/events`);
  source.addEventListener("open", () => banner(null));
  source.addEventListener("state", (event) => {
    document.body.classList.remove("stale");
    take(JSON.parse(event.data));
  });
  source.addEventListener("ended", () => { source.close(); setTimeout(start, 1000); });
  source.addEventListener("error", () => {
    document.body.classList.add("stale");
    banner("The server does not answer. Trying again…");
    if (source.readyState === EventSource.CLOSED) setTimeout(start, 3000);
  });
}

// Nothing of the last reader is left for the next.
function forget() {
  freshKey = null;
  for (const name of Object.keys(state)) delete state[name];
  for (const place of ["accounts", "now", "now-facts", "chart", "chart-text", "keys", "invitations", "models", "problems", "workers", "try-answer"]) $(place).replaceChildren();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

function showSignIn(shown) {
  $("sign-in").hidden = !shown;
  $("sign-in-open").setAttribute("aria-expanded", String(shown));
  if (shown) $("sign-in-key").focus();
}

async function start() {
  try {
    me = await api("GET", "session");
  } catch (error) {
    me = null;
    if (error.status === 401 || error.status === 403) {
      source?.close();
      banner(null);
      $("state-text").textContent = "signed out";
      $("board").hidden = true;
      $("sign-in-open").hidden = true;
      $("sign-out").hidden = true;
      $("who").textContent = "";
      $("facts").textContent = "";
      forget();
      showSignIn(true);
    } else {
      banner("The server does not answer. Trying again…");
      setTimeout(start, 3000);
    }
    return;
  }
  document.body.classList.toggle("is-admin", isAdmin());
  // Where no key is needed, a key may still allow more than none.
  const offered = !me.signed_in && !isAdmin();
  $("sign-in-open").hidden = !offered;
  if (!offered || $("board").hidden) showSignIn(false);
  $("board").hidden = false;
  $("sign-out").hidden = !me.signed_in;
  $("who").textContent = me.name ? `${me.name} (${me.role})` : isAdmin() ? "on this machine, no key needed" : "not signed in";
  listen();
}

// Ages and times to a reset move on without news.
setInterval(() => { if (state.now?.turns.length) showNow(state.now); }, 1000);
setInterval(() => { if (state.accounts) showAccounts(state.accounts); if (state.workers) showWorkers(state.workers); }, 30000);

let chartWidth = 0;
new ResizeObserver(([entry]) => {
  if (state.usage && Math.abs(entry.contentRect.width - chartWidth) > 1) showUsage(state.usage);
  chartWidth = entry.contentRect.width;
}).observe($("chart"));

// --- Forms and dialogs ------------------------------------------------------------------------

$("sign-in-open").addEventListener("click", () => showSignIn($("sign-in").hidden));

$("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("sign-in-error").textContent = "";
  try {
    await api("POST", "session", { key: $("sign-in-key").value.trim() });
    $("sign-in-key").value = "";
    forget();
    await start();
    $("main").focus();
  } catch (error) {
    $("sign-in-error").textContent = error.message;
  }
});

$("sign-out").addEventListener("click", (event) => act(event.target, async () => {
  await api("DELETE", "session");
  forget();
  await start();
  if (me) $("main").focus();
}));

for (const element of document.querySelectorAll("[data-close]")) element.addEventListener("click", () => element.closest("dialog").close());

$("new-key").addEventListener("click", () => {
  $("key-form").reset();
  $("key-error").textContent = "";
  $("key-dialog").showModal();
});

$("invite").addEventListener("click", () => {
  $("invite-form").reset();
  $("invite-error").textContent = "";
  $("invite-dialog").showModal();
});

$("invite-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const made = await api("POST", "invitations", { ...given("invite"), valid_seconds: Number($("invite-days").value) * 86400 });
    $("invite-dialog").close();
    showOnce(`The invitation of ${made.name}`, `Send this link to ${made.name} alone. It works once, until ${day(made.expires_at)}, and is shown this once.`, made.link);
  } catch (error) {
    $("invite-error").textContent = error.message;
  }
});

// What the forms of keys and invitations have in common.
function given(form) {
  const limit = (id) => ($(`${form}-${id}`).value ? Number($(`${form}-${id}`).value) : null);
  return { name: $(`${form}-name`).value.trim(), rpm: limit("rpm"), tokens_per_day: limit("day"), concurrency: limit("streams"),
    models: $(`${form}-models`).value.split(",").map((one) => one.trim()).filter(Boolean) };
}

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const made = await api("POST", "keys", { ...given("key"), role: $("key-role").value });
    $("key-dialog").close();
    showKey(made);
  } catch (error) {
    $("key-error").textContent = error.message;
  }
});

function showKey(made) {
  freshKey = made.key;
  showOnce(`The key of ${made.name}`, "This is the only time that it is shown.", made.key);
}

function showOnce(title, text, secret) {
  $("shown-head").textContent = title;
  $("shown-text").textContent = text;
  $("shown-key").textContent = secret;
  $("shown-dialog").showModal();
}
$("shown-dialog").addEventListener("close", () => { $("shown-key").textContent = ""; });

async function copy(element, text) {
  // Pressed again within the time, it shows the result of the last press instead of its label.
  element.dataset.label ??= element.textContent;
  try {
    await navigator.clipboard.writeText(text);
    element.textContent = "Copied";
  } catch {
    element.textContent = "Select it and copy it";
  }
  setTimeout(() => { element.textContent = element.dataset.label; }, 1500);
}
$("shown-copy").addEventListener("click", (event) => copy(event.target, $("shown-key").textContent));
$("tab-copy").addEventListener("click", (event) => copy(event.target, $("tab-code").textContent));
$("login-copy").addEventListener("click", (event) => copy(event.target, $("login-code").textContent));

function clients() {
  const url = `${location.origin}${base}`;
  const key = freshKey ?? (me?.signed_in ? "gm_…" : "anything");
  const model = state.models?.[0]?.model ?? "gpt-6-sol";
  const claude = setups.find((one) => one.name === "claude");
  return [
    ["OpenAI SDK", "Python; the other SDKs take the same two values.", `from openai import OpenAI\n\nclient = OpenAI(base_url="${url}/v1", api_key="${key}")\nprint(client.responses.create(model="${model}", input="Hello").output_text)`],
    ["curl", "A request at a terminal.", `curl ${url}/v1/chat/completions \\\n  -H "Authorization: Bearer ${key}" -H "Content-Type: application/json" \\\n  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello"}]}'`],
    ["Codex CLI", "In ~/.codex/config.toml, and the key in the environment variable GPTMOCK_API_KEY.", `model_provider = "gptmock"\n\n[model_providers.gptmock]\nname = "gptmock"\nbase_url = "${url}/v1"\nwire_api = "responses"\nenv_key = "GPTMOCK_API_KEY"`],
    ["Codex CLI, signed in", "In ~/.codex/config.toml, if you stay signed in with your own account; the key in GPTMOCK_API_KEY.", `model_provider = "gptmock"\n\n[model_providers.gptmock]\nname = "gptmock"\nbase_url = "${url}/v1"\nwire_api = "responses"\nrequires_openai_auth = true\n\n[model_providers.gptmock.env_http_headers]\nx-api-key = "GPTMOCK_API_KEY"`],
    ...(claude ? [["Claude Code", `At a terminal${me?.signed_in ? ", with your key in the environment variable GPTMOCK_API_KEY" : ""}. To keep it so: gptmock launch claude --config.`, claude.snippets[0].text]] : []),
    ["opencode", "In opencode.json.", JSON.stringify({ provider: { gptmock: { npm: "@ai-sdk/openai-compatible", name: "gptmock", options: { baseURL: `${url}/v1`, apiKey: key }, models: { [model]: {} } } } }, null, 2)],
    ["Ollama clients", "Clients of Ollama take this address as the host; those that cannot send a key work where none is required.", `OLLAMA_HOST=${url}`],
    ["Open WebUI", "Settings, Connections, OpenAI API; or as environment variables.", `OPENAI_API_BASE_URL=${url}/v1\nOPENAI_API_KEY=${key}`],
    ["VS Code", "In settings.json: Copilot Chat takes this server as an Ollama endpoint.", `"github.copilot.chat.byok.ollamaEndpoint": "${url}"`],
  ];
}

function chooseTab(index, focus) {
  const tabs = [...$("tabs").children];
  const [, text, code] = clients()[index];
  tabs.forEach((tab, place) => {
    tab.setAttribute("aria-selected", String(place === index));
    tab.tabIndex = place === index ? 0 : -1;
  });
  $("tab-panel").setAttribute("aria-labelledby", tabs[index].id);
  $("tab-text").textContent = text;
  $("tab-code").textContent = code;
  if (focus) tabs[index].focus();
}

let setups = [];
$("connect").addEventListener("click", async () => {
  try {
    setups = (await api("GET", "clients")).clients;
  } catch (error) {
    banner(error.message);
  }
  const names = clients().map(([name]) => name);
  $("tabs").replaceChildren(...names.map((name, index) => make("button", { type: "button", role: "tab", class: "small", id: `tab-${index}`, "aria-controls": "tab-panel", click: () => chooseTab(index, true) }, name)));
  chooseTab(0, false);
  $("connect-dialog").showModal();
});

$("tabs").addEventListener("keydown", (event) => {
  const tabs = [...$("tabs").children];
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (move === undefined) return;
  event.preventDefault();
  chooseTab((tabs.indexOf(document.activeElement) + move + tabs.length) % tabs.length, true);
});

const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
const kept = localStorage.getItem("gptmock-theme");
if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
$("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark";
  localStorage.setItem("gptmock-theme", document.documentElement.dataset.theme);
});

// --- Streams of answers -------------------------------------------------------------------------

async function post(path, body, signal) {
  const response = await fetch(`${base}/admin/${path}`, { method: "POST", credentials: "same-origin", signal,
    headers: { "content-type": "application/json", accept: "text/event-stream" }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error((await response.json()).error?.message ?? "The server refused it.");
  return response;
}

$("try-model").addEventListener("change", showEfforts);
$("try").addEventListener("submit", async (event) => {
  event.preventDefault();
  const place = $("try-answer");
  const send = event.submitter ?? $("try").querySelector("button");
  if (isBusy(send)) return;
  place.textContent = "…";
  setBusy(send, true);
  try {
    const body = { model: $("try-model").value, stream: true, messages: [{ role: "user", content: $("try-text").value }] };
    if ($("try-effort").value) body.reasoning_effort = $("try-effort").value;
    let answer = "";
    for await (const chunk of events(await post("try", body))) {
      if (chunk.error) throw new Error(chunk.error.message);
      answer += chunk.choices?.[0]?.delta?.content ?? "";
      place.textContent = answer || "…";
    }
    announce("The answer is complete.");
  } catch (error) {
    place.textContent = error.message;
  } finally {
    setBusy(send, false);
  }
});

let login = null;
$("login-dialog").addEventListener("close", () => login?.abort());
$("add-account").addEventListener("click", async () => {
  login = new AbortController();
  $("login-code").textContent = "…";
  $("login-link").textContent = "";
  $("login-state").textContent = "asking for a code…";
  $("login-dialog").showModal();
  try {
    for await (const told of events(await post("login/device", {}, login.signal))) {
      if (told.user_code) {
        $("login-code").textContent = told.user_code;
        if (/^https?:\/\//.test(told.url)) $("login-link").href = told.url;
        $("login-link").textContent = told.url;
      }
      if (told.left_seconds !== undefined) $("login-state").textContent = `waiting… ${span(told.left_seconds * 1000)} left`;
      if (told.label) $("login-state").textContent = `Signed in as ${told.label}.`;
      if (told.error) $("login-state").textContent = told.error.message;
    }
  } catch (error) {
    if (error.name !== "AbortError") $("login-state").textContent = error.message;
  }
});

start();
