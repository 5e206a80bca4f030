// The page of a trial. What it shows next comes from the server; until the report, no lane is known here.
import { draw } from "./report.js";

const TOKEN = location.pathname.split("/")[1];
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

let state = null;
let busy = false;

async function ask(path, body) {
  const asked = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body), headers: { "X-Trial-Token": TOKEN, "Content-Type": "application/json" },
  };
  let answer;
  try {
    answer = await fetch(path, asked);
  } catch {
    throw new Error("image-gateway does not answer any more. The verdicts so far are kept: start the trial again to go on.");
  }
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

// One thing at a time: keys that are held down must not judge twice.
async function act(work) {
  if (busy) return;
  busy = true;
  find("#problem").hidden = true;
  try {
    await work();
  } catch (error) {
    find("#problem").textContent = error.message;
    find("#problem").hidden = false;
  } finally {
    busy = false;
  }
}

const announce = (text) => { find("#status").textContent = text; };

// ---- what is shown

function show(next, undone = false) {
  state = next;
  const now = Math.min(state.judged + 1, state.total);
  find("#title").textContent = state.title;
  find("#count").textContent = state.sheet ? `${now} of ${state.total}` : `${state.judged} of ${state.total} judged`;
  find("#bar").max = state.total;
  find("#bar").value = state.judged;
  find("#undo").disabled = !state.undo;
  find("#judging").hidden = !state.sheet;
  find("#done").hidden = Boolean(state.sheet);
  document.title = `${find("#count").textContent} – ${state.title}`;
  if (!state.sheet) {
    announce("All images are judged.");
    find("#done").focus();
    return;
  }
  find("#prompt").textContent = state.sheet.prompt;
  find("#acceptance").textContent = state.bar;
  find("#settled").hidden = !state.settled;
  find("#given").hidden = state.sheet.references === 0;
  find("#references").replaceChildren(...Array.from({ length: state.sheet.references }, reference));
  find("#images").replaceChildren(...state.sheet.images.map(card));
  announce(`${undone ? "Undone. " : ""}Prompt ${now} of ${state.total}.`);
  select(cards()[0]);
}

function reference(_, number) {
  const image = document.createElement("img");
  image.src = `references/${state.sheet.key}/${number}`;
  image.alt = `Reference ${number + 1}`;
  return image;
}

function card(image, number) {
  const made = find("#card").content.cloneNode(true).firstElementChild;
  made.dataset.id = image.id;
  made.dataset.name = `Image ${number + 1}`;
  find("h2", made).textContent = made.dataset.name;
  const picture = find("img", made);
  picture.src = `images/${image.id}`;
  picture.alt = made.dataset.name;
  picture.addEventListener("click", () => zoom(made));
  find(".zoom", made).addEventListener("click", () => zoom(made));
  find(".accept", made).addEventListener("click", () => decide(made, "accepted"));
  find(".reject", made).addEventListener("click", () => decide(made, "rejected"));
  made.addEventListener("focusin", () => mark(made));
  if (image.before) {
    find(".reason", made).value = image.before.reason;
    find(".minutes", made).value = image.before.minutes || "";
    put(made, image.before.accepted ? "accepted" : "rejected");
  } else {
    put(made, "");
  }
  return made;
}

const cards = () => all(".card");
const selected = () => find(".card.selected");

function mark(chosen) {
  for (const each of cards()) each.classList.toggle("selected", each === chosen);
}

function select(chosen) {
  mark(chosen);
  chosen.focus();
}

function put(chosen, verdict) {
  if (verdict) chosen.dataset.verdict = verdict;
  else delete chosen.dataset.verdict;
  find(".accept", chosen).setAttribute("aria-pressed", String(verdict === "accepted"));
  find(".reject", chosen).setAttribute("aria-pressed", String(verdict === "rejected"));
  chosen.setAttribute("aria-label", `${chosen.dataset.name} of ${state.sheet.images.length}, ${verdict || "not judged"}`);
}

function decide(chosen, verdict) {
  put(chosen, verdict);
  announce(`${chosen.dataset.name}: ${verdict}.`);
}

