import { drawing, escaped, px } from './svg.ts';

export interface Series {
  readonly name: string;
  readonly colour: string;
  readonly dashed?: boolean;
  /** In the order in which they are joined. */
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

/** One diagram; both scales are logarithmic, so all values must be above 0. */
export interface Panel {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
}

const PANEL = { width: 460, height: 340 };
const INNER = { left: 60, right: 15, top: 35, bottom: 75 };
const PLOT = {
  width: PANEL.width - INNER.left - INNER.right,
  height: PANEL.height - INNER.top - INNER.bottom,
};
const LEGEND_COLUMN = 190;
const LEGEND_ROW = 15;

/** Diagrams side by side. */
export function linePlots(panels: readonly Panel[]): string {
  const parts = panels.flatMap((panel, at) => [
    `<g transform="translate(${at * PANEL.width} 0)">`,
    ...panelParts(panel),
    '</g>',
  ]);
  return drawing({ width: PANEL.width * panels.length, height: PANEL.height }, parts);
}

interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

/** From the power of ten below the least value to the one above the greatest. */
export function logScale(values: readonly number[], length: number): Scale {
  const logs = values.map((value) => Math.log10(value));
  const low = Math.floor(Math.min(...logs));
  const high = Math.max(low + 1, Math.ceil(Math.max(...logs)));
  return {
    at: (value) => ((Math.log10(value) - low) / (high - low)) * length,
    ticks: Array.from({ length: high - low + 1 }, (_, step) => 10 ** (low + step)),
  };
}

function panelParts({ title, xLabel, yLabel, series }: Panel): readonly string[] {
  const points = series.flatMap((one) => one.points);
  const x = logScale(
    points.map((point) => point.x),
    PLOT.width,
  );
  const y = logScale(
    points.map((point) => point.y),
    PLOT.height,
  );
  const left = (value: number): string => px(INNER.left + x.at(value));
  const top = (value: number): string => px(INNER.top + PLOT.height - y.at(value));
  const bottom = INNER.top + PLOT.height;
  return [
    `<text x="${INNER.left}" y="20" font-size="14">${escaped(title)}</text>`,
    ...x.ticks.flatMap((tick) => [
      line({ x1: left(tick), y1: String(INNER.top), x2: left(tick), y2: String(bottom) }),
      `<text x="${left(tick)}" y="${bottom + 15}" text-anchor="middle">${tick.toLocaleString('en')}</text>`,
    ]),
    ...y.ticks.flatMap((tick) => [
      line({ x1: String(INNER.left), y1: top(tick), x2: px(INNER.left + PLOT.width), y2: top(tick) }),
      `<text x="${INNER.left - 6}" y="${top(tick)}" dy="4" text-anchor="end">${tick.toLocaleString('en')}</text>`,
    ]),
    `<text x="${px(INNER.left + PLOT.width)}" y="${bottom + 30}" text-anchor="end">${escaped(xLabel)}</text>`,
    `<text transform="translate(14 ${INNER.top}) rotate(-90)" text-anchor="end">${escaped(yLabel)}</text>`,
    ...series.flatMap((one, at) => seriesParts(one, at, { left, top })),
  ];
}

function seriesParts(
  { name, colour, dashed = false, points }: Series,
  at: number,
  to: { readonly left: (x: number) => string; readonly top: (y: number) => string },
): readonly string[] {
  const stroke = `fill="none" stroke="${colour}" stroke-width="2"${dashed ? ' stroke-dasharray="5 4"' : ''}`;
  const joined = points.map(({ x, y }) => `${to.left(x)},${to.top(y)}`).join(' ');
  const legendX = INNER.left + (at % 2) * LEGEND_COLUMN;
  const legendY = PANEL.height - 30 + Math.floor(at / 2) * LEGEND_ROW;
  return [
    `<polyline points="${joined}" ${stroke}/>`,
    ...points.map(({ x, y }) => `<circle cx="${to.left(x)}" cy="${to.top(y)}" r="3" fill="${colour}"/>`),
    `<polyline points="${legendX},${legendY} ${legendX + 25},${legendY}" ${stroke}/>`,
    `<text x="${legendX + 31}" y="${legendY + 4}">${escaped(name)}</text>`,
  ];
}

function line(ends: {
  readonly x1: string;
  readonly y1: string;
  readonly x2: string;
  readonly y2: string;
}): string {
  return `<line x1="${ends.x1}" y1="${ends.y1}" x2="${ends.x2}" y2="${ends.y2}" stroke="#dddddd"/>`;
}
