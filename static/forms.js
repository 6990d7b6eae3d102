// Small helps for forms. Without them every form works, with more to read and to type.

// [data-copy="#id"] copies a text.
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const source = document.querySelector(button.dataset.copy);
  const text = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // No clipboard without https: the text is marked, to be copied by hand.
    getSelection().selectAllChildren(source);
    button.textContent = "Marked: copy it";
  }
  setTimeout(() => { button.textContent = text; }, 2000);
});

// [data-show-password="#id"] is a tick that shows what is typed into a field for passwords.
document.addEventListener("change", (event) => {
  const field = event.target.matches?.("[data-show-password]") && document.querySelector(event.target.dataset.showPassword);
  if (field) field.type = event.target.checked ? "text" : "password";
});

// [data-show-if="name=value other"] is shown while the field `name` has that value (or one of several: name=a|b) and the field
// `other` has any.
function holds(form, condition) {
  const [name, value] = condition.split("=");
  const field = form.elements.namedItem(name);
  if (!field) return false;
  const now = field.type === "checkbox" ? (field.checked ? field.value : "") : field.value;
  return value === undefined ? now !== "" : value.split("|").includes(now);
}

// An input with [data-enable-if] can be used while the same kind of condition holds. A choice that cannot be used any more passes
// to the first that can.
function enableWhatFits(form) {
  for (const input of form.querySelectorAll("[data-enable-if]")) input.disabled = !holds(form, input.dataset.enableIf);
  for (const lost of form.querySelectorAll("input[type=radio][data-enable-if]:disabled:checked")) {
    const other = [...form.querySelectorAll("input[type=radio]")].find((input) => input.name === lost.name && !input.disabled);
    if (other) other.checked = true;
  }
}

function showWhatFits(form) {
  enableWhatFits(form);
  for (const part of form.querySelectorAll("[data-show-if]")) {
    part.hidden = !part.dataset.showIf.split(" ").every((condition) => holds(form, condition));
  }
}

// A list of choices beside a field of many lines: a tick adds the line, and taking it away removes it.
function lines(area) {
  return area.value.split(/[\s,]+/).filter(Boolean);
}

function tick(list) {
  const area = document.getElementById(list.dataset.choicesFor);
  const chosen = new Set(lines(area));
  for (const box of list.querySelectorAll("input[type=checkbox]")) box.checked = chosen.has(box.value);
}

document.addEventListener("change", (event) => {
  const list = event.target.closest?.("[data-choices-for]");
  if (!list || event.target.type !== "checkbox") return;
  const area = document.getElementById(list.dataset.choicesFor);
  const rest = lines(area).filter((line) => line !== event.target.value);
  if (event.target.checked) rest.push(event.target.value);
  area.value = rest.join("\n");
});

document.addEventListener("input", (event) => {
  if (event.target.form) showWhatFits(event.target.form);
  const list = event.target.closest?.("[data-choices-for]");
  if (list && event.target.type === "search") {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const choice of list.querySelectorAll("label.check")) {
      const text = choice.textContent.toLowerCase();
      choice.hidden = !words.every((word) => text.includes(word));
    }
  }
  for (const beside of document.querySelectorAll(`[data-choices-for="${CSS.escape(event.target.id)}"]`)) tick(beside);
});

// Enter in the search of such a list does not send the form that it stands in.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.type === "search" && event.target.closest("[data-choices-for]")) event.preventDefault();
});

// What a click or a lookup came to when it was refused is said, until something works again. (That the portal is away is
// said by live.js on pages that follow it.)
const trouble = document.getElementById("trouble");

function say(text) {
  if (!trouble) return;
  trouble.textContent = text;
  trouble.hidden = text === "";
}
document.addEventListener("htmx:responseError", (event) => say(event.detail.xhr.responseText));
document.addEventListener("htmx:sendError", () => {
  if (!document.body.dataset.events) say("The portal cannot be reached. Try again in a moment.");
});
document.addEventListener("htmx:afterRequest", (event) => { if (event.detail.successful || event.detail.xhr?.status === 422) say(""); });

function prepare(root) {
  for (const form of document.querySelectorAll("form")) showWhatFits(form);
  for (const list of root.querySelectorAll("[data-choices-for]")) tick(list);
  for (const box of root.querySelectorAll("[data-show-password]")) box.closest("label").hidden = false;
}
prepare(document);
document.addEventListener("htmx:load", (event) => prepare(event.target));
