/**
 * The operator's page: which calls run, who is in them, what they get and why, and what happens.
 *
 * Owns: the key, in this tab's session storage alone; which of the two pages is shown.
 * Never: puts the key into an address, or keeps it longer than the tab.
 */
import '../style/base.css';
import '../style/admin.css';
import { applyTheme } from '../preferences.js';
import { Api, Refused } from './api.js';
import { Board } from './board.js';
import { KeyPage } from './keyPage.js';

const STORED = 'convoke-admin-key';
const app = document.querySelector<HTMLElement>('#app') ?? document.body;
let board: Board | undefined;

applyTheme();
const kept = sessionStorage.getItem(STORED);
if (kept === null) showKey();
else void open(kept);

function showKey(problem?: string): void {
  board?.dispose();
  board = undefined;
  sessionStorage.removeItem(STORED);
  const page = new KeyPage(open, problem);
  app.replaceChildren(page.element);
  page.focus();
}

/** Shows the board, if the server takes the key. */
async function open(key: string): Promise<void> {
  const api = new Api(key);
  try {
    await api.calls();
  } catch (error) {
    showKey(error instanceof Refused ? error.message : String(error));
    return;
  }
  sessionStorage.setItem(STORED, key);
  board?.dispose();
  board = new Board(api, showKey);
  app.replaceChildren(board.element);
}
