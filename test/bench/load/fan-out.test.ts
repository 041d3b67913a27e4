import { expect, test } from 'vitest';
import { Hearing } from '../../../bench/load/fan-out.ts';

test('a change is over when every watch has heard of it', async () => {
  const hearing = new Hearing(3);
  const everybody = hearing.begin();
  for (let watch = 0; watch < 3; watch++) hearing.heard(0);
  await everybody;
  expect(hearing.heardMs).toHaveLength(3);
  const next = hearing.begin();
  expect(hearing.change).toBe(1);
  for (let watch = 0; watch < 3; watch++) hearing.heard(1);
  await next;
  hearing.check();
});

test('an event that comes twice is noticed, though all have heard', async () => {
  const hearing = new Hearing(1);
  const everybody = hearing.begin();
  hearing.heard(0);
  await everybody;
  hearing.heard(0);
  expect(() => hearing.check()).toThrow('an event of change 0 came after 1 of 0');
  await expect(hearing.begin()).rejects.toThrow('an event of change 0');
});

test('an event of another change ends the wait', async () => {
  const hearing = new Hearing(2);
  const everybody = hearing.begin();
  hearing.heard(7);
  await expect(everybody).rejects.toThrow('an event of change 7 came after 0 of 0');
});

test('a watch that ends fails the change that is on its way', async () => {
  const hearing = new Hearing(2);
  const everybody = hearing.begin();
  hearing.heard(0);
  hearing.fail(new Error('a watch was canceled'));
  await expect(everybody).rejects.toThrow('a watch was canceled');
});
