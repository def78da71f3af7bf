// The curves of all experiments, and the best of each.
"use strict";

const training = {
  write() {
    const runs = REPORT.experiments;
    byId("training").hidden = !runs.length;
    if (!runs.length) return;
    const series = (key) => runs.map((run, i) => ({ style: lineStyle(i), name: `${run.recipe}/${run.exp}`,
      points: run.rows.filter((r) => typeof r[key] === "number").map((r) => [r.epoch, r[key]]) }));
    const charts = [figure(word("validation"), series("miou"), 1), figure(word("loss"), series("loss"), null),
      figure(word("valLoss"), series("val_loss"), null)];
    byId("charts").replaceChildren(...charts.filter(Boolean));
    const byClass = REPORT.legend.classes.map(({ id, name }) => figure(className(id), series(`iou ${name}`), 1, swatch(id))).filter(Boolean);
    byId("class-curves").hidden = !byClass.length;
    byId("class-charts").replaceChildren(...byClass);
    byId("experiment-table").replaceChildren(this.table(runs));
  },

  table(runs) {
    const head = textRow(word("experiment"), word("network"), word("epochs"), word("best"), word("bestAt"), word("lastLoss"));
    return table(head, runs.map((run, i) => {
      const scored = run.rows.filter((r) => typeof r.miou === "number");
      const best = scored.reduce((found, r) => (!found || r.miou > found.miou ? r : found), null);
      const losses = run.rows.filter((r) => typeof r.loss === "number");
      const name = element("th", { scope: "row" }, lineKey(lineStyle(i)), " ", breakable(`${run.recipe}/${run.exp}`));
      return element("tr", {}, name, element("td", { class: "text", text: run.network || "–" }),
        ...[number(run.rows.length), best ? number(best.miou, 4) : "–", best ? number(best.epoch) : "–",
          losses.length ? number(losses.at(-1).loss, 4) : "–"].map((text) => element("td", { text })));
    }));
  },
};
