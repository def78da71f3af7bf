// How everything on the page is written: words, names, numbers, elements.
"use strict";

const WORDS = {}; // language -> words: see words-en.js and words-zh.js
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

/** The name of a stage: `vote` and `filled` are words, models keep their names, `constructor` too. */
function stageName(name) {
  return Object.hasOwn(word("stages"), name) ? word("stages")[name] : name;
}

function number(value, digits = 0) {
  const form = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value === null || value === undefined ? "–" : value.toLocaleString(language === "zh" ? "zh-CN" : "en", form);
}

function percent(share, digits = 1) {
  return share === null || share === undefined ? "–" : `${number(100 * share, digits)} %`;
}

/** Pixels of a scene as an area: hectares where it is known what a pixel covers, else pixels. */
function area(scene, pixels, digits = 2) {
  return scene.hectares ? `${number(pixels * scene.hectares, digits)} ${word("hectares")}` : `${number(pixels)} px`;
}

/** A day and a time, as the reader's place and language have it. */
function moment(iso) {
  return new Date(iso).toLocaleString(language === "zh" ? "zh-CN" : "en-GB", { dateStyle: "medium", timeStyle: "short" });
}

/** A command of the project's, ready to be pasted: of a script, or of the one command where that has made the report. */
function command(script, ...words) {
  const whole = REPORT.command?.match(/^((?:\S+ )*?jingwei) report(?: |$)/)?.[1];
  const program = whole ? `${whole} ${script.replace(".py", "").replaceAll("_", "-")}` : `python ${script}`;
  return [program, ...words, ...(REPORT.data ? ["--data_dir", REPORT.data] : [])].join(" ");
}

/** A word of a command: in quotes where a shell would take it for something else. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

/** A new element: its tag, attributes (`text` is its content), and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (name === "style") Object.assign(made.style, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** The colour of a class, as a small square. */
function swatch(id) {
  const known = REPORT.legend.classes[id];
  return element("i", { class: "swatch", "aria-hidden": "true", style: { background: known ? known.screen : "none" } });
}

/** A command and a button that copies it. */
function commandLine(text) {
  const button = element("button", { type: "button", class: "small", text: word("copy"), "aria-label": `${word("copy")}: ${text}` });
  button.onclick = () => copy(text, button);
  return element("span", { class: "command" }, element("code", { text }), button);
}

/** Puts text on the clipboard, and says so on the button for a moment. */
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // pages from disk may not, in some browsers: the old way
    const field = element("textarea", { style: { position: "fixed", opacity: "0" } });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  if (!button) return;
  button.focus();
  byId("said").textContent = `${word("copied")}: ${text}`;
  if (button.dataset.before) return;
  button.dataset.before = button.textContent;
  button.textContent = word("copied");
  setTimeout(() => {
    button.textContent = button.dataset.before;
    delete button.dataset.before;
  }, 1500);
}

function byId(id) {
  return document.getElementById(id);
}
