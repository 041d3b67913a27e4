import { expect, test } from 'vitest';
import { ROUND_TRIPS_KEPT, RoundTripMeter } from '../../../src/member/transport/round-trip-meter.ts';

test('nothing is known before the first ping came back', () => {
  expect(new RoundTripMeter().roundTrip).toBeUndefined();
});

test('one slow answer moves the mean a little, and the longest for a while', () => {
  const meter = new RoundTripMeter();
  meter.note(80);
  expect(meter.roundTrip).toEqual({ lastMs: 80, smoothedMs: 80, maxMs: 80 });
  meter.note(480);
  expect(meter.roundTrip).toEqual({ lastMs: 480, smoothedMs: 130, maxMs: 480 });
  for (let i = 1; i < ROUND_TRIPS_KEPT; i++) meter.note(80);
  expect(meter.roundTrip?.maxMs).toBe(480);
  meter.note(80);
  expect(meter.roundTrip).toMatchObject({ lastMs: 80, maxMs: 80 });
  expect(meter.roundTrip?.smoothedMs).toBeCloseTo(80, 1);
});
