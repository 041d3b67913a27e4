import type { Command } from 'commander';
import type { MemberEntry, MembersAnswer } from '../client/types.ts';
import { parseUrlList } from '../options.ts';
import { memberId, UsageError } from './arguments.ts';
import { type Context, withContext } from './context.ts';
import { formatId, formatTable } from './format.ts';
import type { CliIo } from './io.ts';
import { headerFields } from './kv-format.ts';

/** `conclave member`: who belongs to the cluster. */
export function memberCommands(parent: Command, io: CliIo): void {
  const member = parent.command('member').description('list and change the members of the cluster');
  addList(member, io);
  addAdd(member, io);
  addRemove(member, io);
  addUpdate(member, io);
  addPromote(member, io);
}

function addList(parent: Command, io: CliIo): void {
  parent
    .command('list')
    .description('list all members')
    .action(async (_flags: unknown, command: Command) => {
      await withContext(io, command, async ({ client, call, print }) => {
        const answer = await client.memberList(call);
        await print({ lines: () => memberTable(answer.members), fields: () => membersFields(answer) });
      });
    });
}

function addAdd(parent: Command, io: CliIo): void {
  parent
    .command('add')
    .description('add a member; start it afterwards with the options that are printed')
    .argument('<name>', 'the name it will be started with')
    .requiredOption('--peer-urls <urls>', 'where the other members reach it, comma-separated')
    .option('--learner', 'without a vote until it has caught up and is promoted')
    .addHelpText(
      'after',
      `
A new member counts for the majority at once, though it has no data yet. Adding it as a learner
and promoting it later keeps the cluster available meanwhile.

Example:
  $ conclave member add n4 --peer-urls http://10.0.0.4:2380 --learner
  $ conclave member promote 8e9e05c52164694d`,
    )
    .action(
      async (
        name: string,
        flags: { readonly peerUrls: string; readonly learner?: boolean },
        command: Command,
      ) => {
        const peerUrls = urls(flags.peerUrls);
        await withContext(io, command, async ({ client, call, print }) => {
          const answer = await client.memberAdd({ peerUrls, isLearner: flags.learner ?? false }, call);
          await print({
            lines: () => startInstructions(name, answer),
            fields: () => ({ ...membersFields(answer), member: memberFields(answer.member) }),
          });
        });
      },
    );
}

function startInstructions(name: string, answer: MembersAnswer & { readonly member: MemberEntry }): string {
  const { member, members, header } = answer;
  const cluster = members.flatMap((other) => {
    const called = other.id === member.id ? name : other.name;
    return called === '' ? [] : other.peerUrls.map((url) => `${called}=${url}`);
  });
  return `Member ${formatId(member.id)} added to cluster ${formatId(header.clusterId)}.

Start it with these options, besides those of its own place:
  conclave server --name ${name} \\
    --initial-cluster ${cluster.join(',')} \\
    --initial-advertise-peer-urls ${member.peerUrls.join(',')} \\
    --initial-cluster-state existing
`;
}

function addRemove(parent: Command, io: CliIo): void {
  parent
    .command('remove')
    .description('remove a member; it stops, and its id never returns')
    .argument('<id>', "as 'member list' shows it", memberId)
    .action(async (id: bigint, _flags: unknown, command: Command) => {
      await change(io, command, {
        make: async ({ client, call }) => client.memberRemove(id, call),
        said: `Member ${formatId(id)} removed.`,
      });
    });
}

function addUpdate(parent: Command, io: CliIo): void {
  parent
    .command('update')
    .description('change where the other members reach a member')
    .argument('<id>', "as 'member list' shows it", memberId)
    .requiredOption('--peer-urls <urls>', 'all its new peer URLs, comma-separated')
    .action(async (id: bigint, flags: { readonly peerUrls: string }, command: Command) => {
      const peerUrls = urls(flags.peerUrls);
      await change(io, command, {
        make: async ({ client, call }) => client.memberUpdate({ id, peerUrls }, call),
        said: `Member ${formatId(id)} updated.`,
      });
    });
}

function addPromote(parent: Command, io: CliIo): void {
  parent
    .command('promote')
    .description('give a learner that has caught up a vote')
    .argument('<id>', "as 'member list' shows it", memberId)
    .action(async (id: bigint, _flags: unknown, command: Command) => {
      await change(io, command, {
        make: async ({ client, call }) => client.memberPromote(id, call),
        said: `Member ${formatId(id)} promoted.`,
      });
    });
}

async function change(
  io: CliIo,
  command: Command,
  { make, said }: { readonly make: (context: Context) => Promise<MembersAnswer>; readonly said: string },
): Promise<void> {
  await withContext(io, command, async (context) => {
    const answer = await make(context);
    await context.print({ lines: () => `${said}\n`, fields: () => membersFields(answer) });
  });
}

function urls(text: string): readonly string[] {
  const list = parseUrlList(text, '--peer-urls');
  if (list.length === 0) throw new UsageError('--peer-urls holds no URL');
  return list;
}

function memberTable(members: readonly MemberEntry[]): string {
  return formatTable(
    ['ID', 'STATUS', 'NAME', 'PEER URLS', 'CLIENT URLS', 'LEARNER', 'REGION'],
    members.map((member) => [
      formatId(member.id),
      member.name === '' ? 'unstarted' : 'started',
      member.name,
      member.peerUrls.join(','),
      member.clientUrls.join(','),
      String(member.isLearner),
      member.region ?? '-',
    ]),
  );
}

function membersFields({ header, members }: MembersAnswer): Record<string, unknown> {
  return { header: headerFields(header), members: members.map(memberFields) };
}

function memberFields(member: MemberEntry): Record<string, unknown> {
  return {
    ID: member.id,
    ...(member.name !== '' && { name: member.name }),
    peerURLs: member.peerUrls,
    ...(member.clientUrls.length > 0 && { clientURLs: member.clientUrls }),
    ...(member.isLearner && { isLearner: true }),
    ...(member.region !== undefined && { region: member.region }),
  };
}
