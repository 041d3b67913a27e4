import { drawing, escaped, px } from '../svg.ts';
import type { Frame } from './fold.ts';

const WIDTH = 1_600;
const ROW = 17;
const MARGIN = 10;
const TITLE = 30;
/** Narrower frames cannot be seen, and there are many of them. */
const WIDTH_MIN = 0.5;
const CHARACTER_WIDTH = 6.2;
const LABEL_WIDTH_MIN = 24;

/** By whom the code was written, as colours. */
const COLOURS: readonly (readonly [pattern: RegExp, colour: string])[] = [
  [/ \/?dist\/src\/core\//, '#f0a860'],
  [/ \/?dist\/src\/member\//, '#f5c26b'],
  [/ \/?dist\/src\//, '#f7d98c'],
  [/ node:/, '#a9c7e8'],
  [/ .*node_modules\//, '#b7ddb0'],
];
const OTHER_COLOUR = '#d4d4d4';

/**
 * Time by stack, as a drawing: callers above, a frame as wide as its time. Shows whole names and times to who points
 * at a frame.
 */
export function flameGraph(root: Frame, title: string): string {
  const scale = (WIDTH - 2 * MARGIN) / Math.max(1, root.totalUs);
  const parts: string[] = [];
  let depthMax = 0;
  const draw = (frame: Frame, place: { readonly depth: number; readonly x: number }): void => {
    const width = frame.totalUs * scale;
    if (width < WIDTH_MIN) return;
    depthMax = Math.max(depthMax, place.depth);
    const y = TITLE + MARGIN + place.depth * ROW;
    parts.push(box(frame, { x: place.x, y, width, share: frame.totalUs / root.totalUs }));
    let x = place.x;
    for (const child of widestFirst(frame)) {
      draw(child, { depth: place.depth + 1, x });
      x += child.totalUs * scale;
    }
  };
  draw(root, { depth: 0, x: MARGIN });
  const height = TITLE + 2 * MARGIN + (depthMax + 1) * ROW;
  const heading = `<text x="${MARGIN}" y="${MARGIN + 12}" font-size="14">${escaped(title)}</text>`;
  return drawing({ width: WIDTH, height }, [heading, ...parts]);
}

function widestFirst(frame: Frame): readonly Frame[] {
  return [...frame.children.values()].sort((left, right) => right.totalUs - left.totalUs);
}

function box(
  { label, totalUs, selfUs }: Frame,
  place: { readonly x: number; readonly y: number; readonly width: number; readonly share: number },
): string {
  const { x, y, width, share } = place;
  const tip = `${label}: ${(totalUs / 1000).toFixed(1)} ms (${(share * 100).toFixed(1)} %), itself ${(selfUs / 1000).toFixed(1)} ms`;
  const colour = COLOURS.find(([pattern]) => pattern.test(label))?.[1] ?? OTHER_COLOUR;
  const rect = `<rect x="${px(x)}" y="${y}" width="${px(width)}" height="${ROW - 1}" fill="${colour}" stroke="white" stroke-width="0.4"/>`;
  const room = Math.floor((width - 6) / CHARACTER_WIDTH);
  const text =
    width < LABEL_WIDTH_MIN
      ? ''
      : `<text x="${px(x + 3)}" y="${y + 12}" font-size="11">${escaped(label.slice(0, room))}</text>`;
  return `<g><title>${escaped(tip)}</title>${rect}${text}</g>`;
}
