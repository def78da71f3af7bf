// The numbers below: scores, confusion matrix, training curves, areas, what filling changed.
"use strict";

// Okabe and Ito's colours, which people with any colour vision can tell apart; yellow is too light for a line.
const LINES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D"];
const DASHES = ["", "6 3", "2 3"];

const numbers = {
  /** Writes all tables and charts, in the page's language. */
  write() {
    this.writeScores();
    this.writeTraining();
    this.writeAreas();
    this.writeFilling();
  },

  writeScores() {
    const stages = REPORT.stages.map((stage) => [stage.name, stage]);
    for (const id of ["scores", "confusion", "per-class"]) byId(id).hidden = !stages.length;
    if (!stages.length) return;
    const { classes, background } = REPORT.legend;
    const columns = [["mIoU", (s) => s.miou]];
    if (background !== null) columns.push([`mIoU ${word("background")}`, (s) => s.miou_with_background]);
    columns.push(["FWIoU", (s) => s.fwiou], ["F1", (s) => s.mean_f1], ["κ", (s) => s.kappa], [word("accuracy"), (s) => s.accuracy]);
    const means = columns.length;
    for (const { id } of classes) columns.push([className(id), (s) => s.classes[id].iou, id]);
    const best = columns.map(([, value]) => Math.max(...stages.map(([, s]) => value(s) ?? -1)));
    const head = row(word("stage"), ...columns.map(([name, , id]) => (id === undefined ? name : [swatch(id), ` ${name}`])));
    const body = stages.map(([name, s]) => element("tr", {}, element("th", { scope: "row", text: stageName(name) }),
      ...columns.map(([, value], i) => element("td", {
        text: number(value(s), 4), class: [value(s) === best[i] && stages.length > 1 ? "best" : "", i === means ? "first" : ""].join(" ").trim() || null,
      }))));
    byId("stage-table").replaceChildren(table(head, body));
    const choice = byId("stage"), chosen = choice.value || stages[stages.length - 1][0];
    choice.replaceChildren(...stages.map(([value]) => element("option", { value, text: stageName(value) })));
    choice.value = chosen;
    choice.onchange = () => this.writeStage();
    this.writeStage();
  },

  /** The confusion matrix and the scores by class of the chosen stage. */
  writeStage() {
    const scores = REPORT.stages.find(({ name }) => name === byId("stage").value), { classes } = REPORT.legend;
    const missed = scores.confusion.some((counts) => counts[classes.length] > 0);
    const columns = classes.map(({ id }) => [swatch(id), ` ${className(id)}`]).concat(missed ? [word("missed")] : []);
    const body = classes.map(({ id }) => {
      const counts = scores.confusion[id], total = counts.reduce((sum, n) => sum + n, 0);
      return element("tr", {}, element("th", { scope: "row" }, swatch(id), ` ${className(id)}`),
        ...columns.map((_, other) => {
          const share = total ? counts[other] / total : 0, color = other === id ? "0, 114, 178" : "213, 94, 0";
          const dark = share > 0.55;
          return element("td", {
            text: total ? number(100 * share, 1) : "–", title: `${number(counts[other])} px`,
            style: { background: `rgba(${color}, ${Math.sqrt(share)})`, color: dark ? "#fff" : "" },
          });
        }));
    });
    byId("confusion-table").replaceChildren(table(row("", ...columns), body, "matrix"));
    const head = textRow(word("class"), "IoU", "F1", word("precision"), word("recall"), word("pixels"));
    byId("class-table").replaceChildren(table(head, classes.map(({ id }) => {
      const s = scores.classes[id];
      return element("tr", {}, element("th", { scope: "row" }, swatch(id), ` ${className(id)}`),
        bar(s.iou, REPORT.legend.classes[id].color), ...[s.f1, s.precision, s.recall].map((v) => element("td", { text: number(v, 3) })),
        element("td", { text: number(s.pixels) }));
    })));
  },

  writeTraining() {
    const runs = REPORT.experiments;
    byId("training").hidden = !runs.length;
    if (!runs.length) return;
    const style = (i) => ({ color: LINES[i % LINES.length], dash: DASHES[Math.floor(i / LINES.length) % DASHES.length] });
    const series = (key) => runs.map((run, i) => ({ ...style(i), name: `${run.recipe}/${run.exp}`,
      points: run.rows.filter((r) => typeof r[key] === "number").map((r) => [r.epoch, r[key]]) }));
    const charts = [[word("validation"), series("miou"), 1], [word("loss"), series("loss"), null],
      [word("valLoss"), series("val_loss"), null]];
    byId("charts").replaceChildren(...charts.filter(([, lines]) => lines.some(({ points }) => points.length))
      .map(([title, lines, top]) => element("figure", {}, element("figcaption", { text: title }), chart(title, lines, top))));
    const head = textRow(word("experiment"), word("network"), word("epochs"), word("best"), word("bestAt"), word("lastLoss"));
    byId("experiment-table").replaceChildren(table(head, runs.map((run, i) => {
      const scored = run.rows.filter((r) => typeof r.miou === "number");
      const best = scored.reduce((found, r) => (!found || r.miou > found.miou ? r : found), null);
      const losses = run.rows.filter((r) => typeof r.loss === "number");
      return element("tr", {}, element("th", { scope: "row" }, key(style(i)), ` ${run.recipe}/${run.exp}`), element("td", { class: "text", text: run.network || "–" }),
        ...[number(run.rows.length), best ? number(best.miou, 4) : "–", best ? number(best.epoch) : "–",
          losses.length ? number(losses[losses.length - 1].loss, 4) : "–"].map((text) => element("td", { text })));
    })));
  },

  writeAreas() {
    const scenes = REPORT.scenes.filter(({ areas }) => areas), { classes } = REPORT.legend;
    byId("areas").hidden = !scenes.length;
    if (!scenes.length) return;
    const stages = [...new Set(scenes.map(({ stage }) => stageName(stage)))].join(", ");
    byId("areas").classList.toggle("several", scenes.length > 1);
    byId("areas-note").textContent = word("areasNote")(stages);
    byId("area-table").replaceChildren(...scenes.map((scene) => {
      const counts = scene.areas.classes, total = counts.reduce((sum, n) => sum + n, 0), { hectares } = scene;
      const most = Math.max(...counts, 1);
      const head = textRow(word("class"), word("share"), ...(hectares ? [word("hectares")] : []), word("pixels"));
      const cells = (n) => [...(hectares ? [number(n * hectares, 2)] : []), number(n)].map((text) => element("td", { text }));
      const body = classes.map(({ id, color }) => element("tr", {}, element("th", { scope: "row" }, swatch(id), ` ${className(id)}`),
        bar(total ? counts[id] / total : 0, color, counts[id] / most, true), ...cells(counts[id])));
      body.push(element("tr", { class: "total" }, element("th", { scope: "row", text: word("total") }), element("td", {}), ...cells(total)));
      return element("div", {}, scenes.length > 1 ? element("h3", { text: scene.name }) : null, table(head, body));
    }));
  },

  writeFilling() {
    const scenes = REPORT.scenes.filter(({ changed }) => changed), { classes } = REPORT.legend;
    byId("filling").hidden = !scenes.length;
    if (!scenes.length) return;
    const sum = (from, to) => scenes.reduce((all, { changed }) => all + changed[from][to], 0);
    let changed = 0, total = 0;
    for (const from of classes.keys()) {
      for (const to of classes.keys()) {
        total += sum(from, to);
        if (from !== to) changed += sum(from, to);
      }
    }
    byId("filling-note").textContent = word("fillingNote")(number(changed), percent(total ? changed / total : 0, 2));
    const body = classes.map(({ id }) => {
      const others = classes.filter((other) => other.id !== id);
      const gained = others.reduce((all, other) => all + sum(other.id, id), 0), lost = others.reduce((all, other) => all + sum(id, other.id), 0);
      return element("tr", {}, element("th", { scope: "row" }, swatch(id), ` ${className(id)}`), ...[gained, lost].map((n) => element("td", { text: number(n) })));
    });
    const head = row(word("class"), `${word("gained")} (px)`, `${word("lost")} (px)`);
    byId("filling-table").replaceChildren(table(head, body));
  },
};

