// What changes the gateway: drain, undrain, weight. Asks for the token when the gateway wants one, and keeps it for the tab.

import { node, say, show } from "./format.js";

const dialog = document.getElementById("ask");
const token = document.getElementById("token");
const toast = document.getElementById("toast");
const KEY = "gatewayd-token";
let hiding;

/** Drains or undrains a backend; the button is busy meanwhile. */
export async function act(button, action, upstream, backend) {
  button.setAttribute("aria-busy", "true");
  try {
    await change(action, { upstream, backend });
    tell(action === "drain" ? `${backend} gets no new requests.` : `${backend} takes requests again.`);
  } catch (error) {
    tell(error.message, true);
  } finally {
    button.removeAttribute("aria-busy");
  }
}

/** Turns the weight of a row into a field; Enter sets it, Escape leaves it. */
export function askWeight(cell, upstream, backend) {
  if (cell.querySelector("input")) return;
  const button = cell.querySelector("button");
  const input = node("input", "weight");
  Object.assign(input, { type: "number", min: "0", step: "any", value: backend.weight });
  input.setAttribute("aria-label", `New weight of ${backend.url}`);
  const left = () => close(false);
  const close = (isFocused) => {
    // Taking it away would say that it was left once more.
    input.removeEventListener("blur", left);
    input.remove();
    button.hidden = false;
    if (isFocused) button.focus();
  };
  input.addEventListener("blur", left);
  input.addEventListener("keydown", async (event) => {
    if (event.key === "Escape") close(true);
    if (event.key !== "Enter" || !input.reportValidity() || input.value === "") return;
    const weight = Number(input.value);
    close(true);
    try {
      await change("weight", { upstream, backend: backend.url, weight });
      tell(`${backend.url} has weight ${weight}.`);
    } catch (error) {
      tell(error.message, true);
    }
  });
  button.hidden = true;
  cell.append(input);
  input.select();
}

async function change(action, body) {
  for (let attempt = 0; ; attempt++) {
    const headers = { "content-type": "application/json" };
    const known = sessionStorage.getItem(KEY);
    if (known) headers.authorization = `Bearer ${known}`;
    const response = await fetch(`/api/backends/${action}`, { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(5000) });
    if (response.ok) return;
    if (response.status === 401 && attempt < 3 && (await askToken(known !== null))) continue;
    throw new Error(await reasonOf(response));
  }
}

async function reasonOf(response) {
  const problem = await response.json().catch(() => undefined);
  const reason = problem?.detail ?? problem?.title ?? `The gateway answers ${response.status}`;
  return `${reason[0].toUpperCase()}${reason.slice(1)}.`.replace(/\.\.$/, ".");
}

/** Whether there is a token to try. */
function askToken(isWrong) {
  sessionStorage.removeItem(KEY);
  token.value = "";
  token.placeholder = isWrong ? "That was not it" : "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const isGiven = dialog.returnValue === "use" && token.value !== "";
      if (isGiven) sessionStorage.setItem(KEY, token.value);
      token.value = "";
      resolve(isGiven);
    }, { once: true });
  });
}

function tell(text, isBad = false) {
  say(toast, text);
  toast.classList.toggle("bad", isBad);
  show(toast, true);
  clearTimeout(hiding);
  hiding = setTimeout(() => show(toast, false), isBad ? 8000 : 4000);
}
