import { expect, test } from 'vitest';
import type { Channels } from '../../src/client/channels.ts';
import { ClientError } from '../../src/client/client-error.ts';
import type { CallLimits } from '../../src/client/connection.ts';
import { SignIn } from '../../src/client/sign-in.ts';

interface Asked {
  readonly limits: CallLimits;
  answer(token: string): void;
  fail(error: ClientError): void;
}

/** Sign-ins as a server hears of them; each is answered by hand, unless its call is given up. */
function setUp() {
  const asked: Asked[] = [];
  const unary = (_method: unknown, _request: unknown, limits: CallLimits): Promise<{ token: string }> =>
    new Promise((resolve, reject) => {
      limits.signal?.addEventListener('abort', () => reject(new ClientError('canceled', 'canceled')));
      asked.push({ limits, answer: (token) => resolve({ token }), fail: reject });
    });
  const signIn = new SignIn({ unary } as unknown as Channels, { user: 'u', password: 'p' });
  return { asked, signIn };
}
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: ClientError) => error.code,
  );
const LONG = { timeoutMs: 60_000 };

test('one sign-in serves all calls that wait for it', async () => {
  const { asked, signIn } = setUp();
  const calls = [signIn.token(LONG), signIn.token(LONG)];
  asked[0]!.answer('t');
  const [one, two] = await Promise.all(calls);
  expect(one?.value).toBe('t');
  expect(two).toBe(one);
  expect(asked).toHaveLength(1);
  signIn.forget(one!);
  const again = signIn.token(LONG);
  asked[1]!.answer('t2');
  expect((await again).value).toBe('t2');
  signIn.forget(one!);
  expect((await signIn.token(LONG)).value).toBe('t2');
});

test('a call that is given up takes no other call with it', async () => {
  const { asked, signIn } = setUp();
  const first = new AbortController();
  const givenUp = codeOf(signIn.token({ ...LONG, signal: first.signal }));
  const others = [signIn.token(LONG), signIn.token(LONG)];
  first.abort();
  expect(await givenUp).toBe('canceled');
  while (asked.length < 2) await new Promise((resolve) => setImmediate(resolve));
  asked[1]!.answer('t');
  for (const token of await Promise.all(others)) expect(token.value).toBe('t');
  expect(asked).toHaveLength(2);
});

test('nor does one wait longer than it may for what another has begun', async () => {
  const { asked, signIn } = setUp();
  const first = signIn.token(LONG);
  const aborted = new AbortController();
  const short = codeOf(signIn.token({ timeoutMs: 1 }));
  const stopped = codeOf(signIn.token({ ...LONG, signal: aborted.signal }));
  aborted.abort();
  expect(await short).toBe('deadline-exceeded');
  expect(await stopped).toBe('canceled');
  asked[0]!.answer('t');
  expect((await first).value).toBe('t');
});

test('what signing in took is no more there for the call', async () => {
  const { asked, signIn } = setUp();
  const left = signIn.with(LONG, ({ timeoutMs }) => Promise.resolve(timeoutMs));
  await new Promise((resolve) => setTimeout(resolve, 20));
  asked[0]!.answer('t');
  expect(await left).toBeLessThan(60_000 - 15);
});

test('a password that is wrong is told to all, and tried once', async () => {
  const { asked, signIn } = setUp();
  const calls = [codeOf(signIn.token(LONG)), codeOf(signIn.token(LONG))];
  asked[0]!.fail(new ClientError('invalid-argument', 'authentication failed'));
  expect(await Promise.all(calls)).toEqual(['invalid-argument', 'invalid-argument']);
  expect(asked).toHaveLength(1);
});

const OVER = new ClientError('unauthenticated', 'etcdserver: invalid auth token');

test('a stream that is refused for its token is opened with a new one, unless it has begun', async () => {
  const { asked, signIn } = setUp();
  const opened: (string | null)[] = [];
  async function* open(token: string | null): AsyncGenerator<number> {
    opened.push(token);
    if (opened.length === 1) throw OVER;
    yield 1;
    if (opened.length === 2) throw OVER;
  }
  const first = signIn.stream(LONG, open);
  const item = first.next();
  asked[0]!.answer('t1');
  while (asked.length < 2) await new Promise((resolve) => setImmediate(resolve));
  asked[1]!.answer('t2');
  expect((await item).value).toBe(1);
  await expect(first.next()).rejects.toBe(OVER);
  expect(opened).toEqual(['t1', 't2']);

  // What ended the stream is not shown again.
  const next = signIn.stream(LONG, open).next();
  while (asked.length < 3) await new Promise((resolve) => setImmediate(resolve));
  asked[2]!.answer('t3');
  await next;
  expect(opened.at(-1)).toBe('t3');
});
