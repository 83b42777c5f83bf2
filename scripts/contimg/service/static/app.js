"use strict";
const csrf = document.querySelector("meta[name=csrf]").content;
const root = document.querySelector("meta[name=root]").content;

for (const button of document.querySelectorAll("button[data-post]")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    const answer = await fetch(button.dataset.post, { method: "POST", headers: { "X-CSRF-Token": csrf } });
    if (answer.ok) location.reload();
    else alert((await answer.json()).detail);
  });
}

const log = document.getElementById("log");
if (log) {
  const stream = new EventSource(log.dataset.stream);
  stream.onmessage = (event) => {
    log.textContent = (log.textContent + JSON.parse(event.data).logs).slice(-200000);
    log.scrollTop = log.scrollHeight;
  };
  stream.addEventListener("complete", () => stream.close());
}

const login = document.getElementById("login");
if (login) {
  login.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await fetch(root + "/api/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: login.elements.token.value }),
    });
    if (answer.ok) location.href = root + "/";
    else document.getElementById("said").textContent = (await answer.json()).detail;
  });
}

const canvas = document.getElementById("curve");
if (canvas) {
  fetch(canvas.dataset.curve).then((answer) => answer.json()).then((curve) => {
    const all = [...curve.flux_points, ...curve.normalized_flux_points].filter((point) => point.flux_jy !== null);
    if (!all.length) return;
    const times = all.map((point) => point.mjd), fluxes = all.map((point) => point.flux_jy);
    const span = (values) => [Math.min(...values), Math.max(...values)];
    const [t0, t1] = span(times), [f0, f1] = span([0, ...fluxes.map((flux) => 1.1 * flux)]);
    const paper = canvas.getContext("2d");
    const x = (time) => 60 + ((time - t0) / (t1 - t0 || 1)) * 820;
    const y = (flux) => 280 - ((flux - f0) / (f1 - f0 || 1)) * 260;
    paper.font = "12px sans-serif";
    paper.fillText(f1.toPrecision(3), 5, 24);
    paper.fillText(f0.toPrecision(3), 5, 284);
    paper.fillText(t0.toFixed(1), 60, 298);
    paper.fillText(t1.toFixed(1), 830, 298);
    for (const [points, colour] of [[curve.flux_points, "#999"], [curve.normalized_flux_points, "#000"]]) {
      paper.strokeStyle = paper.fillStyle = colour;
      for (const point of points) {
        if (point.flux_jy === null) continue;
        paper.fillRect(x(point.mjd) - 2, y(point.flux_jy) - 2, 4, 4);
        if (point.flux_err_jy === null) continue;
        paper.beginPath();
        paper.moveTo(x(point.mjd), y(point.flux_jy - point.flux_err_jy));
        paper.lineTo(x(point.mjd), y(point.flux_jy + point.flux_err_jy));
        paper.stroke();
      }
    }
  });
}
