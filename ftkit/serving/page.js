"use strict";
const byId = id => document.getElementById(id);
const settings = document.body.dataset;
const columns = [...document.querySelectorAll("textarea[data-column]")].map(field => ({ field, ...field.dataset }));

const make = (name, text = "", type = "") => {
  const element = document.createElement(name);
  element.textContent = text;
  element.className = type;
  return element;
};
const percent = value => `${(100 * value).toFixed(1)} %`;
const pause = seconds => new Promise(done => setTimeout(done, 1000 * seconds));

// ------------------------------------------------------------------ asking

class Refusal extends Error {
  constructor(status, { error, hint }) { super(hint ? `${error} (${hint})` : error); this.status = status; }
}

const PATIENCE = 60;
async function ask(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if (byId("key")?.value) headers.Authorization = `Bearer ${byId("key").value}`;
  for (let tries = 0; ; tries++) {
    const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
    if (answer.ok) return answer.json();
    if (answer.status !== 429 || tries === PATIENCE)
      throw new Refusal(answer.status, await answer.json().catch(() => ({ error: `status ${answer.status}` })));
    await pause(Number(answer.headers.get("Retry-After")) || 1);
  }
}

const told = error => error instanceof Refusal ? error.message : "the server can't be reached";

const rowOf = values => {
  const row = {};
  columns.forEach(({ column, kind, required }, i) => {
    const value = values[i] ?? "";
    if (value || required !== undefined) row[column] = kind === "tokens" ? value.split(/\s+/).filter(Boolean) : value;
  });
  return row;
};

// ------------------------------------------------------------------ showing

// Places count characters as Python does, not UTF-16 units.
function marked(text, spans, draw) {
  const characters = Array.from(text), shown = make("p", "", "text");
  let at = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    if (span.start < at) continue;
    shown.append(characters.slice(at, span.start).join(""));
    shown.append(...draw(span, characters.slice(span.start, span.end).join("")));
    at = span.end;
  }
  shown.append(characters.slice(at).join(""));
  return shown;
}

const found = (span, text) => {
  const note = [span.type, span.score === undefined ? "" : percent(span.score)].filter(Boolean).join(" ");
  return [make("mark", text, "found"), make("span", note, "note")];
};

const weighed = (word, text) => {
  const mark = make("mark", text, word.weight < 0 ? "minus" : "plus");
  mark.style.setProperty("--w", `${Math.round(100 * Math.abs(word.weight))}%`);
  mark.title = word.weight.toFixed(2);
  return [mark];
};

const sure = (name, score) => {
  const line = make("p"), meter = make("meter");
  Object.assign(meter, { min: 0, max: 1, value: score });
  meter.setAttribute("aria-label", `confidence of ${name}`);
  line.append(meter, ` ${percent(score)}`);
  return line;
};

function* parts(row, answer) {
  if ("label" in answer) {
    const withheld = answer.label === null && "withheld" in answer;
    yield make("p", withheld ? `withheld, too unsure: ${answer.withheld}` : answer.label, "said");
    yield sure(answer.withheld ?? answer.label, answer.score);
  } else if ("labels" in answer) {
    if (!answer.labels.length) yield make("p", "none of the labels", "said");
    for (const [name, score] of Object.entries(answer.scores)) {
      yield make("p", name, "said");
      yield sure(name, score);
    }
  } else if ("entities" in answer) {
    yield make("p", `${answer.entities.length || "no"} ${answer.entities.length === 1 ? "entity" : "entities"}`, "said");
    yield marked(given(row), answer.entities, found);
    for (const unsure of answer.withheld ?? []) yield make("p", `withheld, too unsure: ${unsure.text} (${unsure.type}, ${percent(unsure.score)})`);
  } else if ("answer" in answer) {
    yield make("p", answer.start === null ? "no answer in this text" : answer.answer, "said");
    if (answer.score !== undefined) yield sure("the answer", answer.score);
    if (answer.start !== null) yield marked(given(row), [{ start: answer.start, end: answer.end }], found);
  } else {
    for (const [name, value] of Object.entries(answer)) {
      yield make("p", name, "key");
      yield make("p", typeof value === "string" ? value : JSON.stringify(value), "said text");
    }
  }
}

const given = row => {
  const value = row[settings.places] ?? "";
  return Array.isArray(value) ? value.join(" ") : value;
};

function* reasons({ texts, words, instead_of: other, answer }) {
  if (!words) {
    yield make("p", "Words are not weighed for this answer.", "soft");
    return;
  }
  const said = answer.label ?? answer.withheld;
  yield make("h3", "Words that mattered");
  const legend = make("p", "", "soft"), plus = make("mark", "for", "plus swatch"), minus = make("mark", "against", "minus swatch");
  for (const each of [plus, minus]) each.style.setProperty("--w", "100%");
  legend.append(plus, ` ${typeof said === "string" ? said : "the entities"}, and `, minus, `: for ${other}`);
  yield legend;
  for (const [column, text] of Object.entries(texts)) {
    const own = words.filter(word => word.column === column);
    if (own.length) yield marked(text, own, weighed);
  }
  const named = sign => words.filter(word => sign * word.weight > 0.2).sort((a, b) => sign * (b.weight - a.weight)).slice(0, 5)
    .map(word => Array.from(texts[word.column]).slice(word.start, word.end).join("").trim());
  yield make("p", `Most for it: ${named(1).join(", ") || "none"}. Most against it: ${named(-1).join(", ") || "none"}.`, "soft");
}

