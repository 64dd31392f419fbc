// Reads a code with the camera where the browser can; typing it works everywhere.
const form = document.querySelector("form[data-scan]");
const start = form?.querySelector("[data-scan-start]");
const video = form?.querySelector("[data-camera]");
const FORMATS = ["qr_code", "code_128"];
const LOOK_EVERY_MS = 150;

async function supported() {
  if (!("BarcodeDetector" in window) || !navigator.mediaDevices) return [];
  const known = await BarcodeDetector.getSupportedFormats();
  return FORMATS.filter((format) => known.includes(format));
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
  video.hidden = true;
  start.hidden = false;
}

async function scan(formats) {
  start.hidden = true;
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  video.srcObject = stream;
  video.hidden = false;
  await video.play();
  const detector = new BarcodeDetector({ formats });
  const timer = setInterval(async () => {
    const [found] = await detector.detect(video).catch(() => []);
    if (!found || video.hidden) return;
    clearInterval(timer);
    stop(stream);
    form.elements.code.value = found.rawValue.slice(0, 200);
    form.requestSubmit();
  }, LOOK_EVERY_MS);
  addEventListener("pagehide", () => stop(stream), { once: true });
}

const formats = form ? await supported().catch(() => []) : [];
if (formats.length) {
  start.hidden = false;
  start.addEventListener("click", () => {
    scan(formats).catch(() => {
      start.hidden = false;
      start.textContent = "The camera cannot be used: type the code";
    });
  });
}
