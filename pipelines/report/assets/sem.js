/* The image with its found edges: zoom, shift, edges on and off, the numbers of a line under the pointer. */
"use strict";
(() => {
  const COLOURS = { left: "#35d0ff", right: "#ffc13b" }, LOST = "#ff4b6e";
  const nice = t => { const b = 10 ** Math.floor(Math.log10(t)); return t >= 5 * b ? 5 * b : t >= 2 * b ? 2 * b : b; };

  class Plate {
    constructor(figure, item, picture, edges, rows) {
      Object.assign(this, { figure, item, picture, edges, rows });
      this.show = true; this.hit = -1;
      const stage = figure.querySelector(".stage"), add = (name, parent, cls) => { const e = document.createElement(name); if (cls) e.className = cls; parent.append(e); return e; };
      const bench = add("div", stage, "bench");
      for (const [key, act] of [["sem.zoomin", () => this.zoom(1.5)], ["sem.zoomout", () => this.zoom(1 / 1.5)], ["sem.reset", () => this.fit()]]) {
        const b = add("button", bench); b.type = "button"; b.append(abbe.word(key)); b.onclick = () => { act(); this.draw(); };
      }
      const label = add("label", bench, "check");
      this.tick = add("input", label); this.tick.type = "checkbox"; this.tick.checked = true;
      label.append(abbe.word("sem.edges"));
      this.tick.onchange = () => { this.show = this.tick.checked; this.draw(); };
      this.port = add("div", stage, "viewport dark");
      this.canvas = add("canvas", this.port);
      this.canvas.tabIndex = 0;
      this.canvas.setAttribute("role", "application");
      this.canvas.setAttribute("data-m-aria-label", "sem.canvas");
      this.tip = add("div", this.port, "tip"); this.tip.hidden = true;
      this.live = add("p", stage, "hide"); this.live.setAttribute("aria-live", "polite");
      add("p", stage, "help").append(abbe.word("sem.help"));
      stage.hidden = false;
      abbe.translate(figure);
      this.listen();
      new ResizeObserver(() => this.resize()).observe(this.port);
    }
    resize() {
      const w = this.port.clientWidth, h = this.port.clientHeight, d = Math.min(devicePixelRatio || 1, 2);
      if (!w || !h) return;
      const first = !this.w;
      Object.assign(this, { w, h, d });
      this.canvas.width = Math.round(w * d); this.canvas.height = Math.round(h * d);
      if (first) this.fit();
      this.paint();
    }
    fit() { const { width, height } = this.item; this.k = Math.min((this.w - 16) / width, (this.h - 16) / height); this.x = (this.w - width * this.k) / 2; this.y = (this.h - height * this.k) / 2; }
    zoom(f, cx = this.w / 2, cy = this.h / 2) { const k = Math.min(Math.max(this.k * f, 0.05), 200); f = k / this.k; this.x = cx - (cx - this.x) * f; this.y = cy - (cy - this.y) * f; this.k = k; }
    draw() { if (!this.due) { this.due = true; requestAnimationFrame(() => { this.due = false; this.paint(); }); } }
    paint() {
      if (!this.w) return;
      const c = this.canvas.getContext("2d"), { width, height, n } = this.item, { k, x, y, d } = this;
      c.setTransform(d, 0, 0, d, 0, 0);
      c.clearRect(0, 0, this.w, this.h);
      c.imageSmoothingEnabled = k < 2; // above that a person wants to see pixels
      c.drawImage(this.picture, x, y, width * k, height * k);
      const m = this.rows.length;
      let drawn = 0, lost = 0;
      if (this.show) for (let i = 0; i < n; i++) {
        const side = this.item.sides[i] === "right" ? "right" : "left";
        c.strokeStyle = COLOURS[side];
        c.lineWidth = this.item.lines[i] === this.hit && this.hit >= 0 ? 2.6 : 1.3;
        c.setLineDash(side === "right" ? [7, 2] : []);
        c.beginPath();
        let pen = false, last = NaN;
        const missing = [];
        for (let j = 0; j < m; j++) {
          const v = this.edges[i * m + j];
          if (Number.isNaN(v)) { pen = false; missing.push(j); continue; }
          const px = x + (v + 0.5) * k, py = y + (this.rows[j] + 0.5) * k; // the centre of the first pixel is (0, 0)
          pen ? c.lineTo(px, py) : c.moveTo(px, py);
          pen = true; last = v; drawn++;
        }
        c.stroke();
        c.setLineDash([]);
        if (missing.length && missing.length < m) {
          c.strokeStyle = LOST; c.lineWidth = 1.6; c.beginPath();
          const every = Math.max(1, Math.ceil(9 / (k * (m > 1 ? Math.abs(this.rows[1] - this.rows[0]) : 1))));
          for (let q = 0; q < missing.length; q += every) {
            const j = missing[q]; let a = j, b = j; // place the cross between the neighbours that were found
            while (a >= 0 && Number.isNaN(this.edges[i * m + a])) a--;
            while (b < m && Number.isNaN(this.edges[i * m + b])) b++;
            const va = a >= 0 ? this.edges[i * m + a] : this.edges[i * m + b], vb = b < m ? this.edges[i * m + b] : va;
            const v = a >= 0 && b < m ? va + (vb - va) * (j - a) / (b - a) : va, px = x + (v + 0.5) * k, py = y + (this.rows[j] + 0.5) * k, r = 3.5;
            c.moveTo(px - r, py - r); c.lineTo(px + r, py + r); c.moveTo(px + r, py - r); c.lineTo(px - r, py + r);
          }
          c.stroke();
        }
        lost += missing.length;
      }
      const p = this.item.pixel;
      if (p.x) {
        const length = nice(150 * p.x / k), w = length / p.x * k;
        c.fillStyle = "#000a"; c.fillRect(10, this.h - 44, w + 20, 34);
        c.fillStyle = "#fff"; c.fillRect(20, this.h - 20, w, 4);
        c.font = "600 13px system-ui, sans-serif"; c.textAlign = "center";
        c.fillText(`${+length.toPrecision(3)} ${p.unit}`, 20 + w / 2, this.h - 26);
      }
      Object.assign(this.figure.dataset, { ready: "1", drawn, lost, zoom: k });
    }
    /** The line whose edges stand on both sides of the pointer, or the nearest edge's line. */
    at(px, py) {
      const ix = (px - this.x) / this.k - 0.5, iy = (py - this.y) / this.k - 0.5, m = this.rows.length;
      if (!m || ix < 0 || iy < 0 || ix > this.item.width || iy > this.item.height) return -1;
      let j = 0;
      while (j < m - 1 && this.rows[j] < iy) j++;
      const spans = new Map();
      for (let i = 0; i < this.item.n; i++) { const v = this.edges[i * m + j], l = this.item.lines[i]; if (l >= 0 && !Number.isNaN(v)) { const s = spans.get(l) || [v, v]; spans.set(l, [Math.min(s[0], v), Math.max(s[1], v)]); } }
      for (const [line, [a, b]] of spans) if (ix >= a - 6 / this.k && ix <= b + 6 / this.k) return line;
      return -1;
    }
    hover(e) {
      const r = this.canvas.getBoundingClientRect(), px = e.clientX - r.left, py = e.clientY - r.top, line = this.at(px, py);
      if (line !== this.hit) { this.hit = line; this.draw(); }
      this.tip.hidden = line < 0;
      if (line < 0) return;
      const i = this.item.tip_lines.indexOf(line), head = document.createElement("b");
      head.textContent = `${abbe.say("col.line")} ${line + 1}`;
      this.tip.replaceChildren(head, i >= 0 ? "\n" + this.item.tips[i] : "");
      this.tip.style.left = Math.min(px + 14, this.w - this.tip.offsetWidth - 6) + "px";
      this.tip.style.top = Math.min(py + 14, this.h - this.tip.offsetHeight - 6) + "px";
      this.live.textContent = this.tip.textContent;
    }
    listen() {
      const c = this.canvas;
      let from = null;
      c.addEventListener("pointerdown", e => { c.setPointerCapture(e.pointerId); from = e; });
      c.addEventListener("pointerup", e => { from = null; this.hover(e); });
      c.addEventListener("pointerleave", () => { this.tip.hidden = true; this.hit = -1; this.draw(); });
      c.addEventListener("pointermove", e => { if (!from) return this.hover(e); this.x += e.clientX - from.clientX; this.y += e.clientY - from.clientY; from = e; this.draw(); });
      c.addEventListener("wheel", e => {
        if (document.activeElement !== c && !e.ctrlKey) return;
        e.preventDefault();
        const r = c.getBoundingClientRect();
        this.zoom(Math.exp(-e.deltaY * 0.0015), e.clientX - r.left, e.clientY - r.top); this.draw();
      }, { passive: false });
      c.addEventListener("keydown", e => {
        const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[e.key];
        if (step) { this.x += step[0]; this.y += step[1]; }
        else if (e.key === "+" || e.key === "=") this.zoom(1.25);
        else if (e.key === "-") this.zoom(0.8);
        else if (e.key === "0" || e.key === "Home") this.fit();
        else if (e.key === "e" || e.key === "E") this.show = this.tick.checked = !this.show;
        else return;
        e.preventDefault();
        this.draw();
      });
    }
  }
  (async () => {
    const figures = [...document.querySelectorAll("[data-sem]")];
    if (!figures.length) return;
    const data = await abbe.get("part");
    await abbe.get("messages");
    for (const figure of figures) {
      const item = data.images[+figure.dataset.sem], picture = new Image();
      picture.src = "../img/" + item.file;
      try {
        await picture.decode();
        figure.view = new Plate(figure, item, picture, await abbe.unpack(item.edges), await abbe.unpack(item.rows));
        figure.querySelector(".still").hidden = true;
      } catch (error) { figure.dataset.reason = error.message; } // the drawing without script stays
    }
  })();
})();
