// Elements from plain calls. Nothing here reads markup: whatever a server says is shown as text.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; `on…` attributes are listeners, null and false ones are left out. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Shows `children` in place of whatever `element` has. */
export function show(element, ...children) {
  element.replaceChildren(...present(children));
  return element;
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name !== "value") element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children));
  const { value } = attributes;
  if (value !== undefined && value !== null) {
    // What is typed into is a property; a select has it only once it has its options.
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName)) element.value = value;
    else element.setAttribute("value", value);
  }
  return element;
}

function present(children) {
  return children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false);
}
