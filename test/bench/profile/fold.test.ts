import { expect, test } from 'vitest';
import { flameGraph } from '../../../bench/profile/flame-graph.ts';
import { type CpuProfile, fold, hottest } from '../../../bench/profile/fold.ts';

function node(id: number, name: string, children: readonly number[] = []): CpuProfile['nodes'][number] {
  const native = name.startsWith('(');
  return {
    id,
    callFrame: {
      functionName: name,
      url: native ? '' : 'file:///repo/dist/src/core/a.js',
      lineNumber: native ? -1 : 9,
    },
    children,
  };
}

/** root -> main -> (work, twice as nodes of their own), and idle. */
const PROFILE: CpuProfile = {
  nodes: [
    node(1, '(root)', [2, 5]),
    node(2, 'main', [3, 4]),
    node(3, 'work'),
    node(4, 'work'),
    node(5, '(idle)'),
  ],
  samples: [2, 3, 4, 5, 3],
  timeDeltas: [5, 100, 200, 300, 1_000, 40],
};

const WORK = 'work dist/src/core/a.js:10';
const MAIN = 'main dist/src/core/a.js:10';

test('a sample lasts until the next one, and counts for all that called it', () => {
  const { root, idleUs } = fold(PROFILE, '/repo/');
  expect(idleUs).toBe(1_000);
  expect(root.totalUs).toBe(640);
  const main = root.children.get(MAIN)!;
  expect(main).toMatchObject({ selfUs: 100, totalUs: 640 });
  expect(main.children.get(WORK)).toMatchObject({ selfUs: 540, totalUs: 540 });
});

test('a function is as hot as all its calls together', () => {
  expect(hottest(fold(PROFILE, '/repo/').root, 1)).toEqual([{ label: WORK, selfUs: 540 }]);
});

test('a profile without samples is empty', () => {
  expect(fold({ nodes: PROFILE.nodes }, '/').root.totalUs).toBe(0);
  expect(flameGraph(fold({ nodes: PROFILE.nodes }, '/').root, 'nothing')).toContain('nothing');
});

test('frames of a flame graph are as wide as their time, and callers stand above', () => {
  const svg = flameGraph(fold(PROFILE, '/repo/').root, 'title <1>');
  const boxes = [
    ...svg.matchAll(/<title>([^:]*).*?<\/title><rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"/g),
  ];
  expect(boxes.map(([, label]) => label)).toEqual([
    'all',
    'main dist/src/core/a.js',
    'work dist/src/core/a.js',
  ]);
  const [all, main, work] = boxes.map(([, , , y, width]) => ({ y: Number(y), width: Number(width) }));
  expect(main!.y).toBeGreaterThan(all!.y);
  expect(work!.y).toBeGreaterThan(main!.y);
  expect(main!.width).toBe(all!.width);
  expect(work!.width).toBeCloseTo((all!.width * 540) / 640, 0);
  expect(svg).toContain('title &lt;1&gt;');
});
