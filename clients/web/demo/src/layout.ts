/**
 * Where tiles go.
 *
 * Owns: the arithmetic, as pure functions from sizes to rectangles.
 * Never: touches the page.
 */

export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Area {
  readonly width: number;
  readonly height: number;
}

const GAP = 10;
/** How far a tile may leave 16:9 to fill the page (pictures are cropped, not stretched). */
const NARROWEST = 1.2;
const WIDEST = 16 / 9;

/** What each of `columns` columns has for a tile. */
function cellOf(count: number, columns: number, area: Area): Area {
  const rows = Math.ceil(count / columns);
  return {
    width: Math.max(1, (area.width - GAP * (columns - 1)) / columns),
    height: Math.max(1, (area.height - GAP * (rows - 1)) / rows),
  };
}

/** The number of columns that makes tiles largest. */
export function bestColumns(count: number, area: Area): number {
  let best = 1;
  let bestSize = 0;
  for (let columns = 1; columns <= count; columns += 1) {
    const tile = fitted(cellOf(count, columns, area));
    const size = tile.width * tile.height;
    if (size > bestSize * 1.01) {
      best = columns;
      bestSize = size;
    }
  }
  return best;
}

/** A grid that fills the area; the last row is centred. */
export function grid(count: number, area: Area, offset = { x: 0, y: 0 }): Rect[] {
  if (count === 0) return [];
  const columns = bestColumns(count, area);
  const rows = Math.ceil(count / columns);
  const tile = fitted(cellOf(count, columns, area));
  const used = {
    width: tile.width * columns + GAP * (columns - 1),
    height: tile.height * rows + GAP * (rows - 1),
  };
  const top = offset.y + (area.height - used.height) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = Math.min(columns, count - row * columns);
    const rowWidth = tile.width * inRow + GAP * (inRow - 1);
    const left = offset.x + (area.width - rowWidth) / 2;
    return {
      x: left + (index - row * columns) * (tile.width + GAP),
      y: top + row * (tile.height + GAP),
      ...tile,
    };
  });
}

function fitted(cell: Area): Area {
  const aspect = cell.width / cell.height;
  if (aspect > WIDEST) return { width: cell.height * WIDEST, height: cell.height };
  if (aspect < NARROWEST) return { width: cell.width, height: cell.width / NARROWEST };
  return cell;
}

/** A stage for a screen share, with the other tiles beside it (or below it on tall pages). */
export function stage(others: number, area: Area): { stage: Rect; others: Rect[] } {
  if (others === 0) return { stage: { x: 0, y: 0, ...area }, others: [] };
  if (area.width >= area.height * 1.2) {
    const strip = Math.min(300, Math.max(120, area.width * 0.2));
    const width = area.width - strip - GAP;
    return {
      stage: { x: 0, y: 0, width, height: area.height },
      others: grid(others, { width: strip, height: area.height }, { x: width + GAP, y: 0 }),
    };
  }
  // A screen is wide: on a tall page most of the height would stay black.
  const height = Math.min(area.height * 0.7, Math.max(area.width * 0.65, area.height * 0.35));
  const strip = area.height - height - GAP;
  return {
    stage: { x: 0, y: 0, width: area.width, height },
    others: grid(others, { width: area.width, height: strip }, { x: 0, y: height + GAP }),
  };
}

/** How many tiles still leave each large enough to recognise someone. */
export function capacity(area: Area): number {
  const smallest = { width: 120, height: 90 };
  const columns = Math.max(1, Math.floor((area.width + GAP) / (smallest.width + GAP)));
  const rows = Math.max(1, Math.floor((area.height + GAP) / (smallest.height + GAP)));
  return Math.min(25, Math.max(2, columns * rows));
}

/**
 * Who is on the page when not all fit: those who were, in their places, except that whoever speaks
 * takes the place of the one who has been silent longest. `lastSpoke` is 0 for never.
 */
export function choose(
  all: readonly string[],
  before: readonly string[],
  lastSpoke: ReadonlyMap<string, number>,
  room: number,
): string[] {
  if (all.length <= room) return [...all];
  const alive = new Set(all);
  const shown = before.filter((id) => alive.has(id)).slice(0, room);
  for (const id of all) if (shown.length < room && !shown.includes(id)) shown.push(id);
  const spoke = (id: string) => lastSpoke.get(id) ?? 0;
  const waiting = all
    .filter((id) => !shown.includes(id) && spoke(id) > 0)
    .sort((a, b) => spoke(b) - spoke(a));
  for (const id of waiting) {
    let quietest = 0;
    for (const [index, other] of shown.entries()) {
      if (spoke(other) < spoke(shown[quietest] ?? other)) quietest = index;
    }
    if (spoke(shown[quietest] ?? id) >= spoke(id)) break;
    shown[quietest] = id;
  }
  return shown;
}
