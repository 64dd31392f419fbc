// Keeps the moving parts of a page fresh: fetches them again while somebody looks, and puts
// those that changed in place of the old. Ask for it at once with the event "scrip:refresh".
const EVERY_MS = 1500;
const LONGEST_MS = 30_000;
const TIMEOUT_MS = 8000;

const root = document.querySelector("[data-live]");
const pulse = document.querySelector("[data-pulse]");
const shown = new Map();
let failures = 0;
let timer = 0;
let running = null;

function address() {
  const url = new URL(location.href);
  url.searchParams.set("live", "1");
  url.hash = "";
  return url;
}

function say(state, word) {
  if (!pulse) return;
  pulse.hidden = false;
  pulse.dataset.state = state;
  const text = pulse.querySelector("[data-pulse-word]");
  if (text.textContent !== word) text.textContent = word;
}

function replace(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const name = part.dataset.part;
    const old = root.querySelector(`[data-part="${name}"]`);
    if (!old || shown.get(name) === part.innerHTML) continue;
    shown.set(name, part.innerHTML);
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    old.replaceChildren(...document.adoptNode(part).childNodes);
    old.dispatchEvent(new Event("scrip:fresh", { bubbles: true }));
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
}

async function refresh() {
  const response = await fetch(address(), { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: "error" });
  if (!response.ok) throw new Error(`status ${response.status}`);
  replace(await response.text());
}

async function turn() {
  clearTimeout(timer);
  if (document.hidden) return;
  running ??= refresh().finally(() => { running = null; });
  try {
    await running;
    failures = 0;
    say("live", "Live");
  } catch {
    failures += 1;
    if (failures > 1) say("late", "Not live: trying again");
  }
  clearTimeout(timer);
  timer = setTimeout(turn, Math.min(EVERY_MS * 2 ** failures, LONGEST_MS));
}

if (root) {
  document.addEventListener("visibilitychange", turn);
  document.addEventListener("scrip:refresh", async () => {
    await running?.catch(() => {});
    turn();
  });
  timer = setTimeout(turn, EVERY_MS);
}
