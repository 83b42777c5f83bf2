"use strict";
// The η–V plane: one dot a source. Data come as columns in the element #data.
const D = JSON.parse(document.getElementById("data").textContent);
const N = D.name.length, canvas = document.getElementById("plane"), pen = canvas.getContext("2d");
const pick = id => document.getElementById(id);
const M = {l: 58, r: 14, t: 14, b: 44};
let view = null, home = null, chosen = -1, hover = -1, drag = null, grid = null;

const axes = () => pick("axes").value === "sigma" ? [D.vs, D.es] : [D.v, D.e];
const shown = k => D.snr[k] >= +pick("snr").value && (!pick("only").checked || D.var[k]);
const good = (X, Y, k) => X[k] !== null && Y[k] !== null;
// from Okabe and Ito's blue (0, 114, 178) to their orange (230, 159, 0): told apart by everybody
const colour = k => {
  const s = Math.min(1, Math.max(0, (Math.log10(Math.max(D.snr[k], 1)) - 0.7) / 2));
  return `rgb(${[[0, 230], [114, 159], [178, 0]].map(([from, to]) => Math.round(from + s * (to - from)))})`;
};

function reset() {
  const [X, Y] = axes(); let x0 = 1e9, x1 = -1e9, y0 = 1e9, y1 = -1e9;
  for (let k = 0; k < N; k++) if (good(X, Y, k)) {
    x0 = Math.min(x0, X[k]); x1 = Math.max(x1, X[k]); y0 = Math.min(y0, Y[k]); y1 = Math.max(y1, Y[k]);
  }
  if (x0 > x1) { x0 = y0 = -1; x1 = y1 = 1; }
  const px = 0.04 * (x1 - x0) + 0.05, py = 0.04 * (y1 - y0) + 0.05;
  home = {x0: x0 - px, x1: x1 + px, y0: y0 - py, y1: y1 + py}; view = {...home};
}
const W = () => canvas.clientWidth, H = () => canvas.clientHeight;
const sx = x => M.l + (x - view.x0) / (view.x1 - view.x0) * (W() - M.l - M.r);
const sy = y => H() - M.b - (y - view.y0) / (view.y1 - view.y0) * (H() - M.t - M.b);
const ux = s => view.x0 + (s - M.l) / (W() - M.l - M.r) * (view.x1 - view.x0);
const uy = s => view.y0 + (H() - M.b - s) / (H() - M.t - M.b) * (view.y1 - view.y0);
const step = span => { const p = 10 ** Math.floor(Math.log10(span / 5)); return [1, 2, 5, 10].map(f => f * p).find(s => span / s <= 8); };
const digits = s => Math.max(0, -Math.floor(Math.log10(s) + 1e-9));

function draw() {
  const dpr = window.devicePixelRatio || 1, w = W(), h = H(), sigma = pick("axes").value === "sigma";
  canvas.width = w * dpr; canvas.height = h * dpr; pen.setTransform(dpr, 0, 0, dpr, 0, 0);
  pen.clearRect(0, 0, w, h); pen.font = "12px system-ui,sans-serif"; pen.strokeStyle = "#e7eaef"; pen.fillStyle = "#667";
  const labelled = (v, s) => sigma ? v.toFixed(digits(s)) : String(+(10 ** v).toPrecision(2));
  const kx = step(view.x1 - view.x0), ky = step(view.y1 - view.y0);
  pen.textAlign = "center";
  for (let v = Math.ceil(view.x0 / kx) * kx; v <= view.x1; v += kx) { line(sx(v), M.t, sx(v), h - M.b); pen.fillText(labelled(v, kx), sx(v), h - M.b + 16); }
  pen.textAlign = "right";
  for (let v = Math.ceil(view.y0 / ky) * ky; v <= view.y1; v += ky) { line(M.l, sy(v), w - M.r, sy(v)); pen.fillText(labelled(v, ky), M.l - 6, sy(v) + 4); }
  pen.textAlign = "center"; pen.fillStyle = "#1c2430";
  pen.fillText(sigma ? "V above the population (σ)" : "V, standard deviation over mean", (w + M.l) / 2, h - 8);
  pen.save(); pen.translate(14, h / 2); pen.rotate(-Math.PI / 2); pen.fillText(sigma ? "η above the population (σ)" : "η, reduced χ²", 0, 0); pen.restore();
  pen.save(); pen.beginPath(); pen.rect(M.l, M.t, w - M.l - M.r, h - M.t - M.b); pen.clip();
  if (sigma) { pen.strokeStyle = "#c2410c"; pen.setLineDash([5, 4]); line(sx(D.threshold), M.t, sx(D.threshold), h - M.b); line(M.l, sy(D.threshold), w - M.r, sy(D.threshold)); pen.setLineDash([]); }
  const [X, Y] = axes(); grid = new Map(); let n = 0;
  for (let k = 0; k < N; k++) {
    if (!good(X, Y, k) || !shown(k)) continue;
    const x = sx(X[k]), y = sy(Y[k]); n++;
    if (x < M.l || x > w - M.r || y < M.t || y > h - M.b) continue;
    pen.fillStyle = colour(k); pen.globalAlpha = D.var[k] ? 1 : 0.55;
    pen.beginPath(); pen.arc(x, y, D.var[k] ? 4 : 2.2, 0, 6.3); pen.fill();
    const cell = (x >> 4) + "," + (y >> 4); (grid.get(cell) || grid.set(cell, []).get(cell)).push(k);
  }
  pen.globalAlpha = 1; pen.lineWidth = 2;
  for (const [k, c] of [[hover, "#888"], [chosen, "#111"]]) if (k >= 0 && good(X, Y, k)) { pen.strokeStyle = c; pen.beginPath(); pen.arc(sx(X[k]), sy(Y[k]), 7, 0, 6.3); pen.stroke(); }
  pen.lineWidth = 1; pen.restore();
  pick("count").textContent = n + " of " + N + " sources";
}
function line(a, b, c, d) { pen.beginPath(); pen.moveTo(a, b); pen.lineTo(c, d); pen.stroke(); }

