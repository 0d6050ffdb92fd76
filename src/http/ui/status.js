"use strict";
// Asks the daemon every second and shows the answer, or that there is none.
const ASK_EVERY_MS = 1000, ASK_MOST_MS = 10000, ANSWER_LIMIT_MS = 4000;
const at = (id) => document.getElementById(id);
const show = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const count = (number) => number.toLocaleString("en");
const time = (text) => new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
let failures = 0, silentSince = null;

function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds % 86400 / 3600)} h`;
}

function size(bytes) {
  for (const [unit, name] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (bytes >= unit) return `${(bytes / unit).toFixed(1)} ${name}`;
  }
  return `${bytes} B`;
}

const rate = (perSecond) => perSecond >= 10 || perSecond === 0 ? count(Math.round(perSecond)) : perSecond.toFixed(1);

function verdict(level, headline, detail, since) {
  at("verdict").dataset.level = level;
  show(at("headline"), headline);
  show(at("detail"), detail);
  show(at("since"), since);
  document.title = `${headline} · logs-ingest`;
}

function path(now) {
  const words = { off: "not set up", connecting: "connecting", up: "up", down: "down" };
  const stores = { kafka: now.kafka.state, postgres: now.postgres.state, spool: now.level === "refusing" ? "down" : "up" };
  for (const [name, state] of Object.entries(stores)) {
    const isRoute = now.route === name;
    const node = at(`node-${name}`);
    node.setAttribute("class", `node ${state === "down" ? "down" : isRoute ? "on" : state === "off" ? "off" : ""}`);
    const spool = now.level === "refusing" ? "no room" : size(now.spool_bytes);
    const text = name === "spool" ? spool : words[state];
    show(node.querySelector(".state"), isRoute && state !== "down" ? `${text}, in use` : text);
    at(`edge-${name}`).setAttribute("class", `edge ${isRoute ? "on" : ""} ${isRoute && now.rate > 0 ? "flows" : ""}`);
  }
  at("edge-tills").setAttribute("class", `edge on ${now.rate > 0 ? "flows" : ""}`);
  show(at("rate"), `${rate(now.rate)} events/s`);
  show(at("connections"), `${count(now.connections)} connection${now.connections === 1 ? "" : "s"}`);
  const names = { kafka: "Kafka", postgres: "PostgreSQL", spool: "this machine's disk" };
  show(at("path-text"), `${rate(now.rate)} events per second go from the tills through logs-ingest to ${names[now.route]}. ` +
    `Kafka is ${words[now.kafka.state]}, PostgreSQL is ${words[now.postgres.state]}.`);
}

function plot(now) {
  const slots = 360, values = now.history.map((events) => events / now.history_slot_s);
  const most = Math.max(...values, 0), top = most || 1;
  const x = (index) => 720 * (slots - values.length + index) / (slots - 1);
  const points = values.map((value, index) => `${x(index).toFixed(1)},${(136 - 128 * value / top).toFixed(1)}`);
  at("line").setAttribute("d", points.length ? `M${points.join("L")}` : "");
  at("area").setAttribute("d", points.length ? `M${x(0).toFixed(1)},140L${points.join("L")}L720,140Z` : "");
  show(at("plot-text"), values.length ? `At most ${rate(most)} events per second, ${rate(now.rate)} now.` : "The plot begins ten seconds after the start.");
}

function facts(now) {
  const waits = now.backlog === 0 ? "none"
    : `${count(now.backlog)}${now.backlog_oldest_s === null ? "" : `, the oldest for ${span(now.backlog_oldest_s)}`}` +
      `${now.backlog_gone_in_s === null ? "" : `, all in Kafka in about ${span(Math.max(1, now.backlog_gone_in_s))}`}`;
  const full = now.spool_full_in_hours === null ? "" : `, full in about ${span(3600 * now.spool_full_in_hours)}`;
  const all = [
    ["Events that wait for Kafka", waits],
    ["Events that Kafka refused", now.dead_letters ? `${count(now.dead_letters)}: see logs-ingest dead-letters list` : "none"],
    ["Spool", `${size(now.spool_bytes)} of ${size(now.spool_max_bytes)}${full}`],
    ["Free disk space", size(now.disk_free_bytes)],
    ["Running for", span(now.uptime_s)],
  ];
  const list = at("facts");
  if (list.children.length !== all.length) {
    list.replaceChildren(...all.map(() => {
      const pair = document.createElement("div");
      pair.append(document.createElement("dt"), document.createElement("dd"));
      return pair;
    }));
  }
  all.forEach(([name, text], index) => {
    show(list.children[index].children[0], name);
    show(list.children[index].children[1], text);
  });
}

function refused(now) {
  at("none-refused").hidden = now.refused.length > 0;
  at("refused").hidden = now.refused.length === 0;
  at("refused").tBodies[0].replaceChildren(...now.refused.map((one) => {
    const row = document.createElement("tr");
    for (const text of [time(one.at), one.client === "-" ? one.peer : `${one.client} (${one.peer})`, String(one.status), one.reason]) {
      row.insertCell().textContent = text;
    }
    return row;
  }));
}

function update(now) {
  const missing = [now.kafka, now.postgres].find((store) => store.state !== "off");
  const since = missing && missing.state === "down" ? `Since ${time(missing.since)}.` : "";
  verdict(now.level, now.headline, now.detail, since);
  show(at("meta"), `logs-ingest ${now.version}, ${time(now.now)}`);
  path(now);
  plot(now);
  facts(now);
  refused(now);
}

async function ask() {
  try {
    const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_LIMIT_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    update(await answer.json());
    failures = 0;
    silentSince = null;
  } catch (error) {
    failures += 1;
    silentSince ??= new Date();
    const detail = "Tills keep their events until it answers again. Is the machine on, and is the service running?";
    verdict("silent", "The daemon does not answer", detail, `Since ${time(silentSince)}.`);
  }
  const wait = document.hidden ? ASK_MOST_MS : Math.min(ASK_MOST_MS, ASK_EVERY_MS * 2 ** Math.max(0, failures - 3));
  setTimeout(ask, wait);
}

ask();
