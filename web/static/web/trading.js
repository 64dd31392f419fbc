// The order ticket and the cancel buttons: they speak to the gateway, on the same origin.
//
// An order gets its client_order_id before it is first sent, and keeps it until there is an
// answer: however often it is sent (a double click, a time-out, a reload), it is placed once.
const TIMEOUT_MS = 6000;
const TRIES = 4;
const ASK_AGAIN = new Set([408, 425, 429, 500, 502, 503, 504]);
const TOKEN_SPARE_MS = 60_000;

const WORDS = {
  insufficient_funds: "You do not have enough available for this order.",
  price_off_tick: "This price is between two ticks. Round it.",
  price_too_low: "This price is below the lowest that the market takes.",
  price_too_high: "This price is above the highest that the market takes.",
  quantity_off_lot: "This market trades in whole lots only.",
  quantity_too_small: "That is less than the smallest order here.",
  quantity_too_large: "That is more than the largest order here.",
  market_halted: "The market is halted: it takes no orders just now.",
  market_closed: "The market is closed.",
  post_only_would_take: "It would have traded at once, and you asked it only to wait. Nothing was placed.",
  fill_or_kill_unfilled: "There is not enough at this price to fill all of it. Nothing was placed.",
  account_frozen: "Your wallet is frozen: nothing can leave it now.",
  client_order_id_reused: "This order reached us before with other terms. See your open orders.",
  unauthenticated: "You are signed out. Sign in again.",
  order_already_filled: "Too late: it is filled already.",
};

class Refused extends Error {
  constructor(problem, status) {
    const said = problem.detail || problem.title || `The answer was ${status}.`;
    super(WORDS[problem.code] ?? said);
    this.code = problem.code;
  }
}

class Unanswered extends Error {}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const csrf = () => document.querySelector("input[name=csrfmiddlewaretoken]").value;

// -- the gateway -------------------------------------------------------------------------

let token = { text: "", until: 0 };

