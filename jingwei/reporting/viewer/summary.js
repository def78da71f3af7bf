// The first view's line: how good the map is, or how to find out, and what made it.
"use strict";

const summary = {
  write() {
    byId("figures").replaceChildren(...[...this.figures(), ...this.repeatable()].map(({ name, value, hint, id }) => element("div", {},
      element("dt", { text: name }),
      element("dd", {}, element("b", {}, ...(id === undefined ? [] : [swatch(id)]), value), element("small", { text: hint })))));
    const { better, miou } = REPORT.delivered || {};
    byId("better").hidden = !better;
    if (better) byId("better").textContent = word("better")(stageName(better.name), number(better.miou, 4), number(miou, 4));
    this.writeNext();
    this.writeMade();
  },

  figures() {
    const { delivered, scenes } = REPORT, scene = look.scene;
    if (delivered) return this.scored(delivered, scene);
    if (scene && scene.sure && scene.sure.mean !== null) {
      const { layer, mean, below, share } = scene.sure;
      return [
        { name: word("mean")[layer], value: `${number(mean, 1)} %`, hint: word("meanHint")[layer] },
        { name: word("doubt")(below), value: percent(share), hint: word("doubtHint") },
        { name: word("miou"), value: word("notScored"), hint: word("notScoredHint") },
      ];
    }
    if (scene && scene.stage) {
      return [
        { name: word("miou"), value: word("notScored"), hint: word("notScoredHint") },
        { name: word("howSure"), value: "–", hint: word("howSureHint") },
      ];
    }
    const found = scenes.length ? [{ name: word("title"), value: word("noMap"), hint: word("noMapHint") }] : [];
    return [...found, this.bestRun()];
  },

  /** How many labels change by chance, where predict.py --robustness has found out. */
  repeatable() {
    const robust = look.scene && look.scene.robust;
    if (!robust) return [];
    const hint = word("shiftedHint")(...[robust.flips, robust.light, robust.scale].map((share) => percent(share)));
    return [{ name: word("shifted"), value: percent(robust.shifts), hint }];
  },

  scored(delivered, scene) {
    const found = [
      { name: word("miou"), value: number(delivered.miou, 3), hint: word("miouHint") },
      { name: word("accuracy"), value: percent(delivered.accuracy), hint: word("accuracyHint") },
    ];
    if (delivered.weakest !== null) {
      const hint = word("weakestHint")(number(delivered.weakest_iou, 3));
      found.push({ name: word("weakest"), value: className(delivered.weakest), hint, id: delivered.weakest });
    }
    if (delivered.scenes > 1 && scene && scene.score) {
      const hint = word("sceneHint")(percent(scene.score.accuracy));
      found.push({ name: word("thisScene")(scene.name), value: number(scene.score.miou, 3), hint });
    }
    return found;
  },

  bestRun() {
    const scored = REPORT.experiments.flatMap((run) => run.rows.filter(({ miou }) => typeof miou === "number")
      .map(({ epoch, miou }) => ({ name: `${run.recipe}/${run.exp}`, epoch, miou })));
    if (!scored.length) return { name: word("bestRun"), value: word("noRun"), hint: word("noRunHint") };
    const best = scored.reduce((found, row) => (row.miou > found.miou ? row : found));
    return { name: word("bestRun"), value: number(best.miou, 3), hint: word("bestRunHint")(best.name, best.epoch) };
  },

  /** What to do next where the map is not scored. */
  writeNext() {
    const next = byId("next-step"), mapped = REPORT.scenes.some(({ stage }) => stage);
    next.hidden = Boolean(REPORT.delivered) || !REPORT.scenes.length;
    if (next.hidden) return;
    if (mapped) next.replaceChildren(word("toScore"), commandLine(command("evaluate.py", "--sample")), word("toScoreOr"));
    else next.replaceChildren(commandLine(REPORT.experiments.length ? command("predict.py") : command("train.py", "--train", "--exp", "NAME")));
  },

  writeMade() {
    const stages = [...new Set(REPORT.scenes.filter(({ stage }) => stage).map(({ stage }) => stageName(stage)))];
    const newest = REPORT.scenes.map(({ made }) => made).filter(Boolean).sort().at(-1);
    const facts = [stages.length ? word("mapOf")(stages.join(", ")) : null, newest ? `${word("madeOn")} ${moment(newest)}` : null,
      `${word("version")} ${REPORT.version}`, REPORT.models.length ? `${word("models")}: ${REPORT.models.length}` : null];
    byId("made").textContent = facts.filter(Boolean).join(" · ");
    const networks = new Map(REPORT.experiments.map((run) => [`${run.recipe}_${run.exp}`, run.network]));
    const lines = REPORT.models.map(({ name, score }) => {
      const known = [networks.get(name), score === null ? null : word("validated")(number(score, 4))].filter(Boolean);
      return element("li", {}, element("b", { text: name }), known.length ? ` ${known.join(", ")}` : "");
    });
    if (REPORT.command) lines.push(element("li", {}, `${word("reportCommand")}: `, commandLine(REPORT.command)));
    byId("how-made").hidden = !lines.length;
    byId("how-made-list").replaceChildren(...lines);
  },
};
