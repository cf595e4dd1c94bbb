/**
 * What the page remembers on this computer.
 *
 * Owns: name, theme and chosen devices in local storage.
 * Never: remembers tokens.
 */

export interface Preferences {
  name: string;
  theme: 'auto' | 'dark' | 'light';
  quality: 'standard' | 'low';
  camera: string;
  microphone: string;
  speaker: string;
}

const KEY = 'convoke';
const DEFAULTS: Preferences = {
  name: '',
  theme: 'auto',
  quality: 'standard',
  camera: '',
  microphone: '',
  speaker: '',
};

function load(): Preferences {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return { ...DEFAULTS, ...(stored as Partial<Preferences>) };
  } catch {
    return { ...DEFAULTS };
  }
}

export const preferences = load();

export function remember(changes: Partial<Preferences>): void {
  Object.assign(preferences, changes);
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // Storage may be forbidden; then nothing is remembered.
  }
}

/** Shows the page in the chosen theme. */
export function applyTheme(): void {
  const { theme } = preferences;
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** The other theme than what is shown now. */
export function flipTheme(): void {
  const shown =
    preferences.theme === 'auto'
      ? matchMedia('(prefers-color-scheme: light)').matches
        ? 'light'
        : 'dark'
      : preferences.theme;
  remember({ theme: shown === 'dark' ? 'light' : 'dark' });
  applyTheme();
}