function row(...cells) {
  return element("tr", {}, ...cells.map((cell) => element("th", { scope: "col" }, ...[cell].flat())));
}

/** A head whose second column is text or bars, which begin at the left. */
function textRow(...cells) {
  const made = row(...cells);
  made.children[1].className = "text";
  return made;
}

function table(head, body, kind = null) {
  return element("table", { class: kind }, element("thead", {}, head), element("tbody", {}, ...body));
}

/** A cell with a share and a bar of it. */
function bar(share, color, length = share, asPercent = false) {
  const text = share === null ? "–" : asPercent ? percent(share) : number(share, 3);
  const filled = element("i", { style: { width: `${100 * (length ?? 0)}%`, background: color } });
  return element("td", { class: "bar" }, element("span", { text }), element("span", { class: "track" }, filled));
}

/** A short piece of a line, as it is in the charts. */
function key({ color, dash }) {
  return drawn("svg", { class: "key", viewBox: "0 0 22 8", "aria-hidden": "true" },
    drawn("path", { d: "M0 4H22", stroke: color, "stroke-dasharray": dash, "stroke-width": 2.5 }));
}

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Lines over epochs. `top` is where the scale ends; null: where the values do. */
function chart(title, lines, top) {
  const width = 520, height = 260, left = 44, right = 12, upper = 10, lower = 34;
  const points = lines.flatMap((line) => line.points);
  const last = Math.max(2, ...points.map(([x]) => x)), highest = top ?? (Math.max(...points.map(([, y]) => y)) || 1);
  const step = niceStep(highest / 5), end = top ?? Math.ceil(highest / step) * step;
  const x = (epoch) => left + ((epoch - 1) / (last - 1)) * (width - left - right);
  const y = (value) => upper + (1 - value / end) * (height - upper - lower);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  const text = (content, attributes) => {
    const made = drawn("text", attributes);
    made.textContent = content;
    svg.append(made);
  };
  for (let value = 0; value <= end + 1e-9; value += step) {
    svg.append(drawn("path", { d: `M${left} ${y(value)}H${width - right}`, class: value ? "grid" : "axis" }));
    text(number(value, step < 0.1 ? 2 : step < 1 ? 1 : 0), { x: left - 8, y: y(value) + 4, "text-anchor": "end" });
  }
  const every = Math.max(1, Math.ceil(niceStep(last / 6)));
  for (let epoch = 1; epoch <= last; epoch += epoch === 1 && every > 1 ? every - 1 : every) {
    text(number(epoch), { x: x(epoch), y: height - lower + 18, "text-anchor": "middle" });
  }
  text(word("epoch"), { x: width - right, y: height - 2, "text-anchor": "end" });
  for (const { name, color, dash, points } of lines) {
    const d = points.map(([epoch, value], i) => `${i ? "L" : "M"}${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    svg.append(drawn("path", { d, class: "line", stroke: color, "stroke-dasharray": dash }));
    for (const [epoch, value] of points) {
      const dot = drawn("circle", { cx: x(epoch), cy: y(value), r: points.length > 60 ? 1.5 : 3, fill: color }, drawn("title", {}));
      dot.firstChild.textContent = `${name}: ${word("epoch")} ${epoch}, ${number(value, 4)}`;
      svg.append(dot);
    }
  }
  return svg;
}

/** 1, 2 or 5 times a power of ten, `rough` at least. */
function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  return [1, 2, 5, 10].find((digit) => digit * power >= rough * 0.999) * power;
}
