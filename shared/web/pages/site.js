// What pages do beside what they do without a script: news as they happen, and forms that need no reload.

const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Whoever works by keyboard stays where they are when a part of the page is replaced: on the same control of the same
// card, or else on the content as a whole, from where Tab goes on.

const controls = (card) => (card ? all("a, button", card) : []);
const focusPlace = () => {
  const card = document.activeElement?.closest(".card");
  return card && { section: card.dataset.section, at: controls(card).indexOf(document.activeElement) };
};
const focusAgain = (place) => {
  if (!place) return;
  const card = find(`.card[data-section="${place.section}"]:not([hidden])`);
  (controls(card)[place.at] ?? find("#main")).focus({ preventScroll: true });
};

// Forms marked data-enhance: sent in the background; what comes back takes the place of what it changes.

let sent = 0; // cards that were read while a form was under way may be of before
let pending = 0;
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-enhance]")) return;
  event.preventDefault();
  form.setAttribute("aria-busy", "true");
  const card = form.closest(".card");
  card?.setAttribute("hidden", "");
  sent++;
  pending++;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok || !find("#cards", page)) throw new Error(answer.status);
    for (const part of ["#notes", "#cards", ".head p"]) {
      if (part === ".head p") find("#live", page)?.replaceWith(find("#live"));
      find(part).replaceWith(find(part, page));
    }
    showOnly();
    const back = form.querySelector("[value=undo]") && `${form.elements.term.value}:${form.elements.class_nbr.value}`;
    (find("#notes button") ?? find(`.card[data-section="${back}"] a`) ?? find("#main")).focus();
    live?.follow();
  } catch {
    card?.removeAttribute("hidden");
    form.removeAttribute("data-enhance");
    form.submit(); // the plain way, which shows what is wrong
  } finally {
    pending--;
  }
});

// The filter.

const showOnly = () => {
  const wanted = find("#filter")?.value.trim().toLowerCase() ?? "";
  for (const card of all(".card")) card.hidden = !card.dataset.find.includes(wanted);
};
find("#filter-field")?.removeAttribute("hidden");
find("#filter")?.addEventListener("input", showOnly);

// "3 min ago", kept true.

const longAgo = (seconds) => {
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.round(hours / 24);
  return `${days} day${days === 1 ? "" : "s"}`;
};
const tellTimes = () => {
  for (const time of all("time")) {
    const seconds = (Date.now() - new Date(time.dateTime)) / 1000;
    const soon = Math.abs(seconds) < 60;
    time.textContent = soon ? (seconds >= 0 ? "just now" : "in a moment")
      : seconds > 0 ? `${longAgo(seconds)} ago` : `in ${longAgo(-seconds)}`;
  }
};
setInterval(tellTimes, 20000);

// Live: join the project's Realtime for the sections on this page; while that does not work, ask once a minute.

const MINUTE = 60000;
const MOST_VALUES = 100;
const WAITS = [1000, 2000, 5000, 10000, 30000];

class Live {
  constructor(label) {
    this.label = label;
    this.tries = 0;
    this.ref = 0;
    this.tag = null;
    this.connect();
    setInterval(() => this.isOn || this.fetchCards(), MINUTE);
    addEventListener("online", () => this.connect());
    document.addEventListener("visibilitychange", () => document.hidden || (this.isOn ? this.fetchCards() : this.connect()));
  }

  say(kind, words) {
    this.isOn = kind === "on";
    this.label = find("#live");
    this.label.className = `live ${kind}`;
    this.label.textContent = words;
  }

  sections() {
    return all(".card").map((card) => card.dataset.section.split(":")[1]);
  }

  async connect() {
    clearTimeout(this.again);
    this.stop();
    const turn = (this.turn = (this.turn ?? 0) + 1);
    try {
      const answer = await fetch(this.label.dataset.live, { headers: { Accept: "application/json" } });
      if (turn !== this.turn) return; // another one began since
      if (answer.status === 401) return location.reload();
      this.way = (await answer.json()).realtime;
      if (!this.way) return this.say("ask", "Asks once a minute");
    } catch {
      return turn === this.turn && this.retry();
    }
    const socket = (this.socket = new WebSocket(`${this.way.url}?apikey=${encodeURIComponent(this.way.key)}&vsn=1.0.0`));
    socket.onopen = () => socket === this.socket && this.join();
    socket.onmessage = (event) => socket === this.socket && this.hear(JSON.parse(event.data));
    socket.onclose = () => socket === this.socket && this.retry();
  }

