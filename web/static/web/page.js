// What every page does: times in the reader's zone, forms sent once, copying.
const STYLES = {
  datetime: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" },
  date: { day: "numeric", month: "short", year: "numeric" },
  time: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
};
const formats = new Map(
  Object.entries(STYLES).map(([style, options]) => [style, new Intl.DateTimeFormat(undefined, options)]),
);

function localise(root) {
  for (const time of root.querySelectorAll("time[data-style]")) {
    const at = new Date(time.dateTime);
    time.textContent = formats.get(time.dataset.style).format(at);
    time.title = at.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
  }
}

localise(document);
document.addEventListener("scrip:fresh", (event) => localise(event.target));

// A second press of the same button sends nothing. Coming back to the page allows it again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

async function copy(output) {
  if (navigator.clipboard) return navigator.clipboard.writeText(output.textContent);
  // Without https there is no clipboard to write to: the old way still works.
  getSelection().selectAllChildren(output);
  if (!document.execCommand("copy")) throw new Error("cannot copy");
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const output = document.getElementById(button.dataset.copy);
    try {
      await copy(output);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(output);
      button.textContent = "Selected: copy it by hand";
    }
  });
}
