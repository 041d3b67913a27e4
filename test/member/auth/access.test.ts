import { expect, test } from 'vitest';
import { AuthStore } from '../../../src/core/auth/auth-store.ts';
import { StoreError } from '../../../src/lib/errors.ts';
import { Access } from '../../../src/member/auth/access.ts';
import { SimpleTokens } from '../../../src/member/auth/simple-tokens.ts';
import { systemRandom } from '../../../src/member/system.ts';
import { ManualClock } from '../manual-clock.ts';

const TIMEOUT_MS = 5_000;

function setUp() {
  const clock = new ManualClock();
  const auth = new AuthStore(() => {});
  auth.apply({ type: 'user-add', name: 'root', passwordHash: 'h', noPassword: false });
  auth.apply({ type: 'user-grant-role', name: 'root', role: 'root' });
  auth.apply({ type: 'auth-enable' });
  const tokens = new SimpleTokens({ clock, random: systemRandom, ttlMs: 60_000 });
  const access = new Access({
    clock,
    auth: () => auth,
    tokens,
    appliedIndex: () => 10,
    linearizable: async () => undefined,
    timeoutMs: TIMEOUT_MS,
    decided: () => {},
  });
  const settled = (index: number, signal = new AbortController().signal): Promise<string> =>
    access.settled({ signal, credentials: { token: `abc.${index}` } }).then(
      () => 'settled',
      (error: { code: string }) => error.code,
    );
  return { access, auth, clock, settled, tokens };
}

test('a token waits for its index, but not for ever', async () => {
  const { access, clock, settled } = setUp();
  expect(await settled(10)).toBe('settled');
  const [next, never] = [settled(11), settled(999_999_999)];
  access.appliedTo(11);
  expect(await next).toBe('settled');
  clock.advance(TIMEOUT_MS);
  access.tick();
  expect(await never).toBe('settled');
});

test('who has hung up does not take the place of those who wait', async () => {
  const { access, settled } = setUp();
  const hungUp: Promise<string>[] = [];
  for (let i = 0; i < 10_000; i++) {
    const call = new AbortController();
    hungUp.push(settled(999_999_999, call.signal));
    call.abort();
  }
  expect(new Set(await Promise.all(hungUp))).toEqual(new Set(['canceled']));
  const next = settled(11);
  access.appliedTo(11);
  expect(await next).toBe('settled');
});

test('so many wait at once, one more is refused', async () => {
  const { access, settled } = setUp();
  const waiting = Array.from({ length: 10_000 }, () => settled(11));
  expect(await settled(11)).toBe('too-many-requests');
  access.appliedTo(11);
  expect(new Set(await Promise.all(waiting))).toEqual(new Set(['settled']));
});

test('a request under which roles change is tried anew ten times, not for ever', async () => {
  const { access, auth, tokens } = setUp();
  const { digest, token } = tokens.offer();
  const signIn = {
    type: 'authenticate',
    user: 'root',
    tokenDigest: digest,
    authRevision: auth.revision,
  } as const;
  tokens.signedIn(signIn, 5);
  const context = { signal: new AbortController().signal, credentials: { token: token(signIn, 5) } };
  const triedUnder = async (changes: number): Promise<{ outcome: string; tries: number }> => {
    let tries = 0;
    const outcome = await access
      .as(context, async (principal) => {
        tries += 1;
        if (tries <= changes) auth.apply({ type: 'role-add', name: `${changes} ${tries}` });
        const refusal = auth.refusal(principal, 'read', { key: Buffer.from('a'), rangeEnd: Buffer.alloc(0) });
        if (refusal !== null) throw new StoreError(refusal);
        return 'done';
      })
      .catch((error: StoreError) => error.code);
    return { outcome, tries };
  };
  expect(await triedUnder(10)).toEqual({ outcome: 'done', tries: 11 });
  expect(await triedUnder(11)).toEqual({ outcome: 'auth-revision-old', tries: 11 });
});
