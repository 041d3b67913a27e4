import { expect, test } from 'vitest';
import { inOrder, isHomecoming, type Route, type RouteFacts } from '../../src/client/routes.ts';

function route(address: string, facts: Partial<RouteFacts> | null = null, failedAt = 0): Route {
  const whole = {
    memberId: 1n,
    clusterId: 1n,
    region: '',
    isLearner: false,
    isLeader: false,
    roundTripMs: null,
  };
  return { address, facts: facts === null ? null : { ...whole, ...facts }, failedAt };
}
const names = (routes: readonly Route[]): string => routes.map(({ address }) => address).join(' ');
const AS_GIVEN = { region: undefined, leaderFirst: false };

test('without a region the order is the given one, and those that failed longest ago come first of the failed', () => {
  const routes = [
    route('a', { roundTripMs: 9 }, 3),
    route('b', { roundTripMs: 1 }, 1),
    route('c', { roundTripMs: 5 }),
    route('d', { roundTripMs: 2 }),
  ];
  expect(names(inOrder(routes, 'quorum', AS_GIVEN))).toBe('c d b a');
});

test('with a region its members come first, then the nearest, then what was not measured', () => {
  const routes = [
    route('unknown'),
    route('far', { region: 'b', roundTripMs: 90 }),
    route('near', { region: 'c', roundTripMs: 40 }),
    route('home, slow', { region: 'a', roundTripMs: 60 }),
    route('home', { region: 'a', roundTripMs: 2 }),
    route('home, new', { region: 'a' }),
  ];
  const order = inOrder(routes, 'local', { region: 'a', leaderFirst: false });
  expect(names(order)).toBe('home home, slow home, new near far unknown');
});

test('a member at home that failed comes after those that did not, wherever they are', () => {
  const routes = [
    route('home', { region: 'a', roundTripMs: 1 }, 1),
    route('far', { region: 'b', roundTripMs: 90 }),
  ];
  expect(names(inOrder(routes, 'local', { region: 'a', leaderFirst: false }))).toBe('far home');
});

test('learners answer what is local first, and come last where it takes a quorum', () => {
  const routes = [
    route('learner', { region: 'a', roundTripMs: 1, isLearner: true }),
    route('voter', { region: 'b', roundTripMs: 50 }),
  ];
  const preference = { region: 'a', leaderFirst: false };
  expect(names(inOrder(routes, 'local', preference))).toBe('learner voter');
  expect(names(inOrder(routes, 'quorum', preference))).toBe('voter learner');
  expect(names(inOrder(routes, 'write', preference))).toBe('voter learner');
});

test('writes go to the leader first where that is wished, reads do not', () => {
  const routes = [
    route('home', { region: 'a', roundTripMs: 1 }),
    route('leader', { region: 'b', roundTripMs: 50, isLeader: true }),
  ];
  const preference = { region: 'a', leaderFirst: true };
  expect(names(inOrder(routes, 'write', preference))).toBe('leader home');
  expect(names(inOrder(routes, 'quorum', preference))).toBe('home leader');
  expect(names(inOrder(routes, 'write', { ...preference, leaderFirst: false }))).toBe('home leader');
});

test('a watch goes home only from elsewhere, and only when somebody is there', () => {
  const home = route('home', { region: 'a' });
  const far = route('far', { region: 'b' });
  expect(isHomecoming({ current: far, best: home }, 'a')).toBe(true);
  expect(isHomecoming({ current: undefined, best: home }, 'a')).toBe(true);
  expect(isHomecoming({ current: home, best: home }, 'a')).toBe(false);
  expect(isHomecoming({ current: far, best: far }, 'a')).toBe(false);
  expect(isHomecoming({ current: far, best: route('home', { region: 'a' }, 1) }, 'a')).toBe(false);
  expect(isHomecoming({ current: far, best: home }, undefined)).toBe(false);
});
