import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { CLOSE_CODES } from '../../../../src/api/http/streams/web-socket-peer.ts';
import type { Json } from '../../../../src/service/model.ts';
import { ada, named } from '../../../service/world.ts';
import { eventually } from '../../../support/eventually.ts';
import { EventReader, SocketReader } from '../../../support/stream-readers.ts';
import { inStreamWorld, type StreamWorld } from './stream-world.ts';

const WATCH = '/api/v1/config/watch/pay?environment=PRODUCTION';
const EVENTS = '/api/v1/events?application=pay&environment=production';

async function put({ service }: Pick<StreamWorld, 'service'>, key: string, json: Json): Promise<number> {
  const answer = await service.configurations.put(ada, { name: named(key), value: { json }, reason: 'why' });
  return answer.revision;
}

/** One revision that changes several keys of what staging has. */
async function shift({ service }: Pick<StreamWorld, 'service'>, parent: string | null): Promise<void> {
  await service.environments.update(ada, { tenant: 'default', id: 'staging', parent });
}

describe("001's WebSocket", () => {
  test('tells a ConfigurationUpdate for each change, after saying where it begins', async () => {
    await inStreamWorld(async (world) => {
      const before = await put(world, 'risk', 0.05);
      const reader = new SocketReader(`${world.url}${WATCH}`);
      expect(await reader.opened).toMatchObject({
        'conclave-revision': String(before),
        'conclave-environment': 'PRODUCTION',
      });
      const revision = await put(world, 'risk', 0.04);
      await eventually('the update', () => reader.messages.length > 0);
      expect(reader.messages).toEqual([
        {
          config_key: 'risk',
          old_value: 0.05,
          new_value: 0.04,
          updated_by: 'ada',
          reason: 'why',
          rollback_available: true,
          service_name: 'pay',
          environment: 'PRODUCTION',
          version: 2,
          type: 'updated',
          timestamp: '2026-03-01T00:00:00.000Z',
          event_id: expect.any(String) as unknown,
          revision,
          cursor: String(revision),
        },
      ]);
      await reader.close();
      await eventually('nobody', () => world.service.events.subscribers === 0);
    });
  });

  test('tells values of any size', async () => {
    await inStreamWorld(async (world) => {
      await put(world, 'a', '');
      const reader = new SocketReader(`${world.url}${WATCH}`);
      await reader.opened;
      const values = ['ü', 'x'.repeat(1_000), 'y'.repeat(100_000), 'z'];
      for (const value of values) await put(world, 'a', value);
      await eventually('all of them', () => reader.messages.length === values.length);
      expect(reader.messages.map((message) => message['new_value'])).toEqual(values);
      await reader.close();
    });
  });

  test('without an upgrade says what it is; a wrong handshake is refused', async () => {
    await inStreamWorld(async (world) => {
      await put(world, 'a', 1);
      const answer = await fetch(`${world.url}${WATCH}`);
      expect([answer.status, answer.headers.get('upgrade')]).toEqual([426, 'websocket']);
      expect(await answer.json()).toMatchObject({ code: 'upgrade-required' });
      const words = ['GET', 'POST'].map((method) => raw(world.url, `${method} ${WATCH} HTTP/1.1`));
      for (const word of await Promise.all(words)) expect(word).toContain(' 400 Bad Request');
      expect(world.service.events.subscribers).toBe(0);
    });
  });
});

