import { afterEach, beforeEach, expect, test } from 'vitest';
import { type AccessOutcome, SILENT_OBSERVER, type SignInOutcome } from '../../../src/member/observer.ts';
import { get, put, TestCluster } from '../test-cluster.ts';

/** What a member tells those who measure it about users: each request once, each sign-in once. */

let cluster: TestCluster;
let decided: AccessOutcome[];
let signedIn: SignInOutcome[];

beforeEach(async () => {
  decided = [];
  signedIn = [];
  const auth = { jwt: null, tokenTtlMs: 300_000, passwordCost: 4 };
  cluster = await TestCluster.start(
    1,
    { auth },
    {
      ...SILENT_OBSERVER,
      accessDecided: (outcome) => decided.push(outcome),
      signedIn: (outcome) => signedIn.push(outcome),
    },
  );
});
afterEach(async () => {
  await cluster.stopAll();
});

function context(token?: string) {
  const { signal } = new AbortController();
  return { signal, serializable: false, ...(token === undefined ? {} : { credentials: { token } }) };
}
function seen<T>(outcomes: T[]): T[] {
  return outcomes.splice(0);
}

test('requests and sign-ins are told by outcome, once authentication is enabled', async () => {
  const member = cluster.places[0]!.member!;
  const { accounts } = member;
  const signIn = (password: string, address = '') =>
    accounts.authenticate({ name: 'root', password, address }, context());
  expect(member.figures().auth).toEqual({ enabled: false, revision: 1, users: 0, roles: 0, tokens: 0 });
  await member.put(put('a', '1'), context());
  await accounts.userAdd({ name: 'root', password: 'pw', noPassword: false }, context());
  await accounts.userGrantRole({ name: 'root', role: 'root' }, context());
  await accounts.roleAdd('r', context());
  await expect(signIn('pw')).rejects.toMatchObject({ code: 'auth-not-enabled' });
  expect([seen(decided), seen(signedIn)]).toEqual([[], []]);

  await accounts.enable(context());
  const before = member.figures().auth;
  expect(before).toMatchObject({ enabled: true, users: 1, roles: 1, tokens: 0 });
  const root = (await signIn('pw')).result;
  expect(member.figures().auth.tokens).toBe(1);
  await expect(signIn('no')).rejects.toMatchObject({ code: 'auth-failed' });
  expect(seen(signedIn)).toEqual(['granted', 'refused']);

  seen(decided);
  await member.put(put('a', '1'), context(root));
  await accounts.userAdd({ name: 'u', password: 'u', noPassword: false }, context(root));
  expect(seen(decided)).toEqual(['allowed', 'allowed']);
  expect(member.figures().auth).toMatchObject({ users: 2, revision: before.revision + 1 });
  await expect(member.put(put('a', '1'), context())).rejects.toMatchObject({ code: 'user-empty' });
  await expect(member.range(get('a'), context('none'))).rejects.toMatchObject({ code: 'auth-token-invalid' });
  expect(seen(decided)).toEqual(['unknown', 'unknown']);

  const user = (await accounts.authenticate({ name: 'u', password: 'u', address: '' }, context())).result;
  await expect(member.range(get('a'), context(user))).rejects.toMatchObject({ code: 'permission-denied' });
  const another = accounts.userAdd({ name: 'v', password: 'v', noPassword: false }, context(user));
  await expect(another).rejects.toMatchObject({ code: 'permission-denied' });
  const watches = member.openWatch({ deliver: () => {}, writable: true }, context(user));
  expect(watches.create(watchOf('a'))).toContain('permission denied');
  watches.close();
  expect(seen(decided)).toEqual(['denied', 'denied', 'denied']);
  // Permitted, though it fails: revision 99 is not there yet.
  await expect(member.compact({ revision: 99, physical: false }, context(root))).rejects.toMatchObject({
    code: 'future-revision',
  });
  expect(seen(decided)).toEqual(['allowed']);
});

test('sign-ins that are refused unseen are told apart from wrong passwords', async () => {
  const { accounts } = cluster.places[0]!.member!;
  await accounts.userAdd({ name: 'root', password: 'pw', noPassword: false }, context());
  await accounts.userGrantRole({ name: 'root', role: 'root' }, context());
  await accounts.enable(context());
  const guess = () => accounts.authenticate({ name: 'root', password: 'x', address: '192.0.2.1' }, context());
  while (!signedIn.includes('limited')) await guess().catch(() => {});
  expect(signedIn.indexOf('limited')).toBeGreaterThanOrEqual(20);
  expect(new Set(signedIn)).toEqual(new Set(['refused', 'limited']));
});

const watchOf = (key: string) => ({
  watchId: 1n,
  key: Buffer.from(key),
  rangeEnd: Buffer.alloc(0),
  startRevision: 0,
  noPut: false,
  noDelete: false,
  prevKv: false,
  progressNotify: false,
});
