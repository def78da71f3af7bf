// All words of the page, in English and Chinese, and how numbers are written.
"use strict";

const WORDS = {
  en: {
    title: "Map report", scene: "Scene", skip: "Go to the numbers", keys: "Keys", key: "key", close: "Close", other: "中文",
    viewer: "Scene and maps; drag to move, scroll to zoom", divider: "Divider between the two layers",
    zoomIn: "Zoom in", zoomOut: "Zoom out", home: "Whole scene", full: "Full screen",
    layers: "Layers", opacity: "opacity", classes: "Classes", compare: "Compare two layers",
    leftLayer: "Layer on the left", rightLayer: "Layer on the right",
    layer: { scene: "Scene", map: "Map", agreement: "Agreement", truth: "Truth", errors: "Errors" },
    rampLow: "0 %", rampHigh: "100 % of the votes", wrongPixels: "wrong",
    largestErrors: "Largest errors", leastAgreement: "Least agreement",
    previous: "Previous place", next: "Next place",
    takenFor: (truth, guess) => `${truth} taken for ${guess}`, agree: (percent) => `${percent} % agree`,
    noPlaces: "Nothing found.",
    coarse: (px) => `Found at one pixel for ${px}: areas are about right.`,
    map: "map", truth: "truth", agreement: "agreement", row: "row", column: "column",
    noClass: "no class",
    scores: "Scores by stage", scoresNote: "Over all scenes with a label. The best of each column is bold.",
    stage: "Stage", background: "with background", accuracy: "accuracy",
    confusion: "Confusion matrix", missed: "no class",
    confusionNote: "Rows: what it is. Columns: what the map says. Percent of each row.",
    perClass: "Scores by class", class: "Class", precision: "precision", recall: "recall", pixels: "pixels",
    training: "Training", experiment: "Experiment", network: "Network", epochs: "Epochs", best: "best mIoU",
    bestAt: "at epoch", lastLoss: "last loss", epoch: "epoch", validation: "Validation mIoU", loss: "Training loss",
    valLoss: "Validation loss",
    areas: "Areas", share: "share", hectares: "ha", total: "total",
    areasNote: (stages) => `Pixels of the map (${stages}) counted by class. Nothing is corrected for errors.`,
    filling: "Changed by filling", gained: "gained", lost: "lost",
    fillingNote: (count, share) => `${count} pixels (${share}) have another class than before.`,
    stages: { vote: "vote", filled: "filled" },
    footer: "Made by Jingwei. Opens from disk; nothing leaves this folder. Deep zoom: OpenSeadragon (BSD licence).",
    keyList: [["← → ↑ ↓", "move"], ["+ −", "zoom"], ["0", "whole scene"], ["1 … 5", "layer on or off"],
      ["C", "compare two layers"], ["← → on the divider", "move it"], ["N P", "next, previous place"],
      ["Esc", "hide the place's frame"], ["F", "full screen"], ["L", "English, 中文"], ["?", "these keys"]],
  },
  zh: {
    title: "制图报告", scene: "影像", skip: "跳到数据", keys: "快捷键", key: "键", close: "关闭", other: "English",
    viewer: "影像与分类图；拖动平移，滚轮缩放", divider: "两个图层之间的分隔线",
    zoomIn: "放大", zoomOut: "缩小", home: "全图", full: "全屏",
    layers: "图层", opacity: "不透明度", classes: "类别", compare: "卷帘对比",
    leftLayer: "左侧图层", rightLayer: "右侧图层",
    layer: { scene: "影像", map: "分类图", agreement: "投票一致度", truth: "真值", errors: "错误" },
    rampLow: "0 %", rampHigh: "100 % 票数", wrongPixels: "错误",
    largestErrors: "最大的错误区域", leastAgreement: "一致度最低处",
    previous: "上一处", next: "下一处",
    takenFor: (truth, guess) => `${truth} 错分为 ${guess}`, agree: (percent) => `一致度 ${percent} %`,
    noPlaces: "未发现。",
    coarse: (px) => `在 1 : ${px} 的缩略图上查找，面积为近似值。`,
    map: "分类图", truth: "真值", agreement: "一致度", row: "行", column: "列",
    noClass: "无类别",
    scores: "各阶段精度", scoresNote: "统计所有带标签的影像；每列最高值加粗。",
    stage: "阶段", background: "含背景", accuracy: "总体精度",
    confusion: "混淆矩阵", missed: "无类别",
    confusionNote: "行为真值，列为分类结果；数值为各行百分比。",
    perClass: "各类精度", class: "类别", precision: "用户精度", recall: "制图精度", pixels: "像素",
    training: "训练过程", experiment: "实验", network: "网络", epochs: "轮数", best: "最佳 mIoU",
    bestAt: "所在轮次", lastLoss: "最终损失", epoch: "轮次", validation: "验证集 mIoU", loss: "训练损失",
    valLoss: "验证集损失",
    areas: "面积", share: "占比", hectares: "公顷", total: "合计",
    areasNote: (stages) => `按类别统计分类图（${stages}）的像素，未做误差校正。`,
    filling: "填洞的变化", gained: "增加", lost: "减少",
    fillingNote: (count, share) => `${count} 个像素（${share}）的类别发生了变化。`,
    stages: { vote: "投票", filled: "填洞后" },
    footer: "由 Jingwei 生成。可直接从磁盘打开，数据不会离开本文件夹。深度缩放：OpenSeadragon（BSD 许可证）。",
    keyList: [["← → ↑ ↓", "平移"], ["+ −", "缩放"], ["0", "全图"], ["1 … 5", "开关图层"],
      ["C", "卷帘对比"], ["分隔线上 ← →", "移动分隔线"], ["N P", "下一处、上一处"],
      ["Esc", "隐藏位置框"], ["F", "全屏"], ["L", "English, 中文"], ["?", "快捷键"]],
  },
};
// Names of the classes of the legends that come with Jingwei; other names are shown as they are.
const CLASS_NAMES_ZH = new Map(Object.entries({
  "background": "背景", "cured tobacco": "烤烟", "corn": "玉米", "barley-rice": "薏仁米", "building": "建筑",
  "other": "其他", "grass": "草地", "shrub/tree": "灌木/乔木", "water": "水体", "road": "道路",
  "impervious": "不透水面", "vehicle": "车辆", "bare soil": "裸土", "built-up": "建成区", "industrial": "工业区",
  "grassland": "草地", "bare land": "裸地",
}));

let language = "en";

/** A word in the page's language. */
function word(key) {
  return WORDS[language][key];
}

/** The name of a class, by its id. */
function className(id) {
  const found = REPORT.legend.classes[id];
  if (!found) return word("noClass");
  return (language === "zh" && CLASS_NAMES_ZH.get(found.name)) || found.name;
}

/** The name of a stage: `vote` and `filled` are words, models keep their names. */
function stageName(name) {
  return Object.hasOwn(word("stages"), name) ? word("stages")[name] : name; // a model may be named `constructor`
}

function number(value, digits = 0) {
  const form = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value === null || value === undefined ? "–" : value.toLocaleString(language === "zh" ? "zh-CN" : "en", form);
}

function percent(share, digits = 1) {
  return `${number(100 * share, digits)} %`;
}

/** Pixels of a scene as an area: hectares where it is known what a pixel covers, else pixels. */
function area(scene, pixels, digits = 2) {
  return scene.hectares ? `${number(pixels * scene.hectares, digits)} ${word("hectares")}` : `${number(pixels)} px`;
}

/** A new element: its tag, attributes (`text` is its content), and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (name === "style") Object.assign(made.style, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function byId(id) {
  return document.getElementById(id);
}
