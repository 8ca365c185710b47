/* The table of parts: search, filter, order, pages of 100 rows. Rows come ready-made; only those shown are in the page. */
"use strict";
(async () => {
  const PAGE = 100, $ = id => document.getElementById(id);
  const table = $("parts"), body = table && table.tBodies[0];
  if (!body) return;
  const data = await abbe.get("index");
  await abbe.get("messages");
  const search = await abbe.unpack(data.search), total = search.length;
  const rows = new Array(total);
  [...body.rows].forEach((row, i) => { rows[i] = row; });
  let found = [...rows.keys()], at = 0, turn = 0;

  /** Rows of one file become elements when somebody wants to see one of them. */
  async function need(i) {
    if (rows[i]) return;
    const file = Math.floor(i / data.per_file) + 1;
    const packed = await abbe.get("rows-" + file, `data/rows-${String(file).padStart(4, "0")}.js`);
    const texts = await abbe.unpack(packed), first = (file - 1) * data.per_file;
    const holder = document.createElement("tbody");
    texts.forEach((text, k) => {
      if (rows[first + k]) return;
      holder.innerHTML = text; // escaped where it was written
      rows[first + k] = holder.firstElementChild;
    });
  }
  function select() {
    const words = $("q").value.toLowerCase().split(/\s+/).filter(Boolean), v = $("fv").value, o = $("fo").value;
    found = [];
    for (let i = 0; i < total; i++)
      if ((v === "" || data.verdict[i] === +v) && (o === "" || data.outcome[i] === +o) && words.every(w => search[i].includes(w))) found.push(i);
    if ($("fs").value === "plan") found.sort((a, b) => data.order[a] - data.order[b]);
    if ($("fs").value === "name") { const c = new Intl.Collator("en", { numeric: true }); found.sort((a, b) => c.compare(search[a], search[b])); }
    at = 0;
    show();
  }
  async function show() {
    const mine = ++turn, part = found.slice(at, at + PAGE);
    for (const i of part) await need(i);
    if (mine !== turn) return; // a newer question was asked meanwhile
    body.replaceChildren(...part.map((i, k) => { rows[i].setAttribute("aria-rowindex", at + k + 2); return rows[i]; }));
    abbe.translate(body);
    say();
    $("prev").disabled = at === 0;
    $("next").disabled = at + PAGE >= found.length;
    table.dataset.found = found.length;
    table.dataset.ready = "1";
  }
  const say = () => {
    $("shown").textContent = found.length
      ? abbe.say("filter.shown", { from: at + 1, to: Math.min(at + PAGE, found.length), found: found.length, total })
      : abbe.say("filter.nothing", { total });
  };
  const step = n => { at = Math.max(0, at + n * PAGE); show(); table.scrollIntoView({ block: "start" }); };
  $("prev").onclick = () => step(-1);
  $("next").onclick = () => step(1);
  let timer = 0;
  $("q").oninput = () => { clearTimeout(timer); timer = setTimeout(select, 80); };
  for (const id of ["fv", "fo", "fs"]) $(id).onchange = select;
  abbe.changed(say);
  const wish = /[#&]q=([^&]*)/.exec(location.hash);
  if (wish) $("q").value = decodeURIComponent(wish[1]);
  $("controls").hidden = $("pager").hidden = false;
  if ($("static-pages")) $("static-pages").hidden = true;
  select();
})();