/** What a client is answered that wants a WebSocket and does not say how. */
async function raw(url: string, line: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(`${line}\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

describe('server-sent events', () => {
  test('are told with their cursors as ids, and gone on from behind the last one', async () => {
    await inStreamWorld(async (world) => {
      const begin = await put(world, 'a', 1);
      const reader = new EventReader(`${world.url}${EVENTS}`);
      const { status, headers } = await reader.opened;
      expect([status, headers['content-type'], headers['conclave-revision']]).toEqual([
        200,
        'text/event-stream; charset=utf-8',
        String(begin),
      ]);
      await eventually('the first id', () => reader.lastEventId === String(begin));
      expect(reader.retryMs).toBe(2_000);
      const revision = await put(world, 'a', 'line\nline');
      await eventually('the event', () => reader.events.length > 0);
      reader.close();
      const [event] = reader.events;
      expect(event).toMatchObject({ type: 'configuration_updated', id: String(revision) });
      expect(JSON.parse(event!.data)).toMatchObject({
        revision,
        type: 'updated',
        configuration_updated: { config_key: 'pay.a', old_value: 1, new_value: 'line\nline' },
      });
      await put(world, 'b', 1);
      // The address is the same as before: what the client says it has counts.
      const again = new EventReader(`${world.url}${EVENTS}&revision=1`, { 'last-event-id': event!.id });
      await eventually('the rest', () => again.events.length > 0);
      expect(again.events.map(({ data }) => JSON.parse(data).configuration_updated.config_key)).toEqual([
        'pay.b',
      ]);
      again.close();
      await eventually('nobody', () => world.service.events.subscribers === 0);
    });
  });

  test('an id moves on while nothing happens that is wanted', async () => {
    await inStreamWorld(
      async (world) => {
        await put(world, 'a', 1);
        const reader = new EventReader(`${world.url}${EVENTS}&keys=a`);
        const socket = new SocketReader(`${world.url}${EVENTS}&keys=a`);
        await Promise.all([reader.opened, socket.opened]);
        const revision = await put(world, 'b', 1);
        await eventually('the id', () => reader.lastEventId === String(revision));
        await eventually('the cursor', () => socket.cursors.includes(String(revision)));
        await eventually('signs of life', () => reader.comments > 1 && socket.cursors.includes(''));
        expect([reader.events, socket.messages]).toEqual([[], []]);
        reader.close();
        await socket.close();
      },
      { limits: { heartbeatMs: 10, heartbeatsMissedMax: 1_000 } },
    );
  });
});

describe.each(['WebSocket', 'server-sent events'] as const)('a stream as %s', (kind) => {
  interface Taken {
    readonly cursors: readonly string[];
    readonly status: number;
  }

  /** The first so many events behind a cursor. */
  async function take({ url }: StreamWorld, count: number, query: string): Promise<Taken> {
    if (kind === 'WebSocket') {
      const reader = new SocketReader(`${url}/api/v1/events${query}`);
      const opened = await reader.opened;
      if ('status' in opened) return { cursors: [], status: Number(opened.status) };
      await eventually('the events', () => reader.messages.length >= count);
      await reader.close();
      return { cursors: reader.messages.map(({ cursor }) => String(cursor)), status: 200 };
    }
    const reader = new EventReader(`${url}/api/v1/events${query}`);
    const { status } = await reader.opened;
    if (status !== 200) return { cursors: [], status };
    await eventually('the events', () => reader.events.length >= count);
    reader.close();
    return { cursors: reader.events.map(({ id }) => id), status };
  }

  test('goes on behind any event, also between those of one change, and across a compaction', async () => {
    await inStreamWorld(async (world) => {
      for (const key of ['c', 'a', 'b']) {
        const name = named(key, { environment: 'test' });
        await world.service.configurations.put(ada, { name, value: { json: key } });
      }
      const begin = world.service.projection.revision;
      await shift(world, 'test');
      await put(world, 'x', 1);
      await shift(world, null);
      const query = '?application=pay';
      const all = await take(world, 7, `${query}&revision=${begin}`);
      expect(all.cursors).toHaveLength(7);
      world.memory.compact(world.service.projection.revision);
      for (const [at, cursor] of all.cursors.slice(0, -1).entries()) {
        const rest = await take(world, 6 - at, `${query}&revision=${cursor}`);
        expect(rest.cursors).toEqual(all.cursors.slice(at + 1));
      }
    });
  });

  test('tells only the keys that are wanted', async () => {
    await inStreamWorld(async (world) => {
      for (const key of ['db.a', 'db.b', 'log', 'db.c']) await put(world, key, 1);
      const keyed = await take(world, 2, '?application=pay&keys=db.a,log&revision=1');
      const prefixed = await take(world, 3, '?application=pay&keyPrefix=db.&revision=1');
      expect([keyed.cursors.length, prefixed.cursors.length]).toEqual([2, 3]);
    });
  });

  test('what it cannot be is refused before it begins, as any other request', async () => {
    await inStreamWorld(async (world) => {
      await put(world, 'a', 1);
      const status = async (query: string): Promise<number> => (await take(world, 1, query)).status;
      expect(await status('?application=none')).toBe(404);
      expect(await status('?environment=qa')).toBe(404);
      expect(await status('?environment=q%20a')).toBe(400);
      expect(await status('?revision=x')).toBe(400);
      expect(await status('?keys=')).toBe(400);
      expect(await status('?color=red')).toBe(400);
      expect(await status('?instance=i')).toBe(400);
      expect(await status('?revision=100000')).toBe(410);
      expect(world.service.events.subscribers).toBe(0);
    });
  });

  test('registers an instance for as long as it is open', async () => {
    await inStreamWorld(async (world) => {
      await put(world, 'a', 1);
      const scope = { tenant: 'default', environment: 'production', application: 'pay' };
      const query = `${EVENTS}&instance=pod-1&instanceVersion=1.2&instanceRegion=eu`;
      const url = `${world.url}${query}`;
      const reader = kind === 'WebSocket' ? new SocketReader(url) : new EventReader(url);
      await reader.opened;
      expect(world.service.instances.of(scope)).toMatchObject([
        { id: 'pod-1', version: '1.2', region: 'eu' },
      ]);
      await reader.close();
      await eventually('its end', () => world.service.instances.of(scope).length === 0);
      const wrong = await fetch(`${world.url}${EVENTS}&instance=${'x'.repeat(201)}`, {
        headers: { accept: 'text/event-stream' },
      });
      expect(await wrong.json()).toMatchObject({ status: 400, errors: [{ field: 'instance' }] });
    });
  });
});

describe('over a WebSocket', () => {
  test('an instance says what it has applied, and what it has rejected and why', async () => {
    await inStreamWorld(async (world) => {
      await put(world, 'a', 1);
      const scope = { tenant: 'default', environment: 'production', application: 'pay' };
      const reader = new SocketReader(`${world.url}${EVENTS}&instance=pod-1`);
      await reader.opened;
      const revision = await put(world, 'a', 2);
      await eventually('the event', () => reader.messages.length > 0);
      expect(reader.messages[0]).toMatchObject({
        configuration_updated: { affected_instances: ['pod-1'] },
      });
      reader.socket.send(JSON.stringify({ applied: revision }));
      await eventually('the report', () => world.service.instances.of(scope)[0]?.applied === revision);
      reader.socket.send(JSON.stringify({ rejected: revision + 1, reason: 'too large' }));
      await eventually('the rejection', () => world.service.instances.of(scope)[0]?.rejected !== null);
      expect(world.service.instances.of(scope)[0]!.rejected).toEqual({
        revision: revision + 1,
        reason: 'too large',
      });
      await reader.close();
    });
  });

  test.each([
    ['of no instance', '', '{"applied":1}'],
    ['that is no JSON', '&instance=i', 'hello'],
    ['that is binary', '&instance=i', Buffer.from('{"applied":1}')],
    ['that says nothing', '&instance=i', '{}'],
    ['that says both', '&instance=i', '{"applied":1,"rejected":1}'],
    ['of no revision', '&instance=i', '{"applied":"1"}'],
    ['with something else', '&instance=i', '{"applied":1,"color":"red"}'],
  ])('a message %s ends it', async (_, query, message) => {
    await inStreamWorld(async (world) => {
      await put(world, 'a', 1);
      const reader = new SocketReader(`${world.url}${EVENTS}${query}`);
      await reader.opened;
      reader.socket.send(message);
      expect(await reader.closed).toMatchObject({ code: CLOSE_CODES.policyViolation });
    });
  });

  test('a message that is too long, or too many of them, end it', async () => {
    await inStreamWorld(
      async (world) => {
        await put(world, 'a', 1);
        const long = new SocketReader(`${world.url}${EVENTS}&instance=i`);
        await long.opened;
        long.socket.send('x'.repeat(101));
        expect(await long.closed).toMatchObject({ code: 1009 });
        const many = new SocketReader(`${world.url}${EVENTS}&instance=i`);
        await many.opened;
        for (let at = 0; at < 4; at += 1) many.socket.send('{"applied":1}');
        expect(await many.closed).toEqual({ code: 1008, reason: 'too many messages' });
      },
      { limits: { messageBytesMax: 100, messagesMax: 3 } },
    );
  });

  test('a client that does not answer is cut off', async () => {
    await inStreamWorld(
      async (world) => {
        await put(world, 'a', 1);
        const silent = new SocketReader(`${world.url}${EVENTS}`, { autoPong: false });
        expect(await silent.closed).toMatchObject({ code: 1006 });
        await eventually('nobody', () => world.service.events.subscribers === 0);
      },
      { limits: { heartbeatMs: 10 } },
    );
  });

  test('pages of other sites open none; those of its own do', async () => {
    await inStreamWorld(async (world) => {
      await put(world, 'a', 1);
      const other = new SocketReader(`${world.url}${EVENTS}`, {
        headers: { origin: 'https://evil.example' },
      });
      expect(await other.opened).toMatchObject({ status: 403 });
      const opaque = new SocketReader(`${world.url}${EVENTS}`, { headers: { origin: 'null' } });
      expect(await opaque.opened).toMatchObject({ status: 403 });
      const headers = { accept: 'text/event-stream', origin: 'https://evil.example' };
      expect((await fetch(`${world.url}${EVENTS}`, { headers })).status).toBe(403);
      const own = new SocketReader(`${world.url}${EVENTS}`, { headers: { origin: world.url } });
      expect(await own.opened).toMatchObject({ upgrade: 'websocket' });
      await own.close();
    });
  });

  test('who does not say who they are where they must is refused', async () => {
    await inStreamWorld(
      async (world) => {
        await put(world, 'a', 1);
        const nobody = new SocketReader(`${world.url}${EVENTS}`);
        expect(await nobody.opened).toMatchObject({ status: 401 });
        const somebody = new SocketReader(`${world.url}${EVENTS}`, { headers: { 'x-conclave-user': 'eve' } });
        expect(await somebody.opened).toMatchObject({ upgrade: 'websocket' });
        await somebody.close();
      },
      { identity: { requireIdentity: true } },
    );
  });
});

test('a client that takes nothing is cut off, and little is held for it meanwhile', async () => {
  await inStreamWorld(
    async (world) => {
      await put(world, 'a', 1);
      const reader = new SocketReader(`${world.url}${EVENTS}`);
      await reader.opened;
      reader.socket.pause();
      const event = new EventReader(`${world.url}${EVENTS}`);
      await event.opened;
      const large = 'x'.repeat(250_000);
      for (let at = 0; at < 40; at += 1) await put(world, 'a', `${at}${large}`);
      // The reader of events takes them all; the socket that is paused has room for a few.
      await eventually('all events', () => event.events.length === 40);
      await eventually('the end of the other', () => world.service.events.subscribers === 1);
      event.close();
      reader.socket.terminate();
    },
    { limits: { stallMsMax: 500 } },
  );
});

describe('at a stop', () => {
  test('every stream ends with its word for it, and polls are answered', async () => {
    await inStreamWorld(async (world) => {
      const revision = await put(world, 'a', 1);
      const socket = new SocketReader(`${world.url}${WATCH}`);
      const event = new EventReader(`${world.url}${EVENTS}`);
      await Promise.all([socket.opened, event.opened]);
      const poll = fetch(`${world.url}${EVENTS}&revision=${revision}&waitMs=60000`);
      await eventually('the poll', () => world.service.events.subscribers === 3);
      await world.stop();
      expect(await socket.closed).toEqual({ code: CLOSE_CODES.goingAway, reason: 'the server stops' });
      await event.ended;
      expect(event.events).toEqual([]);
      expect(await (await poll).json()).toEqual({ events: [], next: String(revision) });
    });
  });

  test('a client that does not answer holds nothing up', async () => {
    await inStreamWorld(
      async (world) => {
        await put(world, 'a', 1);
        const socket = new SocketReader(`${world.url}${WATCH}`);
        await socket.opened;
        socket.socket.pause();
        await world.stop();
        socket.socket.terminate();
      },
      { limits: { closeMsMax: 20 } },
    );
  });

  test('what is not kept any more is told at the end of a stream', async () => {
    await inStreamWorld(async (world) => {
      await put(world, 'a', 1);
      const socket = new SocketReader(`${world.url}${EVENTS}`);
      const event = new EventReader(`${world.url}${EVENTS}`);
      await Promise.all([socket.opened, event.opened]);
      // As when the service ends beneath its face.
      await world.service.close();
      expect(await socket.closed).toEqual({
        code: CLOSE_CODES.tryAgainLater,
        reason: 'the service was closed',
      });
      await event.ended;
      expect(event.events).toMatchObject([{ type: 'problem' }]);
      expect(JSON.parse(event.events[0]!.data)).toMatchObject({ status: 503, code: 'unavailable' });
    });
  });
});

describe('a poll', () => {
  test('waits for the next events, and says where to go on', async () => {
    await inStreamWorld(async (world) => {
      const begin = await put(world, 'a', 1);
      const poll = async (query: string): Promise<{ events: { revision: number }[]; next: string }> => {
        const answer = await fetch(`${world.url}${EVENTS}${query}`);
        expect(answer.status).toBe(200);
        return (await answer.json()) as { events: { revision: number }[]; next: string };
      };
      expect(await poll('&waitMs=0')).toEqual({ events: [], next: String(begin) });
      const waiting = poll(`&revision=${begin}&waitMs=60000`);
      const revision = await put(world, 'a', 2);
      const { events, next } = await waiting;
      expect(events.map((event) => event.revision)).toEqual([revision]);
      expect(next).toBe(String(revision));
      expect(await poll(`&revision=${next}&waitMs=1`)).toEqual({ events: [], next });
    });
  });

  test('that cannot be is refused', async () => {
    await inStreamWorld(async (world) => {
      await put(world, 'a', 1);
      const status = async (query: string): Promise<number> =>
        (await fetch(`${world.url}${EVENTS}${query}`)).status;
      expect(await status('&waitMs=60001')).toBe(400);
      expect(await status('&waitMs=x')).toBe(400);
      expect(await status('&instance=i')).toBe(400);
      expect(await status('&revision=1000000')).toBe(410);
    });
  });
});
