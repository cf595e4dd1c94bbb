/**
 * The icons: strokes on a 24 by 24 grid.
 *
 * Owns: their shapes.
 * Never: carries meaning alone; every button has a label.
 */

const MICROPHONE =
  'M12 3a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM5 11v1a7 7 0 0 0 14 0v-1M12 19v3';
const CAMERA =
  'M3 7.5A1.5 1.5 0 0 1 4.5 6h9A1.5 1.5 0 0 1 15 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 3 16.5zM15 11l6-3.5v9L15 13';
const SLASH = 'M3 3l18 18';

const PATHS = {
  microphone: MICROPHONE,
  microphoneOff: `${MICROPHONE}${SLASH}`,
  camera: CAMERA,
  cameraOff: `${CAMERA}${SLASH}`,
  screen: 'M3 5h18v11H3zM8 20h8M12 16v4M12 8v5M9.5 10.5 12 8l2.5 2.5',
  screenStop: 'M3 5h18v11H3zM8 20h8M12 16v4M9.5 8.5l5 4.5M14.5 8.5l-5 4.5',
  leave:
    'M4 14.5c-1-1-1.5-2.5-1-3.5C5 8.3 8.3 7 12 7s7 1.3 9 4c.5 1 0 2.5-1 3.5-.4.4-1 .5-1.5.2l-2.6-1.4c-.5-.3-.8-.8-.7-1.4l.1-1.1a11 11 0 0 0-6.6 0l.1 1.1c.1.6-.2 1.1-.7 1.4l-2.6 1.4c-.5.3-1.1.2-1.5-.2z',
  link: 'M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1',
  stats: 'M4 20V10M10 20V4M16 20v-7M21 20H3',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M13 5v4M7 15v4',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5 19 19M19 5l-1.5 1.5M6.5 17.5 5 19',
  people:
    'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20a6.5 6.5 0 0 1 13 0M16 4.5a3.5 3.5 0 0 1 0 6.5M18 14a6.5 6.5 0 0 1 3.5 6',
  hand: 'M8 12V6a1.5 1.5 0 0 1 3 0v5M11 10V4.5a1.5 1.5 0 0 1 3 0V11M14 11V6a1.5 1.5 0 0 1 3 0v8a6 6 0 0 1-6 6c-2.5 0-4-1-5.5-3.5L3.5 13a1.4 1.4 0 0 1 2.3-1.5L8 14',
  lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  chat: 'M4 5h16v11H9l-5 4zM8 9h8M8 12.5h5',
  send: 'M4 12 20 4l-5 16-4-6zM11 14l9-10',
  close: 'M6 6l12 12M18 6 6 18',
  alert: 'M12 3 2.5 20h19zM12 10v4M12 17v.2',
} as const;

export type IconName = keyof typeof PATHS;

const SVG = 'http://www.w3.org/2000/svg';

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}