byId("one").addEventListener("submit", async event => {
  event.preventDefault();
  const row = rowOf(columns.map(({ field }) => field.value)), shown = byId("answer"), button = event.submitter ?? byId("one").querySelector("button");
  button.disabled = true;
  shown.replaceChildren(make("p", "Asking ...", "soft"));
  try {
    const why = byId("explain")?.checked;
    const reply = why ? await ask("v1/explain", { input: row }) : await ask("v1/predict", { inputs: [row] });
    const answer = reply.answer ?? reply.answers[0], cut = why ? reply.cut : reply.cut[0];
    shown.replaceChildren(...parts(row, answer), ...(why ? reasons(reply) : []));
    if (cut) shown.append(make("p", "It is longer than the model reads: a part was left out.", "flag"));
  } catch (error) {
    shown.replaceChildren(make("p", told(error), "flag"));
  }
  button.disabled = false;
});

// ------------------------------------------------------------------ many lines

const SHOWN = 200;
let results = [];

function* chunks(rows) {
  let part = [], size = 0;
  for (const row of rows) {
    const length = JSON.stringify(row).length;
    if (part.length && (part.length === Math.min(64, Number(settings.rows)) || size + length > Number(settings.characters))) {
      yield part;
      part = [];
      size = 0;
    }
    part.push(row);
    size += length;
  }
  if (part.length) yield part;
}

async function answered(part, signal) {
  try {
    const { answers, cut } = await ask("v1/predict", { inputs: part }, signal);
    return part.map((row, i) => ({ row, answer: answers[i], cut: cut[i] }));
  } catch (error) {
    if (!(error instanceof Refusal) || ![413, 422].includes(error.status)) throw error;
    if (part.length === 1) return [{ row: part[0], error: error.message }];
    const each = [];
    for (const row of part) each.push(...await answered([row], signal));
    return each;
  }
}

const flat = value => value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);

function tableOf(list) {
  const keys = [...new Set(list.flatMap(({ answer }) => Object.keys(answer ?? {})))];
  const extra = ["cut", "error"].filter(name => list.some(result => result[name]));
  const used = columns.filter(({ column, required }) => required !== undefined || list.some(({ row }) => row[column]));
  const head = [...used.map(({ column }) => column), ...keys, ...extra];
  const body = list.map(({ row, answer, ...rest }) => [
    ...used.map(({ column, kind }) => kind === "tokens" ? (row[column] ?? []).join(" ") : row[column] ?? ""),
    ...keys.map(key => flat(answer?.[key])),
    ...extra.map(name => flat(rest[name])),
  ]);
  return [head, ...body];
}

function show() {
  const [head, ...body] = tableOf(results.slice(0, SHOWN)), table = make("table"), first = make("tr");
  const more = results.length > SHOWN ? ` The first ${SHOWN} are shown; the CSV has all.` : "";
  table.append(make("caption", `Answers to ${results.length} ${results.length === 1 ? "line" : "lines"}.${more}`));
  for (const name of head) {
    const cell = make("th", name);
    cell.scope = "col";
    first.append(cell);
  }
  table.createTHead().append(first);
  const rows = table.createTBody();
  for (const cells of body) {
    const line = make("tr");
    line.append(...cells.map(cell => make("td", /^\d\.\d{5,}$/.test(cell) ? Number(cell).toFixed(4) : cell)));
    rows.append(line);
  }
  byId("results").replaceChildren(table);
  byId("results").hidden = false;
  byId("download").hidden = false;
}

byId("many").addEventListener("submit", async event => {
  event.preventDefault();
  const lines = byId("lines").value.split("\n").filter(line => line.trim());
  const rows = lines.map(line => rowOf(columns.length === 1 ? [line] : line.split("\t")));
  const button = byId("many").querySelector("button[type=submit]"), control = new AbortController();
  const stop = () => control.abort();
  results = [];
  for (const id of ["download", "results"]) byId(id).hidden = true;
  button.disabled = true;
  byId("stop").hidden = false;
  byId("stop").addEventListener("click", stop);
  try {
    for (const part of chunks(rows)) {
      byId("progress").textContent = `${results.length} of ${rows.length} answered`;
      results.push(...await answered(part, control.signal));
    }
    const bad = results.filter(({ error }) => error).length;
    byId("progress").textContent = `All ${rows.length} answered${bad ? `, but ${bad} that can't be read` : ""}.`;
  } catch (error) {
    const why = control.signal.aborted ? "stopped" : told(error);
    byId("progress").textContent = `${results.length} of ${rows.length} answered: ${why}`;
  }
  byId("stop").removeEventListener("click", stop);
  byId("stop").hidden = true;
  button.disabled = false;
  if (results.length) show();
});

byId("download").addEventListener("click", () => {
  const quoted = cell => /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
  const text = "\ufeff" + tableOf(results).map(cells => cells.map(quoted).join(",") + "\r\n").join("");
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "answers.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});
