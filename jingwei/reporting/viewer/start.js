// Starts the page: its language, its theme, its keys.
"use strict";

function setLanguage(name) {
  language = name;
  document.documentElement.lang = name === "zh" ? "zh-CN" : "en";
  document.title = [word("title"), ...REPORT.scenes.slice(0, 3).map((scene) => scene.name)].join(" · ");
  for (const place of document.querySelectorAll("[data-word]")) place.textContent = word(place.dataset.word);
  for (const place of document.querySelectorAll("[data-name]")) {
    place.setAttribute("aria-label", word(place.dataset.name));
    if (place.tagName === "BUTTON") place.title = word(place.dataset.name);
  }
  byId("language").textContent = word("other");
  byId("language").lang = name === "zh" ? "en" : "zh-CN";
  byId("key-list").replaceChildren(...word("keyList").flatMap(([keys, text]) => [element("dt", { text: keys }), element("dd", { text })]));
  if (look.viewer) look.write();
  writeTables();
}

/** All that is written in colours that the theme changes. */
function writeTables() {
  byId("theme").textContent = word(theme.now === "dark" ? "light" : "dark");
  summary.write();
  scores.write();
  training.write();
  areas.write();
  scrolling.look();
}

function switchLanguage() {
  setLanguage(language === "zh" ? "en" : "zh");
}

/** What a key does; null where it stands for nothing. */
function doing(key, target) {
  if (key === "l") return switchLanguage;
  if (key === "d") return () => theme.toggle();
  if (key === "?") return () => byId("help").showModal();
  // Arrows move the map where the map has the focus; elsewhere they scroll the page, as ever.
  if (!look.viewer || (key.startsWith("Arrow") && !byId("viewer").contains(target))) return null;
  return () => look.key(key);
}

document.addEventListener("keydown", (event) => {
  // Lists find their options by letters, fields take them; check boxes and sliders leave them to us.
  if (event.target.closest("select, dialog, input[type=text]") || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key.length === 1 && !byId("keys-on").checked) return;
  const work = doing(key, event.target);
  if (work && work() !== false) event.preventDefault();
});

byId("language").onclick = switchLanguage;
byId("theme").onclick = () => theme.toggle();
byId("help-button").onclick = () => byId("help").showModal();
scrolling.start();
theme.changed = writeTables;
setLanguage(REPORT.language === "auto" ? (navigator.language.startsWith("zh") ? "zh" : "en") : REPORT.language);
look.start();
