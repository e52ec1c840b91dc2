"use strict";
const $ = (id) => document.getElementById(id);
const form = $("form");
const queries = []; // what was searched with, for the browser's Back
let query = null; // {id, name}, an image of the index, or {file, name}
let running = new AbortController();
let about = {};

/** An element; its text is never read as HTML. */
const make = (tag, text, properties) =>
  Object.assign(document.createElement(tag), { textContent: text }, properties);
const nameOf = (path) => path.split(/[\\/]/).pop();
const problem = (text) => { $("problem").textContent = text; };

/** The address of a search: what is filled in, and the id of an image of the index. */
function address(id) {
  const given = [...new FormData(form)].filter(([, value]) => value);
  return `?${new URLSearchParams(id ? [["id", id], ...given] : given)}`;
}

async function ask(where, how) {
  const response = await fetch(where, how).catch((error) => {
    throw error.name === "AbortError" ? error : Error("The server does not answer.");
  });
  const answer = await response.json();
  if (!response.ok) throw Error(answer.error);
  return answer;
}

/** Searches with what was given last; a search under way is given up. */
async function search() {
  if (!query || !form.reportValidity()) return;
  running.abort();
  const { signal } = (running = new AbortController());
  problem("");
  $("status").textContent = "Searching …";
  try {
    const how = query.file ? { method: "POST", body: query.file } : {};
    const { results } = await ask(`api/search${address(query.id)}`, { ...how, signal });
    const found = `${results.length} result${results.length === 1 ? "" : "s"}`;
    show(results, results.length ? found : "No image is so near and has this label");
  } catch (error) {
    if (error.name === "AbortError") return;
    show([], "Not searched");
    problem(`${query.name || "This image"}: ${error.message}`);
  }
}

function show(results, status) {
  const hadFocus = $("results").contains(document.activeElement);
  $("results").replaceChildren(...results.map(tile));
  $("status").textContent = status;
  if (hadFocus) $("status").focus();
  const self = results.find((hit) => hit.id === query.id);
  if (self) $("name").textContent = query.name = nameOf(self.path);
}

function tile(hit, place) {
  const link = make("a", "", { href: address(hit.id), title: hit.path });
  const src = `thumbnail/${hit.id}`;
  link.append(make("img", "", { src, alt: "", loading: "lazy" }), nameOf(hit.path));
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // for another tab or window
    event.preventDefault();
    begin({ id: hit.id, name: nameOf(hit.path) });
  });
  const labels = hit.labels.map((label) => {
    const button = make("button", label, { title: "Show only this label" });
    button.addEventListener("click", () => { form.label.value = label; change(); });
    return button;
  });
  const item = make("li", "");
  item.append(link, make("b", `${place + 1}.`), ` distance ${hit.distance} `, ...labels);
  return item;
}

/** Searches with something else, until the browser's Back. */
function begin(next) {
  if (next.file !== $("file").files[0]) $("file").value = "";
  history.pushState(queries.push(next) - 1, "", address(next.id));
  use(next);
}

/** Searches anew after something was filled in. */
function change() {
  history.replaceState(history.state, "", address(query?.id));
  search();
}

function use(next) {
  query = next;
  $("query").hidden = false;
  $("drawn").hidden = true; // until it is drawn
  $("thumbnail").hidden = !next.id;
  if (next.id) $("thumbnail").src = `thumbnail/${next.id}`;
  $("name").textContent = next.name;
  if (next.file) createImageBitmap(next.file).then((bitmap) => draw(next, bitmap), () => {});
  search();
}

function draw(next, bitmap) {
  const canvas = $("drawn"), scale = Math.min(1, 512 / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.ceil(bitmap.width * scale);
  canvas.height = Math.ceil(bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  canvas.hidden = query !== next;
}

function take(file) {
  if (!file) problem("That was no file. Drop, paste or choose an image.");
  else if (file.size > about.max_bytes) problem(`more than ${about.max_bytes >> 20} MB: ${file.name}`);
  else begin({ file, name: file.name });
}

/** Takes what the page's own address says, or what was searched with when it was this one. */
function open(earlier) {
  form.reset();
  const given = Object.fromEntries(new URLSearchParams(location.search));
  for (const input of form.querySelectorAll("[name]")) input.value = given[input.name] ?? input.value;
  if (earlier || given.id) use(earlier ?? { id: given.id, name: "" });
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", ({ target }) => {
  if (target.type !== "file") change();
  else if (target.files.length) take(target.files[0]);
});
addEventListener("popstate", (event) => open(queries[event.state]));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.documentElement.classList.add("dropping");
});
addEventListener("dragleave", () => document.documentElement.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.documentElement.classList.remove("dropping");
  take(event.dataTransfer.files[0]);
});
addEventListener("paste", ({ clipboardData: { files } }) => files.length && take(files[0]));
ask("api/info").then((info) => {
  about = info;
  const images = info.images.toLocaleString("en");
  $("about").textContent = `${nameOf(info.index)}: ${images} images, codes of ${info.bit} bits`;
  form.max_distance.max = info.bit;
  open();
}).catch((error) => problem(error.message));
