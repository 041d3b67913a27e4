import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { inRestWorld, type RestWorld } from '../api/http/rest/rest-world.ts';
import { type Run, type RunInput, run } from './captured-io.ts';

interface Commands {
  /** Runs `conclave flag` for `shop` in PROD, whatever comes of it. */
  readonly flag: (words: readonly string[], input?: RunInput) => Promise<Run>;
  /** The same; returns what it printed, and nothing may go wrong. */
  readonly printed: (...words: readonly string[]) => Promise<string>;
  readonly directory: string;
  readonly world: RestWorld;
}

/** The commands of flags against the service itself: its REST face over a store in memory. */
async function withCommands(work: (commands: Commands) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'conclave-cli-flags-'));
  try {
    await inRestWorld(async (world) => {
      await world.app.listen({ port: 0, host: '127.0.0.1' });
      const { port } = world.app.server.address() as AddressInfo;
      const env = { CONCLAVE_HTTP_ENDPOINT: `http://127.0.0.1:${port}`, CONCLAVE_USER: 'ann' };
      const scope = ['--application', 'shop', '--environment', 'PROD'];
      const flag = async (words: readonly string[], input: RunInput = {}) =>
        run(['flag', ...scope, ...words], { ...input, env });
      const printed = async (...words: readonly string[]): Promise<string> => {
        const { code, out, err } = await flag(words);
        expect({ words, code, err }).toEqual({ words, code: 0, err: '' });
        return out;
      };
      await work({ flag, printed, directory, world });
    });
  } finally {
    await rm(directory, { recursive: true });
  }
}

test('a flag is made, switched, rolled out, explained, rolled back, deleted and brought back', async () => {
  await withCommands(async ({ printed }) => {
    expect(await printed('set', 'beta', '--boolean', '--description', 'Beta', '--tag', 'web')).toBe(
      'beta of shop in production is at version 1\n',
    );
    expect(await printed('enable', 'beta')).toBe('beta of shop in production is enabled, at version 2\n');
    expect(await printed('rollout', 'beta', '12.5')).toBe(
      'beta of shop in production is rolled out to 12.5 %, at version 3\n',
    );
    await printed('disable', 'beta', '--reason', 'it burns');
    const history = await printed('history', 'beta');
    expect(history).toMatch(/4 +2026-03-01 00:00:00 +ann +off +12.5 % +it burns/);
    expect(await printed('diff', 'beta', '3')).toBe('~ /definition/enabled: true -> false\n');
    expect(await printed('rollback', 'beta', '2')).toContain('is as it was in version 2, at version 5');
    const explained = await printed(
      'explain',
      'beta',
      '--user-key',
      'ada',
      '--context',
      'plan=gold',
      'age=70',
    );
    expect(explained).toContain('The answer is variant on (true)');
    expect(await printed('get', 'beta')).toMatch(
      /^Flag: beta of shop in production\nDescription: Beta\nState: on\n/,
    );
    expect(await printed('list', '--tag', 'web')).toMatch(/beta +shop +production +on +boolean/);
    await printed('delete', 'beta');
    expect(await printed('list', '--json')).toBe('{"items":[]}\n');
    expect(await printed('undelete', 'beta')).toContain('is back, at version 7');
  });
});

test('definitions come from files and standard input, and what is wrong with them is told', async () => {
  await withCommands(async ({ flag, printed, directory }) => {
    const file = join(directory, 'banner.json');
    const definition = {
      type: 'string',
      variants: { red: 'r', blue: 'b' },
      fallthrough: { variant: 'red' },
      rules: [
        { when: [{ attribute: 'plan', operator: 'EQUALS', values: ['gold'] }], serve: { variant: 'blue' } },
      ],
    };
    await writeFile(file, JSON.stringify(definition));
    await printed('set', 'banner', '--file', file);
    const gold = JSON.parse(await printed('explain', 'banner', '--context', 'plan=gold', '--json')) as object;
    expect(gold).toMatchObject({ variant: 'blue', reason: 'TARGETING_MATCH' });
    const wrong = { ...definition, fallthrough: { variant: 'green' } };
    const refused = await flag(['set', 'banner', '--file', '-'], { stdin: JSON.stringify(wrong) });
    expect(refused.code).toBe(2);
    expect(refused.err).toContain('definition/fallthrough/variant: there is no variant green');
    expect((await flag(['set', 'banner', '--file', '-'], { stdin: '{' })).code).toBe(2);
    expect((await flag(['set', 'banner', '--file', file, '--boolean'])).code).toBe(2);
    expect((await flag(['rollout', 'banner', '101'])).code).toBe(2);
    expect((await flag(['explain', 'banner', '--context', 'plan'])).code).toBe(2);
    const unknown = await flag(['get', 'unknown']);
    expect([unknown.code, unknown.err]).toEqual([1, expect.stringContaining('there is no flag unknown')]);
  });
});

test('flags are exported, imported and reported on', async () => {
  await withCommands(async ({ flag, printed, directory, world }) => {
    await printed('set', 'beta', '--boolean');
    await printed('enable', 'beta');
    const document = await printed('export');
    const file = join(directory, 'flags.json');
    await writeFile(file, document);
    expect(await printed('import', file, '--dry-run')).toMatch(
      /KIND +KEY +WOULD BE\nflag +beta +(updated|unchanged)/,
    );
    const wrong = await flag(['import', '-'], { stdin: '{"flags":{"x":{}}}' });
    expect(wrong.code).toBe(2);
    await world.get('/feature-flags/check?key=beta&application=shop&environment=PROD&service=web');
    expect(await printed('evaluations', '--csv')).toMatch(/shop,production,beta,on,STATIC,web,1\r\n$/);
    expect(JSON.parse(await printed('evaluations', '--flag', 'beta'))).toMatchObject({ count: 1 });
    const told = { application: 'shop', environment: 'PROD' };
    const exposures = ['on', 'off'].flatMap((variant) =>
      Array.from({ length: 100 }, (_, at) => ({
        flag: 'beta',
        variant,
        targetingKey: `${variant}-${at}`,
        converted: at < (variant === 'on' ? 40 : 20),
      })),
    );
    await world.post('/api/v1/flags/exposures', { ...told, exposures });
    const table = await printed('experiment', 'beta');
    expect(table).toMatch(/off \(control\) +100 +20 +20\.00 %/);
    expect(table).toMatch(/on +100 +40 +40\.00 % .*\+20\.00 % .* yes/);
    expect(await printed('experiment', 'beta', '--csv')).toMatch(/shop,production,beta,on,false,/);
    expect(await printed('experiment', 'beta', '--reset')).toBe('The experiment of beta begins anew\n');
    expect(await printed('experiment', 'beta')).toBe('Nobody was exposed to beta yet\n');
    const promote = ['promote', 'beta', '--from', 'PROD', '--to', 'STAGING'] as const;
    expect(await printed(...promote, '--dry-run')).toMatch(/WOULD BE[^]*flag +beta +created +1/);
    expect(await printed(...promote, '--change-set', 'r1')).toMatch(/flag +beta +created +1/);
    expect(await printed(...promote)).toBe('Nothing is different\n');
    const undone = await world.post('/api/v1/change-sets/r1/rollback', {});
    expect(undone.body).toMatchObject({ items: [], features: [{ kind: 'flag', key: 'beta' }] });
    expect(await printed('stale', '--days', '0')).toMatch(
      /beta +shop +production +0 days +answers-everybody-alike/,
    );
  });
});
