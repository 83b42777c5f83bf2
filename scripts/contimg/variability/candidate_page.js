"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const points = data.points, n = points.mjd.length, W = 1100, LEFT = 64, RIGHT = 14;
  const SVG = "http://www.w3.org/2000/svg";
  const lowest = Math.min(...points.mjd), highest = Math.max(...points.mjd);
  const pad = Math.max(0.5, 0.02 * (highest - lowest));
  const X = (mjd) => LEFT + (W - LEFT - RIGHT) * (mjd - lowest + pad) / (highest - lowest + 2 * pad);
  const median = (values) => {
    const sorted = values.filter((v) => v !== null).sort((a, b) => a - b);
    return sorted.length ? sorted[Math.floor(sorted.length / 2)] : NaN;
  };
  const add = (parent, name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.appendChild(made);
    return made;
  };
  const ticks = (low, high, count) => {
    const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= raw);
    const found = [];
    for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * step; v += step) found.push(+v.toPrecision(8));
    return found;
  };
  const frame = (id, height, values, label) => {
    const svg = document.getElementById(id);
    const known = values.filter((v) => v !== null && isFinite(v));
    let low = Math.min(...known), high = Math.max(...known);
    if (!known.length) { low = 0; high = 1; }
    const margin = 0.06 * (high - low || Math.abs(high) || 1);
    low -= margin; high += margin;
    const bottom = height - 24, Y = (v) => bottom - (bottom - 8) * (v - low) / (high - low);
    add(svg, "rect", {x: X(data.event[0]), y: 8, width: Math.max(1, X(data.event[1]) - X(data.event[0])),
      height: bottom - 8, fill: "#eef3fb"});
    for (const v of ticks(low, high, 4)) {
      add(svg, "line", {x1: LEFT, x2: W - RIGHT, y1: Y(v), y2: Y(v), class: "axis", "stroke-dasharray": "2 4"});
      add(svg, "text", {x: LEFT - 6, y: Y(v) + 4, "text-anchor": "end"}, String(v));
    }
    for (const v of ticks(lowest - pad, highest + pad, 8)) {
      add(svg, "line", {x1: X(v), x2: X(v), y1: bottom, y2: bottom + 4, class: "axis"});
      add(svg, "text", {x: X(v), y: bottom + 17, "text-anchor": "middle"}, String(v));
    }
    add(svg, "line", {x1: LEFT, x2: W - RIGHT, y1: bottom, y2: bottom, class: "axis"});
    add(svg, "text", {x: 12, y: (bottom + 8) / 2, transform: `rotate(-90 12 ${(bottom + 8) / 2})`,
      "text-anchor": "middle"}, label);
    return [svg, Y];
  };
  const line = (svg, Y, x, y, colour, width) => {
    const path = x.map((v, k) => `${k ? "L" : "M"}${X(v).toFixed(1)} ${Y(y[k]).toFixed(1)}`).join("");
    add(svg, "path", {d: path, fill: "none", stroke: colour, "stroke-width": width});
  };

  // the light curve
  const flux = points.flux_norm.map((v) => v === null ? null : 1e3 * v);
  const error = points.flux_norm_err.map((v) => v === null ? 0 : 1e3 * v);
  const ratio = points.flux_vis_jy ? median(points.flux_norm) / median(points.flux_vis_jy) : NaN;
  const vis = isFinite(ratio) ? points.flux_vis_jy.map((v) => v === null ? null : 1e3 * v * ratio) : [];
  const model = data.model.flux.map((v) => 1e3 * v);
  const ends = flux.flatMap((v, k) => v === null ? [] : [v - error[k], v + error[k]]);
  const [curve, Y] = frame("curve", 330, [...ends, ...model, ...vis], "flux density, mJy");
  vis.forEach((v, k) => v !== null &&
    add(curve, "circle", {cx: X(points.mjd[k]), cy: Y(v), r: 3, fill: "none", stroke: "#d8973c"}));
  line(curve, Y, data.model.mjd, model, "#d9534f", 1.6);
  const first = X(data.first);
  add(curve, "line", {x1: first, x2: first, y1: 8, y2: 306, stroke: "#3aa657", "stroke-dasharray": "4 3"});
  add(curve, "text", {x: first + 4, y: 18}, "first alert");
  const dots = flux.map((v, k) => {
    if (v === null) return null;
    add(curve, "line", {x1: X(points.mjd[k]), x2: X(points.mjd[k]), y1: Y(v - error[k]), y2: Y(v + error[k]),
      stroke: "#9db6de"});
    const dot = add(curve, "circle", {cx: X(points.mjd[k]), cy: Y(v), r: 3.6, fill: "#2457a6"});
    dot.addEventListener("click", () => show(k));
    return dot;
  });

  // neighbours and references
  const names = Object.keys(data.others), colours = ["#7a8699", "#3aa657", "#9b7bea", "#d8973c", "#2f9aa0", "#c05c9e"];
  const all = names.flatMap((name) => data.others[name].flux);
  const [beside, Yo] = frame("others", 170, all.length ? all : [0.9, 1.1], "over median");
  names.forEach((name, number) => {
    const other = data.others[name], colour = colours[number % colours.length];
    other.mjd.forEach((mjd, k) => mjd >= lowest - pad && mjd <= highest + pad && other.flux[k] !== null &&
      add(beside, "circle", {cx: X(mjd), cy: Yo(other.flux[k]), r: 1.8, fill: colour}));
    add(beside, "text", {x: LEFT + 6 + 170 * number, y: 18, style: `fill:${colour}`}, name);
  });

  // in the band
  const rows = data.spectrum, dynamic = document.getElementById("spectrum");
  const most = Math.max(0.05, ...rows.flat().filter((v) => v !== null).map(Math.abs).sort((a, b) => a - b)
    .slice(0, Math.ceil(0.98 * 4 * Math.max(n, 1))));
  const width = Math.max(2, (W - LEFT - RIGHT) / Math.max(8, highest - lowest + 2 * pad));
  rows.forEach((bands, k) => bands.forEach((v, band) => {
    if (v === null) return;
    const part = Math.max(-1, Math.min(1, v / most)), fade = Math.round(255 * (1 - Math.abs(part)));
    add(dynamic, "rect", {x: X(points.mjd[k]) - width / 2, y: 84 - 20 * (band + 1) + 4, width, height: 20,
      fill: part < 0 ? `rgb(${fade},${fade},255)` : `rgb(255,${fade},${fade})`});
  }));
  data.measured.forEach((known, k) => known &&
    add(dynamic, "rect", {x: X(points.mjd[k]) - width / 2, y: 85, width, height: 3, fill: "#222"}));
  add(dynamic, "text", {x: 4, y: 20}, "1.50 GHz");
  add(dynamic, "text", {x: 4, y: 86}, "1.31 GHz");
  add(dynamic, "text", {x: LEFT, y: 104}, rows.length
    ? `blue ${(-100 * most).toFixed(0)} %, red +${(100 * most).toFixed(0)} %` : "no spectral indices");
  if (points.band_slope) {
    const at = points.band_slope;
    const bar = points.band_slope_err || at.map(() => 0);
    const [slope, Ys] = frame("slope", 190, [...at, ...data.model.slope], "spectral index");
    at.forEach((v, k) => {
      if (v === null) return;
      add(slope, "line", {x1: X(points.mjd[k]), x2: X(points.mjd[k]), y1: Math.max(8, Ys(v + bar[k])),
        y2: Math.min(166, Ys(v - bar[k])), stroke: "#d5dcea"});
      add(slope, "circle", {cx: X(points.mjd[k]), cy: Ys(v), r: 2, fill: "#7a8699"});
    });
    line(slope, Ys, data.model.mjd, data.model.slope, "#d9534f", 1.6);
  }

  // the clicked epoch
  const words = {mjd: "MJD, UTC", flux_norm: "flux, Jy", flux_norm_err: "its error, Jy", flux_vis_jy: "from the visibilities, Jy",
    band_slope: "spectral index", pb: "primary beam", beam_distance_deg: "from the beam's middle, °",
    pointing_dec_deg: "pointing, °", calibrator: "calibrator", caltable: "caltables", solar_elongation_deg: "from the Sun, °",
    hour_ut: "hour, UT", zero_point: "zero point", local_rms_jy: "local rms, Jy", mosaic: "mosaic", n_tiles: "tiles",
    flags: "flags", software: "software"};
  const cut = document.getElementById("cut"), note = document.getElementById("cutnote");
  const strip = document.getElementById("strip"), small = {};
  const show = (k) => {
    dots.forEach((dot, at) => dot && dot.setAttribute("fill", at === k ? "#d9534f" : "#2457a6"));
    dots.forEach((dot, at) => dot && dot.setAttribute("r", at === k ? 6 : 3.6));
    const list = document.createElement("dl");
    for (const [name, says] of Object.entries(words)) {
      if (!points[name] || points[name][k] === null) continue;
      const term = document.createElement("dt"), value = document.createElement("dd");
      term.textContent = says;
      const v = points[name][k];
      value.textContent = typeof v === "number" ? String(+v.toPrecision(name === "mjd" ? 9 : 5)) : v;
      list.append(term, value);
    }
    document.getElementById("epoch").replaceChildren(list);
    const png = data.cutouts[k];
    cut.style.visibility = png ? "visible" : "hidden";
    if (png) cut.src = `data:image/png;base64,${png}`;
    note.textContent = png ? `MJD ${points.mjd[k].toFixed(3)}` : "no cut-out of this epoch: its mosaic is not here";
    for (const [at, image] of Object.entries(small)) image.className = Number(at) === k ? "on" : "";
  };
  for (const [k, png] of Object.entries(data.cutouts)) {
    const image = document.createElement("img");
    image.src = `data:image/png;base64,${png}`;
    image.title = `MJD ${points.mjd[k].toFixed(2)}`;
    image.alt = image.title;
    image.addEventListener("click", () => show(Number(k)));
    strip.append(image);
    small[k] = image;
  }
  const inside = points.mjd.map((mjd, k) => k).filter((k) => points.mjd[k] >= data.event[0] && points.mjd[k] <= data.event[1]);
  const deepest = (inside.length ? inside : points.mjd.map((mjd, k) => k)).reduce((best, k) =>
    Math.abs(flux[k] - 1e3 * median(points.flux_norm)) > Math.abs(flux[best] - 1e3 * median(points.flux_norm)) ? k : best);
  show(deepest);
})();