function nearest(event) {
  const box = canvas.getBoundingClientRect(), mx = event.clientX - box.left, my = event.clientY - box.top, [X, Y] = axes();
  let best = -1, dist = 200;
  for (let i = -1; i <= 1; i++) for (let j = -1; j <= 1; j++) for (const k of (grid.get(((mx >> 4) + i) + "," + ((my >> 4) + j)) || [])) {
    const d = (sx(X[k]) - mx) ** 2 + (sy(Y[k]) - my) ** 2; if (d < dist) { dist = d; best = k; }
  }
  return best;
}
function show(k) {
  chosen = k; draw(); if (k < 0) return;
  const put = (a, b) => `<dt>${a}</dt><dd>${b}</dd>`, lin = v => v === null ? "none" : (10 ** v).toPrecision(3);
  pick("detail").innerHTML = `<h2>${D.name[k]}</h2><dl>` + put("flux", (1e3 * D.flux[k]).toPrecision(4) + " mJy") + put("signal to noise", D.snr[k].toPrecision(3))
    + put("epochs", D.n[k]) + put("η", lin(D.e[k]) + (D.es[k] === null ? "" : `, ${D.es[k]} σ`)) + put("V", lin(D.v[k]) + (D.vs[k] === null ? "" : `, ${D.vs[k]} σ`))
    + put("V<sub>s</sub>, m", D.pair[k] === null ? "none" : `${D.pair[k][0]}, ${D.pair[k][1]}`) + "</dl>"
    + (D.curves[D.name[k]] ? curve(D.curves[D.name[k]]) : "") + `<p class=small><code>contimg lightcurve ${D.name[k]}</code> prints and plots every point.</p>`;
}
function curve(c) { // days, mJy, errors in mJy
  const w = 430, h = 170, lo = Math.min(...c.f.map((f, i) => f - c.e[i])), hi = Math.max(...c.f.map((f, i) => f + c.e[i]));
  const x = t => 46 + (t - c.t[0]) / Math.max(c.t[c.t.length - 1] - c.t[0], 1e-9) * (w - 56), y = f => h - 24 - (f - lo) / Math.max(hi - lo, 1e-9) * (h - 34);
  let s = `<svg viewBox="0 0 ${w} ${h}" width="100%" font-size="11" fill="#667"><text x="42" y="${y(hi) + 8}" text-anchor="end">${hi.toPrecision(3)}</text><text x="42" y="${y(lo)}" text-anchor="end">${lo.toPrecision(3)}</text><text x="46" y="${h - 6}">MJD ${c.t[0].toFixed(0)}</text><text x="${w - 8}" y="${h - 6}" text-anchor="end">${c.t[c.t.length - 1].toFixed(0)}, mJy</text>`;
  c.t.forEach((t, i) => { s += `<path d="M${x(t).toFixed(1)} ${y(c.f[i] - c.e[i]).toFixed(1)}V${y(c.f[i] + c.e[i]).toFixed(1)}" stroke="#9ab"/><circle cx="${x(t).toFixed(1)}" cy="${y(c.f[i]).toFixed(1)}" r="2" fill="#2457a6"/>`; });
  return s + "</svg>";
}
canvas.onmousemove = e => {
  if (drag) { const dx = ux(drag.x) - ux(e.clientX), dy = uy(drag.y) - uy(e.clientY); view.x0 += dx; view.x1 += dx; view.y0 += dy; view.y1 += dy; drag = {x: e.clientX, y: e.clientY, moved: true}; return draw(); }
  const k = nearest(e); if (k !== hover) { hover = k; canvas.title = k < 0 ? "" : D.name[k]; draw(); }
};
canvas.onmousedown = e => { drag = {x: e.clientX, y: e.clientY, moved: false}; };
window.onmouseup = () => { setTimeout(() => { drag = null; }, 0); };
canvas.onclick = e => { if (!drag || !drag.moved) show(nearest(e)); };
canvas.ondblclick = () => { view = {...home}; draw(); };
canvas.onwheel = e => {
  e.preventDefault(); const box = canvas.getBoundingClientRect(), f = e.deltaY > 0 ? 1.2 : 1 / 1.2, x = ux(e.clientX - box.left), y = uy(e.clientY - box.top);
  view = {x0: x + (view.x0 - x) * f, x1: x + (view.x1 - x) * f, y0: y + (view.y0 - y) * f, y1: y + (view.y1 - y) * f}; draw();
};
pick("axes").onchange = () => { reset(); draw(); };
pick("snr").oninput = draw; pick("only").onchange = draw; window.onresize = draw;
pick("find").oninput = () => { const text = pick("find").value.trim().toUpperCase(); if (text) show(D.name.findIndex(n => n.includes(text))); };
document.querySelectorAll("[data-source]").forEach(a => { a.onclick = () => { show(D.name.indexOf(a.dataset.source)); canvas.scrollIntoView({block: "center"}); return false; }; });
reset(); draw(); show(D.name.indexOf(D.first));
