import type { Command } from 'commander';
import { addContentFlags, type ContentFlags, setBody } from './config-change.ts';
import { jsonOf, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';
import { oneLine } from './visible.ts';

interface Problem {
  readonly field: string;
  readonly message: string;
}
/** What a change would meet, and whom it would reach. */
interface Validation {
  readonly valid: boolean;
  readonly errors: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly impact: {
    readonly inheritedBy: readonly string[];
    readonly referencedBy: readonly string[];
    readonly instances: readonly string[];
  };
}

/** `conclave config validate`: tries a change without making it. */
export function validateCommand(parent: Command, io: CliIo): void {
  addContentFlags(parent.command('validate'))
    .description('try what `set` would do, and print whether it would be taken, and whom it would reach')
    .argument('<key>')
    .argument('[value]')
    .addHelpText('after', '\nFails when the change would be refused.')
    .action((key: string, text: string | undefined, flags: ContentFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        const body = JSON.stringify(await setBody(context, { key, text, flags }));
        const call = { method: 'POST', path: '/config/validate', body, isRepeatable: true } as const;
        const result = jsonOf<Validation>(await context.call(call));
        await context.print({ body: result, lines: () => linesOf(result) });
        if (!result.valid) throw new Error(`${key} would be refused`);
      }),
    );
}

function linesOf({ valid, errors, warnings, impact }: Validation): string {
  const { inheritedBy, referencedBy, instances } = impact;
  return [
    valid ? 'valid' : 'not valid',
    ...errors.map(({ field, message }) => `error: ${field}: ${message}`),
    ...warnings.map(({ field, message }) => `warning: ${oneLine(`${field}: ${message}`)}`),
    ...listed('inherited by', inheritedBy),
    ...listed('referred to by', referencedBy),
    ...listed('run by', instances),
  ]
    .map((line) => `${line}\n`)
    .join('');
}

function listed(words: string, names: readonly string[]): readonly string[] {
  return names.length === 0 ? [] : [`${words}: ${names.join(', ')}`];
}
