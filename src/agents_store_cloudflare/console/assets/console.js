// The pages work without this script. It makes markdown pretty, and shows a stream's chunks as they come.
// It builds elements and texts and never HTML: the page's policy allows no script to do that.

const HIDDEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const MOST_MARKDOWN = 200_000;
const MOST_CHUNKS = 500;

const visible = (text) =>
  text.replace(HIDDEN, (character) => {
    const number = character.charCodeAt(0);
    if (number < 0x20) return String.fromCharCode(0x2400 + number);
    return number === 0x7f ? "\u2421" : `\u27e8U+${number.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });

function element(name, children = [], attributes = {}) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...[children].flat(Infinity));
  return made;
}

// Markdown: marked reads it into tokens, and each token becomes an element. HTML in it stays text.

function address(text) {
  try {
    const { protocol, href } = new URL(text);
    return ["http:", "https:", "mailto:"].includes(protocol) ? href : null;
  } catch {
    return null;
  }
}

function linked(text, href) {
  const target = address(href);
  return target === null ? text : element("a", text, { href: target, rel: "noreferrer noopener nofollow" });
}

const within = (token) => (token.tokens ? token.tokens.map(markdown) : [token.text ?? token.raw ?? ""]);

function table(token) {
  const row = (cells, name) => element("tr", cells.map((cell) => element(name, within(cell))));
  const body = token.rows.map((cells) => row(cells, "td"));
  return element("table", [element("thead", row(token.header, "th")), element("tbody", body)]);
}

const blocks = {
  space: () => "",
  hr: () => element("hr"),
  br: () => element("br"),
  heading: (token) => element("p", within(token), { class: "heading" }), // the page has an order of headings of its own
  paragraph: (token) => element("p", within(token)),
  blockquote: (token) => element("blockquote", within(token)),
  code: (token) => element("pre", token.text, { class: "code" }),
  list: (token) => element(token.ordered ? "ol" : "ul", token.items.map((item) => element("li", within(item)))),
  table,
  strong: (token) => element("strong", within(token)),
  em: (token) => element("em", within(token)),
  del: (token) => element("del", within(token)),
  codespan: (token) => element("code", token.text),
  link: (token) => linked(within(token), token.href),
  image: (token) => linked(`image: ${token.text || token.href}`, token.href),
  escape: (token) => token.text,
  text: within,
  html: (token) => token.raw,
  def: () => "",
};

const markdown = (token) => (blocks[token.type] ?? ((other) => other.raw ?? ""))(token);

async function prettify(texts) {
  const { lexer } = await import("./marked.js");
  for (const text of texts) {
    if (text.textContent.length > MOST_MARKDOWN) continue;
    try {
      text.replaceWith(element("div", lexer(text.textContent).map(markdown), { class: "prose" }));
    } catch {
      // What marked cannot read stays as it is.
    }
  }
}

const texts = document.querySelectorAll("pre.prose");
if (texts.length) prettify(texts);

// A stream: the page has its last chunks; what comes after them is appended. A reload begins with what is stored by then.

function chunkItem(sequence, chunk) {
  const said = ["text", "delta", "content", "token"].map((key) => chunk[key]).find((value) => typeof value === "string");
  const json = JSON.stringify(chunk, null, 2);
  const hint = visible((said ?? JSON.stringify(chunk)).slice(0, 100));
  const summary = element("summary", [element("b", visible(String(chunk.type).slice(0, 40))), " ", hint]);
  const body = element("pre", visible(json.slice(0, 20_000)), { class: "code" });
  return element("li", element("details", [summary, body]), { value: String(sequence) });
}

function follow(list, status) {
  const say = (text) => {
    status.textContent = text;
  };
  const source = new EventSource(list.dataset.events);
  source.addEventListener("chunk", (event) => {
    list.append(chunkItem(event.lastEventId, JSON.parse(event.data)));
    while (list.children.length > MOST_CHUNKS) list.firstElementChild.remove();
  });
  source.addEventListener("caught-up", () => say("Live: new chunks appear as they come."));
  source.addEventListener("truncated", () => say("Some chunks are no longer kept."));
  for (const [name, text] of [["end", "The stream has ended."], ["fail", "The stream has failed."]]) {
    source.addEventListener(name, (event) => {
      source.close();
      say(`${text} ${visible(event.data.slice(0, 300))}`);
    });
  }
  source.addEventListener("error", () => say(source.readyState === 2 ? "Not live any more: reload the page." : "Connecting again …"));
}

const chunks = document.querySelector("ol[data-events]");
if (chunks) follow(chunks, document.getElementById("live"));
