/**
 * Small helpers to build the page.
 *
 * Owns: element creation.
 * Never: parses HTML from strings; names and messages of strangers are only ever text.
 */

type Child = Node | string | undefined | false;
type Props = Record<string, string | number | boolean | EventListener | undefined>;

/**
 * Makes an element. `onX` adds a listener, `data-`, `aria-` and other names set attributes; false
 * and undefined leave one out, true sets it empty.
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2).toLowerCase(), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

/** Shows or hides. */
export function toggle(element: HTMLElement, visible: boolean): void {
  element.hidden = !visible;
}
