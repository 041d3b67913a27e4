import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Watchdog } from '../src/service-watchdog.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** Looked after every 10 ms, for three looks without an answer. */
function watched(): { readonly watchdog: Watchdog; readonly log: string[] } {
  const log: string[] = [];
  const watchdog = new Watchdog({
    pingMs: 10,
    missedMax: 3,
    ping: () => log.push('ping'),
    hung: () => log.push('hung'),
  });
  return { watchdog, log };
}

test('who answers in time is asked again and again', () => {
  const { watchdog, log } = watched();
  for (let round = 0; round < 10; round += 1) {
    vi.advanceTimersByTime(20);
    expect(log.at(-1)).toBe('ping');
    watchdog.heard();
    vi.advanceTimersByTime(10);
  }
  expect(log).toHaveLength(11);
});

test('who leaves one ping unanswered for as many looks hangs, which is told once', () => {
  const { watchdog, log } = watched();
  watchdog.heard();
  vi.advanceTimersByTime(10 + 20);
  expect(log).toEqual(['ping', 'ping']);
  vi.advanceTimersByTime(10);
  expect(log).toEqual(['ping', 'ping', 'hung']);
  vi.advanceTimersByTime(1_000);
  expect(log).toHaveLength(3);
});

test('after its end nothing is looked for', () => {
  const { watchdog, log } = watched();
  watchdog.close();
  vi.advanceTimersByTime(1_000);
  expect(log).toEqual(['ping']);
});
