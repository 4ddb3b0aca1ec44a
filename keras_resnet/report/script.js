"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("report-data"), images = read("report-images");

  // A cell of a confusion matrix opens its images.
  const dialog = document.getElementById("cell");
  const title = document.getElementById("cell-title");
  const list = dialog.querySelector("ul");
  const element = (tag, text) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const said = (...parts) => parts.map((part, i) => element(i % 2 ? "bdi" : "span", part));
  function open(run, cell) {
    const [truth, taken] = cell.split(",").map(Number);
    const facts = data.runs[run], count = facts.confusion[truth][taken];
    const shown = images[run][cell] || [];
    const what = truth === taken
      ? said("", facts.classes[truth], ", predicted rightly")
      : said("", facts.classes[truth], " taken for ", facts.classes[taken]);
    const number = `: ${count.toLocaleString("en")} image${count === 1 ? "" : "s"}`;
    const part = shown.length < count ? `, of which the ${shown.length} most confident` : "";
    title.replaceChildren(...what, element("span", number + part));
    list.replaceChildren(...shown.map(([name, sure, source, width, height]) => {
      const item = element("li");
      if (source) {
        const image = element("img");
        image.src = source;
        image.alt = `Image ${name}, of the class ${facts.classes[truth]}`;
        if (Math.max(width, height) <= 64) image.className = "pixels";
        item.append(image);
      }
      // Images of a data set that has no files have their positions for names.
      const shownName = /^\d+$/.test(name) ? `image ${name}` : name;
      item.append(element("bdi", shownName), element("br"), `${sure.toFixed(1)} %`);
      return item;
    }));
    dialog.showModal();
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-cell]");
    if (!button) { if (event.target === dialog) dialog.close(); return; }
    const run = (button.dataset.run ? button : button.closest("table")).dataset.run;
    open(Number(run), button.dataset.cell);
  });

  // Arrow keys go from cell to cell; the tabulator enters and leaves the matrix.
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  for (const table of document.querySelectorAll("table.matrix")) {
    const first = table.querySelector("button");
    if (first) first.tabIndex = 0;
    table.addEventListener("keydown", (event) => {
      const step = steps[event.key], from = event.target.closest("td");
      if (!step || !from) return;
      event.preventDefault();
      let x = from.cellIndex, y = from.parentNode.rowIndex, to;
      do {
        x += step[0]; y += step[1];
        to = table.rows[y] && y > 0 && x > 0 ? table.rows[y].cells[x] : null;
      } while (to && !to.firstChild);
      if (!to) return;
      event.target.tabIndex = -1;
      to.firstChild.tabIndex = 0;
      to.firstChild.focus();
    });
  }

  // Loss landscapes: all on one scale, turned together.
  const canvases = [...document.querySelectorAll("canvas.surface")];
  const surfaceOf = (canvas) => data.runs[canvas.dataset.run].surfaces[canvas.dataset.surface];
  const values = canvases.flatMap((canvas) => surfaceOf(canvas).loss.flat()).filter((v) => v !== null);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const view = { turn: 0.7, tilt: 0.55 };
  const share = (value) => (value === null ? 1 : (value - low) / (high - low || 1));
  function colour(part) {
    const place = part * (data.colours.length - 1), i = Math.min(Math.floor(place), data.colours.length - 2);
    const mixed = data.colours[i].map((c, k) => Math.round(c + (data.colours[i + 1][k] - c) * (place - i)));
    return `rgb(${mixed})`;
  }
  function draw(canvas) {
    const { loss } = surfaceOf(canvas), rows = loss.length, columns = loss[0].length;
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = width * 0.75;
    canvas.width = width * ratio; canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const [cosine, sine] = [Math.cos(view.turn), Math.sin(view.turn)];
    const [flat, steep] = [Math.sin(view.tilt), Math.cos(view.tilt)];
    const size = width * 0.285, rise = 1.15;
    const at = (x, y, z) => {
      const across = x * cosine - y * sine, away = x * sine + y * cosine;
      return [width / 2 + across * size, height / 2 + (away * flat - (z - 0.5) * rise * steep) * size, away];
    };
    const point = (i, j) => at(2 * j / (columns - 1) - 1, 2 * i / (rows - 1) - 1, share(loss[i][j]));
    const outline = (corners) => {
      context.beginPath();
      corners.forEach(([x, y]) => context.lineTo(x, y));
      context.closePath();
    };
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--soft");
    context.strokeStyle = ink; context.lineWidth = 0.8;
    outline([at(-1, -1, 0), at(1, -1, 0), at(1, 1, 0), at(-1, 1, 0)]);
    context.stroke();
    const faces = [];
    for (let i = 0; i + 1 < rows; i++) for (let j = 0; j + 1 < columns; j++) {
      const corners = [[i, j], [i, j + 1], [i + 1, j + 1], [i + 1, j]];
      const shares = corners.map(([a, b]) => share(loss[a][b]));
      const drawn = corners.map(([a, b]) => point(a, b));
      faces.push({ drawn, mean: shares.reduce((a, b) => a + b) / 4, away: drawn.reduce((sum, p) => sum + p[2], 0) });
    }
    faces.sort((a, b) => a.away - b.away);
    context.lineWidth = 0.6;
    for (const { drawn, mean } of faces) {
      outline(drawn);
      context.fillStyle = colour(mean); context.strokeStyle = "rgba(0, 0, 0, .28)";
      context.fill(); context.stroke();
    }
  }
  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; canvases.forEach(draw); });
  }
  function turn(across, down) {
    view.turn -= across;
    view.tilt = Math.min(1.4, Math.max(0.05, view.tilt + down));
    redraw();
  }
  for (const canvas of canvases) {
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) turn(event.movementX * 0.01, event.movementY * 0.01);
    });
    canvas.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (step) { event.preventDefault(); turn(step[0] * 0.1, step[1] * 0.1); }
    });
  }
  const shown = (value) => Number(value.toPrecision(3)).toString();
  for (const line of document.querySelectorAll("p.scale")) {
    line.textContent = `Height and colour are the loss, ${shown(low)} to ${shown(high)}.`;
  }
  if (canvases.length) {
    redraw();
    addEventListener("resize", redraw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }
})();
