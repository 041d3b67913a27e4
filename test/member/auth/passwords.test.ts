import { expect, test } from 'vitest';
import { Passwords } from '../../../src/member/auth/passwords.ts';

const passwords = new Passwords(4);

test('the password that was hashed fits, no other does', async () => {
  const hash = await passwords.hash('secret');
  expect(await passwords.fits('secret', hash)).toBe(true);
  expect(await passwords.fits('Secret', hash)).toBe(false);
  expect(await passwords.fits('', hash)).toBe(false);
});

test('equal passwords have different hashes, and none shows the password', async () => {
  const [one, two] = [await passwords.hash('secret'), await passwords.hash('secret')];
  expect(one).not.toBe(two);
  expect(one).toMatch(/^scrypt\$512\$[A-Za-z0-9+/=]{24}\$[A-Za-z0-9+/=]{44}$/);
});

test('a hash says how it was made: another cost does not matter', async () => {
  const hash = await new Passwords(5).hash('secret');
  expect(hash).toContain('$1024$');
  expect(await passwords.fits('secret', hash)).toBe(true);
});

test('nothing fits what is no hash', async () => {
  for (const hash of [null, '', 'x', 'scrypt$512$$', 'scrypt$513$AAAA$AAAA', 'scrypt$999999999$AAAA$AAAA']) {
    expect(await passwords.fits('', hash)).toBe(false);
  }
});

test('too many at once are refused, the others get their turn', async () => {
  const work = Array.from({ length: 400 }, () => passwords.fits('p', null));
  const results = await Promise.allSettled(work);
  const refused = results.filter(({ status }) => status === 'rejected');
  expect(refused).toHaveLength(400 - 256 - 2);
  expect((refused[0] as PromiseRejectedResult).reason).toMatchObject({ code: 'too-many-requests' });
  expect(await passwords.fits('p', null)).toBe(false);
});

test('an address that asks for much waits for itself, not everybody else', async () => {
  let done = 0;
  const many = Array.from({ length: 400 }, () =>
    passwords.fits('p', null, { address: 'a' }).then(
      () => void (done += 1),
      () => undefined,
    ),
  );
  expect(await passwords.fits('p', null, { address: 'b' })).toBe(false);
  expect(done).toBeLessThan(10);
  await Promise.all(many);
  // One of its own made room.
  expect(done).toBe(256 + 2 - 1);
});

test('who has hung up is not waited for', async () => {
  const call = new AbortController();
  const { signal } = call;
  const busy = Array.from({ length: 258 }, () => passwords.fits('p', null, { address: 'a', signal }));
  const outcomes = Promise.allSettled(busy);
  call.abort();
  const next = passwords.fits('p', null, { address: 'a' });
  const results = await outcomes;
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
  expect(results.at(-1)).toMatchObject({ reason: { code: 'canceled' } });
  expect(await next).toBe(false);
});
