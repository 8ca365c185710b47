/* What all pages share: data scripts, unpacking, words, language switch, printing. No network, no modules. */
"use strict";
const abbe = (() => {
  const store = new Map(), waiting = new Map(), byName = {}, listeners = [];
  let tags = {}, language = "";

  /** A data script delivers its value here. */
  function put(key, value) {
    store.set(key, value);
    for (const resolve of waiting.get(key) || []) resolve(value);
    waiting.delete(key);
  }
  /** Promise of a value; loads a script for it where one is named. */
  function get(key, script) {
    if (store.has(key)) return Promise.resolve(store.get(key));
    return new Promise((resolve, reject) => {
      const queue = waiting.get(key) || [];
      queue.push(resolve);
      waiting.set(key, queue);
      if (script && queue.length === 1) {
        const element = document.createElement("script");
        element.src = script;
        element.onerror = () => reject(new Error("cannot load " + script));
        document.head.append(element);
      }
    });
  }
  const types = { f4: Float32Array, f8: Float64Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i1: Int8Array, i2: Int16Array };
  async function inflate(text) {
    const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }
  /** A packed array (byte planes, deflated, base64) or packed JSON. */
  async function unpack(packed) {
    if (!packed) return null;
    const planes = await inflate(packed.z);
    if (packed.t === "json") return JSON.parse(new TextDecoder().decode(planes));
    const Type = types[packed.t], width = Type.BYTES_PER_ELEMENT, n = packed.n;
    const bytes = new Uint8Array(n * width);
    for (let b = 0; b < width; b++) for (let i = 0, o = b * n; i < n; i++) bytes[i * width + b] = planes[o + i];
    return new Type(bytes.buffer);
  }
  /** A message in the present language. */
  function say(key, args) {
    const text = (byName[language] || {})[key];
    if (text === undefined) return undefined;
    return args ? text.replace(/\{(\w+)\}/g, (_, name) => args[name]) : text;
  }
  function translate(root) {
    for (const e of root.querySelectorAll("[data-m]")) {
      const text = say(e.dataset.m, e.dataset.a ? JSON.parse(e.dataset.a) : null) ?? e.dataset.en;
      if (text !== undefined && e.textContent !== text) e.textContent = text;
    }
    for (const name of ["data-label", "aria-label"])
      for (const e of root.querySelectorAll(`[data-m-${name}]`)) e.setAttribute(name, say(e.getAttribute("data-m-" + name)));
  }
  function choose(name, keep) {
    if (!(name in byName)) return;
    language = name;
    document.documentElement.lang = tags[name];
    translate(document);
    for (const b of document.querySelectorAll("[data-lang]")) b.setAttribute("aria-pressed", String(b.dataset.lang === name));
    if (keep) try { localStorage.setItem("abbe.language", name); } catch { /* a browser may refuse storage to files */ }
    for (const a of document.querySelectorAll("a[href*='.html']")) a.setAttribute("href", a.getAttribute("href").split("#")[0] + "#lang=" + name);
    listeners.forEach(f => f(name));
  }
  function messages(all, names) {
    Object.assign(byName, all);
    tags = names;
    let wanted = (/[#&]lang=(\w+)/.exec(location.hash) || [])[1];
    if (!wanted) try { wanted = localStorage.getItem("abbe.language"); } catch { /* see above */ }
    choose(wanted in byName ? wanted : Object.keys(tags).find(k => tags[k] === document.documentElement.lang));
    for (const e of document.querySelectorAll(".langs")) e.hidden = false;
    put("messages", true);
  }
  addEventListener("hashchange", () => choose((/[#&]lang=(\w+)/.exec(location.hash) || [])[1]));
  document.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.lang) choose(button.dataset.lang, true);
    if ("print" in button.dataset) print();
  });
  for (const b of document.querySelectorAll("[data-print]")) b.hidden = false;
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(d => { d.dataset.was = d.open; d.open = true; }));
  addEventListener("afterprint", () => document.querySelectorAll("details").forEach(d => { d.open = d.dataset.was === "true"; }));
  /** A span that follows the language. */
  function word(key) {
    const e = document.createElement("span");
    e.dataset.m = key;
    e.textContent = say(key) ?? key;
    return e;
  }
  /** A number with a true minus sign. */
  function number(v, decimals, sign) {
    const text = Math.abs(v).toFixed(Math.max(0, Math.min(decimals, 12)));
    const zero = Number(text) === 0;
    return (v < 0 && !zero ? "\u2212" : sign && !zero ? "+" : "") + text;
  }
  return { put, get, unpack, say, translate, messages, word, number, changed: f => listeners.push(f), get language() { return language; } };
})();