// ---- what is done

function advance() {
  const open = cards().find((each) => !each.dataset.verdict);
  const wrong = cards().find((each) => !find(".minutes", each).checkValidity());
  if (wrong) {
    find(".minutes", wrong).focus();
    announce(`${wrong.dataset.name}: minutes are a number from 0 to 600.`);
  } else if (open) {
    announce(open === selected() ? `${open.dataset.name}: accept or reject it first.` : `${open.dataset.name}.`);
    select(open);
  } else {
    act(submit);
  }
}

async function submit() {
  const verdicts = cards().map((each) => ({
    id: each.dataset.id,
    accepted: each.dataset.verdict === "accepted",
    reason: find(".reason", each).value.trim(),
    minutes: Number(find(".minutes", each).value || 0),
  }));
  const next = await ask("verdicts", { key: state.sheet.key, verdicts });
  remember(verdicts.map((each) => each.reason));
  show(next);
}

function remember(reasons) {
  const known = new Set(all("#reasons option").map((each) => each.value));
  for (const reason of reasons.filter((each) => each && !known.has(each))) {
    const option = document.createElement("option");
    option.value = reason;
    find("#reasons").append(option);
  }
}

const undo = () => state?.undo && act(async () => show(await ask("undo", {}), true));

const reveal = () => act(async () => {
  const told = await ask("reveal", {});
  state = null;
  for (const each of all("#judging, #done, #progress, .tools")) each.hidden = true;
  find("#images").replaceChildren();
  draw(told, find("#report"));
  find("#report").hidden = false;
  find("#report").focus();
  document.title = `Report – ${told.title}`;
  announce("");
});

// ---- looking closely

function zoom(chosen) {
  select(chosen);
  const dialog = find("#full");
  const picture = find("img", dialog);
  picture.src = find("img", chosen).src;
  picture.alt = chosen.dataset.name;
  const facts = state.sheet.images.find((each) => each.id === chosen.dataset.id);
  find("#full-title").textContent = `${chosen.dataset.name}, ${facts.width} × ${facts.height}`;
  if (!dialog.open) dialog.showModal();
  find("#scroll").focus();
}

function neighbour(step) {
  const shown = cards();
  return shown[(shown.indexOf(selected()) + step + shown.length) % shown.length];
}

find("#full").addEventListener("close", () => selected()?.focus());
find("#full").addEventListener("keydown", (event) => {
  if (["z", "Z", " "].includes(event.key)) find("#full").close();
  else if (event.key === "ArrowLeft") zoom(neighbour(-1));
  else if (event.key === "ArrowRight") zoom(neighbour(1));
  else return;
  event.preventDefault();
});

// ---- keys

const KEYS = {
  ArrowLeft: () => select(neighbour(-1)),
  ArrowRight: () => select(neighbour(1)),
  a: () => decide(selected(), "accepted"),
  r: () => { decide(selected(), "rejected"); find(".reason", selected()).focus(); },
  z: () => zoom(selected()),
  f: () => state.settled && reveal(),
};

function minutes(digit) {
  const field = find(".minutes", selected());
  field.value = digit;
  field.focus();
}

function onKey(event) {
  if (!state || event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
  const target = event.target;
  const typing = target.matches("input");
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const one = find("#single").checked;
  if (key === "Enter" && !target.matches("button")) state.sheet ? advance() : reveal();
  else if (key === "Escape" && typing) selected().focus();
  else if (typing) return;
  else if (key === "?" && one) find("#keys").showModal();
  else if (key === "u" && one) undo();
  else if (!state.sheet) return;
  else if (key === " " && target.matches(".card")) zoom(selected());
  else if (/^\d$/.test(key) && one) minutes(key);
  else if (KEYS[key] && (one || key.startsWith("Arrow"))) KEYS[key]();
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", onKey);
find("#next").addEventListener("click", advance);
find("#undo").addEventListener("click", undo);
find("#help").addEventListener("click", () => find("#keys").showModal());
find("#finish").addEventListener("click", reveal);
find("#reveal").addEventListener("click", reveal);

act(async () => show(await ask("state")));
