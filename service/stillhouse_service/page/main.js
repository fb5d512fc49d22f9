// Which page an address is, and moving between them without loading anew.

import { forget, token } from "./api.js";
import { h, show } from "./dom.js";
import { signIn } from "./sign_in.js";
import { studiesPage } from "./studies.js";
import { studyPage } from "./study.js";
import { trialPage } from "./trial.js";
import { comparePage } from "./compare.js";
import { devicesPage } from "./devices.js";
import { newStudyPage } from "./new_study.js";

const PAGES = [
  [/^\/$/, studiesPage],
  [/^\/studies\/([^/]+)$/, studyPage],
  [/^\/trials\/([^/]+)$/, trialPage],
  [/^\/compare$/, comparePage],
  [/^\/devices$/, devicesPage],
  [/^\/new$/, newStudyPage],
];
const main = document.getElementById("main");
const signOut = document.getElementById("sign-out");
let leave = () => {};

function open(isMove) {
  leave();
  leave = () => {};
  signOut.hidden = !token();
  const path = location.pathname;
  const [pattern, page] = PAGES.find(([one]) => one.test(path)) || [];
  for (const link of document.querySelectorAll("nav a:not(.brand)")) {
    if (link.getAttribute("href") === path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = h("div");
  show(main, place);
  if (!page) show(place, h("h1", {}, "No such page"), h("p", {}, h("a", { href: "/" }, "All studies")));
  else leave = page(place, decodeURIComponent(pattern.exec(path)[1] || "")) || (() => {});
  if (isMove) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

/** Opens an address of this page. */
function go(address) {
  history.pushState(null, "", address);
  open(true);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || link.hasAttribute("download")) return;
  const address = new URL(link.href);
  if (address.origin !== location.origin || !PAGES.some(([one]) => one.test(address.pathname))) return;
  if (address.hash && address.pathname === location.pathname) return;
  event.preventDefault();
  go(address.pathname + address.search);
});
document.addEventListener("go", (event) => go(event.detail));
window.addEventListener("popstate", () => open(true));
window.addEventListener("token-wanted", (event) => {
  leave();
  leave = () => {};
  signOut.hidden = !token();
  show(main, signIn(event.detail, () => open(true)));
});
signOut.addEventListener("click", () => {
  forget();
  go("/");
});
open(false);
