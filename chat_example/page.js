// The page's end of the chat: protocol.py tells what the messages are. Whatever people wrote gets
// into the page through textContent alone.
"use strict";

// Waits before connecting again, milliseconds: exponential, jitter over the whole of the capped
// wait, and from the beginning again once a connection has lived a while.
const FIRST_WAIT = 250;
const LONGEST_WAIT = 10_000;
const LIVED = 10_000;

// Going away, lost, and the server's troubles; after any other close we are not wanted back.
const WORTH_RETRYING = new Set([1001, 1006, 1011, 1012, 1013, 1014]);

// What the page keeps of a conversation.
const LONGEST_LOG = 1000;
const MOST_SEEN = 1000;

const byId = (id) => document.getElementById(id);
const log = byId("log");
const line = byId("line");

const me = { nick: "", room: "", ticket: "", since: "", welcomed: false };
const seen = new Set(); // the ids of lines, the oldest first
let people = new Set();
let socket = null;
let failures = 0;
let retry = 0;
let unread = 0;

// ---------------------------------------------------------------- the connection

function connect() {
  const opening = new WebSocket(location.href.replace(/^http/, "ws").replace(/[?#].*/, ""));
  let openedAt = Infinity;
  clearTimeout(retry);
  socket = opening;
  showState("connecting …");
  opening.onopen = () => {
    openedAt = performance.now();
    sayHello();
  };
  opening.onmessage = (event) => take(JSON.parse(event.data));
  opening.onclose = (event) => {
    if (socket !== opening) return; // somebody came in again meanwhile
    me.welcomed = false;
    if (!WORTH_RETRYING.has(event.code)) {
      showState(event.reason || "closed");
      return;
    }
    if (performance.now() - openedAt > LIVED) failures = 0;
    const wait = Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures);
    failures += 1;
    showState("connection lost, trying again …");
    retry = setTimeout(connect, wait);
  };
}

function send(message) {
  socket.send(JSON.stringify(message));
}

function sayHello() {
  send({ type: "hello", nick: me.nick, room: me.room, ticket: me.ticket, since: me.since });
}

function sendLine(text) {
  if (!me.welcomed) return false;
  send({ type: "line", text });
  return true;
}

// ---------------------------------------------------------------- what the server says

const handlers = {
  welcome({ nick, ticket }) {
    Object.assign(me, { nick, ticket, welcomed: true });
    byId("sign-in").hidden = true;
    byId("chat").hidden = false;
    showState("connected", true);
    remember();
    line.focus();
  },
  room({ room, people: here }) {
    if (room !== me.room) me.since = "";
    me.room = room;
    people = new Set(here);
    byId("room").textContent = `#${room}`;
    notice(`you are in #${room}`);
    showPeople();
    remember();
  },
  history({ recovered, position }) {
    if (me.since && !recovered) notice("not everything that was said meanwhile may be here");
    me.since = position;
  },
  joined({ room, nick }) {
    if (room !== me.room) return; // left meanwhile
    people.add(nick);
    notice(name(nick), " came in");
    showPeople();
  },
  left({ room, nick, why }) {
    if (room !== me.room) return;
    people.delete(nick);
    notice(name(nick), ` ${why}`);
    showPeople();
  },
  renamed({ old, new: nick }) {
    people.delete(old);
    people.add(nick);
    if (old === me.nick) {
      me.nick = nick;
      remember();
    }
    notice(name(old), " is called ", name(nick), " now");
    showPeople();
  },
  said(line) {
    const { nick, text, at } = line;
    if (!isNew(line)) return;
    const who = nick === me.nick ? [] : [name(nick), " "];
    add(speech("said", nick, text), ...who, text, time(at));
  },
  did(line) {
    const { nick, text, at } = line;
    if (isNew(line)) add("did", name(nick), ` ${text}`, time(at));
  },
  whispered({ sender, to, text }) {
    const whom = sender === me.nick ? ["to ", name(to)] : [name(sender)];
    add(speech("whispered", sender, ""), ...whom, ` privately: ${text}`, time());
  },
  people({ room, people: there }) {
    notice(`in #${room}: ${there.join(", ") || "nobody"}`);
  },
  rooms({ rooms }) {
    const links = Object.entries(rooms).map(([room, count]) =>
      button(`#${room} (${count})`, () => sendLine(`/join ${room}`)));
    notice("rooms: ", ...links);
  },
  help({ commands }) {
    const list = element("dl");
    for (const [usage, summary] of Object.entries(commands)) {
      list.append(element("dt", usage), element("dd", summary));
    }
    notice("what you can type:", list);
  },
  error({ text }) {
    if (me.welcomed) {
      add("notice error", text);
    } else {
      signIn(text);
    }
  },
  bye({ text }) {
    history.replaceState(null, "");
    socket.close();
    signIn(text);
  },
};

// Whether a line was not shown before; from here on it was, and the room is read up to it.
function isNew({ room, id, position }) {
  if (room === me.room) me.since = position;
  if (seen.has(id)) return false;
  seen.add(id);
  if (seen.size > MOST_SEEN) seen.delete(seen.values().next().value);
  return true;
}

function take(message) {
  handlers[message.type]?.(message);
}

// ---------------------------------------------------------------- what is seen

function element(tag, ...content) {
  const made = document.createElement(tag);
  made.append(...content); // strings become text, never markup
  return made;
}

function button(text, action) {
  const made = element("button", text);
  made.type = "button";
  made.className = "quiet";
  made.onclick = action;
  return made;
}

function colour(made, nick) {
  let hash = 2166136261; // FNV-1a: names that differ little get colours that differ much
  for (const character of nick.toLowerCase()) hash = Math.imul(hash ^ character.codePointAt(0), 16777619);
  made.style.setProperty("--hue", (hash >>> 0) % 360);
  made.classList.add("name");
  return made;
}

function name(nick) {
  return colour(element("bdi", nick), nick);
}

// Seconds since the epoch of Unix, if not now.
function time(at = Date.now() / 1000) {
  return element("time", new Date(at * 1000).toTimeString().slice(0, 5));
}

function speech(kind, nick, text) {
  if (nick === me.nick) return `${kind} mine`;
  return text.toLowerCase().includes(me.nick.toLowerCase()) ? `${kind} mention` : kind;
}

function add(kind, ...content) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const item = element("li", ...content);
  item.className = kind;
  log.append(item);
  while (log.childElementCount > LONGEST_LOG) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
  if (document.hidden && !kind.startsWith("notice")) unread += 1;
  showTitle();
}

function notice(...content) {
  add("notice", ...content);
}

function showTitle() {
  document.title = `${unread ? `(${unread}) ` : ""}${me.room ? `#${me.room} · ` : ""}Chat`;
}

function showState(text, open = false) {
  byId("state").textContent = text;
  byId("state").className = open ? "open" : "";
  byId("sign-in-error").textContent = open ? "" : text;
}

function showPeople() {
  byId("here").textContent = `${people.size} here`;
  const sorted = [...people].sort((a, b) => a.localeCompare(b));
  byId("people").replaceChildren(...sorted.map((nick) => {
    const label = nick === me.nick ? `${nick} (you)` : nick;
    const made = colour(button(label, () => whisperTo(nick)), nick);
    made.title = `Write to ${nick} in private`;
    return element("li", made);
  }));
}

function whisperTo(nick) {
  line.value = `/msg ${nick} `;
  line.focus();
}

function signIn(why) {
  byId("sign-in").hidden = false;
  byId("chat").hidden = true;
  byId("sign-in-error").textContent = why;
  byId("nick").focus();
}

// A reload comes back to the same room under the same name; the room is a link to share.
function remember() {
  history.replaceState({ nick: me.nick }, "", `?room=${encodeURIComponent(me.room)}`);
}

// ---------------------------------------------------------------- what the person does

byId("sign-in").onsubmit = (event) => {
  event.preventDefault();
  me.nick = byId("nick").value;
  me.room = byId("first-room").value;
  byId("sign-in-error").textContent = "";
  if (socket?.readyState === WebSocket.OPEN) {
    sayHello();
  } else if (socket?.readyState !== WebSocket.CONNECTING) {
    connect();
  }
};

byId("compose").onsubmit = (event) => {
  event.preventDefault();
  if (!line.value.trim()) return;
  if (sendLine(line.value)) {
    line.value = "";
  } else {
    add("notice error", "not connected; your line is still below");
  }
};

byId("show-rooms").onclick = () => sendLine("/rooms");
byId("show-help").onclick = () => sendLine("/help");

document.onvisibilitychange = () => {
  unread = 0;
  showTitle();
};

byId("nick").value = history.state?.nick ?? "";
byId("first-room").value = new URLSearchParams(location.search).get("room") || "lobby";
if (byId("nick").value) byId("sign-in").requestSubmit();
