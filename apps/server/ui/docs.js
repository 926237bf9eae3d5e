// The description at /openapi.json as a page: what the server really has, since both come from its table of routes.
"use strict";

const $ = (id) => document.getElementById(id);

function element(name, text, className) {
  const e = document.createElement(name);
  e.textContent = text;
  if (className) e.className = className;
  return e;
}

// "/v1/people/{id}" belongs to "/v1", "/api/v1/..." to "/api/v1"; single ones stand together.
function groupOf(path) {
  const found = /^\/(v\d+|api\/v\d+)(\/|$)/.exec(path);
  return found ? "/" + found[1] : "/";
}

function example(path, method, operation) {
  const types = Object.keys(operation.requestBody ? operation.requestBody.content : {});
  const parts = ["curl"];
  if (method !== "get") parts.push("-X " + method.toUpperCase());
  if (operation.security.length) parts.push("-H \"x-api-key: $KEY\"");
  if (types.includes("multipart/form-data")) parts.push("-F file=@photo.jpg");
  else if (types.includes("application/json")) parts.push("--json '{…}'");
  return parts.join(" ") + " " + location.origin + path;
}

// What query, form and JSON may hold: name and meaning. A value that may stand in each of them is shown once.
function valuesOf(operation) {
  const values = new Map();
  for (const content of Object.values(operation.requestBody ? operation.requestBody.content : {}))
    for (const [name, value] of Object.entries(content.schema.properties || {})) values.set(name, value.description);
  for (const p of operation.parameters)
    if (p.in !== "path" && !values.has(p.name)) values.set(p.name, `(${p.in}) ${p.description}`);
  return values;
}

function row(path, method, operation) {
  const details = document.createElement("details"), summary = document.createElement("summary");
  summary.append(element("code", method.toUpperCase() + " " + path), " " + operation.summary);
  const facts = document.createElement("dl");
  const fact = (name, value) => facts.append(element("dt", name), element("dd", value));
  const inPath = operation.parameters.filter((p) => p.in === "path");
  if (inPath.length) fact("In the path", inPath.map((p) => p.name).join(", "));
  if (operation.requestBody) fact("Body", Object.keys(operation.requestBody.content).join(", "));
  for (const [name, what] of valuesOf(operation)) fact(name, what);
  fact("Key", operation.security.length ? "needed" : "not needed");
  const status = Object.keys(operation.responses).find((s) => s !== "default");
  fact("Answer", status + ": " + operation.responses[status].description);
  fact("Errors", operation.responses.default.description.replace("An error: ", ""));
  details.append(summary, facts, element("pre", example(path, method, operation)));
  details.dataset.text = (method + " " + path + " " + operation.summary).toLowerCase();
  return details;
}

function show(api) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(methods)) {
      const name = groupOf(path);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(row(path, method, operation));
    }
  for (const [name, rows] of groups) {
    const section = document.createElement("section");
    section.append(element("h2", name), ...rows);
    $("groups").append(section);
  }
  $("state").textContent = `version ${api.info.version}, ${document.querySelectorAll("details").length} operations`;
}

function filter() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const d of document.querySelectorAll("details")) d.hidden = !words.every((w) => d.dataset.text.includes(w));
  for (const s of document.querySelectorAll("section")) s.hidden = !s.querySelector("details:not([hidden])");
}

async function start() {
  $("filter").addEventListener("input", filter);
  document.querySelector("form").addEventListener("submit", (e) => e.preventDefault());
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error("status " + answer.status);
    show(await answer.json());
    filter();
  } catch (e) {
    $("message").textContent = "The description cannot be had: " + e.message;
    $("message").hidden = false;
  }
}

start();
