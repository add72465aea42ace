// What the pages do beyond links and forms. All of it can be missed.
(() => {
  "use strict";

  // Where the live part of a page is being written in, it is not replaced.
  const busy = (live) => live.querySelector("details[open]") ||
    (live.contains(document.activeElement) && document.activeElement.matches("input, select, textarea"));
  document.addEventListener("htmx:beforeRequest", (e) => {
    if (document.hidden || busy(e.target)) e.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", (e) => {
    if (busy(e.target)) e.detail.shouldSwap = false;
  });

  // A page that cannot be kept up to date says so.
  const stale = (is) => () => document.body.classList.toggle("is-stale", is);
  document.addEventListener("htmx:sendError", stale(true));
  document.addEventListener("htmx:responseError", stale(true));
  document.addEventListener("htmx:afterSwap", stale(false));

  // One form is open at a time, and is where typing goes.
  document.addEventListener("toggle", (e) => {
    if (!e.target.matches("details.act") || !e.target.open) return;
    for (const other of document.querySelectorAll("details.act[open]")) if (other !== e.target) other.open = false;
    const field = e.target.querySelector("input:not([type=hidden]):placeholder-shown, input:not([type=hidden]), textarea");
    if (field) field.focus();
  }, true);

  // The whole row leads where its first link does.
  document.addEventListener("click", (e) => {
    if (e.target.closest("a, button, input, select, textarea, summary, label") || String(getSelection())) return;
    const link = e.target.closest("tbody tr")?.querySelector("a.rowlink");
    if (link) link.click();
  });

  const keys = document.getElementById("keys");
  for (const button of document.querySelectorAll("[data-opens=keys]")) {
    button.hidden = false;
    button.addEventListener("click", () => keys.showModal());
  }

  let went = 0; // when g was pressed
  const step = (by) => {
    const links = [...document.querySelectorAll("main a.rowlink, main a.row, main a.card")];
    if (!links.length) return;
    const at = links.indexOf(document.activeElement);
    links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by))].focus();
  };
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || keys.open) return;
    if (e.target.matches("input, select, textarea")) {
      if (e.key === "Escape") e.target.blur();
      return;
    }
    if (e.key === "Escape") {
      for (const open of document.querySelectorAll("details.act[open]")) { open.open = false; open.querySelector("summary").focus(); }
      return;
    }
    const chord = Date.now() - went < 1200;
    went = 0;
    const tab = chord && document.querySelector(`nav a[data-key="${CSS.escape(e.key)}"]`);
    if (tab) tab.click();
    else if (e.key === "g") went = Date.now();
    else if (e.key === "j") step(1);
    else if (e.key === "k") step(-1);
    else if (e.key === "?") keys.showModal();
    else if (e.key === "/") {
      const field = document.querySelector("[data-search]");
      if (field) field.select(); else location.assign("/sagas");
    } else return;
    e.preventDefault();
  });
})();
