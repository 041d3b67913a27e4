import type { Command } from 'commander';
import { addChangeFlags } from './config-change.ts';
import { nameQuery } from './config-read.ts';
import { type ChangeFlags, cell, plainText } from './config-words.ts';
import { formatTable } from './format.ts';
import { jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

interface Side {
  readonly value: unknown;
}
interface Drift {
  readonly environment: string;
  readonly application: string;
  readonly key: string;
  readonly drift: string;
  readonly expected: Side | null;
  readonly actual: Side | null;
}
/** What of the keys was settled: those that had not drifted are left alone. */
interface Settled {
  readonly items?: readonly unknown[];
  readonly reverted?: number;
}
interface Drifts {
  readonly items: readonly Drift[];
  readonly more: boolean;
}

/** `conclave config drift list|adopt|revert`: what plain clients changed past the service. */
export function driftCommands(parent: Command, io: CliIo): void {
  const drift = parent
    .command('drift')
    .description('show plain values that are not what the service put there, and settle them');
  addList(drift, io);
  addSettling(drift, io, {
    word: 'adopt',
    description: 'make what stands at the plain keys the configurations',
    told: 'adopted',
  });
  addSettling(drift, io, {
    word: 'revert',
    description: 'put back what the configurations say',
    told: 'put back',
  });
}

function addList(drift: Command, io: CliIo): void {
  drift
    .command('list')
    .description('list what has drifted, of one environment or application when they are named')
    .action((_flags: unknown, command: Command) =>
      withHttp(io, command, async (context) => {
        const found = jsonOf<Drifts>(
          await context.call({ method: 'GET', path: '/api/v1/drift', query: context.given }),
        );
        await context.print({ body: found, lines: () => linesOf(found) });
      }),
    );
}

function addSettling(
  drift: Command,
  io: CliIo,
  { word, description, told }: Readonly<Record<'word' | 'description' | 'told', string>>,
): void {
  addChangeFlags(drift.command(word))
    .description(`${description}, together or not at all`)
    .argument('<key...>')
    .action((keys: readonly string[], { reason, changeSet }: ChangeFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const names = keys.map((key) => nameQuery(context, key));
        const answer = await context.change({
          method: 'POST',
          path: `/api/v1/drift/${word}`,
          body: JSON.stringify({ names, reason, changeSet }),
        });
        const settled = jsonOf<Settled>(answer);
        const count = settled.items?.length ?? settled.reverted ?? 0;
        await context.print({ body: settled, lines: () => `${count} ${told}\n` });
      }),
    );
}

function linesOf({ items, more }: Drifts): string {
  if (items.length === 0) return 'nothing has drifted\n';
  const table = formatTable(
    ['APPLICATION', 'ENVIRONMENT', 'KEY', 'DRIFT', 'EXPECTED', 'ACTUAL'],
    items.map(({ application, environment, key, drift, expected, actual }) => [
      application,
      environment,
      key,
      drift,
      sideText(expected),
      sideText(actual),
    ]),
  );
  return more ? `${table}and more\n` : table;
}

function sideText(side: Side | null): string {
  return side === null ? '' : cell(plainText(side.value));
}
