// Scores of the stages, the confusion matrix, scores by class.
"use strict";

const DIAGONAL = [0, 114, 178], BESIDE = [213, 94, 0]; // right and wrong in the confusion matrix

const scores = {
  write() {
    const { stages } = REPORT;
    for (const id of ["scores", "confusion", "per-class"]) byId(id).hidden = !stages.length;
    if (!stages.length) return;
    byId("scores").classList.toggle("alone", stages.length > 5); // many columns take the page's width
    byId("stage-table").replaceChildren(this.stageTable(stages));
    const choice = byId("stage"), last = stages.length - 1, chosen = choice.value || String(this.deliveredStage(last));
    choice.replaceChildren(...stages.map(({ name }, value) => element("option", { value, text: stageName(name) })));
    choice.value = chosen;
    choice.onchange = () => this.writeStage();
    this.writeStage();
  },

  /** The number of the stage whose map is delivered. */
  deliveredStage(otherwise) {
    const found = REPORT.stages.findIndex(({ name }) => REPORT.delivered?.stages.includes(name));
    return found < 0 ? otherwise : found;
  },

  /** A column a stage, a line a score: stages are few, and their names may be long. */
  stageTable(stages) {
    const { classes, background } = REPORT.legend, most = Math.max(...stages.map((stage) => stage.scenes));
    const lines = [["mIoU", (s) => s.miou]];
    if (background !== null) lines.push([word("withBackground"), (s) => s.miou_with_background]);
    lines.push(["FWIoU", (s) => s.fwiou], ["F1", (s) => s.mean_f1], ["κ", (s) => s.kappa], [word("accuracyRow"), (s) => s.accuracy]);
    const means = lines.map(([name, value]) => this.line(element("th", { scope: "row", text: name }), stages, value));
    const byClass = classes.map(({ id }) => this.line(classHead(id), stages, (s) => s.classes[id].iou));
    const head = row(word("stage"), ...stages.map(({ name, scenes }) => [breakable(stageName(name)),
      scenes < most ? element("small", { text: ` ${word("someScenes")(scenes, most)}` }) : null].filter(Boolean)));
    const between = element("tr", { class: "between" }, element("th", { scope: "colgroup", colspan: stages.length + 1, text: word("iouOf") }));
    return table(head, [...means, between, ...byClass], "stages");
  },

  line(head, stages, value) {
    const values = stages.map(value), best = Math.max(...values.map((v) => v ?? -1));
    return element("tr", {}, head, ...values.map((v) => element("td", {
      text: number(v, 4), class: v === best && stages.length > 1 ? "best" : null,
    })));
  },

  /** The confusion matrix and the scores by class of the chosen stage. */
  writeStage() {
    const stage = REPORT.stages[byId("stage").value], { classes } = REPORT.legend;
    const missed = stage.confusion.some((counts) => counts[classes.length] > 0);
    const columns = classes.map(({ id }) => [swatch(id), " ", element("span", { class: "name", text: className(id) })]);
    if (missed) columns.push(word("missed"));
    const paper = themeColor("--card");
    const body = classes.map(({ id }) => {
      const counts = stage.confusion[id], total = counts.reduce((sum, n) => sum + n, 0);
      return element("tr", {}, classHead(id), ...columns.map((_, other) => {
        const share = total ? counts[other] / total : 0;
        const color = mixed(other === id ? DIAGONAL : BESIDE, paper, Math.sqrt(share));
        return element("td", {
          text: total ? number(100 * share, 1) : "–", title: `${number(counts[other])} px`,
          style: { background: `rgb(${color})`, color: inkOn(color) },
        });
      }));
    });
    byId("confusion-table").replaceChildren(table(row("", ...columns), body, "matrix"));
    const head = textRow(word("class"), "IoU", "F1", word("precision"), word("recall"), word("pixels"));
    byId("class-table").replaceChildren(table(head, classes.map(({ id, screen }) => {
      const s = stage.classes[id];
      return element("tr", {}, classHead(id), bar(s.iou, screen), ...[s.f1, s.precision, s.recall].map((v) => element("td", { text: number(v, 3) })),
        element("td", { text: number(s.pixels) }));
    })));
    scrolling.look();
  },
};
