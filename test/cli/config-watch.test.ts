import { expect, test } from 'vitest';
import type { Json } from '../../src/service/model.ts';
import { inStreamWorld, type StreamWorld } from '../api/http/streams/stream-world.ts';
import { ada, named } from '../service/world.ts';
import { eventually } from '../support/eventually.ts';
import { type Run, run } from './captured-io.ts';

const SCOPE = ['--application', 'pay', '--environment', 'PROD'];

async function put({ service }: Pick<StreamWorld, 'service'>, key: string, json: Json): Promise<number> {
  const answer = await service.configurations.put(ada, { name: named(key), value: { json }, reason: 'why' });
  return answer.revision;
}

/** `conclave config watch`, until it is told to stop. */
class Watching {
  readonly #interruption = new AbortController();
  readonly #done: Promise<Run>;
  #out = '';

  constructor(endpoints: readonly string[], ...words: readonly string[]) {
    this.#done = run(['config', ...SCOPE, '--http-endpoint', endpoints.join(), 'watch', ...words], {
      interruption: this.#interruption,
      onOut: (text) => {
        this.#out = text;
      },
    });
  }

  async printed(text: string): Promise<void> {
    await eventually(text, () => this.#out.includes(text));
  }

  /** What it printed, as lines. */
  async stop(): Promise<readonly string[]> {
    this.#interruption.abort();
    const { code, out, err } = await this.#done;
    expect({ code, err }).toEqual({ code: 130, err: '' });
    return out.trimEnd().split('\n');
  }

  async failed(): Promise<Run> {
    return this.#done;
  }
}

const watchers = ({ service }: StreamWorld, count: number): Promise<true> =>
  eventually('the watchers', () => service.events.subscribers === count);

test('watch prints what becomes of keys, from now on or behind a revision', async () => {
  await inStreamWorld(async (world) => {
    const begin = await put(world, 'db.host', 'a');
    const now = new Watching([world.url]);
    const json = new Watching([world.url], '--prefix', 'db.', '--revision', String(begin), '--json');
    await watchers(world, 2);
    await put(world, 'log', null);
    await put(world, 'db.host', { b: 1 });
    await world.service.configurations.delete(ada, { ref: named('db.host') });
    await now.printed('nothing (version 2');
    expect(await now.stop()).toEqual([
      'log: nothing -> null (version 1, ada: why)',
      'db.host: a -> {"b":1} (version 2, ada: why)',
      'db.host: {"b":1} -> nothing (version 2, ada)',
    ]);
    await json.printed('"deleted"');
    const events = (await json.stop()).map((line) => JSON.parse(line) as { readonly cursor: string });
    expect(events).toMatchObject([{ type: 'updated' }, { type: 'deleted' }]);
    const rest = new Watching([world.url], '--revision', events[0]!.cursor);
    await rest.printed('nothing');
    expect(await rest.stop()).toHaveLength(1);
  });
});

test('watch is known as an instance while it runs', async () => {
  await inStreamWorld(async (world) => {
    await put(world, 'a', 1);
    const watching = new Watching([world.url], '--instance', 'desk');
    const scope = { tenant: 'default', environment: 'production', application: 'pay' };
    await eventually('the instance', () => world.service.instances.idsOf(scope).includes('desk'));
    await watching.stop();
    await eventually('its end', () => world.service.instances.idsOf(scope).length === 0);
  });
});

test('watch goes on at another member where it was, and loses and repeats nothing', async () => {
  await inStreamWorld(async (first) => {
    await put(first, 'a', 0);
    await inStreamWorld(
      async (second) => {
        // The second is asked when the first has gone, though nothing was printed before.
        const quiet = new Watching([first.url, second.url]);
        const busy = new Watching([first.url, second.url]);
        await watchers(first, 2);
        await put(first, 'a', 1);
        await busy.printed('-> 1');
        await quiet.printed('-> 1');
        await first.stop();
        await put(second, 'a', 2);
        await quiet.printed('-> 2');
        await put(second, 'a', 3);
        for (const watching of [quiet, busy]) {
          await watching.printed('-> 3');
          expect((await watching.stop()).map((line) => line.slice(0, 9))).toEqual([
            'a: 0 -> 1',
            'a: 1 -> 2',
            'a: 2 -> 3',
          ]);
        }
      },
      { memory: first.memory },
    );
  });
});

test('a watch that is refused, or finds nobody, says why', async () => {
  const gone = await inStreamWorld(async (world) => {
    await expect(new Watching([world.url]).failed()).resolves.toMatchObject({
      code: 1,
      err: expect.stringContaining('there is no application pay') as string,
    });
    await put(world, 'a', 1);
    const future = await new Watching([world.url], '--revision', '1000000').failed();
    expect(future).toMatchObject({ code: 1, err: expect.stringContaining('has not had') as string });
    expect(await new Watching([world.url], '--revision', 'x').failed()).toMatchObject({ code: 2 });
    return world.url;
  });
  expect(await new Watching([gone]).failed()).toMatchObject({ code: 1 });
});
