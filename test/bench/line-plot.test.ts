import { expect, test } from 'vitest';
import { linePlots, logScale } from '../../bench/line-plot.ts';
import { escaped } from '../../bench/svg.ts';

test('a logarithmic scale goes from power of ten to power of ten', () => {
  const scale = logScale([20, 3_000], 300);
  expect(scale.ticks).toEqual([10, 100, 1_000, 10_000]);
  expect(scale.at(10)).toBe(0);
  expect(scale.at(100)).toBeCloseTo(100);
  expect(scale.at(10_000)).toBe(300);
});

test('values that are all the same have a scale, too', () => {
  expect(logScale([10, 10], 100).ticks).toEqual([10, 100]);
});

test('panels stand side by side, higher values higher up', () => {
  const points = [
    { x: 10, y: 1 },
    { x: 100, y: 10 },
  ];
  const panel = { title: 'a < b', xLabel: 'x', yLabel: 'y', series: [{ name: 's', colour: 'red', points }] };
  const svg = linePlots([panel, panel]);
  expect(svg).toContain('viewBox="0 0 920 340"');
  expect(svg).toContain('translate(460 0)');
  expect(svg).toContain('a &lt; b');
  expect(svg).toContain('<polyline points="60,265 445,35"');
});

test('text of a drawing cannot leave its place', () => {
  expect(escaped('<a href="x">&</a>')).toBe('&lt;a href=&quot;x&quot;&gt;&amp;&lt;/a&gt;');
});