async function sessionToken() {
  if (Date.now() > token.until) {
    const asked = Date.now();
    const response = await fetch("/api/v1/session-token/", {
      method: "POST",
      headers: { "X-CSRFToken": csrf() },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const answer = await response.json();
    if (!response.ok) throw new Refused(answer, response.status);
    token = { text: answer.token, until: asked + answer.expires_in_s * 1000 - TOKEN_SPARE_MS };
  }
  return token.text;
}

async function ask(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${await sessionToken()}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const answer = await response.json();
  return { response, answer };
}

// Asks until there is an answer that settles it; `Unanswered` if none came.
async function settle(method, path, body) {
  for (let attempt = 1; attempt <= TRIES; attempt += 1) {
    try {
      const { response, answer } = await ask(method, path, body);
      if (response.ok) return answer;
      if (response.status === 401 && attempt === 1) token.until = 0;
      else if (!ASK_AGAIN.has(response.status)) throw new Refused(answer, response.status);
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    if (attempt < TRIES) await pause(250 * 2 ** attempt);
  }
  throw new Unanswered();
}

const refresh = () => document.dispatchEvent(new Event("scrip:refresh"));

// -- amounts: exact, in minor units --------------------------------------------------------

function read(text, scale) {
  const match = /^(\d{1,3}(?:,\d{3})+|\d{1,15})(?:\.(\d*))?$/.exec(text.trim());
  if (!match) return null;
  const part = (match[2] ?? "").replace(/0+$/, "");
  if (part.length > scale) return null;
  return BigInt(match[1].replaceAll(",", "") + part.padEnd(scale, "0"));
}

function write(minor, scale) {
  const digits = String(minor).padStart(scale + 1, "0");
  const whole = digits.slice(0, digits.length - scale).replace(/\B(?=(\d{3})+$)/g, ",");
  return scale ? `${whole}.${digits.slice(-scale)}` : whole;
}

// -- the ticket ----------------------------------------------------------------------------

class Ticket {
  constructor(form) {
    this.form = form;
    this.market = form.dataset.market;
    this.quoteScale = Number(form.dataset.quoteScale);
    this.baseScale = Number(form.dataset.baseScale);
    this.path = `/api/v1/markets/${encodeURIComponent(this.market)}/orders/`;
    this.memory = `scrip:ticket:${this.market}`;
    this.isBusy = false;
    this.pending = null;
    this.answer = form.querySelector("[data-answer]");
    this.submit = form.querySelector("[data-submit]");
    this.submit.disabled = false;
    form.addEventListener("input", () => this.tally());
    form.addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
    form.querySelector("[data-forget]").addEventListener("click", () => this.forget());
    document.addEventListener("scrip:fresh", () => this.tally());
    this.restore();
    this.tally();
  }

  get side() { return this.form.elements.side.value; }

  numbers() {
    return {
      price: read(this.form.elements.price.value, this.quoteScale),
      quantity: read(this.form.elements.quantity.value, this.baseScale),
    };
  }

  part(name, value) { return this.form.querySelector(`[data-${name}="${value}"]`); }

  // Shows what the order comes to. The market rounds fees down; so do we.
  tally() {
    const isBuy = this.side === "buy";
    const { price, quantity } = this.numbers();
    const { quote, lot, feeTaker, feeMaker } = this.form.dataset;
    const isKnown = price !== null && quantity !== null;
    const amount = isKnown ? (price * quantity) / BigInt(lot) : 0n;
    const bps = BigInt(Math.max(Number(feeTaker), Number(feeMaker)));
    const fee = (amount * bps) / 10_000n;
    const sums = { amount, fee, total: isBuy ? amount + fee : amount - fee };
    for (const [name, value] of Object.entries(sums)) {
      this.part("sum", name).textContent = isKnown ? `${write(value, this.quoteScale)} ${quote}` : "–";
    }
    this.part("sum-word", "total").textContent = isBuy ? "You pay at most" : "You get at least";
    if (!this.isBusy) this.submit.textContent = this.pending ? "Ask again" : isBuy ? "Buy" : "Sell";
    this.submit.dataset.side = this.side;
  }

  // The order as it will be sent, or null after showing what is wrong with it.
  check() {
    const { price, quantity } = this.numbers();
    const tick = BigInt(this.form.dataset.tick);
    const lot = BigInt(this.form.dataset.lot);
    const digits = (scale) => (scale ? `with at most ${scale} decimals` : "without decimals");
    const faults = {
      price: !price ? `Write a price above zero, ${digits(this.quoteScale)}.`
        : price % tick ? `A price here is a multiple of ${write(tick, this.quoteScale)}.` : "",
      quantity: !quantity ? `Write a quantity above zero, ${digits(this.baseScale)}.`
        : quantity % lot ? `A quantity here is a multiple of ${write(lot, this.baseScale)}.` : "",
    };
    for (const [name, fault] of Object.entries(faults)) this.fault(name, fault);
    const wrong = Object.keys(faults).find((name) => faults[name]);
    if (wrong) {
      this.form.elements[wrong].focus();
      return null;
    }
    return {
      side: this.side,
      price: Number(price),
      quantity: Number(quantity),
      time_in_force: this.form.elements.time_in_force.value,
      client_order_id: newId(),
    };
  }

  fault(name, text) {
    const place = this.part("error", name);
    place.textContent = text;
    place.hidden = !text;
    this.form.elements[name].toggleAttribute("aria-invalid", false);
    if (text) this.form.elements[name].setAttribute("aria-invalid", "true");
  }

  async send() {
    if (this.isBusy) return;
    this.answer.hidden = true;
    const order = this.pending ?? this.check();
    if (!order) return;
    this.keep(order);
    this.busy(true);
    try {
      const placed = await settle("POST", this.path, order);
      this.keep(null);
      this.say("success", this.tell(placed));
    } catch (error) {
      if (error instanceof Refused) {
        this.keep(null);
        this.say("error", error.message);
      } else {
        this.say("warning", "We have not heard whether your order was placed. Ask again: it cannot be placed twice.");
      }
    }
    this.busy(false);
    this.answer.focus({ preventScroll: true });
    refresh();
  }

  tell(placed) {
    const units = (quantity) => write(BigInt(quantity), this.baseScale);
    const done = placed.side === "buy" ? "Bought" : "Sold";
    const left = placed.quantity - placed.filled_quantity;
    const filled = placed.filled_quantity
      ? `${done} ${units(placed.filled_quantity)} for ${write(BigInt(placed.filled_amount), this.quoteScale)} ${placed.quote_asset}. `
      : "";
    if (!left) return filled.trim();
    if (placed.status === "open") return `${filled}${units(left)} wait in the book.`;
    return `${filled}${units(left)} could not be had and were cancelled.`;
  }

  say(kind, text) {
    this.answer.className = `note ${kind}`;
    this.answer.textContent = text;
    this.answer.hidden = false;
  }

  busy(isBusy) {
    this.isBusy = isBusy;
    this.submit.setAttribute("aria-disabled", isBusy);
    if (isBusy) this.submit.textContent = "Placing…";
    this.tally();
  }

  // Remembers an order that is on its way, over a reload too, and locks its fields.
  keep(order) {
    this.pending = order;
    this.form.querySelector("[data-fields]").disabled = Boolean(order);
    this.form.querySelector("[data-stuck]").hidden = !order;
    if (order) sessionStorage.setItem(this.memory, JSON.stringify(order));
    else sessionStorage.removeItem(this.memory);
  }

  restore() {
    const order = JSON.parse(sessionStorage.getItem(this.memory) ?? "null");
    if (!order) return;
    this.form.elements.side.value = order.side;
    this.form.elements.price.value = write(BigInt(order.price), this.quoteScale);
    this.form.elements.quantity.value = write(BigInt(order.quantity), this.baseScale);
    this.form.elements.time_in_force.value = order.time_in_force;
    this.keep(order);
    this.say("warning", "You sent this order and have not heard of it. Ask again: it cannot be placed twice.");
  }

  forget() {
    if (this.isBusy) return;
    this.keep(null);
    this.say("warning", "Look at your open orders: the last one may have been placed.");
    this.tally();
    refresh();
  }
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

const form = document.querySelector("[data-ticket]");
const ticket = form && new Ticket(form);

document.addEventListener("click", async (event) => {
  const level = event.target.closest("[data-use-price]");
  if (level && ticket && !ticket.pending) {
    form.elements.price.value = level.dataset.usePrice;
    ticket.fault("price", "");
    ticket.tally();
    form.elements.price.focus({ preventScroll: true });
  }
  const cancel = event.target.closest("[data-cancel]");
  if (cancel && ticket && cancel.getAttribute("aria-disabled") !== "true") {
    cancel.setAttribute("aria-disabled", "true");
    try {
      await settle("DELETE", `${ticket.path}${cancel.dataset.cancel}/`);
      ticket.say("success", "Cancelled. What it held is yours to spend again.");
    } catch (error) {
      cancel.removeAttribute("aria-disabled");
      const said = error instanceof Refused ? error.message : "We have not heard whether it was cancelled. Try again.";
      ticket.say("error", said);
    }
    ticket.answer.focus({ preventScroll: true });
    refresh();
  }
});
