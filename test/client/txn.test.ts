import { expect, test } from 'vitest';
import { compare, deleteOp, getOp, putOp, TxnBuilder } from '../../src/client/txn.ts';
import type { TxnAnswer, TxnOptions } from '../../src/client/types.ts';

const HEADER = { clusterId: 1n, memberId: 2n, revision: 3, raftTerm: 4 };

/** A builder whose transactions are noted, and answered by hand. */
function builder(answer: Pick<TxnAnswer, 'succeeded' | 'responses'>) {
  const sent: TxnOptions[] = [];
  const commit = (options: TxnOptions): Promise<TxnAnswer> => {
    sent.push(options);
    return Promise.resolve({ type: 'txn', header: HEADER, ...answer });
  };
  return { sent, txn: new TxnBuilder(commit, { compare: [], success: [], failure: [] }) };
}

test('conditions and operations are sent as they were written', async () => {
  const { sent, txn } = builder({ succeeded: true, responses: [] });
  await txn
    .when(compare('a', 'version', '=', 0), compare('b', 'value', '!=', 'x'))
    .when(compare('c', 'lease', '=', -1n), compare('d', 'mod', '>', 5), compare('e', 'create', '<', 6))
    .do(putOp('a', '1', { lease: 7n }), getOp('b', { limit: 1 }))
    .otherwise(deleteOp('c', { prevKv: true }))
    .commit();
  expect(sent).toEqual([
    {
      compare: [
        { key: 'a', target: 'version', result: 'equal', number: 0 },
        { key: 'b', target: 'value', result: 'not-equal', value: 'x' },
        { key: 'c', target: 'lease', result: 'equal', lease: -1n },
        { key: 'd', target: 'mod', result: 'greater', number: 5 },
        { key: 'e', target: 'create', result: 'less', number: 6 },
      ],
      success: [
        { type: 'put', key: 'a', value: '1', lease: 7n },
        { type: 'range', key: 'b', limit: 1 },
      ],
      failure: [{ type: 'delete', key: 'c', prevKv: true }],
    },
  ]);
});

test('answers have the types of their operations, by the side that was performed', async () => {
  const deleted = { type: 'delete', header: HEADER, deleted: 2, prevKvs: [] } as const;
  const { txn } = builder({ succeeded: false, responses: [deleted] });
  const answer = await txn.do(putOp('a', '1'), getOp('a')).otherwise(deleteOp('a')).commit();
  if (answer.succeeded) throw new Error('it did not');
  const [only] = answer.responses;
  const count: number = only.deleted;
  expect(count).toBe(2);
  expect(answer.header).toEqual(HEADER);
});

test('a builder can be used again: what is added to one is not in another', async () => {
  const { sent, txn } = builder({ succeeded: true, responses: [] });
  const base = txn.when(compare('a', 'version', '=', 0));
  await base.when(compare('b', 'version', '=', 0)).commit();
  await base.do(getOp('a')).commit();
  expect(sent.map(({ compare: conditions }) => conditions.length)).toEqual([2, 1]);
  expect(sent.map(({ success }) => success.length)).toEqual([0, 1]);
});

test('awaiting a builder by mistake sends nothing', async () => {
  const { sent, txn } = builder({ succeeded: true, responses: [] });
  expect('then' in txn).toBe(false);
  expect(await Promise.resolve(txn)).toBe(txn);
  expect(sent).toEqual([]);
});
