/** One measured figure, in milliseconds, and what it is held against. */
export interface Figure {
  readonly what: string;
  readonly valueMs: number;
  /** By the round trips alone; absent where there is no formula. */
  readonly formulaMs?: number;
  /** How many times the formula it may be. */
  readonly ratioMax?: number;
  /** What it must stay below. */
  readonly belowMs?: number;
}

/** Whether the figure is within its bounds; one that is missing is not. */
export function isMet({ valueMs, formulaMs, ratioMax, belowMs }: Figure): boolean {
  const within = formulaMs === undefined || ratioMax === undefined || valueMs <= formulaMs * ratioMax;
  return !Number.isNaN(valueMs) && within && (belowMs === undefined || valueMs < belowMs);
}

/** As a Markdown table. */
export function figuresTable(figures: readonly Figure[]): string {
  return [
    '| | formula | measured | ratio | target | met |',
    '|---|---|---|---|---|---|',
    ...figures.map(row),
    '',
  ].join('\n');
}

function row(figure: Figure): string {
  const { what, valueMs, formulaMs, ratioMax, belowMs } = figure;
  const ratio = formulaMs === undefined ? '-' : (valueMs / formulaMs).toFixed(2);
  const bounds = [
    ...(ratioMax === undefined ? [] : [`ratio up to ${ratioMax}`]),
    ...(belowMs === undefined ? [] : [`below ${shown(belowMs)}`]),
  ];
  const verdict = bounds.length === 0 ? '-' : isMet(figure) ? 'yes' : '**no**';
  const formula = formulaMs === undefined ? '-' : shown(formulaMs);
  return `| ${what} | ${formula} | ${shown(valueMs)} | ${ratio} | ${bounds.join(', ') || '-'} | ${verdict} |`;
}

function shown(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}
