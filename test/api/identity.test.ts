import { expect, test } from 'vitest';
import { AGENT_LENGTH_MAX, Identity, type IdentityOptions } from '../../src/api/identity.ts';
import { KvError } from '../../src/kv/kv.ts';

const { signal } = new AbortController();
const address = '10.0.0.1';

/** A store with ada, whose tokens are good until they are taken back. */
function store(isOn: boolean) {
  const good = new Set(['given']);
  let signIns = 0;
  const kv: IdentityOptions['kv'] = {
    authEnabled: async () => isOn,
    signIn: async ({ name, password }) => {
      if (name !== 'ada' || password !== 'lovelace') throw new KvError('unauthenticated', 'who is that?');
      signIns += 1;
      good.add(`token ${signIns}`);
      return `token ${signIns}`;
    },
    permits: async (_request, { principal }) => {
      if (principal.type !== 'token' || !good.has(principal.token)) {
        throw new KvError('unauthenticated', 'what is that?');
      }
      return { user: 'ada', permitted: true };
    },
  };
  return { kv, good, signIns: () => signIns };
}

const basic = `Basic ${Buffer.from('ada:lovelace').toString('base64')}`;

test('a certificate names its caller, or else the caller itself', async () => {
  const identity = new Identity({ kv: store(false).kv, requireIdentity: true });
  const of = async (shown: object) => (await identity.callerOf({ address, ...shown }, signal)).actor;
  expect(await of({ certificateName: 'pay-1', user: 'root' })).toMatchObject({
    name: 'pay-1',
    isAuthenticated: true,
  });
  expect(await of({ user: 'eve', authorization: basic })).toMatchObject({
    name: 'eve',
    isAuthenticated: false,
    address,
  });
  await expect(of({})).rejects.toMatchObject({ code: 'unauthenticated' });
  await expect(of({ user: '' })).rejects.toMatchObject({ code: 'unauthenticated' });
  await expect(of({ user: 'u'.repeat(101) })).rejects.toMatchObject({
    code: 'invalid',
    problems: [{ field: 'X-Conclave-User' }],
  });
});

test('nobody has to say who they are unless it is required', async () => {
  const identity = new Identity({ kv: store(false).kv, requireIdentity: false });
  const { actor } = await identity.callerOf({ address, agent: 'a'.repeat(1_000) }, signal);
  expect(actor).toEqual({
    name: 'anonymous',
    isAuthenticated: false,
    claimed: null,
    address,
    agent: 'a'.repeat(AGENT_LENGTH_MAX),
  });
});

test('with authentication on it is the user of a token, wherever that stands', async () => {
  const identity = new Identity({ kv: store(true).kv, requireIdentity: false });
  const of = async (shown: object) => identity.callerOf({ address, ...shown }, signal);
  for (const shown of [{ token: 'given' }, { authorization: 'given' }, { authorization: 'bearer given' }]) {
    expect(await of({ ...shown, user: 'root' })).toMatchObject({
      actor: { name: 'ada', isAuthenticated: true },
      principal: { type: 'token', token: 'given' },
    });
  }
  const refused = [
    {},
    { user: 'ada' },
    { certificateName: 'ada' },
    { token: 'none' },
    { authorization: 'Bearer' },
    { authorization: 'Digest given' },
    { authorization: 'Basic YWRh' },
  ];
  for (const shown of refused) {
    await expect(of(shown), JSON.stringify(shown)).rejects.toMatchObject({ code: 'unauthenticated' });
  }
});

test('a password is checked once, and again when its token is not known any more', async () => {
  const { kv, good, signIns } = store(true);
  const identity = new Identity({ kv, requireIdentity: false }, { signInsMax: 1, signInMs: 60_000 });
  const ask = async () => identity.callerOf({ address, authorization: basic }, signal);
  await Promise.all([ask(), ask(), ask()]);
  expect(signIns()).toBe(1);
  good.clear();
  expect((await ask()).principal).toEqual({ type: 'token', token: 'token 2' });
  expect(signIns()).toBe(2);
});
