/* Deviation maps in three dimensions: a small WebGL 2 viewer. Orthographic; every point is a lit disc; its colour is
   decided per fragment from the deviation and the tolerance, so band edges are exact and never blended. Picking reads
   the recorded numbers, not pixels. Where WebGL is missing or lost, the static picture stays. */
"use strict";
(() => {
  const VERTEX = `#version 300 es
  in vec3 point; in vec3 normal; in float value, share, limited, feature, margin, wide;
  uniform mat3 turn; uniform vec3 target; uniform vec2 zoom; uniform float depth, radius, pixels, grow;
  flat out vec3 n; flat out vec4 data; flat out vec2 edge;
  void main() {
    vec3 v = turn * (point + normal * value * grow - target);
    // Which of two neighbours covers the other must not depend on their deviations, or excess alone would be seen: not
    // exaggerated, the depth is that of the foot, ties broken by the number of the point.
    if (grow <= 0.0) v.z -= (turn * normal).z * value - 0.2 * radius * fract(float(gl_VertexID) * 0.618034);
    gl_Position = vec4(v.xy * zoom, -v.z * depth, 1.0);
    gl_PointSize = max(3.0, 2.0 * radius * pixels);
    n = turn * normal; data = vec4(value, share, limited, feature); edge = vec2(abs(margin), wide);
  }`;
  const FRAGMENT = `#version 300 es
  precision highp float;
  flat in vec3 n; flat in vec4 data; flat in vec2 edge; out vec4 colour;
  uniform float depth, radius, expanded, scale, only, stripe; uniform int mode; uniform vec3 bands[12]; uniform vec3 hatch, guard;
  void main() {
    vec2 d = gl_PointCoord * 2.0 - 1.0; d.y = -d.y;
    float z; vec3 m;
    if (dot(n, n) > 0.25) {
      m = normalize(n); if (m.z < 0.0) m = -m;
      z = -dot(m.xy, d) / max(m.z, 0.2);
      if (dot(d, d) + 0.6 * z * z > 1.0) discard;
    } else {
      float r = dot(d, d); if (r > 1.0) discard;
      z = 0.3 * sqrt(1.0 - r); m = normalize(vec3(d * 0.35, 1.0));
    }
    gl_FragDepth = clamp(gl_FragCoord.z - 0.5 * z * radius * depth, 0.0, 1.0);
    float light = 0.62 + 0.38 * clamp(0.25 + 0.75 * dot(m, normalize(vec3(-0.35, 0.55, 0.76))), 0.0, 1.0);
    float s = mode == 0 ? data.y : data.x / scale, wide = edge.y > 0.0 ? edge.y : expanded;
    vec3 c;
    if (only >= 0.0 && data.w != only) { colour = vec4(vec3(0.80, 0.83, 0.86) * (0.8 + 0.2 * light), 1.0); return; }
    if (mode == 0 && data.z < 0.5) c = bands[11];
    else if (abs(s) > 1.0) {
      c = s > 0.0 ? bands[10] : bands[0];
      if (mod(gl_FragCoord.x + gl_FragCoord.y, 4.0 * stripe) < stripe) c = hatch;
    } else if (abs(data.x) < wide) c = bands[5];
    else { int k = 1 + min(3, int(abs(s) * 4.0)); c = bands[s < 0.0 ? 5 - k : 5 + k]; }
    if (mode == 0 && edge.x < wide && mod(gl_FragCoord.x - gl_FragCoord.y, 5.0 * stripe) < 0.6 * stripe) c = guard;
    colour = vec4(c * light, 1.0);
  }`;
  const MESH_VERTEX = `#version 300 es
  in vec3 point; uniform mat3 turn; uniform vec3 target; uniform vec2 zoom; uniform float depth; out vec3 at;
  void main() { at = turn * (point - target); gl_Position = vec4(at.xy * zoom, -at.z * depth, 1.0); }`;
  const MESH_FRAGMENT = `#version 300 es
  precision highp float;
  in vec3 at; out vec4 colour; uniform vec3 grey; uniform float depth, back;
  void main() {
    vec3 m = normalize(cross(dFdx(at), dFdy(at))); if (m.z < 0.0) m = -m;
    gl_FragDepth = clamp(gl_FragCoord.z + back * depth, 0.0, 1.0);
    colour = vec4(grey * (0.62 + 0.38 * clamp(0.25 + 0.75 * dot(m, normalize(vec3(-0.35, 0.55, 0.76))), 0.0, 1.0)), 1.0);
  }`;
  const PRESETS = [["iso", -55, 32], ["top", -90, 90], ["bottom", -90, -90], ["front", -90, 0], ["back", 90, 0], ["right", 0, 0], ["left", 180, 0]];
  const GROW = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
  const SVG = "http://www.w3.org/2000/svg";
  const rgb = h => [1, 3, 5].map(i => parseInt(h.slice(i, i + 2), 16) / 255);
  function make(name, attributes, parent) {
    const e = name in { svg: 1, g: 1, path: 1, line: 1, rect: 1, text: 1, circle: 1 } ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const key in attributes) key === "text" ? (e.textContent = attributes[key]) : e.setAttribute(key, attributes[key]);
    if (parent) parent.append(e);
    return e;
  }
  function field(parent, key, control) {
    const label = make("label", {}, parent);
    label.append(abbe.word(key), control);
    return control;
  }
  function choice(parent, key, options) {
    const select = make("select");
    for (const [value, message, plain] of options) {
      const o = make("option", { value }, select);
      if (message) { o.dataset.m = message; o.textContent = abbe.say(message); } else o.textContent = plain;
    }
    return field(parent, key, select);
  }
  const nice = t => { const b = 10 ** Math.floor(Math.log10(t)); return t >= 5 * b ? 5 * b : t >= 2 * b ? 2 * b : b; };
  const plain = v => String(+v.toPrecision(6)).replace("-", "\u2212");

  class View {
    constructor(figure, map, arrays) {
      Object.assign(this, { figure, map }, arrays);
      this.n = this.value.length;
      this.mode = this.limited.some(x => x) ? 0 : 1;
      this.only = -1; this.labels = true; this.grow = 0; this.size = 1; this.selected = -1; this.dpr = Math.min(devicePixelRatio || 1, 2);
      [this.az, this.el] = map.view; this.target = [0, 0, 0]; this.ppu = 1;
      this.build();
      this.start();
      this.fit(); this.draw();
      new ResizeObserver(() => this.resize()).observe(this.port);
      abbe.changed(() => this.words());
      this.words();
    }
    build() {
      const stage = this.figure.querySelector(".stage"), map = this.map;
      const bench = make("div", { class: "bench" }, stage);
      const group = make("div", { class: "group", role: "group" }, bench);
      group.setAttribute("data-m-aria-label", "map.view");
      const worst = make("button", { type: "button" }, group);
      worst.append(abbe.word("map.view.worst"));
      worst.onclick = () => { [this.az, this.el] = map.view; this.fit(); this.draw(); };
      PRESETS.forEach(([name], i) => { const b = make("button", { type: "button" }, group); b.append(abbe.word("map." + name)); b.onclick = () => this.look(i); });
      const modes = [];
      if (this.mode === 0) modes.push([0, "map.mode.share"]);
      modes.push([1, "map.mode.value"]);
      this.modeBox = choice(bench, "map.mode", modes);
      this.modeBox.onchange = () => { this.mode = +this.modeBox.value; this.key(); this.draw(); };
      if (map.features.length > 1) {
        const box = choice(bench, "map.feature", [[-1, "map.feature.all"], ...map.features.map((f, i) => [i, "", f])]);
        box.onchange = () => { this.only = +box.value; this.key(); this.draw(); };
      }
      if (this.normals) {
        let most = 0;
        for (const v of this.value) most = Math.max(most, Math.abs(v));
        this.steps = GROW.filter(g => g === 1 || g * most < 0.4 * map.radius);
        const range = field(bench, "map.exaggerate", make("input", { type: "range", min: 0, max: this.steps.length - 1, value: 0 }));
        const line = make("span");
        this.growText = make("span", { text: "\u00d7 1" });
        range.before(line);
        line.append(range.parentNode.firstChild, " ", this.growText);
        range.oninput = () => { const g = this.steps[+range.value]; this.grow = g - 1; this.growText.textContent = "\u00d7 " + g; this.draw(); };
      }
      const size = field(bench, "map.size", make("input", { type: "range", min: -6, max: 6, value: 0 }));
      size.oninput = () => { this.size = 2 ** (size.value / 4); this.draw(); };
      const check = make("label", { class: "check" }, bench);
      this.tick = make("input", { type: "checkbox" }, check); this.tick.checked = true;
      check.append(abbe.word("map.labels"));
      this.tick.onchange = () => { this.labels = this.tick.checked; this.draw(); };
      if (map.surface) {
        const box = make("label", { class: "check" }, bench), tick = make("input", { type: "checkbox" }, box);
        tick.checked = this.nominal = true;
        box.append(abbe.word("map.nominal"));
        tick.onchange = () => { this.nominal = tick.checked; this.draw(); };
      }
      this.port = make("div", { class: "viewport" }, stage);
      this.canvas = make("canvas", { tabindex: 0, role: "application", "data-m-aria-label": "map.canvas" }, this.port);
      this.over = make("svg", { class: "over", "aria-hidden": "true" }, this.port);
      this.keyBox = make("div", { class: "scalekey" }, this.port);
      this.tip = make("div", { class: "tip" }, this.port); this.tip.hidden = true;
      this.live = make("p", { class: "hide", "aria-live": "polite" }, stage);
      const help = make("p", { class: "help" }, stage); help.append(abbe.word("map.help"));
      stage.hidden = false;
    }
    words() { abbe.translate(this.figure); this.key(); this.draw(); }
    start() {
      const gl = this.gl = this.canvas.getContext("webgl2", { antialias: true, alpha: true, premultipliedAlpha: false });
      if (!gl) throw new Error("no WebGL 2");
      const link = (vertex, fragment) => {
        const program = gl.createProgram();
        for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
          const s = gl.createShader(type);
          gl.shaderSource(s, source); gl.compileShader(s);
          if (!gl.getShaderParameter(s, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(s));
          gl.attachShader(program, s);
        }
        gl.linkProgram(program);
        if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
        return program;
      };
      const places = program => new Proxy({}, { get: (c, name) => name in c ? c[name] : (c[name] = gl.getUniformLocation(program, name)) });
      if (this.vertices) { // the nominal, grey where no point covers it
        const program = link(MESH_VERTEX, MESH_FRAGMENT), array = gl.createVertexArray(), where = gl.getAttribLocation(program, "point");
        gl.bindVertexArray(array);
        gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer()); gl.bufferData(gl.ARRAY_BUFFER, this.vertices, gl.STATIC_DRAW);
        gl.enableVertexAttribArray(where); gl.vertexAttribPointer(where, 3, gl.FLOAT, false, 0, 0);
        gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer()); gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, this.triangles, gl.STATIC_DRAW);
        gl.bindVertexArray(null);
        this.mesh = { program, array, at: places(program) };
      }
      const program = this.program = link(VERTEX, FRAGMENT);
      this.points = gl.createVertexArray();
      gl.bindVertexArray(this.points);
      gl.useProgram(program);
      this.at = places(program);
      const attribute = (name, data, size, type, normalised) => {
        const where = gl.getAttribLocation(program, name);
        if (where < 0) return;
        if (!data) { gl.vertexAttrib3f(where, 0, 0, 0); return; }
        gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
        gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
        gl.enableVertexAttribArray(where);
        gl.vertexAttribPointer(where, size, type, normalised, 0, 0);
      };
      let padded = null; // rows of four bytes: drivers are slow with three
      if (this.normals) { padded = new Int8Array(4 * this.n); for (let i = 0; i < this.n; i++) for (let k = 0; k < 3; k++) padded[4 * i + k] = this.normals[3 * i + k]; }
      attribute("point", this.xyz, 3, gl.FLOAT, false);
      attribute("value", this.value, 1, gl.FLOAT, false);
      attribute("share", this.share, 1, gl.FLOAT, false);
      attribute("limited", this.limited, 1, gl.UNSIGNED_BYTE, false);
      attribute("feature", this.feature, 1, gl.UNSIGNED_SHORT, false);
      attribute("margin", this.margin, 1, gl.FLOAT, false);
      if (this.expanded) attribute("wide", this.expanded, 1, gl.FLOAT, false);
      else gl.vertexAttrib1f(gl.getAttribLocation(program, "wide"), 0);
      if (padded) {
        const where = gl.getAttribLocation(program, "normal");
        gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
        gl.bufferData(gl.ARRAY_BUFFER, padded, gl.STATIC_DRAW);
        gl.enableVertexAttribArray(where);
        gl.vertexAttribPointer(where, 3, gl.BYTE, true, 4, 0);
      } else attribute("normal", null);
      gl.enable(gl.DEPTH_TEST);
      gl.uniform3fv(this.at["bands"], new Float32Array(this.map.bands.flatMap(rgb)));
      gl.uniform3fv(this.at["hatch"], new Float32Array(rgb(this.map.hatch)));
      gl.uniform3fv(this.at["guard"], new Float32Array(rgb(this.map.guard)));
      this.canvas.addEventListener("webglcontextlost", e => { e.preventDefault(); this.dead = true; fallback(this.figure, "map.lost"); });
      this.listen();
    }
    listen() {
      const c = this.canvas, pointers = new Map();
      let moved = false;
      c.addEventListener("pointerdown", e => { c.setPointerCapture(e.pointerId); pointers.set(e.pointerId, e); moved = false; this.tip.hidden = true; });
      c.addEventListener("pointerup", e => { pointers.delete(e.pointerId); if (!moved) this.pick(e, true); });
      c.addEventListener("pointercancel", e => pointers.delete(e.pointerId));
      c.addEventListener("pointermove", e => {
        const before = pointers.get(e.pointerId);
        if (!before) { if (e.pointerType === "mouse") this.hover(e); return; }
        const dx = e.clientX - before.clientX, dy = e.clientY - before.clientY;
        if (Math.abs(dx) + Math.abs(dy) > 0) moved = true;
        if (pointers.size === 2) {
          const other = [...pointers.values()].find(p => p.pointerId !== e.pointerId);
          const d = p => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
          this.ppu *= d(e) / Math.max(d(before), 1); this.shift(dx / 2, dy / 2);
        } else if (e.shiftKey || e.buttons & 2) this.shift(dx, dy);
        else this.orbit(-0.45 * dx, 0.45 * dy);
        pointers.set(e.pointerId, e);
        this.draw();
      });
      c.addEventListener("pointerleave", () => { if (this.selected < 0) this.tip.hidden = true; });
      c.addEventListener("contextmenu", e => e.preventDefault());
      c.addEventListener("wheel", e => {
        if (document.activeElement !== c && !e.ctrlKey) return; // the page scrolls until the view has been clicked
        e.preventDefault();
        const r = c.getBoundingClientRect(), f = Math.exp(-e.deltaY * 0.0015), x = e.clientX - r.left - r.width / 2, y = e.clientY - r.top - r.height / 2;
        this.shift(-x, -y); this.ppu *= f; this.shift(x, y); this.draw();
      }, { passive: false });
      c.addEventListener("keydown", e => {
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
        if (step) e.shiftKey ? this.shift(-30 * step[0], -30 * step[1]) : this.orbit(-6 * step[0], -6 * step[1]);
        else if (e.key === "+" || e.key === "=") this.ppu *= 1.2;
        else if (e.key === "-") this.ppu /= 1.2;
        else if (e.key === "0" || e.key === "Home") this.fit();
        else if (e.key >= "1" && e.key <= "7") this.look(e.key - 1);
        else if (e.key === "n" || e.key === "N") this.next();
        else if (e.key === "l" || e.key === "L") this.labels = this.tick.checked = !this.labels;
        else if (e.key === "Escape") { this.selected = -1; this.tip.hidden = true; }
        else return;
        e.preventDefault();
        this.draw();
      });
    }
    frame() {
      const a = this.az * Math.PI / 180, e = this.el * Math.PI / 180, ca = Math.cos(a), sa = Math.sin(a), ce = Math.cos(e), se = Math.sin(e);
      return [-sa, ca, 0, -ca * se, -sa * se, ce, ca * ce, sa * ce, se]; // rows: right, up, towards the viewer
    }
    look(i) { [, this.az, this.el] = PRESETS[i]; this.fit(); this.draw(); }
    fit() {
      const r = this.frame(), low = [1e300, 1e300], high = [-1e300, -1e300];
      for (const all of [this.xyz, this.vertices || []]) {
        const n = all.length / 3;
        for (let i = 0; i < n; i += 1 + (n >> 14)) for (let k = 0; k < 2; k++) {
          const v = r[3 * k] * all[3 * i] + r[3 * k + 1] * all[3 * i + 1] + r[3 * k + 2] * all[3 * i + 2];
          low[k] = Math.min(low[k], v); high[k] = Math.max(high[k], v);
        }
      }
      const w = this.port.clientWidth || 800, h = this.port.clientHeight || 500, right = w > 640 ? this.aside() : 20, m = [0, 1].map(k => (low[k] + high[k]) / 2);
      this.ppu = Math.min((w - right - 60) / (high[0] - low[0] || 1), (h - 90) / (high[1] - low[1] || 1));
      this.target = [0, 1, 2].map(j => r[j] * m[0] + r[3 + j] * m[1]);
      this.shift(-(right - 20) / 2, 0);
    }
    orbit(da, de) { this.az += da; this.el = Math.max(-90, Math.min(90, this.el + de)); }
    shift(dx, dy) { const r = this.frame(); for (let j = 0; j < 3; j++) this.target[j] += (-dx * r[j] + dy * r[3 + j]) / this.ppu; }
    resize() {
      const w = this.port.clientWidth, h = this.port.clientHeight;
      if (!w || !h) return;
      const first = !this.w;
      this.w = w; this.h = h; this.canvas.width = Math.round(w * this.dpr); this.canvas.height = Math.round(h * this.dpr);
      if (first) this.fit();
      this.paint();
    }
    draw() { if (!this.due) { this.due = true; requestAnimationFrame(() => { this.due = false; this.paint(); }); } }
    aside() { return Math.max(215, (this.keyBox.offsetWidth || 0) + 27); } // room at the right for the legend
    radius() { return (this.vertices ? 1.7 : 1.3) * this.size * this.map.spacing; }
    paint() {
      if (this.dead || !this.w) return;
      const gl = this.gl, at = this.at, r = this.frame(), reach = 4 * this.map.radius + 1e-9;
      gl.viewport(0, 0, this.canvas.width, this.canvas.height);
      gl.clearColor(0, 0, 0, 0); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      const view = where => {
        gl.uniformMatrix3fv(where["turn"], true, r);
        gl.uniform3fv(where["target"], this.target);
        gl.uniform2f(where["zoom"], 2 * this.ppu / this.w, 2 * this.ppu / this.h);
        gl.uniform1f(where["depth"], 1 / reach);
      };
      if (this.mesh && this.nominal) {
        gl.useProgram(this.mesh.program); gl.bindVertexArray(this.mesh.array); view(this.mesh.at);
        gl.uniform3fv(this.mesh.at["grey"], rgb(this.map.grey));
        gl.uniform1f(this.mesh.at["back"], 0.5 * Math.min(this.radius(), 0.01 * this.map.radius)); // points lie on it, not in it
        gl.drawElements(gl.TRIANGLES, this.triangles.length, gl.UNSIGNED_INT, 0);
      }
      gl.useProgram(this.program); gl.bindVertexArray(this.points); view(at);
      gl.uniform1f(at["radius"], this.radius());
      gl.uniform1f(at["pixels"], this.ppu * this.dpr);
      gl.uniform1f(at["grow"], this.grow);
      gl.uniform1f(at["expanded"], this.map.U);
      gl.uniform1f(at["scale"], this.map.scale);
      gl.uniform1f(at["only"], this.only < 0 ? -1 : this.only + 1);
      gl.uniform1f(at["stripe"], 2 * this.dpr);
      gl.uniform1i(at["mode"], this.mode);
      gl.drawArrays(gl.POINTS, 0, this.n);
      this.overlay(r);
      this.figure.dataset.ready = "1";
    }
    place(i, r) {
      const v = [0, 0, 0], g = this.grow * this.value[i] / 127;
      for (let j = 0; j < 3; j++) v[j] = this.xyz[3 * i + j] + (this.normals ? this.normals[3 * i + j] * g : 0) - this.target[j];
      return [0, 1, 2].map(k => r[3 * k] * v[0] + r[3 * k + 1] * v[1] + r[3 * k + 2] * v[2])
        .map((q, k) => k === 0 ? this.w / 2 + q * this.ppu : k === 1 ? this.h / 2 - q * this.ppu : q);
    }
    faces(i, r) { return !this.normals || (this.normals[3 * i] * r[6] + this.normals[3 * i + 1] * r[7] + this.normals[3 * i + 2] * r[8]) > 0 || !(this.normals[3 * i] || this.normals[3 * i + 1] || this.normals[3 * i + 2]); }
    wide(i) { return this.expanded ? this.expanded[i] : this.map.U; } // U of a point
    text(i) { return abbe.number(this.value[i], this.map.decimals, true) + " " + this.map.unit; }
    overlay(r) {
      const s = this.over, right = this.w > 640 ? this.w - this.aside() : this.w;
      s.setAttribute("viewBox", `0 0 ${this.w} ${this.h}`);
      s.replaceChildren();
      if (this.labels) {
        const shown = this.map.worst.filter(i => (this.only < 0 || this.feature[i] === this.only + 1) && this.faces(i, r)).map(i => ({ i, p: this.place(i, r) }))
          .filter(m => m.p[0] > 0 && m.p[0] < right && m.p[1] > 0 && m.p[1] < this.h);
        const middle = right / 2;
        for (const side of [-1, 1]) {
          let y = 8;
          const tags = [], floor = this.h - (side < 0 ? 48 : 98); // above the ruler at the left, the axes at the right
          for (const { i, p } of shown.filter(m => (m.p[0] < middle) === (side < 0)).sort((a, b) => a.p[1] - b.p[1])) {
            const tag = this.map.tags[i], name = tag ? tag[0] : this.map.features[this.feature[i] - 1] || "", h = name ? 36 : 22, box = make("rect", { class: "tagbox", height: h, rx: 4 }, s);
            const lines = [make("text", { class: "v", text: tag ? tag[1] : this.text(i) }, s)];
            if (name) lines.push(make("text", { text: name.length > 20 ? name.slice(0, 19) + "\u2026" : name }, s));
            const w = Math.max(...lines.map(t => t.getComputedTextLength())) + 14;
            y = Math.max(y, Math.min(p[1] - h / 2, floor - h));
            tags.push({ p, box, lines, w, h, y });
            y += h + 6;
          }
          let end = floor;
          for (const tag of tags.reverse()) { tag.y = Math.min(tag.y, end - tag.h); end = tag.y - 6; } // a full column moves up
          for (const { p, box, lines, w, h, y } of tags) {
            const x = side < 0 ? 10 : right - w - 10;
            make("line", { class: "lead", x1: p[0], y1: p[1], x2: side < 0 ? x + w : x, y2: y + h / 2 }, s);
            make("circle", { class: "spot", cx: p[0], cy: p[1], r: 4 }, s);
            for (const [key, v] of [["x", x], ["y", y], ["width", w]]) box.setAttribute(key, v);
            lines.forEach((t, k) => { t.setAttribute("x", x + 7); t.setAttribute("y", y + 15 + 15 * k); });
          }
        }
      }
      if (this.selected >= 0) { const p = this.place(this.selected, r); make("circle", { class: "spot", cx: p[0], cy: p[1], r: 6 }, s); }
      const o = [this.w > 640 ? right - 40 : this.w - 46, this.h - 46];
      [["x", "#a8122a"], ["y", "#0b6b61"], ["z", "#0f4c81"]].forEach(([name, stroke], j) => {
        const x = o[0] + 28 * r[j], y = o[1] - 28 * r[3 + j];
        make("line", { class: "triad", x1: o[0], y1: o[1], x2: x, y2: y, stroke }, s);
        make("text", { x: o[0] + 37 * r[j] - 3, y: o[1] - 37 * r[3 + j] + 4, text: name }, s);
      });
      const length = nice(140 / this.ppu), w = length * this.ppu, g = make("g", { class: "rule" }, s);
      make("path", { d: `M14 ${this.h - 20}v8m0-4h${w}m0-4v8` }, g);
      make("text", { x: 14, y: this.h - 26, text: plain(length) + " " + this.map.unit }, g);
    }
    /** Legend on the picture: bands with their edges, and the share of points in each as bars. */
    key() {
      const map = this.map, counts = new Array(12).fill(0);
      let total = 0;
      for (let i = 0; i < this.n; i++) {
        if (this.only >= 0 && this.feature[i] !== this.only + 1) continue;
        const s = this.mode === 0 ? this.share[i] : this.value[i] / map.scale, a = Math.abs(s);
        total++;
        counts[this.mode === 0 && !this.limited[i] ? 11 : a > 1 ? (s > 0 ? 10 : 0) : Math.abs(this.value[i]) < this.wide(i) ? 5 : 5 + Math.sign(s || 1) * (1 + Math.min(3, Math.floor(4 * a)))]++;
      }
      const most = Math.max(...counts, 1), H = 17, box = this.keyBox;
      box.replaceChildren();
      const title = make("p", { class: "words" }, box); title.style.margin = "0 0 5px"; title.style.maxWidth = "175px";
      title.textContent = this.mode === 0 ? abbe.say(map.features.length > 1 ? "map.share" : "map.share.one") : abbe.say("map.absolute", { limit: map.scale_text, unit: map.unit });
      const svg = make("svg", { width: 176, height: 12 * H + 12, "aria-hidden": "true" }, box), bars = [];
      let limits = null; // edges in units where one pair of limits holds for all that is coloured
      if (this.mode === 0) { const used = this.only >= 0 ? [map.limits[this.only]] : map.limits; if (used.every(l => l && String(l) === String(used[0]))) limits = used[0]; }
      const edge = e => {
        if (this.mode === 1) return abbe.number(e * map.scale, Math.max(0, 2 - Math.floor(Math.log10(map.scale))), true);
        const t = (e > 0 ? "+" : e < 0 ? "\u2212" : "") + Math.abs(e) * 100 + " %", l = limits && limits[e > 0 ? 1 : 0];
        return l !== null && limits && (limits[0] === null || limits[0] < 0) && (limits[1] === null || limits[1] > 0) ? t + "  " + abbe.number(Math.abs(e) * l, map.decimals + 1, true) : t;
      };
      for (let k = 10, y = 6; k >= 0; k--, y += H) {
        make("rect", { x: 0, y, width: 26, height: H, fill: map.bands[k] }, svg);
        if (k === 0 || k === 10) for (let x = -12; x < 26; x += 9) make("path", { d: `M${Math.max(0, x)} ${y + H - Math.max(0, -x)}L${Math.min(26, x + H)} ${y + Math.max(0, x + H - 26)}`, stroke: map.hatch, "stroke-width": 2 }, svg);
        bars.push(make("rect", { class: "h", y: y + 3, width: 62 * counts[k] / most, height: H - 6 }, svg));
        if (k === 5) make("text", { x: 32, y: y + H / 2 + 4, text: "|d| < U" }, svg);
        else if (k < 10 && k > 5) make("text", { x: 32, y: y + 4, text: edge((k - 5) / 4) }, svg);
        else if (k > 0 && k < 5) make("text", { x: 32, y: y + H + 4, text: edge((k - 5) / 4) }, svg);
      }
      const ends = [...svg.querySelectorAll("text")].map(t => 32 + t.getComputedTextLength()), start = Math.max(112, Math.ceil(Math.max(...ends)) + 8);
      for (const bar of bars) bar.setAttribute("x", start); // bars begin right of the longest edge
      svg.setAttribute("width", start + 64);
      let row = 11 * H + 12;
      const entry = (fill, message, stripes) => {
        make("rect", { x: 0, y: row, width: 26, height: H - 4, fill }, svg);
        if (stripes) for (let x = 3; x < 26; x += 8) make("path", { d: `M${x} ${row}l${Math.min(13, 26 - x)} ${Math.min(13, 26 - x)}`, stroke: stripes, "stroke-width": 1.6 }, svg);
        make("text", { x: 32, y: row + 11, text: abbe.say(message) }, svg);
        row += H;
      };
      if (counts[11]) entry(map.bands[11], "map.nolimit");
      if (this.mode === 0 && (map.U || this.expanded)) entry(map.bands[9], "map.guard", map.guard);
      if (map.surface) entry(map.grey, "map.nodata");
      svg.setAttribute("height", row + 2);
      const foot = make("p", { class: "words", text: `${abbe.say("map.histogram")} (${total.toLocaleString("en").replace(/,/g, "\u202f")})` }, box);
      foot.style.margin = "4px 0 0"; foot.style.maxWidth = "175px";
      this.figure.dataset.bands = JSON.stringify(counts);
    }
    nearest(x, y) {
      const r = this.frame(), reach = Math.max(7, this.radius() * this.ppu), near = [];
      let front = -Infinity, best = -1, least = Infinity;
      for (let i = 0; i < this.n; i++) {
        if (this.only >= 0 && this.feature[i] !== this.only + 1) continue;
        const p = this.place(i, r), d = Math.hypot(p[0] - x, p[1] - y);
        if (d < reach) { near.push([i, d, p[2]]); front = Math.max(front, p[2]); }
      }
      for (const [i, d, z] of near) if (z > front - 3 * reach / this.ppu && d < least) { least = d; best = i; } // the surface in front, then the closest on it
      return best;
    }
    hover(e) { if (this.asked) return; this.asked = true; requestAnimationFrame(() => { this.asked = false; this.pick(e, false); }); }
    pick(e, keep) {
      const b = this.canvas.getBoundingClientRect(), i = this.nearest(e.clientX - b.left, e.clientY - b.top);
      if (keep) this.selected = i;
      this.show(keep ? i : i >= 0 ? i : this.selected, keep);
      if (keep) this.draw();
    }
    next() {
      const w = this.map.worst;
      if (!w.length) return;
      this.selected = w[(w.indexOf(this.selected) + 1) % w.length];
      const i = this.selected, n = this.normals && [0, 1, 2].map(k => this.normals[3 * i + k]);
      if (n && (n[0] || n[1] || n[2]) && !this.faces(i, this.frame())) { this.az = Math.atan2(n[1], n[0]) * 180 / Math.PI + 20; this.el = Math.max(-80, Math.min(80, Math.asin(n[2] / 127) * 180 / Math.PI || 15)); this.fit(); }
      this.show(i, true);
    }
    show(i, say) {
      const tip = this.tip;
      if (i < 0) { tip.hidden = true; return; }
      const m = this.map, p = this.place(i, this.frame()), c = [0, 1, 2].map(k => abbe.number(m.centre[k] + this.xyz[3 * i + k], 3)).join(", ");
      tip.replaceChildren();
      make("b", { text: abbe.number(this.value[i], m.decimals, true) + (this.wide(i) ? " \u00b1 " + abbe.number(this.wide(i), m.decimals) : "") + " " + m.unit }, tip);
      const share = this.limited[i] ? `\n${abbe.say("map.band")} ${abbe.number(100 * Math.abs(this.share[i]), 0)} %` : "";
      tip.append(`\n${m.features[this.feature[i] - 1] || ""}${share}\nx, y, z: ${c} ${m.unit}`);
      tip.hidden = false;
      tip.style.left = Math.min(Math.max(p[0] + 14, 6), this.w - tip.offsetWidth - 6) + "px";
      tip.style.top = Math.min(Math.max(p[1] + 14, 6), this.h - tip.offsetHeight - 6) + "px";
      if (say) this.live.textContent = tip.textContent;
    }
  }
  function fallback(figure, key) {
    figure.querySelector(".stage").hidden = true;
    figure.querySelector(".still").hidden = false;
    const note = figure.querySelector(".fallback");
    note.replaceChildren(abbe.word(key));
    note.hidden = false;
    figure.dataset.fallback = key;
  }
  (async () => {
    const figures = [...document.querySelectorAll("[data-map]")];
    if (!figures.length) return;
    const data = await abbe.get("part");
    await abbe.get("messages");
    for (const figure of figures) {
      const map = data.maps[+figure.dataset.map];
      try {
        if (/[#&]static/.test(location.hash) || +figure.dataset.map >= 6) throw new Error("static picture asked for"); // browsers keep few contexts
        const names = ["xyz", "value", "share", "limited", "feature", "normals", "margin", "expanded"], arrays = {};
        for (const name of names) arrays[name] = await abbe.unpack(map[name]);
        if (map.surface) for (const name of ["vertices", "triangles"]) arrays[name] = await abbe.unpack(map.surface[name]);
        figure.view = new View(figure, map, arrays);
        figure.querySelector(".still").hidden = true;
      } catch (error) {
        fallback(figure, "map.fallback");
        figure.dataset.reason = error.message;
      }
    }
  })();
})();
