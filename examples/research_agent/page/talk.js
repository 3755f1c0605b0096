// What stands in the conversation. Models write markdown; it is shown as markdown, and only what is safe of it.
import { marked } from "./vendor/marked.js";
import DOMPurify from "./vendor/purify.js";

const talk = document.getElementById("talk"), newest = document.getElementById("newest");
const NEAR_THE_END_PX = 160;
const boxes = {};
let answer = null, text = "", drawing = 0, isAtEnd = true;

// Whoever scrolls up to read stays there; whoever is at the end stays at the end.
addEventListener("scroll", () => {
  isAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - NEAR_THE_END_PX;
  if (isAtEnd) newest.hidden = true;
}, { passive: true });
newest.addEventListener("click", () => { isAtEnd = true; follow(); });

function follow() {
  if (isAtEnd) scrollTo({ top: document.documentElement.scrollHeight });
  newest.hidden = isAtEnd;
}

function add(name, className, content = "") {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = content;
  talk.append(element);
  follow();
  return element;
}

export function question(words) {
  isAtEnd = true;
  add("div", "question", words);
}

export function toolCall(id, name, args) {
  finish();
  boxes[id] = add("details", "tool");
  const summary = document.createElement("summary");
  summary.textContent = `${name}(${args})`;
  boxes[id].append(summary);
}

export function toolResult(id, content) {
  const result = document.createElement("pre");
  result.tabIndex = 0;
  result.textContent = content;
  boxes[id]?.append(result);
}

export function words(more) {
  if (!answer) {
    answer = add("div", "answer live");
    answer.setAttribute("aria-busy", "true");
    text = "";
  }
  text += more;
  drawing ||= requestAnimationFrame(draw);
}

function draw() {
  drawing = 0;
  if (!answer) return;
  show(answer, text);
  follow();
}

function show(element, markdown) {
  element.innerHTML = DOMPurify.sanitize(marked.parse(markdown), { FORBID_TAGS: ["style", "form", "input", "button"], FORBID_ATTR: ["style", "id", "name"] });
  for (const link of element.querySelectorAll("a")) { link.rel = "noopener noreferrer"; link.target = "_blank"; }
  for (const wide of element.querySelectorAll("pre, table")) wide.tabIndex = 0; // the keyboard scrolls them sideways
}

export function finish() {
  if (!answer) return;
  cancelAnimationFrame(drawing);
  draw();
  answer.classList.remove("live");
  answer.removeAttribute("aria-busy");
  answer = null;
}

export function interrupted() {
  finish();
  note("This answer was interrupted: its Worker stopped. What was said so far is kept. Ask again to go on.");
}

export function note(words) { finish(); add("p", "note", words); }
export function cost(words) { finish(); add("p", "cost", words); }

export function stored(messages) {
  let isOpen = false;
  for (const message of messages) {
    if (message.role === "user") {
      if (isOpen) note("This question was not answered: its Worker stopped, or the turn failed.");
      question(message.content);
      isOpen = true;
    }
    for (const call of message.toolCalls ?? []) toolCall(call.id, call.name, call.arguments);
    if (message.role === "tool") toolResult(message.toolCallId, message.content);
    if (message.role === "assistant" && message.content) { show(add("div", "answer"), message.content); isOpen = false; }
  }
  follow();
}
