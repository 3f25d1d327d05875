// Keeps a page up to date: values in place, and parts that show alerts. Also small conveniences of forms.
"use strict";

(() => {
  const state = document.getElementById("live-state");
  let source = null;
  let retryS = 2;

  function show(word) {
    if (!state) return;
    state.dataset.state = word;
    const text = state.dataset[word];
    if (text) state.querySelector("b").textContent = text;
  }

  function put(element, quality) {
    element.dataset.quality = quality;
  }

  // A value that no new one follows must not look fresh: its age grows here too.
  const ages = new Map();
  function judgeAge(cell) {
    const old = (performance.now() - ages.get(cell)) / 1000 > Number(cell.dataset.limit || 180);
    cell.toggleAttribute("data-stale", old);
  }
  for (const cell of document.querySelectorAll("[data-age]")) {
    ages.set(cell, performance.now() - Number(cell.dataset.age) * 1000);
  }
  setInterval(() => ages.forEach((_, cell) => judgeAge(cell)), 5000);

  function onValue(event) {
    const value = JSON.parse(event.data);
    for (const cell of document.querySelectorAll(`[data-point="${value.key}"]`)) {
      const number = cell.querySelector("b");
      if (number.textContent !== value.text) {
        number.textContent = value.text;
        cell.classList.remove("changed");
        void cell.offsetWidth; // so that the animation begins again
        cell.classList.add("changed");
      }
      cell.title = value.reason ? `${value.time} · ${value.reason}` : value.time;
      put(cell, value.quality);
      cell.dataset.age = value.age_s;
      ages.set(cell, performance.now() - value.age_s * 1000);
      judgeAge(cell);
    }
    for (const cell of document.querySelectorAll(`[data-quality-of="${value.key}"]`)) {
      cell.textContent = value.reason ? `${value.quality_text} · ${value.reason}` : value.quality_text;
      put(cell, value.quality);
    }
    for (const cell of document.querySelectorAll(`[data-time-of="${value.key}"]`)) cell.textContent = value.time;
  }

  function open() {
    close();
    const points = new Set([...document.querySelectorAll("[data-point]")].map((cell) => cell.dataset.point));
    source = new EventSource(`/live?points=${[...points].join(",")}`);
    source.addEventListener("open", () => {
      retryS = 2;
      show("on");
    });
    source.addEventListener("latest", onValue);
    source.addEventListener("alert", () => document.body.dispatchEvent(new Event("alerts-changed")));
    source.addEventListener("error", () => {
      show("off");
      if (source && source.readyState === EventSource.CLOSED) {
        // The browser gives up after an answer such as 503; a new try may find the collector back.
        close();
        setTimeout(() => document.hidden || open(), retryS * 1000);
        retryS = Math.min(60, retryS * 2);
      }
    });
  }

  function close() {
    if (source) source.close();
    source = null;
  }

  if (document.body.hasAttribute("data-live")) {
    open();
    // Browsers open six connections to a host; pages that nobody sees must not hold them.
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : source || open()));
    window.addEventListener("pagehide", close);
    window.addEventListener("pageshow", (event) => event.persisted && open());
  }

  const toast = document.getElementById("toast");
  let hideToast = 0;
  for (const name of ["htmx:response:error", "htmx:error"]) {
    document.body.addEventListener(name, () => {
      toast.textContent = document.body.dataset.failed;
      toast.hidden = false;
      clearTimeout(hideToast);
      hideToast = setTimeout(() => (toast.hidden = true), 6000);
    });
  }

  for (const select of document.querySelectorAll("select[data-submit]")) {
    select.addEventListener("change", () => select.form.submit());
  }
})();
