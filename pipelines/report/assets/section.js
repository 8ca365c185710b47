/* Sections of a deviation map at any magnification: the same drawing as on paper, with a slider and picking. */
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg", W = 900, H = 560, PAD = 56;
  const STEPS = []; for (let e = 0; e < 5; e++) for (const m of [1, 2, 5]) STEPS.push(m * 10 ** e);
  function make(name, attributes, parent) {
    const e = document.createElementNS(SVG, name);
    for (const key in attributes) key === "text" ? (e.textContent = attributes[key]) : e.setAttribute(key, attributes[key]);
    parent.append(e);
    return e;
  }
  const nice = t => { const b = 10 ** Math.floor(Math.log10(t)); return t >= 5 * b ? 5 * b : t >= 2 * b ? 2 * b : b; };
  const plain = v => String(+v.toPrecision(6)).replace("-", "\u2212");
  class Section {
    constructor(holder, map, row, arrays) {
      Object.assign(this, { map, row }, arrays);
      this.grow = row.magnification;
      const low = [1e300, 1e300], high = [-1e300, -1e300];
      this.nominal.forEach((v, i) => { if (v === v) { low[i % 2] = Math.min(low[i % 2], v); high[i % 2] = Math.max(high[i % 2], v); } });
      this.scale = Math.min((W - 2 * PAD) / Math.max(high[0] - low[0], 1e-9), (H - 2 * PAD) / Math.max(high[1] - low[1], 1e-9));
      const bench = holder.querySelector(".bench"), range = document.createElement("input"), label = document.createElement("label");
      const at = STEPS.reduce((best, s, i) => Math.abs(Math.log(s / this.grow)) < Math.abs(Math.log(STEPS[best] / this.grow)) ? i : best, 0);
      Object.assign(range, { type: "range", min: 0, max: STEPS.length - 1, value: at });
      this.text = document.createElement("b"); this.text.className = "num";
      label.append(abbe.word("section.magnification"), range); bench.append(label, this.text); bench.hidden = false;
      range.oninput = () => { this.grow = STEPS[+range.value]; this.draw(); };
      this.svg = holder.querySelector("svg.section"); this.svg.dataset.live = "1";
      this.tip = holder.querySelector(".tip");
      this.svg.addEventListener("pointermove", e => this.pick(e));
      this.svg.addEventListener("pointerleave", () => { this.tip.hidden = true; });
      this.draw();
    }
    at(array, i) { return [W / 2 + array[2 * i] * this.scale, H / 2 - array[2 * i + 1] * this.scale]; }
    tipOf(i) { const g = this.grow * this.value[i] * this.scale, p = this.at(this.foot, i); return [p[0] + this.direction[2 * i] * g, p[1] - this.direction[2 * i + 1] * g]; }
    path(shift) {
      let d = "", pen = "M";
      for (let i = 0; i < this.nominal.length / 2; i++) {
        const p = this.at(this.nominal, i);
        if (!(p[0] === p[0] && p[1] === p[1])) { pen = "M"; continue; }
        d += `${pen}${(p[0] + this.outward[2 * i] * shift).toFixed(1)} ${(p[1] - this.outward[2 * i + 1] * shift).toFixed(1)}`;
        pen = "L";
      }
      return d;
    }
    draw() {
      const s = this.svg, g = this.grow * this.scale, title = s.querySelector("title");
      s.replaceChildren(title);
      make("path", { class: "outline", d: this.path(0) }, s);
      for (const end of this.row.limits) if (end !== null) make("path", { class: "band", d: this.path(end * g) }, s);
      const lines = {}, dots = {};
      for (let i = 0; i < this.value.length; i++) {
        const a = this.at(this.foot, i), b = this.tipOf(i), k = this.band[i];
        lines[k] = (lines[k] || "") + `M${a[0].toFixed(1)} ${a[1].toFixed(1)}L${b[0].toFixed(1)} ${b[1].toFixed(1)}`;
        dots[k] = (dots[k] || "") + `M${b[0].toFixed(1)} ${b[1].toFixed(1)}h0`;
      }
      for (const k in lines) {
        make("path", { class: "needle", stroke: this.map.bands[k], d: lines[k] }, s);
        make("path", { class: "dots", stroke: { 4: "#84b4cf", 6: "#e6a860", 5: "#9aa3ab" }[k] || this.map.bands[k], d: dots[k] }, s);
      }
      for (const [x, length, f] of [[16, nice(170 / this.scale), 1], [W - 210, nice(110 / g), this.grow]]) {
        const r = make("g", { class: "ruler thin" }, s);
        make("path", { d: `M${x} ${H - 12}v-8m0 4h${length * this.scale * f}m0-4v8` }, r);
        make("text", { x, y: H - 26, text: `${plain(length)} ${this.map.unit}${f !== 1 ? ` (\u00d7 ${plain(f)})` : ""}` }, r);
      }
      this.text.textContent = "\u00d7 " + plain(this.grow);
      s.dataset.magnification = this.grow;
    }
    pick(e) {
      const b = this.svg.getBoundingClientRect(), x = (e.clientX - b.left) * W / b.width, y = (e.clientY - b.top) * H / b.height;
      let best = -1, least = 18;
      for (let i = 0; i < this.value.length; i++) {
        const p = this.tipOf(i), d = Math.hypot(p[0] - x, p[1] - y);
        if (d < least) { least = d; best = i; }
      }
      this.tip.hidden = best < 0;
      if (best < 0) return;
      const m = this.map, o = this.row.origin, f = k => abbe.number(o[k] + this.foot[2 * best + k], 3);
      this.tip.textContent = `${abbe.number(this.value[best], m.decimals, true)} ${m.unit}\n${this.row.axes[0]} ${f(0)}, ${this.row.axes[1]} ${f(1)}`;
      const p = this.tipOf(best);
      this.tip.style.left = Math.min(p[0] * b.width / W + 12, b.width - 190) + "px"; this.tip.style.top = p[1] * b.height / H + 12 + "px";
    }
  }
  (async () => {
    const holders = [...document.querySelectorAll("[data-section]")];
    if (!holders.length) return;
    const data = await abbe.get("part");
    await abbe.get("messages");
    for (const holder of holders) {
      const [m, k] = holder.dataset.section.split(".").map(Number), map = data.maps[m], row = map.sections[k], arrays = {};
      for (const name of ["nominal", "outward", "foot", "direction", "value", "band"]) arrays[name] = await abbe.unpack(row[name]);
      holder.section = new Section(holder, map, row, arrays);
      abbe.translate(holder);
    }
  })();
})();
