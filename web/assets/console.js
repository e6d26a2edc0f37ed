// What the console does in the browser outside its wasm: it draws charts with the chart library, and it minds the
// keyboard. It works on any page that the server rendered, taken over or not.
"use strict";
(() => {
  const charts = document.currentScript.dataset.charts;
  let library;
  const load = () =>
    (library ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = charts;
      script.onload = () => resolve(window.uPlot);
      script.onerror = () => reject(new Error(`cannot load ${charts}`));
      document.head.append(script);
    }));

  // Numbers, as `web/src/format.rs` writes them.
  const digits = (value) => Number(value.toPrecision(3)).toLocaleString("en-US");
  const units = {
    count: (v) => (v >= 1e9 ? `${digits(v / 1e9)}B` : v >= 1e6 ? `${digits(v / 1e6)}M` : v >= 1e4 ? `${digits(v / 1e3)}k` : digits(v)),
    usd: (v) => (v === 0 ? "$0" : v < 0.000001 ? "<$0.000001" : `$${Number(v >= 1 ? v : v.toPrecision(3)).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: v >= 1 ? 2 : 8 })}`),
    ms: (v) => (v === 0 ? "0" : v < 1 ? `${digits(v * 1e3)} µs` : v < 1000 ? `${digits(v)} ms` : v < 60000 ? `${digits(v / 1e3)} s` : `${digits(v / 6e4)} min`),
  };

  // A custom property may hold a pair of colours; an element that wears it knows which one counts.
  const color = (element, property) => {
    element.style.color = `var(${property})`;
    const resolved = getComputedStyle(element).color;
    element.style.color = "";
    return resolved;
  };

  const zoom = (from, to) => {
    const url = new URL(location.href);
    for (const name of ["range", "cursor"]) url.searchParams.delete(name);
    url.searchParams.set("from", new Date(from * 1000).toISOString());
    url.searchParams.set("to", new Date(to * 1000).toISOString());
    // The router listens for this, so the page stays and only its data changes.
    const link = document.createElement("a");
    link.href = url;
    document.body.append(link);
    link.click();
    link.remove();
  };

  class Chart extends HTMLElement {
    static observedAttributes = ["data-spec"];
    connectedCallback() {
      this.observer = new ResizeObserver(() => this.plot?.setSize(this.size()));
      this.observer.observe(this.parentElement);
      this.watcher = new MutationObserver(() => this.draw());
      this.watcher.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
      this.media = matchMedia("(prefers-color-scheme: dark)");
      this.redraw = () => this.draw();
      this.media.addEventListener("change", this.redraw);
      this.draw();
    }
    disconnectedCallback() {
      this.observer.disconnect();
      this.watcher.disconnect();
      this.media.removeEventListener("change", this.redraw);
      this.plot?.destroy();
      this.plot = null;
    }
    attributeChangedCallback() {
      if (this.observer) this.draw();
    }
    size() {
      return { width: this.parentElement.clientWidth, height: this.parentElement.clientHeight };
    }
    async draw() {
      if (!charts) return;
      let uPlot;
      try {
        uPlot = await load();
      } catch {
        return; // The still picture below stays.
      }
      if (!this.isConnected || !this.dataset.spec) return;
      const spec = JSON.parse(this.dataset.spec);
      this.plot?.destroy();
      this.replaceChildren();
      this.plot = new uPlot(this.options(uPlot, spec), stacked(spec), this);
      this.tip = this.appendChild(Object.assign(document.createElement("div"), { className: "chart-tip" }));
      this.dataset.drawn = "";
    }
    options(uPlot, spec) {
      const format = units[spec.unit];
      const ink = color(this, "--ink-3");
      const line = color(this, "--line");
      const axis = { stroke: ink, font: `11px ${getComputedStyle(this).fontFamily}`, ticks: { show: false }, grid: { stroke: line, width: 1 } };
      return {
        ...this.size(),
        padding: [8, 18, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false, setScale: false } },
        select: { show: true },
        scales: { x: { time: true }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] } },
        axes: [
          { ...axis, grid: { show: false }, space: 64, size: 22, gap: 4, values: (_, splits, __, ___, step) => splits.map((s) => label(s, step)) },
          { ...axis, size: 58, space: 36, values: (_, splits) => splits.map((v) => (spec.unit === "count" && v % 1 ? "" : format(v))) },
        ],
        series: [{}, ...order(spec).map((s) => this.line(uPlot, s))],
        hooks: {
          setSelect: [(u) => u.select.width > 8 && zoom(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"))],
          setCursor: [(u) => this.point(u, spec, format)],
        },
      };
    }
    line(uPlot, series) {
      const stroke = color(this, series.color);
      if (series.mark === "bar") {
        return { stroke, fill: stroke, width: 0, paths: uPlot.paths.bars({ size: [0.78, 40], gap: 1, radius: 0.12 }), points: { show: false } };
      }
      const fill = series.mark === "area" ? stroke.replace(/^rgb\((.*)\)$/, "rgba($1, 0.14)") : undefined;
      return { stroke, fill, width: 1.5, spanGaps: false, points: { show: series.values.filter((v) => v !== null).length < 3 } };
    }
    point(u, spec, format) {
      const at = u.cursor.idx;
      if (at == null || u.cursor.left < 0) {
        this.tip && (this.tip.style.display = "none");
        return;
      }
      const row = (s) => {
        const item = document.createElement("span");
        const name = document.createElement("em");
        name.style.fontStyle = "normal";
        const swatch = document.createElement("i");
        swatch.style.background = `var(${s.color})`;
        name.append(swatch, s.label);
        item.append(name, s.values[at] == null ? "–" : format(s.values[at]));
        return item;
      };
      const when = document.createElement("b");
      when.textContent = new Date(spec.times[at] * 1000).toLocaleString(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
      this.tip.replaceChildren(when, ...spec.series.map(row));
      this.tip.style.display = "block";
      const left = u.cursor.left + 70;
      this.tip.style.left = `${left + 150 > u.width ? left - 80 - this.tip.offsetWidth : left + 10}px`;
      this.tip.style.top = "14px";
    }
  }

  const pad = (n) => String(n).padStart(2, "0");
  const label = (seconds, step) => {
    const d = new Date(seconds * 1000);
    if (step >= 86400 || (d.getHours() === 0 && d.getMinutes() === 0)) return d.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
    return `${pad(d.getHours())}:${pad(d.getMinutes())}`;
  };

  // Bars stand on each other: the taller sum is drawn first, so the first series lies in front of it.
  const order = (spec) => (spec.series[0].mark === "bar" ? [...spec.series].reverse() : spec.series);
  const stacked = (spec) => {
    if (spec.series[0].mark !== "bar") return [spec.times, ...spec.series.map((s) => s.values)];
    const sums = [];
    let below = spec.times.map(() => 0);
    for (const series of spec.series) {
      below = below.map((v, i) => v + (series.values[i] ?? 0));
      sums.unshift(below);
    }
    return [spec.times, ...sums];
  };

  customElements.define("ct-chart", Chart);

  // Filters apply when a choice is made; blank fields stay out of the URL.
  document.addEventListener("change", (event) => {
    const form = event.target.closest?.("form[data-autosubmit]");
    if (form && event.target.name) form.requestSubmit();
  });
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-autosubmit]");
    if (!form) return;
    event.preventDefault();
    const url = new URL(form.getAttribute("action"), location.href);
    for (const [name, value] of new FormData(form)) if (String(value).trim()) url.searchParams.append(name, value);
    const link = document.createElement("a");
    link.href = url;
    document.body.append(link);
    link.click();
    link.remove();
  });

  // `/` searches; j and k walk the rows; Escape closes what floats.
  document.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.key === "Escape") {
      document.querySelectorAll("details.popover[open]").forEach((popover) => popover.removeAttribute("open"));
      if (event.target.matches?.("input[type=search]")) event.target.blur();
      return;
    }
    if (event.target.closest?.("input, select, textarea, [contenteditable]")) return;
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) {
        event.preventDefault();
        search.focus();
        search.select();
      }
    } else if (event.key === "j" || event.key === "k") {
      const rows = [...document.querySelectorAll("[data-rows] .row-link")];
      const next = rows.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
      rows[Math.max(0, Math.min(rows.length - 1, next))]?.focus();
    }
  });
  document.addEventListener("click", (event) => {
    document.querySelectorAll("details.popover[open]").forEach((popover) => popover.contains(event.target) || popover.removeAttribute("open"));
  });
})();