  retry() {
    this.stop();
    this.say("ask", "Asks once a minute");
    this.again = setTimeout(() => this.connect(), WAITS[Math.min(this.tries++, WAITS.length - 1)] * (0.5 + Math.random()));
  }

  stop() {
    clearInterval(this.beat);
    clearTimeout(this.renewal);
    const socket = this.socket;
    this.socket = this.unanswered = null;
    this.isOn = false;
    socket?.close();
  }

  send(event, payload, topic = "realtime:my-classes") {
    const ref = String(++this.ref);
    this.socket?.send(JSON.stringify({ topic, event, payload, ref, join_ref: "1" }));
    return ref;
  }

  join() {
    const numbers = [...new Set(this.sections())].sort();
    this.joined = numbers;
    const changes = [];
    for (let at = 0; at < numbers.length; at += MOST_VALUES) {
      const filter = `class_nbr=in.(${numbers.slice(at, at + MOST_VALUES)})`;
      changes.push({ event: "*", schema: "public", table: "class_states", filter });
    }
    const config = { broadcast: { ack: false, self: false }, presence: { key: "", enabled: false }, private: false, postgres_changes: changes };
    this.send("phx_join", { config, access_token: this.way.token });
    clearInterval(this.beat);
    this.beat = setInterval(() => {
      if (this.unanswered) return this.retry();
      this.unanswered = this.send("heartbeat", {}, "phoenix");
    }, 25000);
    this.renewLater();
    if (!numbers.length) this.say("on", "Live");
  }

  renewLater() {
    clearTimeout(this.renewal);
    this.renewal = setTimeout(async () => {
      try {
        this.way = (await (await fetch(this.label.dataset.live)).json()).realtime;
        this.send("access_token", { access_token: this.way.token });
        this.renewLater();
      } catch {
        this.retry();
      }
    }, Math.max(5000, this.way.expires_at * 1000 - Date.now() - 50000));
  }

  hear({ topic, event, payload, ref }) {
    if (ref && ref === this.unanswered) this.unanswered = null;
    if (event === "phx_close" || event === "phx_error" || (event === "phx_reply" && payload.status === "error")) return this.retry();
    if (event === "system" && payload.extension === "postgres_changes") {
      if (payload.status !== "ok") return this.retry();
      this.tries = 0;
      this.say("on", "Live");
      this.fetchCards(); // what changed before this line is not told
    }
    if (event === "postgres_changes") this.change(payload.data.record);
  }

  change(record) {
    const card = find(`.card[data-section="${record.term}:${record.class_nbr}"]`);
    if (!card) return;
    const known = JSON.parse(card.dataset.facts);
    if (Object.keys(known).some((name) => (known[name] ?? null) !== (record[name] ?? null))) return this.fetchCards();
    const time = find("time", card);
    if (time && record.last_checked_at) time.dateTime = record.last_checked_at;
    tellTimes();
  }

  async fetchCards() {
    if (this.fetching) return (this.once = true);
    this.fetching = true;
    const before = pending ? null : sent;
    try {
      const headers = this.tag ? { "If-None-Match": this.tag } : {};
      const answer = await fetch(this.label.dataset.cards, { headers });
      if (answer.redirected) return location.reload();
      if (sent !== before) this.once = true; // a form was under way: look again
      else if (answer.status === 200) {
        this.tag = answer.headers.get("ETag");
        this.show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      }
    } catch {
      /* the next minute tries again */
    } finally {
      this.fetching = false;
      if (this.once) {
        this.once = false;
        setTimeout(() => this.fetchCards(), 500);
      }
    }
  }

  show(page) {
    const before = Object.fromEntries(all(".card").map((card) => [card.dataset.section, card.dataset.print]));
    const place = focusPlace();
    const fresh = find("#cards", page);
    const news = all(".card", fresh).filter((card) => before[card.dataset.section] && before[card.dataset.section] !== card.dataset.print);
    if (!news.length && all(".card", fresh).length === all(".card").length) return;
    for (const card of news) card.classList.add("changed");
    find("#cards").replaceWith(fresh);
    find("#news").textContent = news.map((card) => card.dataset.said).join(" ");
    showOnly();
    focusAgain(place);
    this.follow();
  }

  follow() {
    // Join anew when a section is shown that nobody listens for.
    if (this.isOn && this.sections().some((number) => !this.joined.includes(number))) this.connect();
  }
}

const live = find("#live") && new Live(find("#live"));
