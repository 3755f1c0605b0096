// JSON Patch (RFC 6902) as far as tools use it: add, replace and remove.

/** The document, changed in place. A path that leads nowhere is an error. */
export function patched(document, operations) {
  const root = { document };
  for (const { op, path, value } of operations) {
    const steps = ["document", ...path.split("/").slice(1).map(unescaped)];
    const last = steps.pop();
    const parent = steps.reduce((target, step) => inside(target, step, path), root);
    if (Array.isArray(parent)) changeItem(parent, op, last, value, path);
    else changeMember(parent, op, last, value, path);
  }
  return root.document;
}

function changeItem(items, op, last, value, path) {
  const place = last === "-" && op === "add" ? items.length : Number(last);
  const end = op === "add" ? items.length : items.length - 1;
  if (!Number.isInteger(place) || place < 0 || place > end) throw new RangeError(`no such place: ${path}`);
  if (op === "add") items.splice(place, 0, value);
  else if (op === "remove") items.splice(place, 1);
  else items[place] = value;
}

function changeMember(parent, op, last, value, path) {
  if (op !== "add" && !Object.hasOwn(parent, last)) throw new RangeError(`no such place: ${path}`);
  if (op === "remove") delete parent[last];
  else parent[last] = value;
}

function inside(target, step, path) {
  if (target === null || typeof target !== "object" || !Object.hasOwn(target, step)) {
    throw new RangeError(`no such place: ${path}`);
  }
  return target[step];
}

function unescaped(step) {
  return step.replaceAll("~1", "/").replaceAll("~0", "~");
}
